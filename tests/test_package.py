"""The project as others install it: a wheel in an empty environment, a script in none, and what the recipes name."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from conftest import save_random_weights
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lib
from lib.data.datasets.synthetic import SyntheticDataset
from lib.mp4 import write_mp4

ROOT = Path(__file__).resolve().parents[1]
CARRIED = ("lib", "tracking", "mmg_tracker", "experiments", "pretrained_models", "setup.py", "requirements.txt",
           "pyproject.toml", "LICENSE")  # fmt: skip


def run(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_wheel_tracks_a_video_from_another_folder(tmp_path, small_experiment):
    source = tmp_path / "source"
    source.mkdir()
    for name in CARRIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.pth"))
        else:
            shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    build = run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, source, cwd=tmp_path)
    assert build.returncode == 0, build.stderr
    (wheel,) = tmp_path.glob("mmg_tracker-*.whl")

    assert run(sys.executable, "-m", "venv", "--without-pip", "env", cwd=tmp_path).returncode == 0
    python = tmp_path / "env" / "bin" / "python"
    installed = run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    # Packages of others are those of this environment; its own install of the project is not looked at this way.
    (own,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + os.linesep)

    save_random_weights(tmp_path / "weights.pth", small_experiment("track.update=none"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    drawn = SyntheticDataset("test", num_frames=5)[0]
    height, width = drawn.frames[0].shape[:2]
    with write_mp4(elsewhere / "drawn.mp4", height, width, 25.0) as write:
        for index in range(5):
            write(drawn.frames[index])
    box = ",".join(f"{value:.1f}" for value in drawn.boxes_xywh[0])

    commands = tmp_path / "env" / "bin"
    assert {path.name for path in commands.glob("mmg-*")} == {
        f"mmg-{name}" for name in ("train", "test", "analyze", "demo", "prepare")
    }
    said = run(commands / "mmg-train", "--version", cwd=elsewhere)
    assert (said.returncode, said.stdout) == (0, f"mmg-tracker {lib.__version__}\n"), said.stderr
    tracked = run(
        commands / "mmg-demo", "drawn.mp4", "--box", box, "--checkpoint", tmp_path / "weights.pth", cwd=elsewhere
    )
    assert tracked.returncode == 0, tracked.stderr
    assert len((elsewhere / "demo_output" / "drawn_mmg.txt").read_text().splitlines()) == 5
    tested = run(commands / "mmg-test", "static", "synthetic", "--sequences", "0", cwd=elsewhere)
    assert tested.returncode == 0, tested.stderr
    program = (
        "import lib, mmg_tracker, sys; from lib.config.load import load; load('mmg_tiny'); print(lib.__file__);"
        "mmg_tracker.load_tracker(sys.argv[1], 'cpu')"
    )
    used = run(python, "-c", program, tmp_path / "weights.pth", cwd=elsewhere)
    assert used.returncode == 0 and used.stdout.strip() == str(own / "lib" / "__init__.py"), used.stderr
    assert (own / "mmg_tracker" / "py.typed").is_file()


def test_without_packages_a_command_says_what_to_run(tmp_path):
    finished = run(sys.executable, "-S", ROOT / "tracking" / "test.py", "--version", cwd=tmp_path)
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ") and " lib, torch," in line and "pip install -r requirements.txt" in line


@pytest.mark.slow
def test_another_lib_is_named(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("")
    finished = run(sys.executable, ROOT / "tracking" / "demo.py", "--version", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'lib'}") and "PYTHONPATH" in line
    finished = run(sys.executable, ROOT / "tracking" / "demo.py", "--version", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (finished.returncode, finished.stdout) == (0, f"mmg-tracker {lib.__version__}\n")


def stated(name: str) -> list[Requirement]:
    lines = ((ROOT / name).read_text(encoding="utf-8")).splitlines()
    words = (line.split("#")[0].strip() for line in lines)
    return [Requirement(word) for word in words if word and not word.startswith("-e")]


def test_the_constraints_satisfy_the_requirements():
    pinned = {canonicalize_name(line.name): line.specifier for line in stated("constraints.txt")}
    for needed in stated("requirements.txt"):
        (exact,) = pinned[canonicalize_name(needed.name)]
        assert exact.operator == "==" and needed.specifier.contains(exact.version), needed


def test_the_recipes_name_what_is_there():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (from_pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", recipe, re.MULTILINE) for word in line.split()]
    made = re.findall(r"> (\S+)", recipe)
    named = {line.split()[1] for line in from_pip} | {*copied, *re.findall(r"-[rc] (\S+)", recipe)} - set(made)
    assert {"requirements.txt", "constraints.txt"} <= named and all((ROOT / name).exists() for name in named)
    assert re.findall(r"^[A-Z]+", recipe, re.MULTILINE)[:2] == ["FROM", "ARG"], (
        "an ARG before FROM is not seen after it"
    )
