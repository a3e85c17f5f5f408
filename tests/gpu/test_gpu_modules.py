"""Every module forward and backward under the loss that teaches it, in every precision, against the CPU in float32."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.config.load import load_any
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment
from lib.models.build import build_model
from lib.models.encoder import EncoderOutput
from lib.models.head import PyramidCornerHead
from lib.models.refine.network import build_refine_model
from lib.train.losses import mask_loss, reconstruction_losses, tracking_loss

pytestmark = pytest.mark.gpu

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
BOXES = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2}  # of the crop
COSINES = {"fp32": 0.999, "bf16": 0.98, "fp16": 0.98}
SCALE = 1024.0  # keeps the gradients of half precision from vanishing, as a gradient scaler does
BATCH = 4
REFERENCE: dict[str, tuple["Case", Tensor | None, Tensor]] = {}  # of each module: itself, and what the CPU made of it
BOX_XYXY = torch.tensor([[0.2, 0.3, 0.6, 0.8], [0.4, 0.1, 0.9, 0.5], [0.1, 0.1, 0.5, 0.4], [0.5, 0.6, 0.9, 0.9]])


class Case(NamedTuple):
    """A module, what it is given, and a function of both that returns a loss, and boxes where it gives any."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    run: Callable[[Any, tuple[Tensor, ...]], tuple[Tensor, Tensor | None]]


def make_case(name: str, experiment: Experiment) -> Case:
    """Cut a module out of a network, with inputs of its sizes."""
    if name == "alpha refine":
        return _refine_case()
    model, sides = build_model(experiment), (experiment.crop.template_size, experiment.crop.search_size)
    assert isinstance(model.head, PyramidCornerHead)
    # Maps with peaks, as training makes them: on flat ones gradients cancel.
    for branch in (model.head.top_left, model.head.bottom_right):
        branch.fine_logits.weight.data.mul_(10)
    template, online, search = (
        torch.randint(0, 256, (BATCH, 3, side, side), dtype=torch.uint8) for side in (sides[0], *sides)
    )
    if name == "whole":
        # A generator of the CPU masks the same tokens everywhere.
        def learn(whole: Any, x: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            found = whole(*x, generator=torch.Generator().manual_seed(1), predict_score=True)
            with torch.autocast(x[0].device.type, enabled=False):
                taught = tracking_loss(found, BOX_XYXY.to(x[0].device), experiment.train.loss).total
                return taught + _surely(found.score_logits), found.crop_boxes_xyxy

        return Case(model, (template, search, online), learn)
    seen = tuple(map(model.normalize, (template, search, online)))
    with torch.no_grad():
        encoded = model.encoder(*seen)
    assert encoded.online_template is not None
    if name == "encoder":
        aims = [torch.randn_like(tokens) for tokens in encoded if tokens is not None]
        return Case(model.encoder, seen, lambda module, x: (_distance(module(*x), aims), None))
    if name == "head":
        return Case(model.head, (encoded.search,), _learn_boxes)
    if name == "score":
        return Case(model.score or nn.Identity(), (encoded.template, encoded.search),
                    lambda module, x: (_surely(module(*x)), None))  # fmt: skip

    def rebuild(decoder: Any, x: tuple[Tensor, ...]) -> tuple[Tensor, None]:
        found = decoder(EncoderOutput(*x[:3]), x[3], x[4], torch.Generator().manual_seed(1))
        with torch.autocast(x[0].device.type, enabled=False):
            return reconstruction_losses(found)["reconstruction"], None

    assert name == "decoder"
    assert model.decoder is not None
    return Case(model.decoder, (*encoded, seen[1], seen[2]), rebuild)


def _refine_case() -> Case:
    experiment = load_any("refine_tiny")
    assert isinstance(experiment, RefineExperiment)
    net = build_refine_model(experiment, pretrained=False)
    mask = torch.zeros(BATCH, net.size, net.size)
    mask[:, net.size // 4 : net.size // 2, net.size // 3 : net.size // 2] = 1
    reference, search = torch.randint(0, 256, (2, BATCH, 3, net.size, net.size), dtype=torch.uint8)

    def learn(module: Any, x: tuple[Tensor, ...]) -> tuple[Tensor, None]:
        logits = module(*x[:3])
        with torch.autocast(x[0].device.type, enabled=False):
            return mask_loss(logits.float(), x[3], experiment.train.loss).total, None

    return Case(net, (reference, BOX_XYXY, search, mask), learn)


def _learn_boxes(head: Any, x: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    boxes = head(*x).crop_boxes_xyxy.float()
    return functional.l1_loss(boxes, BOX_XYXY.to(boxes.device)), boxes


def _surely(logits: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits.float(), torch.ones_like(logits, dtype=torch.float32))


def _distance(tokens: EncoderOutput, aims: list[Tensor]) -> Tensor:
    pairs = zip((each for each in tokens if each is not None), aims, strict=True)
    return torch.stack([functional.mse_loss(each.float(), aim.to(each.device)) for each, aim in pairs]).sum()


def learn_once(case: Case, dtype: torch.dtype | None) -> tuple[Tensor | None, Tensor]:
    """Return boxes, and all gradients as one vector, on the CPU in float32."""
    device = next(case.module.parameters()).device
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        loss, boxes = case.run(case.module, tuple(each.to(device) for each in case.inputs))
    (SCALE * loss).backward()
    gradients = [p.grad.float().flatten().cpu() for p in case.module.parameters() if p.grad is not None]
    return None if boxes is None else boxes.detach().float().cpu(), torch.cat(gradients)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("name", ["encoder", "head", "score", "decoder", "whole", "alpha refine"])
def test_boxes_and_gradients_are_those_of_the_cpu(name, precision, device, gpu_experiment):
    if device.type == "cuda":
        torch.set_num_threads(8)  # what the CPU makes of ViT-B takes seconds
    if name not in REFERENCE:
        torch.manual_seed(0)
        case = make_case(name, gpu_experiment("model.score.enabled=true"))
        REFERENCE[name] = case, *learn_once(case._replace(module=copy.deepcopy(case.module)), None)
    case, expected_boxes, expected = REFERENCE[name]
    there = case._replace(module=copy.deepcopy(case.module).to(device))
    boxes, gradients = learn_once(there, DTYPES[precision])
    assert gradients.shape == expected.shape and expected.norm() > 0
    cosine = functional.cosine_similarity(gradients.double(), expected.double(), dim=0).item()
    print(f"{name}, {precision}: cosine {cosine:.5f}")
    assert cosine >= COSINES[precision]
    if expected_boxes is not None:
        assert boxes is not None
        torch.testing.assert_close(boxes, expected_boxes, rtol=0, atol=BOXES[precision])
