"""Train a tracker or a mask network from an experiment file; run the same command to continue an interrupted run."""

import argparse
import shlex
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import answer_habits, command_parser, count, refuse_options, run
from lib.config.load import describe, load_any
from lib.config.schema import Experiment
from lib.eval.results import check_writable
from lib.models.trained import RUNS, is_finished
from lib.train.launch import is_launched, launch, record
from lib.train.replay import replay
from lib.train.session import first_settings, first_stage, train

EPILOG = """examples:
  python tracking/train.py --config mmg_tiny                      a small model on the embedded data, minutes on a CPU
  python tracking/train.py --config mmg_vitb --gpus 4             on four GPUs of this machine
  python tracking/train.py --config mmg_vitb --set train.batch_size=10 --set train.accumulate_to=80
  python tracking/train.py --config mmg_vitb_score --with-first-stage    both stages by one command
  python tracking/train.py --config mmg_tiny --gpus 2 --device cpu      two processes on the CPU
  python tracking/train.py --config refine_tiny                   a small Alpha-Refine, which makes masks of boxes
  python tracking/train.py --keys                                 every config key, its type and where its value is from
  python tracking/train.py --keys --config refine_tiny            the same of a mask network

Several machines, the same command on each (with -- before it, or torchrun takes --run for an option of its own):
  torchrun --nnodes 2 --nproc_per_node 4 --rdzv_backend c10d --rdzv_endpoint HOST:29500 -- \\
      tracking/train.py --config mmg_vitb --run /shared/runs/mmg_vitb

Checkpoints, log.jsonl and TensorBoard files go to runs/<config>/; look at them with `tensorboard --logdir runs`.
SIGTERM and Ctrl-C save first; the same command continues a run, with the same result as if it had not stopped."""

# What OSTrack, MixFormer and the like call it.
HABITS = {
    "script": "the config says all: --config mmg_vitb",
    "save_dir": "it is --run FOLDER, runs/<config> by default",
    "mode": "it is --gpus N",
    "nproc_per_node": "it is --gpus N",
    "batch_size": "it is --set train.batch_size=N",
    "lr": "it is --set train.lr=X",
    "epochs": "it is --set train.epochs=N",
    "resume": "the same command continues a run",
    "use_lmdb": "`python tracking/prepare.py --help` says how data sets are stored",
    "use_wandb": "it is --wandb",
}


@record
def main(argv: list[str]) -> int:
    """Parse the command line and train."""
    parser = command_parser(__doc__, EPILOG)
    parser.add_argument("words", nargs="*", default=[], help=argparse.SUPPRESS)  # for which there is --config
    parser.add_argument("--config", help="name of a file under experiments/, or a path ending in .yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one key; repeatable")
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/<config>)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--gpus", type=count, default=1, metavar="N", help="processes, each with a GPU; default: 1")
    parser.add_argument("--paths", type=Path, help="where data sets lie (default: experiments/paths.yaml)")
    parser.add_argument(
        "--with-first-stage",
        action="store_true",
        help="train what train.start_from names first, where it is not finished; --set then holds for both stages",
    )
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases, too: pip install wandb")
    replay_help = "take the non-finite step of a nonfinite_step_*.pth again, explained"
    parser.add_argument("--replay", type=Path, metavar="FILE", help=replay_help)
    parser.add_argument("--keys", action="store_true", help="list every config key and stop")
    answer_habits(argv, HABITS)
    arguments = parser.parse_args(argv)
    if arguments.words:
        word = arguments.words[-1]
        line = shlex.join(["python", "tracking/train.py", "--set" if "=" in word else "--config", word])
        raise ValueError(f"{arguments.words[0]!r} has no place here: configs and keys are options, {line}")
    if arguments.keys:
        kind = type(load_any(arguments.config, arguments.set)) if arguments.config else Experiment
        print("\n".join(describe(kind)))
        return 0
    if arguments.replay is not None:
        refuse_options(parser, arguments, {"replay", "device", "paths"}, "--replay, whose file holds the experiment")
        return replay(arguments.replay, device=arguments.device, paths_file=arguments.paths)
    if arguments.config is None:
        parser.error("--config is required; see --help")
    experiment = load_any(arguments.config, arguments.set)
    check_writable({}, {"--run": arguments.run})
    if arguments.with_first_stage:
        first = first_stage(experiment, arguments.set)
        if not is_finished(RUNS / first.name / "latest.pth", first.name):
            if is_launched():
                raise ValueError(f"--with-first-stage trains {first.name} first, for which it starts processes itself: "
                                 "give it with --gpus N and without torchrun; or run torchrun twice, with --config "
                                 f"{first.name} before")  # fmt: skip
            settings = [word for setting in first_settings(arguments.set) for word in ("--set", setting)]
            others = ["--gpus", str(arguments.gpus), "--device", arguments.device, *["--wandb"][: arguments.wandb]]
            others += ["--paths", str(arguments.paths)] if arguments.paths else []
            if code := main(["--config", first.name, *settings, *others]):
                return code
    if arguments.gpus != 1 and not is_launched():
        own = [word for word in argv if word != "--with-first-stage"]  # that is done
        return launch(arguments.gpus, arguments.device, Path(__file__), own)
    folder = arguments.run or RUNS / experiment.name
    return train(experiment, folder, device=arguments.device, paths_file=arguments.paths, wandb=arguments.wandb)


if __name__ == "__main__":
    run(main)
