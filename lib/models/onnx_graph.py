"""The network that tracks, written as an ONNX graph: uint8 crops in, boxes and scores out."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.models.mmg import MMG

INPUTS = ("template", "search", "online_template")
OUTPUTS = ("crop_boxes_xyxy", "scores")

# PyTorch's own choice, which every onnxruntime from 1.18 on runs. From 23 on attention is one operator: no faster on a
# CPU, and unknown to the CUDA side of many releases.
OPSET = 20

_LARGEST = 2 * 1024**3  # bytes; what one ONNX file can hold


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
    _require_exporter()
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


def _require_exporter() -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"writing ONNX needs onnxscript ({error}): pip install -e '.[onnx]'") from error
