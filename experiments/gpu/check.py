"""Run the parts of the GPU check one after another, each in its own process and time box; see README.md beside."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Minutes of ten; the last part gets all that the others leave, and at least what stands here.
PARTS = {"tests": 2.0, "frames": 1.5, "training": 2.0, "tables": 2.5, "tracker": 2.0}
_GRACE = 20.0  # seconds from SIGTERM to SIGKILL, in which a part writes what it has
_LAST_LINES = 40  # of the log, for a part that could not say itself what went wrong


def main(argv: list[str] | None = None) -> int:
    """Run the parts, and return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("minutes", type=float, nargs="?", default=10.0, help="for everything; default: 10")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="default: cuda")
    parser.add_argument("--tiny", action="store_true", help="toy sizes: tries the script, measures nothing")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="what pack.sh packed; default: gpu_data, if it is there"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    arguments = parser.parse_args(argv)
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in PARTS if part in arguments.parts]
    options = ["--device", arguments.device, *(["--tiny"] if arguments.tiny else [])]
    data = arguments.data or HERE.parents[1] / "gpu_data"
    if arguments.data is not None or data.is_dir():
        options += ["--data", str(data.resolve())]
    whole = 60 * arguments.minutes
    share = whole / sum(PARTS[part] for part in chosen)
    end = time.monotonic() + whole
    summary = out / "summary.md"
    head = "rehearsal at toy size" if arguments.tiny else "run"
    summary.write_text(
        f"# GPU check, a {head} on {arguments.device}, {arguments.minutes:g} minutes\n\n", encoding="utf-8"
    )
    failed = 0
    for part in chosen:
        left = end - time.monotonic()
        box = left if part == chosen[-1] else min(share * PARTS[part], left)
        line, good = run_part(part, out, options, max(box, 1.0))
        failed += not good
        print(line, flush=True)
        with summary.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    return failed


def run_part(part: str, out: Path, options: list[str], seconds: float) -> tuple[str, bool]:
    """Run one part in a process group of its own and return its line of the summary, and whether it went well."""
    result, log = out / f"{part}.json", out / f"{part}.log"
    result.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / f"part_{part}.py"), str(out), "--seconds", f"{seconds:.0f}", *options]
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, cwd=HERE.parents[1], start_new_session=True
        )
        late = False
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
        finally:
            kill_group(process)
    report = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {"part": part, "command": command}
    if "error" not in report and process.returncode != 0:
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        report["error"] = "\n".join([f"ended by its time box or with the exit code {process.returncode}", *last])
    report["seconds"], report["seconds_allowed"], report["stopped_by_its_box"] = (
        time.monotonic() - started,
        seconds,
        late,
    )
    result.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    took = f"{report['seconds']:.0f} of {seconds:.0f} s"
    said = report.get("line", "nothing measured")
    if "error" not in report:
        return f"- **{part}** ({took}): {said}", True
    trace = "\n".join(f"      {line}" for line in report["error"].splitlines())
    return f"- **{part}** ({took}) FAILED: {said}\n\n{trace}\n", False


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever a part has left behind: loaders, trackers, a compiler's workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
