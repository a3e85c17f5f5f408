"""What the parts of the GPU check share: their options, their clock, and the JSON that each writes as it goes."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from lib.profiling import clock
from lib.train.environment import describe_environment


@dataclass
class Part:
    """One part under way.

    Attributes:
        name: of the part; its results go to `out/<name>.json`.
        out: folder of all parts.
        device: cuda or cpu.
        tiny: at toy size, to try the script.
        data: what was packed for the machine; None where nothing was.
        figures: what was found so far, written at every `save`.
    """

    name: str
    out: Path
    device: torch.device
    tiny: bool
    data: Path | None
    end: float
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds until the time box closes."""
        return self.end - time.monotonic()

    def save(self, line: str, **figures: Any) -> None:
        """Write what is known, with the line that the summary gets; called again, it adds to it."""
        self.figures.update(figures, line=line)
        path = self.out / f"{self.name}.json"
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(self.figures, indent=1, default=str) + "\n", encoding="utf-8")
        aside.replace(path)

    def paths_file(self) -> Path:
        """Write where the data sets lie, drawing toy ones where nothing was packed; return the file."""
        data = self.data
        if data is None:
            if not self.tiny:
                raise FileNotFoundError("this part needs what pack.sh packed: give --data DIR")
            data = draw_data(self.out / "drawn")
        path = self.out / "paths.yaml"
        stated = {"stills": "stills", "folder": "videos"}
        path.write_text(yaml.safe_dump({name: str(data / below) for name, below in stated.items()}), encoding="utf-8")
        return path

    def excerpts(self) -> Path:
        """Return the folder of the videos that results are reported on."""
        return (self.data or draw_data(self.out / "drawn")) / "excerpts"


def run_part(name: str, work: Callable[[Part], None]) -> None:
    """Do the work of a part by the command line, and leave the process with 0, or 1 and the traceback in its JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    signal.signal(signal.SIGTERM, _stop)
    part = Part(name, options.out, torch.device(options.device), options.tiny, options.data, end)
    part.figures.update(part=name, command=" ".join(sys.argv), seconds_allowed=options.seconds)
    try:
        if part.tiny:
            clock.SIDES["cpu"] = (128,)  # the peak of a CPU takes it half a minute, and nobody asks for it here
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # so that the question does not start CUDA
        if part.device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("PyTorch sees no CUDA device here; --tiny --device cpu is the rehearsal without one")
        part.figures["environment"] = describe_environment(torch.device("cpu"), {}) | _card(part.device)
        work(part)
    except TimeIsUp:
        part.save(f"{part.figures.get('line', 'nothing measured')} (stopped by its time box)")
    except BaseException:
        part.save(part.figures.get("line", "nothing measured"), error=traceback.format_exc())
        raise


class TimeIsUp(KeyboardInterrupt):
    """The time box has closed. pytest takes it as what it is, not as a test's failure."""


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise TimeIsUp


def _card(device: torch.device) -> dict[str, str]:
    """Return the card's name and driver without starting CUDA, which no process forked after that could use."""
    if device.type != "cuda":
        return {}
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    name, _, driver = found.splitlines()[0].partition(", ")
    return {"device": name, "driver": driver}


def draw_data(out: Path) -> Path:
    """Draw what pack.sh would pack, small: photographs with outlines, videos to train on and videos to report on."""
    # Read here, since it draws with OpenCV: a part that measures must not load what it does not need.
    from lib.data.datasets.synthetic import SyntheticDataset
    from lib.data.render import render_dataset

    if out.is_dir():
        return out
    for split, folder in (("train", "videos/train"), ("val", "videos/val"), ("test", "excerpts")):
        render_dataset(SyntheticDataset(split, num_sequences=2, num_frames=24), out / folder, progress=False)
    for video in sorted((out / "videos").glob("*/*")):
        for picture in sorted((video / "img").iterdir())[::2]:
            name = f"{video.parent.name}_{video.name}_{picture.stem}"
            for source, target in (
                (picture, out / "stills" / f"{name}.jpg"),
                (video / "mask" / f"{picture.stem}.png", out / "stills" / "mask" / f"{name}.png"),
            ):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
    return out
