"""The frame of every command, in processes of its own: what it prints, and the code it ends with."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def a_command(body: str) -> list[str]:
    """Return the command line of a command whose `main` has this body."""
    return [sys.executable, "-c", f"from lib.config.cli import run\ndef main(argv):\n    {body}\nrun(main)"]


def test_a_reader_that_has_seen_enough_is_no_error():
    command = a_command("[print('x' * 1000) for _ in range(10000)]; return 0")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_pipe_that_breaks_elsewhere_is_an_error():
    done = subprocess.run(
        a_command("raise BrokenPipeError('a worker has gone')"), cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, "error: a worker has gone\n")


def test_a_defect_keeps_its_traceback():
    done = subprocess.run(a_command("return {}['no such key']"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "KeyError" in done.stderr
