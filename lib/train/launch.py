"""One command for several processes: start the same command once a GPU, under torchrun's agent."""

import functools
import os
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, get_error_handler
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from lib.models.device import available_cores

_SECONDS_TO_SAVE = 600  # from SIGTERM until the processes are killed


def is_launched() -> bool:
    """Return True in a process that torchrun or `launch` started."""
    return "LOCAL_RANK" in os.environ


def record(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """Leave the traceback of an error in a command for the report of torchrun, or of `launch`."""

    @functools.wraps(main)
    def recorded(argv: list[str]) -> int:
        try:
            return main(argv)
        except Exception as error:
            if is_launched():
                get_error_handler().record_exception(error)
            raise

    return recorded


def launch(num_processes: int, device: str, script: Path, arguments: Sequence[str]) -> int:
    """Run `script` in several processes on this machine and return their common exit code.

    When one fails, the others are ended and its traceback is printed. SIGTERM and Ctrl-C are passed on to all of them,
    which then save; the code is 143 or 130.
    """
    check(num_processes, device)
    # Each process gets its share of the cores, not all of them.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // num_processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SECONDS_TO_SAVE))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id=str(uuid.uuid4()),
        role="train",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-u", str(script), *arguments)
    except SignalException as stopped:
        return 128 + stopped.sigval
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode in (2, 128 + signal.SIGINT, 128 + signal.SIGTERM):
            return failure.exitcode  # the process has said it all in a line of its own
        # The process itself has printed its traceback; under torchrun's own command the agent does so again.
        recorded = failure.error_file_data["message"]
        what = recorded["message"] if isinstance(recorded, dict) else failure.message
        code = failure.exitcode
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        print(f"error: rank {rank} ended {how}, and the others were ended: {what}", file=sys.stderr)
        return max(code, 1)
    return 0


def check(num_processes: int, device: str) -> None:
    """Raise ValueError for what this machine cannot do: fewer GPUs than processes, or one GPU for all of them."""
    if num_processes > 1 and ":" in device:
        raise ValueError(f"--device {device} names one GPU for {num_processes} processes: leave it out, and choose "
                         "GPUs by the environment variable CUDA_VISIBLE_DEVICES")  # fmt: skip
    available = torch.cuda.device_count()
    alone = 1 if device == "auto" else 0  # one process may find for itself that there is no GPU
    if device != "cpu" and num_processes > max(available, alone):
        raise ValueError(f"--gpus {num_processes}, and PyTorch sees {available} CUDA devices here; with --device cpu "
                         "each process trains on the CPU")  # fmt: skip
