"""Draw what a tracker does and learns from: boxes on frames, what the decoders rebuild, training samples."""

import argparse
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import add_data_options, command_parser, count, run
from lib.config.load import load
from lib.config.schema import Source
from lib.draw import check_picture_path, save_picture
from lib.eval.benchmarks import BENCHMARKS, find_benchmark
from lib.eval.report.figure import check_suffix, save_as
from lib.eval.report.film import (
    Film,
    check_video,
    draw_mask_strip,
    draw_strip,
    open_film,
    parse_frames,
    spread_frames,
    worst_frames,
    write_video,
)
from lib.eval.report.learning import curves_to_csv, draw_learning_curves, format_curves
from lib.eval.results import check_writable, write_whole
from lib.eval.score.analysis import Result, find_results
from lib.eval.score.learning_curves import AXES, read_learning_curves

EPILOG = """examples:
  python tracking/visualize.py track synthetic test-0003 mmg/mmg_tiny static/default --out strip.png
  python tracking/visualize.py track folder car mmg/mmg_tiny --root my_videos --frames 12
  python tracking/visualize.py compare lasot bird-2 mmg/mmg_vitb ostrack/ostrack_vitb --worst --frames 6 --columns 6
  python tracking/visualize.py compare lasot bird-2 mmg/mmg_vitb ostrack/ostrack_vitb --at 0,150,300 --out figure5
  python tracking/visualize.py curves runs/mmg_tiny runs/ostrack_tiny --key total --kind train --out loss.png
  python tracking/visualize.py curves runs/study/*.seed*/ --out learning.png --csv learning.csv
  python tracking/visualize.py masks folder car mmg/mmg_tiny --root my_videos --masks refine_tiny
  python tracking/visualize.py reconstruction --config mmg_tiny --samples 4 --out rebuilt.png
  python tracking/visualize.py reconstruction --dataset synthetic        by the weights that are there
  python tracking/visualize.py samples --config mmg_tiny --out samples.png
  python tracking/visualize.py samples --config mmg_tiny --dataset stills --root my_photographs"""


def main(argv: list[str] | None = None) -> int:
    parser = command_parser(__doc__, EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    track = commands.add_parser("track", help="film strip of one sequence with the boxes of one or more trackers")
    _add_film_arguments(track)
    track.add_argument("--out", type=Path, help="default: <sequence>.png")

    compare = commands.add_parser("compare", help="the same, of frames of your choice, and a video of all frames")
    _add_film_arguments(compare)
    chosen = compare.add_mutually_exclusive_group()
    chosen.add_argument("--worst", action="store_true", help="show where trackers fail, not frames evenly spread")
    chosen.add_argument("--at", metavar="N,N...", help="show these frames; the first is 0")
    compare.add_argument("--columns", type=int, default=4, help="pictures in a row (default: 4)")
    compare.add_argument("--rate", type=float, default=30, help="frames per second of the video (default: 30)")
    compare.add_argument("--no-video", action="store_true", help="draw the strip only")
    compare.add_argument("--out", type=Path, help="path of both files, without suffix (default: <sequence>)")

    masks = commands.add_parser("masks", help="film strip of one sequence with the masks of one result, and their J")
    _add_film_arguments(masks)
    masks.add_argument("--masks", metavar="NAME", help="which, where the result has several: a folder in its masks/")
    masks.add_argument("--out", type=Path, help="default: <sequence>_masks.png")

    curves = commands.add_parser(
        "curves", help="learning curves of runs; X.seed1, X.seed2 ... become a mean and a band"
    )
    curves.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, with its log.jsonl")
    curves.add_argument("--key", default="mean_iou", help="which logged value (default: mean_iou)")
    curves.add_argument(
        "--kind", choices=("validation", "train"), default="validation", help="logged when (default: validation)"
    )
    curves.add_argument("--against", choices=AXES, default="samples", help="horizontal axis (default: samples seen)")
    curves.add_argument("--csv", type=Path, metavar="FILE", help="write every value that is drawn")
    curves.add_argument("--out", type=Path, default=Path("curves.png"), help="png, pdf or svg (default: curves.png)")

    rebuilt = commands.add_parser("reconstruction", help="input, masked, coarse and fine, of samples of the data")
    rebuilt.add_argument("--config", help="experiment; without --checkpoint, its newest weights in runs/<config>")
    rebuilt.add_argument("--checkpoint", type=Path, help="file of weights; without both, as in demo.py --help")
    rebuilt.add_argument("--dataset", help="this data set instead of the experiment's, such as synthetic")
    rebuilt.add_argument("--split", help="of that data set (default: val)")
    rebuilt.add_argument("--paths", type=Path, help="where data sets lie (default: experiments/paths.yaml)")
    rebuilt.add_argument("--samples", type=count, default=4, help="how many (default: 4)")
    rebuilt.add_argument("--seed", type=int, default=0, help="of samples and masks (default: 0)")
    rebuilt.add_argument("--out", type=Path, default=Path("reconstruction.png"), help="default: reconstruction.png")

    samples = commands.add_parser("samples", help="training samples of every source, with the box to be found")
    samples.add_argument("--config", default="mmg_tiny", help="experiment: sources, crops, jitter (default: mmg_tiny)")
    samples.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="override one key; repeatable"
    )
    samples.add_argument("--dataset", help="this data set instead of the experiment's sources")
    samples.add_argument("--split", default="train", help="of that data set (default: train)")
    add_data_options(samples)
    samples.add_argument("--samples", type=count, default=12, help="how many of each source (default: 12)")
    samples.add_argument("--seed", type=int, default=0, help="of the samples (default: 0)")
    samples.add_argument("--out", type=Path, default=Path("samples.png"), help="default: samples.png")

    arguments = parser.parse_args(argv)
    run_command = {
        "track": _track,
        "compare": _compare,
        "masks": _masks,
        "curves": _curves,
        "reconstruction": _reconstruction,
        "samples": _samples,
    }
    return run_command[arguments.command](arguments)


def _add_film_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", help=", ".join(BENCHMARKS))
    parser.add_argument("sequence", help="its name")
    parser.add_argument("results", nargs="+", metavar="RESULT", help="tracker/config, or a folder of result files")
    add_data_options(parser)
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--frames", type=int, default=8, help="pictures in the strip (default: 8)")


def _open_film(arguments: argparse.Namespace) -> tuple[Film, tuple[Result, ...]]:
    benchmark = find_benchmark(arguments.benchmark)
    dataset = benchmark.open(arguments.root, arguments.paths)
    results = find_results(arguments.results, benchmark, arguments.results_dir)
    return open_film(dataset, arguments.sequence, results), results


def _check_picture(out: Path) -> None:
    """Raise an error now for a picture that could not be written after all the work."""
    check_picture_path(out)
    check_writable({"--out": out}, {})


def _track(arguments: argparse.Namespace) -> int:
    out = arguments.out or Path(f"{arguments.sequence}.png")
    _check_picture(out)
    film, _ = _open_film(arguments)
    print(save_picture(out, draw_strip(film, spread_frames(film, arguments.frames))))
    return 0


def _masks(arguments: argparse.Namespace) -> int:
    if len(arguments.results) != 1:
        raise ValueError(f"masks are drawn of one result, got {len(arguments.results)}: {', '.join(arguments.results)}")
    out = arguments.out or Path(f"{arguments.sequence}_masks.png")
    _check_picture(out)
    film, (result,) = _open_film(arguments)
    print(save_picture(out, draw_mask_strip(film, result, arguments.masks, spread_frames(film, arguments.frames))))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    out = arguments.out or Path(arguments.sequence)
    strip, video = out.with_name(f"{out.name}.png"), out.with_name(f"{out.name}.mp4")
    check_writable({"--out": strip}, {})
    if not arguments.no_video:
        check_writable({"--out": video}, {})
        check_video(video, arguments.rate)
    film, _ = _open_film(arguments)
    if arguments.at is not None:
        indices = parse_frames(arguments.at)
    else:
        indices = (worst_frames if arguments.worst else spread_frames)(film, arguments.frames)
    print(save_picture(strip, draw_strip(film, indices, arguments.columns)))
    if not arguments.no_video:
        print(write_video(film, video, arguments.rate))
    return 0


def _curves(arguments: argparse.Namespace) -> int:
    check_suffix(arguments.out)
    check_writable({"--out": arguments.out, "--csv": arguments.csv}, {})
    how = (arguments.key, arguments.kind, arguments.against)
    curves = read_learning_curves(arguments.runs, arguments.key, kind=arguments.kind, axis=arguments.against)
    print(format_curves(curves, *how))
    if arguments.csv:
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        write_whole(arguments.csv, curves_to_csv(curves, *how))
        print(arguments.csv)
    save_as(lambda: draw_learning_curves(curves, *how), arguments.out)
    print(arguments.out)
    return 0


def _reconstruction(arguments: argparse.Namespace) -> int:
    # What only a network needs takes seconds to load, for which strips and curves need not wait.
    from lib.models.trained import find_checkpoint, read_trained_model
    from lib.tracker import TrackerSpec
    from lib.train.pictures import picture_samples

    _check_picture(arguments.out)
    if arguments.split and not arguments.dataset:
        raise ValueError("--split is one of --dataset: give that, too")
    spec = TrackerSpec("mmg", arguments.config, arguments.checkpoint).with_weights()
    trained = read_trained_model(find_checkpoint(spec.config, spec.checkpoint), spec.config)
    experiment = trained.experiment
    if arguments.dataset:
        sources = (Source(dataset=arguments.dataset, split=arguments.split or "val", ratio=1.0),)
        experiment = replace(experiment, data=replace(experiment.data, validation=sources))
    picture = picture_samples(
        experiment, trained.state, arguments.samples, seed=arguments.seed, paths_file=arguments.paths
    )
    print(save_picture(arguments.out, picture))
    return 0


def _samples(arguments: argparse.Namespace) -> int:
    from lib.train.pictures import picture_training_samples

    _check_picture(arguments.out)
    settings = list(arguments.settings)
    if arguments.dataset:
        settings.append(f"data.sources=[{{dataset: {arguments.dataset}, split: {arguments.split}, ratio: 1}}]")
    picture = picture_training_samples(
        load(arguments.config, settings),
        arguments.samples,
        seed=arguments.seed,
        root=arguments.root,
        paths_file=arguments.paths,
    )
    print(save_picture(arguments.out, picture))
    return 0


if __name__ == "__main__":
    run(main)
