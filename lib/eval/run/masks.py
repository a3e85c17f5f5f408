"""Masks for the boxes of a test: what `tracking/test.py --masks` does once the boxes are there.

The masks never act on the tracker, so they are made afterwards, from the result files: a tracker that is tested without
masks first is not run again for them.
"""

import dataclasses
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lib.data.images.frames import ImageFiles
from lib.data.images.video import VideoFile
from lib.data.sequence import SequenceDataset
from lib.eval.benchmarks import choose_sequences, find_benchmark
from lib.eval.mask_files import MASKS, MaskRecord, SequenceMasks, claim_masks
from lib.eval.record import code_sha256
from lib.eval.results import ResultFiles, read_boxes
from lib.eval.run.benchmark import spread_over, visible_devices
from lib.eval.run.ranks import join_ranks
from lib.eval.run.runner import Work, run_in_workers
from lib.eval.run.sequence import Outcome
from lib.models.trained import file_sha256
from lib.tracker import TrackerSpec
from lib.tracker.build import choose_device
from lib.tracker.masks import MaskBackend, MaskSpec

CODE = (MaskSpec, ImageFiles, VideoFile)  # what makes masks, with all that these use


def run_masks(
    spec: TrackerSpec,
    masks: MaskSpec,
    *,
    root: Path | None = None,
    paths_file: Path | None = None,
    choices: list[str] | None = None,
    results_dir: Path = Path("results"),
    num_workers: int = 1,
    num_threads: int = 1,
    overwrite: bool = False,
) -> int:
    """Make a mask of every box that the tracker's result files hold, and print what became of it.

    Args:
        spec: the tracker whose results are there.
        masks: the backend.
        root, paths_file, choices, results_dir, num_workers, num_threads: as in `benchmark.run_test`.
        overwrite: make masks again that are there.

    Returns:
        The exit code, the same on all ranks: 1 when a sequence failed.

    Raises:
        ValueError, OSError: what was asked for does not exist or does not fit.
    """
    dataset = find_benchmark(spec.benchmark).open(root, paths_file)
    indices = choose_sequences(dataset, choices or [])
    results = results_dir / spec.name / spec.config_name / spec.benchmark
    name = masks.label
    with join_ranks() as ranks:
        remark = ranks.from_main(lambda: claim_masks(results, name, _describe(masks), overwrite))
        if remark and ranks.is_main:
            print(f"note: {remark}", file=sys.stderr)
        waiting: dict[int, int] = {}
        for index in indices[ranks.rank :: ranks.count]:
            files = SequenceMasks(results, name, dataset.names[index])
            if overwrite:
                files.remove()
            if not files.is_complete(len(dataset[index])):
                waiting[index] = len(dataset[index])
        devices = spread_over(visible_devices(choose_device(masks.device)), num_workers, ranks.local_rank)
        specs = [dataclasses.replace(masks, device=device) for device in devices]
        workers = [partial(ready_to_segment, spec, dataset, results, name) for spec in specs[: len(waiting)]]
        longest_first = sorted(waiting, key=lambda index: -waiting[index])
        outcomes: list[Outcome] = []
        if workers:
            total = sum(waiting.values())
            with tqdm(total=total, desc=f"masks {name}", unit="frame", disable=not ranks.is_main) as bar:
                outcomes = run_in_workers(workers, dataset.names, longest_first, num_threads, bar.update)
        parts = ranks.gather((outcomes, len(indices[ranks.rank :: ranks.count]) - len(waiting)))
        if ranks.is_main:
            _report([outcome for part, _ in parts for outcome in part], sum(done for _, done in parts), results, name)
    return 1 if any(outcome.failure for part, _ in parts for outcome in part) else 0


def ready_to_segment(
    spec: MaskSpec, dataset: SequenceDataset, results: Path, name: str, advance: Callable[[int], object]
) -> Work:
    """Build a backend, and return what makes the masks of the sequences whose indices it is given.

    Args:
        spec: of the backend.
        dataset: the sequences.
        results: folder of the boxes.
        name: of the masks.
        advance: called with 1 after every frame.

    Raises:
        ValueError, OSError: the backend cannot be built.
    """
    backend = spec.build()
    return lambda indices: (make_masks(backend, dataset, index, results, name, advance) for index in indices)


def make_masks(
    backend: MaskBackend,
    dataset: SequenceDataset,
    index: int,
    results: Path,
    name: str,
    advance: Callable[[int], object],
) -> Outcome:
    """Segment one sequence around its result's boxes and write the masks; a failure is returned, not raised."""
    sequence_name = dataset.names[index]
    started = time.perf_counter()
    try:
        sequence = dataset[index]
        boxes_file = ResultFiles(results, sequence_name).boxes
        boxes_xywh = read_boxes(boxes_file)
        if len(boxes_xywh) != len(sequence):
            raise ValueError(f"{boxes_file} has {len(boxes_xywh)} boxes for {len(sequence)} frames")

        def segment() -> Iterator[np.ndarray]:
            for frame, box_xywh in enumerate(boxes_xywh):
                image = sequence.frames[frame]
                if frame == 0:
                    backend.initialize(image, box_xywh)
                yield backend.segment(image, box_xywh)
                advance(1)

        SequenceMasks(results, name, sequence_name).write(segment())
    except Exception:  # as in `sequence`: the other sequences are finished, then the run fails
        return Outcome(sequence_name, failure=traceback.format_exc())
    return Outcome(sequence_name, len(boxes_xywh), time.perf_counter() - started)


def _describe(masks: MaskSpec) -> MaskRecord:
    checkpoint = None if masks.checkpoint is None else file_sha256(masks.checkpoint)
    return MaskRecord(masks.name, checkpoint, masks.threshold, code_sha256(CODE))


def _report(outcomes: list[Outcome], num_complete: int, results: Path, name: str) -> None:
    done = [outcome for outcome in outcomes if outcome.failure is None]
    if done:
        rate = sum(outcome.num_frames for outcome in done) / sum(outcome.seconds for outcome in done)
        print(
            f"{len(done)} sequences segmented at {rate:.1f} frames per second and worker (reading and writing included)"
        )
    if num_complete:
        print(f"{num_complete} sequences had complete masks; --overwrite makes them again")
    print(f"masks in {results / MASKS / name}")
    for outcome in outcomes:
        if outcome.failure is not None:
            print(f"\nFAILED {outcome.sequence}\n{outcome.failure}", file=sys.stderr)
    if len(done) < len(outcomes):
        print(f"error: {len(outcomes) - len(done)} sequences have no masks", file=sys.stderr)
