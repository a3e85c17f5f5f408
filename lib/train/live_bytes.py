"""What memory tensors take while a program runs: by who made them, now and at the moment of the most."""

import weakref
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

WEIGHT_COPIES = "copies of weights"
GRADIENTS = "gradients"

_BLOCK = 512  # bytes; CUDA's allocator hands out no less


class LiveBytes(TorchDispatchMode):
    """Counts every storage made inside the `with` block from its making to its end, once however many tensors share it.

    A storage belongs to the label that is set when it is made. Apart from that, a parameter's copy in another number
    format belongs to `WEIGHT_COPIES`, and what is added to a parameter's `grad` to `GRADIENTS`.

    Works on tensors without storage too. What kernels take for themselves while they run is not seen.

    Args:
        model: whose parameters and gradients are told apart.

    Attributes:
        label: who makes tensors now; the owner changes it.
        live: bytes by label.
        at_peak: `live` when its sum was largest.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.label = "rest"
        self.live: Counter[str] = Counter()
        self.at_peak: Counter[str] = Counter()
        self._peak = 0
        self._labels: dict[int, tuple[str, int]] = {}
        self._weights = {_key(parameter) for parameter in model.parameters()}
        for value in (*model.parameters(), *model.buffers()):
            self._labels[_key(value)] = ("", 0)  # was there before
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._note_gradient)
            for parameter in model.parameters()
            if parameter.requires_grad
        ]

    @property
    def total(self) -> int:
        """Bytes that live now."""
        return sum(self.live.values())

    @property
    def peak(self) -> int:
        """The most bytes that lived at once."""
        return self._peak

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        copied = func is torch.ops.aten._to_copy.default and _key(args[0]) in self._weights
        label = WEIGHT_COPIES if copied else self.label
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self._add(value, label)
        return result

    def __exit__(self, *exception: Any) -> None:
        for hook in self._hooks:
            hook.remove()
        super().__exit__(*exception)

    def _add(self, value: Tensor, label: str) -> None:
        storage = value.untyped_storage()
        key = storage._cdata
        if key in self._labels:
            return
        size = -(-storage.nbytes() // _BLOCK) * _BLOCK
        self._labels[key] = (label, size)
        weakref.finalize(storage, self._remove, key)
        self.live[label] += size
        if (total := self.total) > self._peak:
            self._peak, self.at_peak = total, self.live.copy()

    def _remove(self, key: int) -> None:
        label, size = self._labels.pop(key)
        self.live[label] -= size

    def _note_gradient(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        key = _key(parameter.grad)
        label, size = self._labels[key]
        self._labels[key] = (GRADIENTS, size)
        self.live[label] -= size
        self.live[GRADIENTS] += size


def _key(value: Tensor) -> int:
    return value.untyped_storage()._cdata
