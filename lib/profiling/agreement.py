"""How far the boxes of the network made ready to track are from those of the network as trained, in float32."""

import copy
from pathlib import Path

import numpy as np
import torch

from lib.data.crop import CropWindow
from lib.data.sequence import Sequence
from lib.eval.benchmarks import find_benchmark
from lib.models.device import Precision, tracking_dtype
from lib.models.inference import TrackingNetwork
from lib.models.trained import find_checkpoint, read_trained_model
from lib.tracker.build import build_tracker_of, build_trained_network, choose_device
from lib.tracker.mmg import MMGTracker


def measure_agreement(
    benchmark: str,
    config: str | None,
    checkpoint: Path | None,
    *,
    root: Path | None = None,
    paths_file: Path | None = None,
    device_name: str = "auto",
    precision: Precision = "auto",
    compiled: bool = False,
    num_frames: int = 20,
) -> str:
    """Track the first frames of a benchmark's videos in float32, eager, show the other network the same crops, report.

    `precision` and `compiled` are the other network's. The videos' first frames, which give the targets, do not count.
    """
    device = choose_device(device_name)
    dataset = find_benchmark(benchmark).open(root, paths_file)
    path = find_checkpoint(config, checkpoint)
    trained = read_trained_model(path, config)
    model = build_trained_network(trained, path).to(device)
    dtype = tracking_dtype(precision, device, model.encoder.dim)
    ready = TrackingNetwork(copy.deepcopy(model), dtype, compiled=compiled)
    reference = build_tracker_of(model, trained.experiment, device, benchmark)
    other = build_tracker_of(ready, trained.experiment, device, benchmark)
    crop = trained.experiment.crop
    pixels = np.concatenate(
        [
            compare_boxes(reference, other, dataset[index], num_frames, crop.search_factor, crop.search_size)
            for index in range(len(dataset))
        ]
    )
    how = f"{dtype or torch.float32}{', compiled' if compiled else ''}".removeprefix("torch.")
    median, high, most = np.median(pixels), np.percentile(pixels, 99), pixels.max()
    return (
        f"{trained.experiment.name}, {how}, against float32 eager: {len(pixels)} frames of {len(dataset)} videos\n"
        "largest corner difference in pixels of the frame\n"
        f"  median {median:.3f}, 99 % {high:.3f}, most {most:.3f}; over half a pixel: {np.count_nonzero(pixels > 0.5)}"
    )


def compare_boxes(
    reference: MMGTracker, other: MMGTracker, sequence: Sequence, num_frames: int, factor: float, size: int
) -> np.ndarray:
    """Follow a sequence's target with one tracker, and return how far the other's boxes are from it.

    Both get the same templates and the same search crops, of this factor and size, so that differences do not add up.
    Returned is the largest difference of a corner's coordinate in each frame after the first, in its pixels.
    """
    box_xywh = sequence.boxes_xywh[0]
    target = reference.start(sequence.frames[0], box_xywh)
    pixels = []
    for index in range(1, min(len(sequence.frames), num_frames + 1)):
        image = sequence.frames[index]
        window = CropWindow.around(box_xywh, factor, size)
        crop = target.prepare(image)
        (expected,), (found,) = reference.locate([target], [crop]), other.locate([target], [crop])
        difference = window.to_image(expected.crop_box_xyxy) - window.to_image(found.crop_box_xyxy)
        pixels.append(np.abs([difference[:2], difference[:2] + difference[2:]]).max())
        box_xywh = target.accept(image, expected).box_xywh
    return np.array(pixels)
