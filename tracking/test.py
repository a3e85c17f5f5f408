"""Run a tracker on a benchmark and write its results."""

import argparse
import shlex
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import add_data_options, add_mask_options, answer_habits, command_parser, run
from lib.config.load import find_experiment
from lib.eval.benchmarks import BENCHMARKS, find_benchmark
from lib.eval.results import check_writable
from lib.eval.run.benchmark import RunOptions, run_test
from lib.eval.run.masks import run_masks
from lib.tracker import TRACKERS, TrackerSpec
from lib.tracker.masks import MASK_BACKENDS, MaskSpec

_HABITS = {
    "tracker_name": "the tracker is the first word: python tracking/test.py mmg lasot",
    "script": "the tracker is the first word: python tracking/test.py mmg lasot",
    "tracker_param": "it is --config NAME: python tracking/test.py mmg lasot --config mmg_vitb",
    "dataset_name": "the benchmark is the second word: python tracking/test.py mmg lasot",
    "dataset": "the benchmark is the second word: python tracking/test.py mmg lasot",
    "sequence": "it is --sequences, of one or more names",
    "runid": "the weights are named by --checkpoint FILE",
    "set": "the settings are a config's, such as --config table6_none, which has no template updates",
    "batch_size": "it is --batch N",
    "num_gpus": "--workers N tracks N sequences at a time and spreads them over all GPUs that are visible",
    "nproc_per_node": "it is --workers N, or torchrun --nproc_per_node N tracking/test.py mmg lasot",
    "debug": "pictures are drawn afterwards: python tracking/visualize.py track lasot SEQUENCE mmg/mmg_vitb",
}
_EXAMPLES = """examples:
  python tracking/test.py mmg lasot                                    the best weights that are there, and says which
  python tracking/test.py mmg synthetic --config mmg_tiny              the newest weights of runs/mmg_tiny
  python tracking/test.py csrt folder --root ~/videos --workers 4      own videos, four at a time
  python tracking/test.py static synthetic --sequences 0-9
  python tracking/test.py nano lasot --weights nanotrack_backbone_sim.onnx nanotrack_head_sim.onnx
  python tracking/test.py mmg lasot --config mmg_vitb --batch 16       16 sequences at once, as one batch
  python tracking/test.py mmg lasot --onnx model.onnx                  to results/mmg/<config>_onnx
  python tracking/test.py mmg folder --root DIR --config mmg_tiny --masks alpha_refine \\
      --refine-checkpoint runs/refine_tiny/latest.pth                  boxes, then a mask in each
  torchrun --nproc_per_node 4 tracking/test.py mmg lasot --config mmg_vitb      four processes share the sequences

Boxes go to results/<tracker>/<config>/<benchmark>/<sequence>.txt as x,y,w,h, times to <sequence>_time.txt. The same
command continues an interrupted run. --masks makes a mask of each box afterwards, as PNG in
results/<tracker>/<config>/<benchmark>/masks/<name>/<sequence>/; boxes that are there are not tracked again. Score the
results by `python tracking/analyze.py BENCHMARK TRACKER/CONFIG`.
"""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run the test."""
    parser = command_parser(__doc__, _EXAMPLES)
    parser.add_argument("tracker", type=str.lower, help=f"one of {', '.join(TRACKERS)}")
    parser.add_argument("benchmark", help=f"one of {', '.join(BENCHMARKS)}")
    parser.add_argument("more", nargs="*", default=[], help=argparse.SUPPRESS)  # words that have no place here
    parser.add_argument("--config", help="experiment of a trained tracker, by name or path")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights; default: the newest of runs/<config>")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="instead: a file of tracking/export.py")
    networks = "ONNX files of vit (one) or nano (two)"
    parser.add_argument("--weights", type=Path, nargs="+", default=[], metavar="FILE", help=networks)
    choices = "names, indices from 0, or ranges such as 0-9"
    parser.add_argument("--sequences", nargs="+", default=[], metavar="NAME", help=choices)
    add_data_options(parser)
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    devices = "auto (default), cpu, cuda or cuda:N; workers share out all GPUs unless N is given"
    parser.add_argument("--device", default="auto", help=devices)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="sequences tracked at a time; default: 1")
    threads = "CPU threads of each worker; default: 1. Sums round otherwise with another number, see --batch"
    parser.add_argument("--threads", type=int, default=1, metavar="N", help=threads)
    parser.add_argument(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="sequences of each worker that advance at once, as one batch of the network (default: 1); the time of a "
        "frame is then that of a step divided by the sequences in it. Sums round otherwise than one by one: from the "
        "same start a box differs by less than 0.001 px, and by more once a target is being lost",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace results that exist; each old one stays in the folder `replaced` until its successor is there",
    )
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="go on with results that were begun with other code or packages; their record then says so",
    )
    add_mask_options(parser, f"also make masks of the boxes: one of {', '.join(MASK_BACKENDS)}")
    answer_habits(argv, _HABITS)
    arguments = parser.parse_intermixed_args(argv)
    _check_words(arguments)
    check_writable({}, {"--results-dir": arguments.results_dir})
    spec = TrackerSpec(
        arguments.tracker,
        arguments.config,
        arguments.checkpoint,
        arguments.device,
        find_benchmark(arguments.benchmark).name,
        arguments.onnx,
        tuple(arguments.weights),
    ).with_weights()
    options = RunOptions(
        root=arguments.root,
        paths_file=arguments.paths,
        choices=arguments.sequences,
        results_dir=arguments.results_dir,
        num_workers=arguments.workers,
        num_threads=arguments.threads,
        batch=arguments.batch,
        overwrite=arguments.overwrite,
        accept_changes=arguments.accept_changes,
    )
    masks = MaskSpec.from_options(
        arguments.masks, arguments.refine_checkpoint, arguments.device, arguments.mask_threshold
    )
    if masks is not None:
        masks.build()  # weights that do not fit are found before hours of tracking
    code = run_test(spec, options)
    mask_code = 0 if masks is None else run_masks(spec, masks, options)
    return code or mask_code


def _check_words(arguments: argparse.Namespace) -> None:
    """Raise ValueError for words beside tracker and benchmark; a config among them is told its option."""
    TrackerSpec.check_name(arguments.tracker)
    words = [arguments.benchmark, *arguments.more]
    others = [word for word in words if word.lower() not in BENCHMARKS]
    benchmark = next((word for word in words if word not in others), "lasot")
    for word in others:
        with suppress(FileNotFoundError):
            find_experiment(word)
            line = shlex.join(["python", "tracking/test.py", arguments.tracker, benchmark, "--config", word])
            raise ValueError(f"{word} is a config, which is an option here: {line}")
    if arguments.more:
        raise ValueError(f"{(others or words[1:])[0]!r} has no place here: name one tracker and one benchmark, and "
                         "sequences by --sequences")  # fmt: skip


if __name__ == "__main__":
    run(main)
