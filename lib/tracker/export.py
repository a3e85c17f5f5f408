"""Write a trained tracker for use elsewhere: as an ONNX file that needs none of this code, or as plain weights."""

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lib.config.load import experiment_to_dict
from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.data.datasets.synthetic import SyntheticDataset
from lib.files import whole_file
from lib.models.mmg import MMG
from lib.models.trained import SAFETENSORS, file_sha256, read_trained_model, write_weights
from lib.tracker import TrackerSpec
from lib.tracker.build import build_trained_network
from lib.tracker.onnx_tracker import INPUTS, KEY, OUTPUTS, SETTINGS, OnnxNetwork, TrackingRecipe

ONNX = ".onnx"
TOLERANCE = 1e-4  # of boxes in fractions of the crop, and of scores
_BATCHES = (1, 3)  # sizes that are checked; the graph is traced with yet another
_ABOUT = f"""Masked Mutual Guidance tracking, one frame of any number of targets.
Inputs: uint8 RGB crops (B, 3, S, S); their normalisation is part of the graph. Outputs: left, top, right and bottom of
the box in fractions of the search crop and, where there are scores, how surely the crop shows the target, in [0, 1].
The metadata entry {KEY!r} is a JSON object: how crops are cut, and when the online template is replaced."""
# PyTorch's own choice, which every onnxruntime from 1.18 on runs. From 23 on attention is one operator: no faster on a
# CPU, and unknown to the CUDA side of many releases.
OPSET = 20
_LARGEST = 2 * 1024**3  # bytes; what one ONNX file can hold


class Exported(NamedTuple):
    """What became of an export.

    Attributes:
        config: name of the experiment.
        size: of the file in bytes.
        about: what is in it, in words.
    """

    config: str
    size: int
    about: str


def export_tracker(config: str | None, checkpoint: Path | None, out: Path, *, half: bool = False) -> Exported:
    """Write the tracker that a checkpoint describes to a file whose suffix names its kind: .onnx or .safetensors.

    The file appears when it is complete. An ONNX file has been run by then, and gives what PyTorch gives.

    Args:
        config: name or path of an experiment, whose `track` section then applies; None for the checkpoint's own.
        checkpoint: file; None for the newest of `runs/<config>`; without both, as `default_weights`.
        out: the file to write; one that exists is replaced.
        half: store the weights of a .safetensors file in half precision; they are float32 again where they are read.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: another suffix, a checkpoint that does not fit or has changed meanwhile, a package that is not
            installed, or a result that differs from PyTorch's.
        OSError: the file cannot be written.
    """
    if out.suffix not in (ONNX, SAFETENSORS):
        raise ValueError(f"{out}: the name must end in {ONNX} (network and how to track with it) or {SAFETENSORS} "
                         "(weights and config)")  # fmt: skip
    if half and out.suffix != SAFETENSORS:
        raise ValueError(f"{out}: half precision is for {SAFETENSORS} files; an ONNX network computes in float32")
    spec = TrackerSpec("mmg", config, checkpoint).with_weights()
    path = spec.checkpoint_file
    assert path is not None, "the mmg tracker has weights"
    digest = file_sha256(path)
    trained = read_trained_model(path, spec.config)
    experiment = dataclasses.replace(trained.experiment, name=spec.config_name)
    if file_sha256(path) != digest:
        raise ValueError(f"{path} has changed while it was read, as the newest checkpoint of a run in training does: "
                         "give --checkpoint with a file that stays")  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out, out.suffix) as aside:
        if out.suffix == SAFETENSORS:
            facts = {"checkpoint_sha256": digest, "score_trained": trained.score_trained}
            state = {name: value.half() if half and value.is_floating_point() else value
                     for name, value in trained.state.items()}  # fmt: skip
            write_weights(aside, state, {"config": experiment_to_dict(experiment), **facts})
            about = f"{len(trained.state)} weights and their config"
        else:
            model = build_trained_network(trained, path)
            recipe = make_recipe(experiment, model, digest)
            write_onnx(model, draw_crops(experiment, 2), aside, _ABOUT, {KEY: recipe.to_json()})
            difference = largest_difference(model, OnnxNetwork(aside), experiment)
            if not difference <= TOLERANCE:
                raise ValueError(f"nothing was written to {out}: onnxruntime and PyTorch differ by {difference:.2g}, "
                                 f"and {TOLERANCE:.0e} is allowed; try another release of one of them")  # fmt: skip
            about = f"opset {OPSET}, at most {difference:.1e} from PyTorch (boxes in crop fractions, scores)"
        size = aside.stat().st_size
    return Exported(experiment.name, size, about)


def make_recipe(experiment: Experiment, model: MMG, checkpoint_sha256: str) -> TrackingRecipe:
    """Return how to track with a network."""
    return TrackingRecipe(
        config=experiment.name,
        checkpoint_sha256=checkpoint_sha256,
        pixel_mean=model.mean.flatten().tolist(),
        pixel_std=model.std.flatten().tolist(),
        **vars(experiment.crop),
        **{name: vars(experiment.track)[name] for name in SETTINGS},
    )


def largest_difference(model: MMG, network: OnnxNetwork, experiment: Experiment) -> float:
    """Return by how much boxes, in crop fractions, and scores of a file differ from PyTorch's; nan where one is."""
    differences = []
    for number in _BATCHES:
        crops = draw_crops(experiment, number)
        for ours, theirs in zip(model.track(*crops), network.track(*crops), strict=True):
            assert (ours is None) == (theirs is None), "the file was made from this model"
            if ours is not None and theirs is not None:
                differences.append((ours - theirs).abs().max())
    return float(torch.stack(differences).max())


def draw_crops(experiment: Experiment, number: int) -> tuple[Tensor, ...]:
    """Cut crops (B, 3, S, S) from as many drawn videos: template, search, for three-image models online template."""
    crop = experiment.crop
    kinds = [(0, crop.template_factor, crop.template_size), (10, crop.search_factor, crop.search_size)]
    if experiment.model.online_template:
        kinds.append((5, crop.template_factor, crop.template_size))
    videos = SyntheticDataset("val", num_frames=1 + max(frame for frame, _, _ in kinds))
    batches: list[list[np.ndarray]] = [[] for _ in kinds]
    for video in (videos[index] for index in range(number)):
        for batch, (frame, factor, size) in zip(batches, kinds, strict=True):
            batch.append(CropWindow.around(video.boxes_xywh[0], factor, size).cut(video.frames[frame]))
    return tuple(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).contiguous() for batch in batches)


def write_onnx(model: MMG, crops: tuple[Tensor, ...], path: Path, about: str, metadata: Mapping[str, str]) -> None:
    """Write what `MMG.track` computes, for any number of crops at a time.

    Args:
        model: in evaluation mode, on the CPU.
        crops: template, search and, for three-image models, online template; at least two of each, (B, 3, S, S) uint8.
        path: the file.
        about: a text for whoever opens the file.
        metadata: entries for programs.

    Raises:
        ValueError: PyTorch's exporter is not installed, or the weights are too large for one file.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"writing ONNX needs onnxscript ({error}): pip install -e '.[onnx]'") from error
    size = sum(weight.nbytes for weight in model.parameters())
    if size >= _LARGEST:
        raise ValueError(f"{path}: an ONNX file holds 2 GiB, and the weights have {size / 1024**3:.1f}: export them as "
                         ".safetensors")  # fmt: skip
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks of the exporter on its own insides
        program = torch.onnx.export(
            _Tracking(model),
            crops,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=INPUTS[: len(crops)],
            output_names=OUTPUTS if model.score is not None else OUTPUTS[:1],
            dynamic_shapes=({0: batch},) * len(crops),
        )
    assert program is not None
    program.model.doc_string = about
    program.model.metadata_props.update(metadata)
    program.save(path)


class _Tracking(nn.Module):
    """`MMG.track` as a module, without what the model does not give."""

    def __init__(self, model: MMG) -> None:
        super().__init__()
        self.model = model

    def forward(self, template: Tensor, search: Tensor, online_template: Tensor | None = None) -> tuple[Tensor, ...]:
        output = self.model.track(template, search, online_template)
        return tuple(values for values in output if values is not None)
