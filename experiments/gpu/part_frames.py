"""Part 2: the time of a tracked frame by the paper's protocol, and sequences a second in batches."""

import dataclasses
import json
import time

import torch
from report import Part, run_part

from lib.config.load import load
from lib.profiling.frame import measure_frames
from lib.profiling.loop import profile_track

# What is asked first is measured first; the time box decides how far this gets.
_NETWORKS = {"mmg_vitb": [], "mmg_vitb without score": ["track.update=none"], "ostrack_vitb": []}
_ORDER = (
    ("mmg_vitb", "bf16", "graph"), "batches", ("mmg_vitb", "bf16", "eager"),
    ("mmg_vitb without score", "bf16", "graph"), ("ostrack_vitb", "bf16", "graph"), ("ostrack_vitb", "fp32", "eager"),
    ("mmg_vitb", "fp16", "eager"), ("mmg_vitb", "tf32", "eager"), ("mmg_vitb", "fp32", "eager"),
    ("ostrack_vitb", "bf16", "eager"),
    ("mmg_vitb without score", "bf16", "eager"), ("mmg_vitb", "bf16", "compiled"), ("mmg_vitb", "fp16", "graph"),
    ("ostrack_vitb", "tf32", "eager"), ("ostrack_vitb", "fp16", "eager"), ("mmg_vitb", "fp32", "graph"),
    ("ostrack_vitb", "bf16", "compiled"),
)  # fmt: skip
_BATCHES = (1, 8, 16, 32)
_FRAMES_OF_A_BATCH = 60
_SECONDS = {"eager": 20.0, "compiled": 45.0, "graph": 40.0}  # that a variant may take, before one has been measured


def work(part: Part) -> None:
    order = _TINY if part.tiny else _ORDER
    rows: list[dict[str, object]] = []
    skipped: list[str] = []
    seconds = dict.fromkeys(_SECONDS, 0.0) if part.tiny else dict(_SECONDS)
    line = ""
    for item in order:
        started = time.monotonic()
        if isinstance(item, str):
            if part.left > 20 or part.tiny:
                part.figures["batches"] = measure_batches(part)
                line += "; batches: " + ", ".join(
                    f"{row['batch']} at once {row['frames_per_second']:.0f} fps" for row in part.figures["batches"]
                )
        elif part.left < seconds[item[2]]:
            skipped.append(" ".join(item))
        else:
            row = measure(part, *item)
            rows.append(row)
            seconds[item[2]] = 1.1 * (time.monotonic() - started)
            line += f"{'; ' if line else ''}{row['variant']} {row['frames_per_second']:.0f} fps"
        part.save(line, frames=rows, left_out=skipped)


def measure(part: Part, network: str, precision: str, mode: str) -> dict[str, object]:
    """Time the frames of one variant; without TF32 in fp32, and with it for convolutions alone in bf16 and fp16.

    The last is what PyTorch does by itself, and the rest of the project leaves it.
    """
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    config = "mmg_tiny" if part.tiny else network.split()[0]
    experiment = load(config, [] if part.tiny else _NETWORKS[network])
    (cost,) = measure_frames(
        experiment,
        part.device.type,
        precisions=["fp32" if precision == "tf32" else precision],  # pyright: ignore[reportArgumentType]
        modes=[mode],  # pyright: ignore[reportArgumentType]
        frames=3 if part.tiny else None,
    )
    median = cost.frame.median
    return {"variant": f"{network} {precision} {mode}", "frames_per_second": 1 / median, **dataclasses.asdict(cost)}


def measure_batches(part: Part) -> list[dict[str, object]]:
    """Time videos that advance together, decoding included; in bfloat16, for in float32 products take all the time."""
    file, config = part.out / "batches.json", part.out / "batches.yaml"
    batches, frames = ((1, 2), 8) if part.tiny else (_BATCHES, _FRAMES_OF_A_BATCH)
    base, precision = ("mmg_tiny", "fp32") if part.tiny else ("mmg_vitb", "bf16")
    config.write_text(f"base: {base}\ntrack: {{precision: {precision}}}\n", encoding="utf-8")
    profile_track(None, str(config), batches=batches, num_frames=frames, device_name=part.device.type, json_file=file)
    return json.loads(file.read_text(encoding="utf-8"))["costs"]


_TINY = (("mmg_vitb", "fp32", "eager"), "batches")

if __name__ == "__main__":
    run_part("frames", work)
