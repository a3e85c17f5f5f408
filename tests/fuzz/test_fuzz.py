"""Damaged and hostile files: each is read as a plain decoder reads it, or refused by an error that names the file.

The fast suite tries a few of every kind, the slow one more; `make fuzz` tries 50,000, and
`python tests/fuzz/test_fuzz.py COUNT SEED` as many as wanted. All are read in a child process, with limits on memory
and time: to be killed is a failure, too.
"""

import json
import os
import re
import resource
import select
import signal
import struct
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kinds import Kind, make_kinds

MEMORY = 2 * 2**30  # bytes more than the process had when it began
SECONDS = 5.0  # of the processor, for one input
WORDS = [
    b"nan", b"inf", b"-1", b"0", b"1e999", b"1e9", b"-0.0", b"1_0", "٣".encode(), "\u2028".encode(), b"", b"\0", b"\r",
    b"\xff", b"null", b"true", b"{}", b"[]", b"[[]]", b'"a"', b"9" * 400, b"2020-99-99", b"!!bool maybe", b"&a [*a]",
    b"!!python/name:os.system ", b"../../x", b"/etc/passwd", b"[" * 3000, b'{"a":' * 3000, b"1" + b"0" * 12, b"~nobody",
    b"$HOME", b"=1+1",
]  # fmt: skip


def mutate(data: bytes, rng: np.random.Generator, text: bool) -> bytes:
    """Damage a file in one to three of the ways in which disks, programs and people do."""
    for _ in range(rng.integers(1, 4)):
        at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 1 + rng.choice([4, 64, 4096])))
        tokens = [match.span() for match in re.finditer(rb"[-\w.]+", data[:100_000])] if text else []
        way = rng.integers(10 if tokens else 7)
        if way == 0:
            flipped = bytearray(data)
            for place in rng.integers(len(data), size=rng.integers(1, 9)) if data else ():
                flipped[place] ^= 1 << rng.integers(8)
            data = bytes(flipped)
        elif way == 1:
            data = data[:at]
        elif way == 2:
            data = data[:at] + data[at + length :]
        elif way == 3:
            data = data[:at] + data[max(0, at - length) : at] + data[at:]
        elif way == 4:
            data = data[:at] + rng.choice([0, 255], 1).astype(np.uint8).tobytes() * length + data[at + length :]
        elif way == 5:
            data = data[:at] + rng.bytes(length) + data[at + length :]
        elif way == 6:
            extreme = int(rng.choice([0, 1, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 0xC3, 0xC2]))
            layout = rng.choice([">I", "<I", ">H", "<H", "B"])
            packed = struct.pack(layout, extreme & 2 ** (8 * struct.calcsize(layout)) - 1)
            data = data[:at] + packed + data[at + len(packed) :]
        else:
            start, stop = tokens[rng.integers(len(tokens))]
            data = data[:start] + WORDS[rng.integers(len(WORDS))] + data[stop:]
    return data


def try_one(kind: Kind, data: bytes) -> str:
    """Read one file; return "accepted", "refused", or what is wrong."""
    kind.file.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read(kind.file)
    except (ValueError, OSError) as error:
        named = kind.named in str(error) if kind.named else kind.file.name in str(error)
        return "refused" if named else f"names no file: {error!r}"[:300]
    except Exception as error:
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        at = "" if place is None else f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
        return f"{error!r}"[:300] + at
    return "accepted"


def try_many(kinds: dict[str, Kind], first: int, stop: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """Read inputs `first` to `stop` in a child process, another after one that killed it: number, kind, outcome."""
    names = list(kinds)
    originals = {name: kind.file.read_bytes() for name, kind in kinds.items()}
    for name, kind in kinds.items():
        assert (outcome := try_one(kind, originals[name])) == "accepted", (name, outcome)
    while first < stop:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries' own complaints
            for number in range(first, stop):
                name = names[number % len(names)]
                rng = np.random.default_rng((seed, number))
                outcome = try_one(kinds[name], mutate(originals[name], rng, kinds[name].is_text))
                kinds[name].file.write_bytes(originals[name])
                os.write(writing, json.dumps([number, name, outcome]).encode()[:4000] + b"\n")
            os._exit(0)
        os.close(writing)
        rest, silent = b"", False
        while not (silent := not wait_for(child, reading)):
            if not (data := os.read(reading, 2**16)):
                break
            *lines, rest = (rest + data).split(b"\n")
            outcomes = [json.loads(line) for line in lines]
            yield from ((number, name, outcome) for number, name, outcome in outcomes)
            first += len(outcomes)
        if silent:
            os.kill(child, signal.SIGKILL)
        os.close(reading)
        status = os.waitpid(child, 0)[1]
        if first < stop:  # the child did not end by itself
            name = names[first % len(names)]
            kinds[name].file.write_bytes(originals[name])
            code = os.waitstatus_to_exitcode(status)
            yield first, name, f"took more than {SECONDS} s" if silent else f"killed: {code}"
            first += 1


def wait_for(child: int, reading: int) -> bool:
    """Wait for an answer; False when one takes too long, by the child's own time, or by the clock's if it sleeps."""
    busy, waited = cpu_seconds(child), 0
    while not select.select([reading], [], [], 1.0)[0]:
        waited += 1
        if cpu_seconds(child) - busy > SECONDS or waited > 30 * SECONDS:
            return False
    return True


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(root: Path, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how many inputs of each kind were accepted and refused, and the failures."""
    counts: Counter[str] = Counter()
    failures = []
    for number, name, outcome in try_many(make_kinds(root), 0, count, seed):
        counts[f"{name}: {outcome if outcome in {'accepted', 'refused'} else 'FAILED'}"] += 1
        if outcome not in {"accepted", "refused"}:
            failures.append(f"{name}, input {number} of seed {seed}: {outcome}")
    return counts, failures


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")
@pytest.mark.parametrize("count", [500, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_right_or_refused(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ})
    counts, failures = run(tmp_path, count, seed=1)
    assert not failures, "\n".join(failures[:20])
    assert counts.total() == count


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found, wrong = run(Path(folder), int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print("\n".join(f"{count:7d}  {what}" for what, count in sorted(found.items())))
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)
