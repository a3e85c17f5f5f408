"""Pack the results of a benchmark whose truth is kept by a server, ready to hand in."""

import sys
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import add_data_options, command_parser, run
from lib.eval.benchmarks import BENCHMARKS
from lib.eval.report.submit import SERVERS, find_submission, pack

_EXAMPLES = """examples:
  python tracking/submit.py got10k mmg/mmg_vitb_got10k --out got10k.zip
  python tracking/submit.py trackingnet mmg/mmg_vitb --out trackingnet.zip --root /data/trackingnet

Every sequence must be there, with one finite box per frame. The number of frames is checked where the data set is at
hand (--root, MMG_GOT10K, MMG_TRACKINGNET or experiments/paths.yaml). The result files are only read.
"""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, pack, say what was packed."""
    parser = command_parser(__doc__, _EXAMPLES)
    parser.add_argument("server", help=f"one of {', '.join(SERVERS)}")
    parser.add_argument("result", metavar="RESULT", help="tracker/config as found in the results folder, or any folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the zip archive to write")
    add_data_options(parser)
    parser.add_argument("--results-dir", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    arguments = parser.parse_args(argv)

    server, folder = find_submission(arguments.server, arguments.result, arguments.results_dir)
    dataset = BENCHMARKS[server.benchmark].open_if_stated(arguments.root, arguments.paths)
    packed = pack(server, folder, arguments.out, dataset)
    print(f"{packed.num_sequences} sequences, {packed.num_frames} frames in {arguments.out}; hand in at {server.url}")
    if packed.num_unchecked:
        print(f"note: {packed.num_unchecked} sequences are not at hand, so their numbers of rows were not checked")
    if packed.num_non_finite:
        print(f"NOT FINITE: {packed.num_non_finite} boxes; each repeats the one before it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run(main)
