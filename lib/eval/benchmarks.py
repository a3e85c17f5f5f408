"""The benchmarks: which data set and split, and how the published tool treats its labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lib.config.text import suggest
from lib.data.crop_cache.cache import CropDataset
from lib.data.datasets import open_dataset, stated_root
from lib.data.sequence import SequenceDataset


@dataclass(frozen=True)
class Benchmark:
    """What trackers are compared on.

    Attributes:
        name: on the command line, in result paths, and the key of `track.update_intervals` in a config.
        dataset, split: what `open_dataset` opens.
        label: which rule for invalid frames its published numbers follow, a key of `metrics.LABEL_RULES`.
        pooling: which frames AO and SR count. "visible": all but the first and the invalid ones. "got10k": its
            toolkit's rule, for which every sequence carries the labels `cover`, (N,), and `frame_size`, height and
            width.
    """

    name: str
    title: str
    dataset: str
    split: str
    label: str = "default"
    pooling: Literal["visible", "got10k"] = "visible"

    def open(self, root: Path | None = None, paths_file: Path | None = None) -> SequenceDataset:
        """Open its sequences; errors as in `open_dataset`, and ValueError for crops, which are for training only."""
        dataset = open_dataset(self.dataset, self.split, root, paths_file)
        if isinstance(dataset, CropDataset):
            raise ValueError(
                f"the folder of {self.dataset} holds crops around the targets, for training only; to test, name the "
                "folder of whole frames by --root"
            )
        return dataset

    def open_if_stated(self, root: Path | None = None, paths_file: Path | None = None) -> SequenceDataset | None:
        """Open its sequences, or return None when nothing states where they lie."""
        root = root or stated_root(self.dataset, paths_file)
        return None if root is None else self.open(root)


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("synthetic", "synthetic (held out)", "synthetic", "test"),
        Benchmark("stills", "photographs in motion (held out)", "stills", "test"),
        Benchmark("folder", "own videos", "folder", "test"),
        Benchmark("lasot", "LaSOT", "lasot", "test", label="lasot"),
        Benchmark("lasot_ext", "LaSOT_ext", "lasot_ext", "test", label="lasot_ext"),
        Benchmark("got10k_val", "GOT-10k validation", "got10k", "val", label="lasot_ext", pooling="got10k"),
        Benchmark("uav123", "UAV123", "uav123", "test", label="uav"),
        Benchmark("otb100", "OTB100", "otb100", "test", label="lasot_ext"),
        Benchmark("nfs", "NfS, 30 fps", "nfs", "test", label="lasot_ext"),
        Benchmark("tnl2k", "TNL2K", "tnl2k", "test", label="lasot_ext"),
        # The server keeps the truth of these two but for the first box.
        Benchmark("got10k_test", "GOT-10k test", "got10k", "test"),
        Benchmark("trackingnet", "TrackingNet test", "trackingnet", "test"),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark by name, in any case, or raise ValueError with a suggestion."""
    key = name.lower()
    if key not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}{suggest(key, BENCHMARKS)}; known: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[key]


def check_update_intervals(intervals: Mapping[str, int], place: str) -> None:
    """Raise ValueError where `track.update_intervals` names a benchmark that there is not; `place` says of whom."""
    known = (*BENCHMARKS, "vot2020")  # the latter is run by the VOT toolkit
    for name in intervals:
        if name not in known:
            raise ValueError(f"{place}: track.update_intervals has an interval for the unknown benchmark {name!r}"
                             f"{suggest(name, known)}; known: {', '.join(known)}")  # fmt: skip


def choose_sequences(dataset: SequenceDataset, choices: list[str]) -> list[int]:
    """Return the indices of the chosen sequences, in the data set's order; all of them when nothing is chosen.

    Choices are names, or zero-based indices `7` and ranges `0-9` that include both ends. A name wins over an index.
    Raises ValueError when there is no such sequence.
    """
    if not choices:
        return list(range(len(dataset)))
    index_of = {name: index for index, name in enumerate(dataset.names)}
    chosen: set[int] = set()
    for choice in choices:
        first, _, last = choice.partition("-")
        if choice in index_of:
            chosen.add(index_of[choice])
        elif first.isdecimal() and (last.isdecimal() or choice == first):
            indices = range(int(first), int(last or first) + 1)
            if not indices:
                raise ValueError(f"no sequences {choice!r}: the range ends before it begins")
            if indices[-1] >= len(dataset):
                raise ValueError(f"no sequences {choice!r}: the indices run from 0 to {len(dataset) - 1}")
            chosen.update(indices)
        else:
            raise ValueError(f"no sequence {choice!r}{suggest(choice, index_of)} among the {len(dataset)} sequences")
    return sorted(chosen)
