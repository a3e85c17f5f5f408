"""What the cache of regions saves on 1280 x 720 video: bytes, time and difference of samples, by size of the target."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.config.schema import Experiment
from lib.data.benchmark import StoredSet, in_new_process
from lib.data.benchmark_frames import draw_videos, piece_videos
from lib.data.crop_cache.cache import Reach
from lib.data.crop_cache.cut import cut_regions
from lib.data.datasets import open_dataset
from lib.data.sample_cost import DataCost, measure_in_turns
from lib.data.samples.mixture import MixedSource, sample_id
from lib.data.samples.training_set import Sample, TrainingSet

# sqrt(width * height) in pixels, and its share of the mean: a guess at GOT-10k's mixture, in which most targets are
# large. Not from the paper; the table shows every size.
_SHARES = {60.0: 0.05, 100.0: 0.15, 150.0: 0.25, 200.0: 0.25, 250.0: 0.15, 300.0: 0.15}
_NUM_VIDEOS, _NUM_FRAMES = 3, 20  # of each size; shorter videos are not drawn from


class CropsCost(NamedTuple):
    """One size of target: triplets from frames, from their regions, and the mean difference of crops in grey levels."""

    frames: DataCost
    regions: DataCost
    difference: float


def profile_crops(experiment: Experiment, num_samples: int, photographs: Path | None = None) -> str:
    """Measure videos before and after `prepare.py crops`; return the table as text.

    Args:
        experiment: its crops, jitter and sampler are used.
        num_samples: triplets to draw for each size of target.
        photographs: a folder; the frames are made of its pictures, else they are drawn.
    """
    if num_samples < 1:
        raise ValueError(f"{num_samples} samples: there must be at least one")
    costs = {}
    for side in _SHARES:
        with tempfile.TemporaryDirectory() as folder:
            frames, regions = Path(folder) / "frames", Path(folder) / "regions"
            if photographs is None:
                draw_videos(frames, (side,) * _NUM_VIDEOS, _NUM_FRAMES)
            else:
                piece_videos(frames, photographs, (side,) * _NUM_VIDEOS, _NUM_FRAMES)
            dataset = open_dataset("folder", "train", frames)
            reach = Reach.of(experiment.data, experiment.crop)
            cut_regions(dataset, "train", regions, reach, "folder", root=frames, progress=False)
            costs[side] = in_new_process(_measure, frames, regions, experiment, num_samples, keep_memory=True)
    return _describe(costs)


def _measure(frames: Path, regions: Path, experiment: Experiment, num_samples: int) -> CropsCost:
    plain, cached = (open_dataset(*StoredSet("folder", "train", root)) for root in (frames, regions))
    unchanged = replace(experiment, data=replace(experiment.data, brightness=0.0))
    both = [
        TrainingSet([MixedSource(dataset, 1.0)], unchanged.data, unchanged.crop, seed=0) for dataset in (plain, cached)
    ]
    differences = [_difference(*(samples[sample_id(0, index)] for samples in both)) for index in range(num_samples)]
    before, after = measure_in_turns([plain, cached], experiment, num_samples)
    return CropsCost(before, after, float(np.mean(differences)))


def _difference(one: Sample, other: Sample) -> float:
    pairs = zip(
        (one.template, one.online_template, one.search),
        (other.template, other.online_template, other.search),
        strict=True,
    )
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in pairs]))


def _describe(costs: dict[float, CropsCost]) -> str:
    lines = [
        "per triplet, one core        kB                  read + decode, ms        all, ms           difference",
        "target   share      frames regions ratio   frames regions ratio   frames regions ratio   grey levels",
    ]
    shares = np.array(list(_SHARES.values()))
    rows = np.array([_row(cost) for cost in costs.values()])
    for side, share, row in zip(costs, shares, rows, strict=True):
        lines.append(f"{side:4.0f} px {100 * share:5.0f} %   " + _columns(row))
    lines.append("mean    100 %    " + _columns(shares @ rows / shares.sum()))
    imread = [cost.frames.imread.seconds for cost in costs.values() if cost.frames.imread is not None]
    if len(imread) == len(costs):
        whole = 1e3 * float(shares @ np.array(imread)) / shares.sum()
        ours = 1e3 * float(shares @ np.array([cost.regions.total for cost in costs.values()])) / shares.sum()
        lines.append(f"three times cv2.imread of the frames, before any crop: {whole:.2f} ms, {whole / ours:.1f} times "
                     "a triplet from regions")  # fmt: skip
    return "\n".join(lines)


def _row(cost: CropsCost) -> list[float]:
    row = []
    for measure in (
        lambda data: data.bytes_read / 1e3,
        lambda data: 1e3 * (data.seconds["read"] + data.seconds["decode"]),
        lambda data: 1e3 * data.total,
    ):
        row += [measure(cost.frames), measure(cost.regions)]
    return [*row, cost.difference]


def _columns(row: np.ndarray) -> str:
    kilobytes, regions_kilobytes, decode, regions_decode, total, regions_total, difference = row.tolist()
    return (
        f"{kilobytes:9.0f}{regions_kilobytes:8.1f}{kilobytes / regions_kilobytes:6.1f}"
        f"{decode:9.2f}{regions_decode:8.2f}{decode / regions_decode:6.1f}"
        f"{total:9.2f}{regions_total:8.2f}{total / regions_total:6.1f}{difference:12.2f}"
    )
