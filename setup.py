"""Makes `lib` importable; `pip install -r requirements.txt` ends with an editable install of this.

A wheel (`pip wheel --no-deps .`) also carries the commands, the experiments and the weights of the project.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildPackage(build_py):
    """Puts experiments and weights into `mmg_tracker`, where an installed `lib` looks for them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "mmg_tracker"
        for folder, pattern in (("experiments", "*.yaml"), ("pretrained_models", "*.safetensors")):
            for file in sorted((ROOT / folder).rglob(pattern)):
                if file.name != "paths.yaml":  # of this machine
                    copy = target / file.relative_to(ROOT)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, copy)


def version() -> str:
    """Read the one place that states it."""
    (number,) = re.findall(r'__version__ = "(.+)"', (ROOT / "lib" / "__init__.py").read_text(encoding="utf-8"))
    return number


def requirements() -> list[str]:
    """Read requirements.txt without its comments, this project itself, and OpenCV, of which there are several builds.

    Two of them in one environment overwrite each other's files, so which one is an extra.
    """
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = (line.split("#")[0].strip() for line in lines)
    return [name for name in names if name and not name.startswith(("-e", "opencv"))]


# Brings the library TurboJPEG 3, which decodes parts of a JPEG, where the system has an older one or none. One person's
# package: an extra, and nothing depends on it.
TURBOJPEG = 'turbojpeg>=0.0.2; sys_platform == "linux" and platform_machine == "x86_64" and python_version < "3.14"'

# Another decoder of JPEG, which much of the field uses: MMG_JPEG=jpeg4py asks for it. An extra that nothing prefers,
# since its last release is of 2018 and it needs the system's libturbojpeg.
JPEG4PY = "jpeg4py>=0.1.4"

# PyAV: brings FFmpeg's libraries, with an encoder of H.264, as wheels for every system.
VIDEO = "av>=14"

# Brings what PyTorch writes ONNX files with, and what runs them: about 120 MB, and most users track with PyTorch.
# 1.18 is where onnxruntime began to read the files.
ONNX = ["onnxscript>=0.5", "onnxruntime>=1.18"]

setup(
    name="mmg-tracker",
    version=version(),
    description="Masked Mutual Guidance transformer tracking",
    license="MIT",
    packages=[*find_packages(include=["lib", "lib.*", "mmg_tracker"]), "tracking"],
    package_data={
        "lib": ["data/datasets/splits/*", "eval/report/web_page/*", "eval/score/published/*"],
        "mmg_tracker": ["py.typed", "page.html"],
    },
    cmdclass={"build_py": BuildPackage},
    entry_points={
        "console_scripts": [
            f"mmg-{name} = mmg_tracker.commands:{name}" for name in ("train", "test", "analyze", "demo", "prepare")
        ]
    },
    python_requires=">=3.10",
    install_requires=requirements(),
    extras_require={
        # Videos that browsers play, instead of MPEG-4; and frames at random out of video files.
        "video": [VIDEO],
        "dev": [
            "ruff>=0.8",
            "pyright[nodejs]>=1.1.390",
            "pytest>=8.0",
            "pytest-xdist>=3.6",
            "setuptools>=70.1",
            TURBOJPEG,
            VIDEO,
            *ONNX,
        ],
        "turbojpeg": [TURBOJPEG],
        "jpeg4py": [JPEG4PY],
        "onnx": ONNX,
        "wandb": ["wandb>=0.17"],
        # To test the report page; Chromium and its driver come from the system.
        "browser": ["selenium>=4.20"],
        # One of these: with windows, without, or with the contributed modules, CSRT and KCF. `make classical` changes
        # the first, which requirements.txt brings, for the last.
        "opencv": ["opencv-python>=4.10"],
        "headless": ["opencv-python-headless>=4.10"],
        "classical": ["opencv-contrib-python>=4.10"],
        # Trackers on the Hugging Face Hub.
        "hub": ["huggingface_hub>=0.24"],
        # The VOT challenge's toolkit. 0.8.0 to 0.9.0 fail on multi-start experiments, attributee 0.1.10 on import.
        "vot": ["vot-toolkit==0.7.4", "attributee==0.1.9", "vot-trax==4.0.2"],
    },
)
