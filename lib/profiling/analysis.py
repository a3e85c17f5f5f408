"""What an analysis of LaSOT's size costs, in a process that has loaded nothing but what an analysis needs."""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lib.data.datasets.annotation import read_split_file
from lib.eval.benchmarks import BENCHMARKS
from lib.eval.report.tables import format_attributes, format_table
from lib.eval.results import boxes_text
from lib.eval.score.analysis import analyze, find_results

NUM_FRAMES = 685_360
_NUM_REPEATS = 3


def measure_analysis(num_results: int = 4, num_frames: int = NUM_FRAMES) -> str:
    """Make LaSOT's 280 test sequences and results on them, analyse them in a process of its own, and say what it cost.

    The files lie in a temporary folder and are removed. Starting the process and importing packages is not timed.
    """
    with TemporaryDirectory() as name:
        root = Path(name)
        num_made = make_files(root, num_results, num_frames)
        code = f"from lib.profiling.analysis import analyse_here; analyse_here({str(root)!r})"
        # A fresh process: what this one has loaded before must not count.
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cost = json.loads(done.stdout)
    times = ", ".join(f"{value:.2f}" for value in cost["seconds"])
    return (
        f"280 sequences, {num_made} frames, {num_results} results, {num_results * num_made} boxes from text files\n"
        f"analysis: {min(cost['seconds']):.2f} s at best (runs: {times} s), "
        f"{min(cost['cpu_seconds']):.2f} s of computing\n"
        f"peak memory of the process: {cost['peak_bytes'] / 1e6:.0f} MB"
    )


def make_files(root: Path, num_results: int, num_frames: int) -> int:
    """Write annotations in LaSOT's layout into `root/lasot` and results into `root/results/0` and so on.

    Lengths differ as LaSOT's do; boxes walk at random. Returns the number of frames.
    """
    rng = np.random.default_rng(0)
    names = [row[0] for row in read_split_file("lasot").rows]
    lengths = np.maximum(2, num_frames * rng.dirichlet(np.full(len(names), 3.0))).astype(int)
    # The cost does not depend on what the boxes are, so a few long walks are enough to cut all files from.
    walks = [_walk_rows(rng, int(lengths.max())) for _ in range(num_results + 1)]
    for index in range(num_results):
        (root / "results" / str(index)).mkdir(parents=True)
    for name, length in zip(names, lengths.tolist(), strict=True):
        folder = root / "lasot" / name.rpartition("-")[0] / name
        folder.mkdir(parents=True)
        (folder / "groundtruth.txt").write_text("".join(walks[-1][:length]))
        for flags in ("full_occlusion.txt", "out_of_view.txt"):
            (folder / flags).write_text(",".join("0" * length) + "\n")
        for index in range(num_results):
            (root / "results" / str(index) / f"{name}.txt").write_text("".join(walks[index][:length]))
    return int(lengths.sum())


def analyse_here(root: str) -> None:
    """Analyse what `make_files` made, and print as JSON the seconds and computing seconds of each repeat, and bytes."""
    benchmark = BENCHMARKS["lasot"]
    folders = sorted(str(folder) for folder in (Path(root) / "results").iterdir())
    seconds, cpu_seconds = [], []
    for _ in range(_NUM_REPEATS):
        started, cpu_started = time.perf_counter(), time.process_time()
        results = find_results(folders, benchmark, Path(root))
        analysis = analyze(benchmark, benchmark.open(Path(root) / "lasot"), results)
        text = format_table(analysis) + format_attributes(analysis)
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
        assert text
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": _peak_bytes()}))


def _walk_rows(rng: np.random.Generator, num_rows: int) -> list[str]:
    corner = np.abs(np.cumsum(rng.normal(0, 3, (num_rows, 2)), axis=0)) + 1
    size = 60 + 20 * rng.random((num_rows, 2))
    return boxes_text(np.hstack((corner, size))).splitlines(keepends=True)


def _peak_bytes() -> int:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: of this program alone, where getrusage remembers the one that started it
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
