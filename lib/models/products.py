"""The matrix products and convolutions of a run: how many operations, and how long they take alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from lib.models.peak import synchronize


@dataclass
class Products:
    """Products by stage of the run that made them.

    Attributes:
        flops: floating-point operations by stage; a multiply-add is two.
        calls: what to call for a stage's products, once more.
    """

    flops: dict[str, int] = field(default_factory=dict)
    calls: dict[str, list[Callable[[], object]]] = field(default_factory=dict)

    @torch.inference_mode()
    def seconds(self, device: torch.device) -> dict[str, float]:
        """Make the products again, on the same numbers and nothing between them, and return the seconds by stage."""
        seconds = {}
        for stage, calls in self.calls.items():
            synchronize(device)
            start = time.perf_counter()
            for call in calls:
                call()
            synchronize(device)
            seconds[stage] = time.perf_counter() - start
        return seconds


class ProductRecorder(TorchDispatchMode):
    """Keeps what is multiplied, with the operators that torch's own counter of operations knows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], object]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket in flop_registry:
            # Convolutions are given their bias, attention its scale: everything that the run gave.
            self.calls.append(lambda: func(*args, **kwargs))
            return func(*args, **kwargs)
        with self:  # what consists of other operators, such as a linear layer where there are no gradients
            parts = func.decompose(*args, **kwargs)
        return func(*args, **kwargs) if parts is NotImplemented else parts


@contextmanager
def record_products() -> Iterator[tuple[Products, Callable[[str], None]]]:
    """Give the products of what runs within, and a function to call with a stage's name at its end."""
    products = Products()
    with FlopCounterMode(display=False) as counter, ProductRecorder() as recorder:

        def mark(stage: str) -> None:
            flops = counter.get_total_flops() - sum(products.flops.values())
            products.flops[stage] = products.flops.get(stage, 0) + flops
            products.calls.setdefault(stage, []).extend(recorder.calls)
            recorder.calls.clear()

        yield products, mark
