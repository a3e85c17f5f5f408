"""The frame of every command, in processes of its own: what it prints, and the code it ends with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
A_COMMAND_THAT_LOADS = """
from lib.config.cli import run
from torch.utils.data import DataLoader

class Broken:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise FileNotFoundError("there is no car in data; expected layout:\\n  ROOT: a folder")

run(lambda argv: len(list(DataLoader(Broken(), num_workers=1, multiprocessing_context="fork"))))
"""


def a_command(body: str) -> list[str]:
    """Return the command line of a command whose `main` has this body."""
    return [sys.executable, "-c", f"from lib.config.cli import run\ndef main(argv):\n    {body}\nrun(main)"]


@pytest.mark.parametrize("end", ["return 0", "raise SystemExit(0)"], ids=["work", "help"])
def test_a_reader_that_has_seen_enough_is_no_error(end):
    command = a_command(f"[print('x' * 1000) for _ in range(1000)]; {end}")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("cause", "code", "said"),
    [
        ("raise BrokenPipeError('a worker has gone')", 2, "error: a worker has gone\n"),
        ("raise MemoryError", 2, "not enough memory"),
        ("raise RuntimeError('DefaultCPUAllocator: cannot allocate memory: 8 bytes')", 2, "cannot allocate memory"),
        ("open('/dev/null', 'w', encoding='utf-8').write('car\\udcff')", 2, r"rename 'car\udcff'"),
        ("return {}['no such key']", 1, "KeyError"),
    ],
    ids=["a pipe", "memory", "torch's memory", "a name that is not UTF-8", "a defect"],
)
def test_an_error_is_one_line_and_a_defect_keeps_its_traceback(cause, code, said):
    done = subprocess.run(a_command(cause), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code and said in done.stderr
    assert ("Traceback" in done.stderr) == (code == 1) == (done.stderr.count("\n") > 1)


def test_the_version_is_told_beside_a_subcommand():
    command = [sys.executable, "tracking/prepare.py", "check", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("mmg-tracker ")


def test_a_name_that_is_not_utf_8_is_printed_and_closed_streams_are_no_error():
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(a_command("print('\\udcff')"), cwd=ROOT, capture_output=True, text=True, env=strict)
    assert (done.returncode, done.stdout) == (0, "\\udcff\n")
    words = a_command("import sys; print(1); print(2, file=sys.stderr); sys.stderr.flush(); raise ValueError")
    assert subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *words], cwd=ROOT).returncode == 2


def test_an_error_of_a_loader_process_is_told_whole_and_without_its_traceback():
    done = subprocess.run([sys.executable, "-c", A_COMMAND_THAT_LOADS], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: there is no car in data; expected layout:\n  ROOT: a folder\n")
