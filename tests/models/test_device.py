"""Names of devices, and cores that may be used."""

import os
import sys

import pytest
import torch

from lib.models.device import available_cores, find_device


@pytest.mark.parametrize("name", ["gpu", "cudaa", "cuda:", "cpu:0", "mps", "meta", "auto", ""])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="unknown device"):
        find_device(name)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="asked for, and PyTorch sees"):
        find_device(f"cuda:{torch.cuda.device_count()}")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins a process to cores")
def test_cores_that_a_process_is_not_given_do_not_count():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert available_cores() == len(before)
