"""Draw what a tracker does: predicted and true boxes on frames, or what the decoders rebuild."""

import argparse
from pathlib import Path

from lib.config.cli import run
from lib.draw import save_picture
from lib.eval.analysis import find_results
from lib.eval.benchmarks import BENCHMARKS, find_benchmark
from lib.eval.film import film_of_results
from lib.tracker.build import find_checkpoint, read_trained_model
from lib.train.pictures import picture_samples

EPILOG = """examples:
  python tracking/visualize.py track synthetic synthetic_test_0003 mmg/mmg_tiny static/default --out strip.png
  python tracking/visualize.py track folder car mmg/mmg_tiny --root my_videos --frames 12
  python tracking/visualize.py reconstruction --config mmg_tiny --samples 4 --out rebuilt.png"""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    track = commands.add_parser("track", help="film strip of one sequence with the boxes of one or more trackers")
    track.add_argument("benchmark", help=", ".join(BENCHMARKS))
    track.add_argument("sequence", help="its name")
    track.add_argument("results", nargs="+", metavar="RESULT", help="tracker/config, or a folder of result files")
    track.add_argument(
        "--root", type=Path, metavar="DIR", help="folder of the benchmark, instead of the configured one"
    )
    track.add_argument("--paths", type=Path, help="where data sets lie (default: experiments/paths.yaml)")
    track.add_argument("--results-dir", type=Path, default=Path("results"), help="default: results")
    track.add_argument("--frames", type=int, default=8, help="pictures in the strip (default: 8)")
    track.add_argument("--out", type=Path, help="default: <sequence>.png")

    rebuilt = commands.add_parser("reconstruction", help="input, masked, coarse and fine, of samples of the data")
    rebuilt.add_argument("--config", help="experiment; without --checkpoint, its newest weights in runs/<config>")
    rebuilt.add_argument("--checkpoint", type=Path, help="file of weights")
    rebuilt.add_argument("--paths", type=Path, help="where data sets lie (default: experiments/paths.yaml)")
    rebuilt.add_argument("--samples", type=int, default=4, help="how many (default: 4)")
    rebuilt.add_argument("--seed", type=int, default=0, help="of samples and masks (default: 0)")
    rebuilt.add_argument("--out", type=Path, default=Path("reconstruction.png"), help="default: reconstruction.png")

    arguments = parser.parse_args(argv)
    return _track(arguments) if arguments.command == "track" else _reconstruction(arguments)


def _track(arguments: argparse.Namespace) -> int:
    benchmark = find_benchmark(arguments.benchmark)
    dataset = benchmark.open(arguments.root, arguments.paths)
    results = find_results(arguments.results, benchmark, arguments.results_dir)
    picture = film_of_results(dataset, arguments.sequence, results, arguments.frames)
    print(save_picture(arguments.out or Path(f"{arguments.sequence}.png"), picture))
    return 0


def _reconstruction(arguments: argparse.Namespace) -> int:
    trained = read_trained_model(find_checkpoint(arguments.config, arguments.checkpoint), arguments.config)
    picture = picture_samples(
        trained.experiment, trained.state, arguments.samples, seed=arguments.seed, paths_file=arguments.paths
    )
    print(save_picture(arguments.out, picture))
    return 0


if __name__ == "__main__":
    run(main)
