"""The VOT toolkit itself on a small local workspace: real tracker processes, to EAO, accuracy and robustness."""

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import save_random_weights

from lib.eval.vot.scores import read_vot_analysis

ROOT = Path(__file__).resolve().parents[2]


def is_installed() -> bool:
    # Not by importing `vot`: that is also the name of a command of ours.
    try:
        importlib.metadata.version("vot-toolkit")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="the VOT toolkit is not installed: pip install -e '.[vot]'"),
]


def run(*words: str) -> str:
    """Run a program in the repository's root and return all it wrote; a failure shows it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=environment, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def toolkit(workspace: Path, command: str, *arguments: str) -> str:
    return run(sys.executable, "-m", "vot", command, "--workspace", str(workspace), *arguments)


def add(workspace: Path, *arguments: str) -> None:
    run(sys.executable, "tracking/prepare.py", "vot-workspace", str(workspace), "--tracker", *arguments)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vot") / "a workspace"
    add(folder, "oracle", "--sequences", "2", "--frames", "30", "--anchors", "29")
    return folder


def the_log(workspace: Path, tracker: str) -> str:
    (path,) = (workspace / "logs").glob(f"{tracker}_*.log")
    return path.read_text()


def test_evaluation_analysis_report_and_pack_run_as_they_are(workspace, small_experiment):
    small = small_experiment("model.decoder.self_decoder=false")
    weights = workspace / "weights.pth"
    save_random_weights(weights, small)
    add(workspace, "static")
    add(workspace, "mmg", "--checkpoint", str(weights), "--name", "untrained")
    trackers = ("oracle", "static", "untrained")
    assert "Evaluation concluded" in toolkit(workspace, "evaluate", *trackers)
    toolkit(workspace, "analysis", "--name", "scores", *trackers)
    document = json.loads((workspace / "analysis" / "scores.json").read_text())
    ((eaos, _, averages),) = (experiment["results"] for experiment in document["results"].values())
    names = list(document["trackers"])
    eao = {name: eaos[index][0] for index, name in enumerate(names)}
    accuracy = {name: averages[index][0] for index, name in enumerate(names)}
    robustness = {name: averages[index][1] for index, name in enumerate(names)}
    (experiment,) = read_vot_analysis(workspace).experiments
    assert {scores.tracker: scores.eao for scores in experiment.scores} == eao
    assert {scores.tracker: scores.robustness for scores in experiment.scores} == robustness

    assert eao["oracle"] == pytest.approx(1)
    assert robustness["oracle"] == 1
    # The toolkit counts the frame that a run starts on as a miss: one in 30, four times.
    assert accuracy["oracle"] == pytest.approx(29 / 30)
    for name in ("static", "untrained"):
        assert 0 < eao[name] < 0.5
        assert 0 < accuracy[name] < 0.8
        assert 0 < robustness[name] < 0.8

    toolkit(workspace, "report", "--name", "report", *trackers)
    assert "static" in (workspace / "reports" / "report" / "report.html").read_text()
    toolkit(workspace, "pack", "untrained")
    (archive,) = workspace.glob("untrained_*.zip")
    packed = zipfile.ZipFile(archive).namelist()
    assert "manifest.yml" in packed
    assert sum(name.endswith(".bin") for name in packed) == 4  # two videos, two starts each

    # Other weights in the same file must not be mixed with these results.
    save_random_weights(weights, small, seed=1)
    shown = toolkit(workspace, "evaluate", "--force", "untrained")
    assert "Server terminated the session: the weights in" in shown
    assert "are not those that the workspace was written for" in shown


def test_the_genuine_stack_runs_its_three_experiments(workspace):
    genuine = workspace.parent / "genuine"
    # On the drawn videos: those of the challenge are not at hand.
    videos = ("--stack", "vot2020/shortterm", "--sequences-dir", str(workspace / "sequences"))
    add(genuine, "oracle", *videos)
    assert "Evaluation concluded" in toolkit(genuine, "evaluate", "oracle")
    assert {path.name for path in (genuine / "results" / "oracle").iterdir()} == {
        *("baseline", "realtime", "unsupervised"),
    }
    toolkit(genuine, "analysis", "oracle")
    analysis = read_vot_analysis(genuine)
    assert analysis.genuine
    baseline = next(experiment for experiment in analysis.experiments if experiment.name == "baseline")
    assert baseline.interval == (115, 755)
    assert baseline.scores[0].robustness == 1
    toolkit(genuine, "pack", "oracle")
    assert len(list(genuine.glob("oracle_*.zip"))) == 1


@pytest.mark.parametrize(
    ("name", "statement", "console", "log"),
    [
        ("raising", "raise RuntimeError('out of ½ memory')", r"RuntimeError: out of \xbd memory", "in follow"),
        ("faulting", "import ctypes; ctypes.string_at(0)", "waiting for response", "Segmentation fault"),
    ],
)
def test_a_crash_leaves_its_place_in_the_toolkits_log(workspace, name, statement, console, log):
    script = workspace / f"{name}.py"
    script.write_text(
        "from lib.eval.vot.server import serve\n\n\nclass Tracker:\n    def start(self, frame, mask): pass\n\n"
        f"    def follow(self, frame):\n        {statement}\n\n\nserve(Tracker)\n",
        encoding="utf-8",
    )
    with (workspace / "trackers.ini").open("a") as file:
        file.write(f"[{name}]\nprotocol = trax\ncommand = {sys.executable} '{script}'\n")
        file.write("env_PYTHONIOENCODING = ascii:backslashreplace\n\n")
    shown = toolkit(workspace, "evaluate", name)
    assert console in shown
    assert "Unable to connect" not in shown
    assert log in the_log(workspace, name)
