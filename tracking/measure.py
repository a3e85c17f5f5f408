"""Measure: parameters and operations of a model, its speed and rounding, the cost of data."""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import add_data_options, command_parser, count, count_or_0, refuse_options, run

EPILOG = """examples:
  python tracking/measure.py model --config mmg_vitb            parameters, operations, a frame's time stage by stage
  python tracking/measure.py model --config mmg_vitb --no-speed    parameters by part and operations alone
  python tracking/measure.py model --config mmg_vitb --baseline ostrack_vitb --json frame.json --plot frame.png
  python tracking/measure.py model --config mmg_vitb --precision fp32 bf16 fp16 --mode eager compiled graph
  python tracking/measure.py agreement folder --root VIDEOS --config mmg_tiny      bfloat16's boxes against float32's
  python tracking/measure.py track --config mmg_tiny            the loop of a test: decode, wait, track, write
  python tracking/measure.py track VIDEO --box 120,80,64,48 --config mmg_vitb --batch 1 4 8      videos per hour
  python tracking/measure.py train --config mmg_tiny            time of a training step by stage, and share of the limit
  python tracking/measure.py train --config mmg_vitb --batch-size 80 --precision bf16 --device cuda --json step.json
  python tracking/measure.py train --config mmg_tiny --loader   the same on real samples: who waits for whom
  python tracking/measure.py train --config mmg_vitb --memory   what a step takes of a GPU's memory, without one
  python tracking/measure.py analysis                           280 sequences x 4 trackers, 2.7 million boxes
  python tracking/measure.py data                               a training triplet, from drawn 1280 x 720 JPEG frames
  python tracking/measure.py data --dataset got10k:train --config mmg_vitb --workers 8
  python tracking/measure.py data --photographs DIR             the same, from frames pieced together from photographs
  python tracking/measure.py data --crops                       frames against the cache of `prepare.py crops`, by size

Compare figures of one run with each other; machines differ, and one machine differs from hour to hour."""

# What has a say in measurements that not every option is for.
_OPTIONS = {
    "model --no-speed": {"config", "overrides", "speed", "json"},
    "train --memory": {"config", "overrides", "batch_size", "precision", "device", "memory", "json"},
    "train without --loader": {"config", "overrides", "batch_size", "precision", "device", "steps", "json"},
    "data --crops": {"config", "crops", "samples", "photographs"},
    "data --dataset": {"config", "dataset", "root", "samples", "workers"},
    "data without --dataset": {"config", "samples", "workers", "photographs", "quality"},
}


def main(argv: list[str]) -> int:
    parser = command_parser(__doc__, EPILOG)
    commands = parser.add_subparsers(dest="command", required=True)
    model = commands.add_parser("model", help="parameters, operations and speed of a model")
    model.add_argument("--config", required=True, help="name or path of an experiment")
    model.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    model.add_argument(
        "--speed", action=argparse.BooleanOptionalAction, default=True, help="time a tracked frame, stage by stage"
    )
    model.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    model.add_argument(
        "--precision", choices=["fp32", "bf16", "fp16", "auto"], nargs="+", help="instead of track.precision"
    )
    model.add_argument(
        "--mode", choices=["eager", "compiled", "graph"], nargs="+",
        help="instead of track.compile; several of both are timed in turn, each with each",
    )  # fmt: skip
    model.add_argument("--frames", type=count, metavar="N", help="default: 1000 or on a CPU 40, or a minute's")
    model.add_argument("--baseline", metavar="NAME", help="a config whose plain float32 network is timed in turn")
    model.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    model.add_argument("--plot", type=Path, metavar="FILE", help="also draw a frame's stages beside the limit there")
    agreement = commands.add_parser("agreement", help="boxes of a trained tracker against float32, in pixels")
    agreement.add_argument("benchmark", help="whose videos; `folder` for your own")
    agreement.add_argument("--config", help="experiment of the tracker, by name or path")
    agreement.add_argument("--checkpoint", type=Path, metavar="FILE", help="default: the newest of runs/<config>")
    add_data_options(agreement)
    agreement.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    agreement.add_argument(
        "--precision", choices=["fp32", "bf16", "fp16", "auto"], default="auto", help="default: auto"
    )
    agreement.add_argument("--compile", action="store_true", help="as track.compile does")
    agreement.add_argument("--frames", type=count, default=20, metavar="N", help="of each video (default: 20)")
    track = commands.add_parser("track", help="where the time goes while a video is tracked; batches of videos")
    track.add_argument("video", type=Path, nargs="?", metavar="VIDEO_OR_FOLDER", help="default: drawn 1280 x 720 JPEG")
    track.add_argument("--config", help="name or path of an experiment")
    track.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights (default: random ones of --config)")
    track.add_argument("--box", metavar="X,Y,W,H", help="the target on the first frame of VIDEO")
    track.add_argument("--batch", type=count, nargs="+", default=[1], metavar="N", help="copies at once (default: 1)")
    track.add_argument("--frames", type=count, metavar="N", help="of the video (default: all; of a drawn one 60)")
    track.add_argument("--threads", type=count, default=1, metavar="N", help="CPU threads of the tracker (default: 1)")
    track.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    track.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    train = commands.add_parser("train", help="time, operations and memory of a training step")
    train.add_argument("--config", required=True, help="name or path of an experiment")
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    train.add_argument("--batch-size", type=count, metavar="N", help="instead of the config's train.batch_size")
    train.add_argument("--precision", choices=["fp32", "bf16", "fp16", "auto"], help="instead of train.precision")
    train.add_argument("--steps", type=count, default=30, metavar="N", help="steps to time (default: 30)")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    train.add_argument("--loader", action="store_true", help="draw real samples instead of one synthetic batch")
    train.add_argument("--paths", type=Path, metavar="FILE", help="where data sets lie, with --loader")
    train.add_argument("--memory", action="store_true", help="instead: a table of what takes memory; measured on CUDA")
    train.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    analysis = commands.add_parser("analysis", help="time and memory of scoring results on a benchmark of LaSOT's size")
    analysis.add_argument("--results", type=count, default=4, metavar="N", help="trackers scored (default: 4)")
    data = commands.add_parser("data", help="time and bytes of training samples")
    data.add_argument("--config", default="mmg_vitb", help="whose crops, jitter and sampler (default: mmg_vitb)")
    data.add_argument("--dataset", metavar="NAME[:SPLIT]", help="default: frames drawn for the purpose")
    data.add_argument("--root", type=Path, metavar="DIR", help="the data set's folder, if not the stated one")
    data.add_argument("--samples", type=count, default=60, metavar="N", help="triplets to draw (default: 60)")
    data.add_argument(
        "--workers", type=count_or_0, default=2, metavar="N", help="loader processes; 0 for none (default: 2)"
    )
    data.add_argument("--photographs", type=Path, metavar="DIR", help="instead of drawing frames, make them of these")
    data.add_argument("--crops", action="store_true", help="instead: before and after `prepare.py crops`")
    data.add_argument("--quality", type=count, default=82, metavar="N", help="of the JPEG frames drawn (default: 82)")
    arguments = parser.parse_args(argv)
    purpose = _purpose(arguments)
    if purpose in _OPTIONS:
        refuse_options(commands.choices[arguments.command], arguments, {"command", *_OPTIONS[purpose]}, purpose)
    print(_measure(arguments))
    return 0


def _measure(arguments: argparse.Namespace) -> str:
    # Each measurement loads only what it needs, so that one does not weigh on the other.
    if arguments.command == "analysis":
        from lib.profiling.analysis import measure_analysis

        return measure_analysis(arguments.results)
    if arguments.command == "agreement":
        from lib.profiling.agreement import measure_agreement

        return measure_agreement(
            arguments.benchmark,
            arguments.config,
            arguments.checkpoint,
            root=arguments.root,
            paths_file=arguments.paths,
            device_name=arguments.device,
            precision=arguments.precision,
            compiled=arguments.compile,
            num_frames=arguments.frames,
        )
    from lib.config.load import load

    if arguments.command == "data":
        from lib.profiling.samples import profile_crops, profile_data

        experiment, samples, photographs = load(arguments.config), arguments.samples, arguments.photographs
        if arguments.crops:
            return profile_crops(experiment, samples, photographs)
        name, _, split = (arguments.dataset or "").partition(":")
        stored = (name, split or "train", arguments.root) if name else None
        return profile_data(experiment, stored, samples, arguments.workers, photographs, arguments.quality)
    if arguments.command == "track":
        from lib.profiling.loop import profile_track

        return profile_track(
            arguments.video,
            arguments.config,
            checkpoint=arguments.checkpoint,
            box=arguments.box,
            batches=arguments.batch,
            num_frames=arguments.frames,
            num_threads=arguments.threads,
            device_name=arguments.device,
            json_file=arguments.json,
        )
    from lib.profiling.report import profile_model, profile_training

    if arguments.command == "train":
        changed = {"train.batch_size": arguments.batch_size, "train.precision": arguments.precision}
        changes = [f"{key}={value}" for key, value in changed.items() if value is not None]
        return profile_training(
            load(arguments.config, [*arguments.overrides, *changes]),
            device_name=arguments.device,
            steps=arguments.steps,
            loader=arguments.loader,
            memory=arguments.memory,
            paths_file=arguments.paths,
            json_file=arguments.json,
        )
    return profile_model(
        load(arguments.config, arguments.overrides),
        device_name=arguments.device if arguments.speed else None,
        precisions=arguments.precision or (),
        modes=arguments.mode or (),
        frames=arguments.frames,
        baseline=load(arguments.baseline) if arguments.baseline else None,
        json_file=arguments.json,
        plot_file=arguments.plot,
    )


def _purpose(arguments: argparse.Namespace) -> str:
    """Return what is to be measured, as `_OPTIONS` calls it if it is there."""
    if arguments.command == "model" and not arguments.speed:
        return "model --no-speed"
    if arguments.command == "train" and arguments.memory:
        return "train --memory"
    if arguments.command == "train" and not arguments.loader:
        return "train without --loader"
    if arguments.command != "data":
        return arguments.command
    if arguments.crops:
        return "data --crops"
    return "data --dataset" if arguments.dataset else "data without --dataset"


if __name__ == "__main__":
    run(main)
