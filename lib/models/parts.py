"""The parts of a tracker, and a watch on when each of them runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

from lib.models.mmg import MMG


def named_parts(model: MMG) -> dict[str, nn.Module]:
    """Return the parts that a model has of `encoder`, `decoders`, `head` and `score`, in this order."""
    parts = {"encoder": model.encoder, "decoders": model.decoder, "head": model.head, "score": model.score}
    return {name: part for name, part in parts.items() if part is not None}


@contextmanager
def watch_parts(model: MMG, enter: Callable[[str], object], leave: Callable[[str], object]) -> Iterator[None]:
    """Call `enter` and `leave` with a part's name before and after each of its forward passes.

    Not for parts compiled by `nn.Module.compile`, which would compile the two calls as well.
    """

    def before(name: str, module: nn.Module, inputs: Any) -> None:
        enter(name)

    def after(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        leave(name)

    handles = []
    for name, part in named_parts(model).items():
        handles.append(part.register_forward_pre_hook(partial(before, name)))
        handles.append(part.register_forward_hook(partial(after, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
