"""Makes `lib` importable; `pip install -r requirements.txt` ends with an editable install of this."""

from pathlib import Path

from setuptools import find_packages, setup


def requirements() -> list[str]:
    """Read requirements.txt without its comments and without the editable install of this project itself."""
    lines = (Path(__file__).parent / "requirements.txt").read_text().splitlines()
    names = (line.split("#")[0].strip() for line in lines)
    return [name for name in names if name and not name.startswith("-e")]


# Brings the library TurboJPEG 3, which decodes parts of a JPEG, where the system has an older one or none. One person's
# package: an extra, and nothing depends on it.
TURBOJPEG = 'turbojpeg>=0.0.2; sys_platform == "linux" and platform_machine == "x86_64" and python_version < "3.14"'

# Brings what PyTorch writes ONNX files with, and what runs them: about 120 MB, and most users track with PyTorch.
# 1.18 is where onnxruntime began to read the files.
ONNX = ["onnxscript>=0.5", "onnxruntime>=1.18"]

setup(
    name="mmg-tracker",
    version="0.1.0",
    description="Masked Mutual Guidance transformer tracking",
    license="MIT",
    packages=find_packages(include=["lib", "lib.*"]),
    package_data={"lib": ["data/datasets/splits/*", "eval/report/web_page/*", "eval/score/published/*"]},
    python_requires=">=3.10",
    install_requires=requirements(),
    extras_require={
        "dev": ["ruff>=0.8", "pyright[nodejs]>=1.1.390", "pytest>=8.0", TURBOJPEG, *ONNX],
        "turbojpeg": [TURBOJPEG],
        "onnx": ONNX,
        "wandb": ["wandb>=0.17"],
        # To test the report page; Chromium and its driver come from the system.
        "browser": ["selenium>=4.20"],
        # The same OpenCV with the contributed modules: CSRT and KCF.
        "classical": ["opencv-contrib-python>=4.10"],
        # The VOT challenge's toolkit. 0.8.0 to 0.9.0 fail on multi-start experiments, attributee 0.1.10 on import.
        "vot": ["vot-toolkit==0.7.4", "attributee==0.1.9", "vot-trax==4.0.2"],
    },
)
