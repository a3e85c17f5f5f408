"""Compilation by torch.compile, of what does the work of a network."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from timm.models.vision_transformer import Block
from torch import nn
from torch._dynamo import config as dynamo
from torch._inductor import config as inductor

from lib.models.decoder import GuidedBlock
from lib.models.mmg import MMG

_COMPILERS = ("g++", "clang++", "c++", "gcc", "clang", "cl")

P = ParamSpec("P")
R = TypeVar("R")


def compile_blocks(model: nn.Module) -> None:
    """Compile a network in place: of a tracker the blocks of encoder, decoders and score module, of others the whole.

    Names and values of the weights stay. Blocks that differ in their weights alone share what is compiled; one of each
    kind, size of input and rate of stochastic depth is, so that the first step takes a minute rather than many.
    """
    dynamo.recompile_limit = max(dynamo.recompile_limit, 64)  # a deep encoder has as many rates as blocks
    blocks = [each for each in model.modules() if isinstance(each, Block | GuidedBlock)]
    for part in blocks if isinstance(model, MMG) else [model]:
        part.compile(dynamic=False)


def compile_frame(function: Callable[P, R], device: torch.device, *, graph: bool = True) -> Callable[P, R]:
    """Compile what is done at every frame, at its first call and for each size that it is called with.

    On a CPU the weights become constants, packed once in the order in which its matrix units read them, without which
    compilation does not pay. On a GPU the kernels of a frame are captured in a CUDA graph and launched as one.

    Args:
        function: without gradients, of tensors on the device.
        device: where its weights are.
        graph: False for no CUDA graph.
    """
    check_compiler()
    if device.type == "cuda":
        return torch.compile(function, dynamic=False, mode="reduce-overhead" if graph else None)
    compiled = torch.compile(function, dynamic=False)

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with inductor.patch(freezing=True):  # read while compiling only, which any call may cause
            return compiled(*args, **kwargs)

    return run


def check_compiler() -> None:
    """Raise ValueError where torch.compile would not find the compiler that it needs."""
    wanted = os.environ.get("CXX") or os.environ.get("CC")
    if shutil.which(wanted) is None if wanted else not any(map(shutil.which, _COMPILERS)):
        cure = "Build Tools for Visual Studio" if sys.platform == "win32" else "g++ or clang++"
        raise ValueError(f"torch.compile needs a C++ compiler, and there is no {wanted or 'such program'} on the path: "
                         f"install {cure}, set CXX, or leave out --compile and track.compile")  # fmt: skip
