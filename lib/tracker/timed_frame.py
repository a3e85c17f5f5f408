"""The work of the tracker on one frame of random pixels, with a call at the end of each stage."""

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from torch import nn

from lib.config.schema import Experiment
from lib.data.crop import CropWindow
from lib.models.inference import TrackingNetwork
from lib.tracker.mmg import TrackingModel, clip_to_frame, to_batch

_FRAME = (720, 1280)
_BOX_XYWH = np.array([600.0, 300.0, 90.0, 120.0])


class TimedFrame:
    """What `MMGTracker.track` does at a frame, crop to box, batch 1.

    Args:
        experiment: sizes, and whether there is an online template.
        model: the network.
        device: its device.
        parts: stages inside the network by name, each ending with the module, and the name of what comes before it,
            where that is a stage, too; none for a compiled network, which is one stage.
    """

    def __init__(
        self,
        experiment: Experiment,
        model: TrackingModel,
        device: torch.device,
        parts: dict[str, tuple[str | None, nn.Module]],
    ) -> None:
        self._crop = experiment.crop
        self._model = model
        self._device = device
        self._parts = parts
        self._image = np.random.default_rng(0).integers(0, 256, (*_FRAME, 3), dtype=np.uint8)
        window = CropWindow.around(_BOX_XYWH, self._crop.template_factor, self._crop.template_size)
        self._template = to_batch([window.cut(self._image)], device)
        self._online_template = self._template.clone() if experiment.model.online_template else None

    def run(self, mark: Callable[[str], None]) -> None:
        """Track the frame, and name each stage to `mark` when it has ended."""
        window = CropWindow.around(_BOX_XYWH, self._crop.search_factor, self._crop.search_size)
        crop = window.cut(self._image)
        mark("crop")
        search = to_batch([crop], self._device)
        mark("upload")
        with ExitStack() as hooks:
            for name, (before, part) in self._parts.items():
                _watch(hooks, part, mark, name, before)
            output = self._model.track(self._template, search, self._online_template)
        if not self._parts:
            mark("network")
        crop_boxes_xyxy, _ = output.to_host()
        clip_to_frame(window.to_image(crop_boxes_xyxy[0]), *_FRAME, margin=10)
        mark("back to the image")


def stages_of(network: TrackingNetwork) -> dict[str, tuple[str | None, nn.Module]]:
    """Return the stages of an eager network, for `TimedFrame`."""
    parts: dict[str, tuple[str | None, nn.Module]] = {
        "patch embedding": (None, network.model.encoder.patch_embed)
    }  # normalisation included
    if network.rate is not None:
        parts["score"] = ("blocks", network.rate)
    parts["head"] = ("blocks" if network.rate is None else None, network.head)
    return parts


def _watch(hooks: ExitStack, part: nn.Module, mark: Callable[[str], None], name: str, before: str | None) -> None:
    if before is not None:
        hooks.callback(part.register_forward_pre_hook(lambda module, inputs: mark(before)).remove)
    hooks.callback(part.register_forward_hook(lambda module, inputs, output: mark(name)).remove)
