"""Compute what frames and training steps would take on cards that were not at hand: PYTHONPATH=. python estimate.py."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lib.config.load import load
from lib.models.build import build_model
from lib.models.inference import TrackingNetwork
from lib.profiling.memory import compute_memory
from lib.profiling.training import count_step_flops
from lib.tracker.build import as_tracked

_HEAD = """# What a GPU would take: computed, not measured

Nothing here was measured: these are the least times that the published peaks of four cards allow (roofline). Made
by `PYTHONPATH=. python experiments/gpu/estimate.py > docs/gpu_estimates.md`; `experiments/gpu/check.sh` measures
the same on a card. Peaks are dense, with float32 sums, from the maker's papers:
{peaks}.
"""
_FRAME = """
## A tracked frame of one video

The network alone, between the upload of a crop and the box, weights in bfloat16 (float16 on the 2080 Ti) and patch
embedding and head in float32 with TF32 products where the card has them. *Products* is operations over peak;
*bytes* all that kernels read and write, weights included and attention taken apart, over bandwidth; *roofline* the
larger of both, kernel by kernel, added up. *Eager* allows {launch:g} us of the host for every launch where that is
more, *graph* {replay:g} us; both are assumed. A crop, its upload and the box's way back come on top.
"""
_TRAINING = """
## A training step of `mmg_vitb`

Forward and backward, {flops:.0f} GFLOP a sample, at the peak and at 45 % of it, which is the aim. *Days* are those of
the paper's 500 epochs of 60,000 samples on one card at 45 %. Memory is computed as by `measure.py train --memory`,
and 1 GiB is set aside. bfloat16, on the 2080 Ti float16.
"""
_LAUNCH, _REPLAY = 6e-6, 1.5e-6  # seconds of a kernel launched by PyTorch, and of one replayed in a graph
_AIM = 0.45
_SAMPLES = 500 * 60_000
_RESERVE = 2**30


@dataclass(frozen=True)
class Card:
    """Peaks of a card: operations a second in half precision and in float32 products, bytes a second, and bytes."""

    name: str
    half: float
    single: float  # TF32 where there is TF32, for those products that PyTorch makes in it
    bandwidth: float
    memory: float


CARDS = (
    Card("RTX 2080 Ti", 53.8e12, 13.4e12, 616e9, 11 * 2**30),
    Card("RTX 3090", 71.2e12, 35.6e12, 936e9, 24 * 2**30),
    Card("RTX 4090", 165.2e12, 82.6e12, 1008e9, 24 * 2**30),
    Card("H100 SXM", 989e12, 494e12, 3350e9, 80 * 2**30),
)


@dataclass(frozen=True)
class Kernel:
    """One operator at work: its operations, bytes read and written, and whether its products are in half precision."""

    flops: int
    bytes: int
    half: bool


class Kernels(TorchDispatchMode):
    """Lists what runs, on tensors that may have no storage; views run nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Kernel] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.__name__ and "_unsafe_view" not in func.__name__:
            tensors = [*_tensors(args), *_tensors([result])]
            counted = flop_registry.get(func.overloadpacket)
            flops = 0 if counted is None else counted(*args, **(kwargs or {}), out_val=result)
            half = bool(tensors) and tensors[0].element_size() == 2
            self.found.append(Kernel(flops, sum(each.numel() * each.element_size() for each in tensors), half))
        return result


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def frame_kernels(config: str, settings: list[str], batch: int = 1) -> list[Kernel]:
    """Return the kernels of a frame whose templates are known, in the precision that `auto` is on a GPU."""
    asked = load(config, settings)
    experiment = as_tracked(asked, score=asked.track.update == "score")
    with torch.device("meta"):
        network = TrackingNetwork(build_model(experiment, pretrained=False).to("meta").eval(), torch.bfloat16)
        template, search = (
            torch.empty(batch, 3, side, side, dtype=torch.uint8)
            for side in (experiment.crop.template_size, experiment.crop.search_size)
        )
    with torch.no_grad():  # not inference mode, in which composed operators are not taken apart
        templates = [network.keep("template", template)]
        if experiment.model.online_template:
            templates.append(network.keep("online_template", template.clone()))
        with Kernels() as kernels:
            network.locate(templates, search)
    return kernels.found


def roofline(kernels: list[Kernel], card: Card, each: float = 0.0) -> float:
    """Return the least seconds of kernels one after another, `each` at least for every one."""
    return sum(
        max(kernel.flops / (card.half if kernel.half else card.single), kernel.bytes / card.bandwidth, each)
        for kernel in kernels
    )


def frame_table() -> Iterator[str]:
    yield "| network | card | kernels | products, ms | bytes, ms | roofline, ms | eager, ms | graph, ms | graph, fps |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, config, settings in (
        ("`mmg_vitb`", "mmg_vitb", []),
        ("`mmg_vitb`, no score", "mmg_vitb", ["track.update=none"]),
        ("`ostrack_vitb`", "ostrack_vitb", []),
    ):
        kernels = frame_kernels(config, settings)
        for card in CARDS:
            products = sum(kernel.flops / (card.half if kernel.half else card.single) for kernel in kernels)
            moved = sum(kernel.bytes for kernel in kernels) / card.bandwidth
            times = [products, moved, *(roofline(kernels, card, each) for each in (0.0, _LAUNCH, _REPLAY))]
            cells = " | ".join(f"{1e3 * seconds:.2f}" for seconds in times)
            yield f"| {name} | {card.name} | {len(kernels)} | {cells} | {1 / times[-1]:.0f} |"


def batch_table() -> Iterator[str]:
    yield "| `mmg_vitb`, videos at once | " + " | ".join(f"{card.name}, fps" for card in CARDS) + " |"
    yield "|---|" + "---|" * len(CARDS)
    for batch in (1, 8, 16, 32):
        kernels = frame_kernels("mmg_vitb", [], batch)
        yield f"| {batch} | " + " | ".join(f"{batch / roofline(kernels, card, _LAUNCH):.0f}" for card in CARDS) + " |"


def training_table() -> Iterator[str]:
    yield "| card | samples/s at the peak | at 45 % | days | memory of 20 samples, GiB | of 80, GiB | fits |"
    yield "|---|---|---|---|---|---|---|"
    cpu = torch.device("cpu")
    settings = ["train.precision=bf16", "model.encoder.pretrained=null"]
    memory = {
        batch: compute_memory(load("mmg_vitb", [*settings, f"train.batch_size={batch}"]), cpu).total
        for batch in (20, 80)
    }
    sample = (memory[80] - memory[20]) / 60
    flops = step_flops()
    for card in CARDS:
        rate = card.half / flops
        most = math.floor((card.memory - _RESERVE - memory[20]) / sample) + 20
        yield (f"| {card.name} | {rate:.0f} | {_AIM * rate:.0f} | {_SAMPLES / (_AIM * rate) / 86400:.1f} | "
               f"{memory[20] / 2**30:.1f} | {memory[80] / 2**30:.1f} | {max(most, 0)} samples |")  # fmt: skip


def step_flops() -> float:
    """Return the operations of one training sample."""
    return count_step_flops(load("mmg_vitb", ["train.batch_size=4", "model.encoder.pretrained=null"])).total / 4


def main() -> None:
    peaks = ";\n".join(
        f"{card.name} {card.half / 1e12:g} and {card.single / 1e12:g} TFLOP/s, {card.bandwidth / 1e9:g} GB/s"
        for card in CARDS
    )
    print(_HEAD.format(peaks=peaks) + _FRAME.format(launch=1e6 * _LAUNCH, replay=1e6 * _REPLAY))
    print("\n".join(frame_table()) + "\n")
    print("\n".join(batch_table()))
    print(_TRAINING.format(flops=step_flops() / 1e9))
    print("\n".join(training_table()))


if __name__ == "__main__":
    main()
