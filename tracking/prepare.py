"""Prepare data: write a drawn data set as image files."""

import argparse
from pathlib import Path

from lib.config.cli import run
from lib.data.datasets.synthetic import SPLITS, SyntheticDataset
from lib.data.render import IMAGE_FORMATS, render_dataset
from lib.data.scene import SceneStyle

_EXAMPLES = """examples:
  python tracking/prepare.py render synthetic --out data/synthetic
  python tracking/prepare.py render synthetic --out /tmp/easy --split train --sequences 50 --difficulty 0.3

What it writes has the layout of own data, <sequence>/{img/*.jpg, groundtruth.txt, absent.txt, mask/*.png}, so
  python tracking/test.py static folder --root data/synthetic
works on it. Sequences that are there already are kept: run the same command again to resume.
"""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and prepare what it names."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    render = commands.add_parser(
        "render",
        help="write a drawn data set as image files",
        description="Write a drawn data set as image files, in the layout of own data.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    render.add_argument("dataset", choices=("synthetic",), help="the data set to write")
    render.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that receives the sequences")
    render.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    render.add_argument("--sequences", type=int, default=40, metavar="N", help="the first N of the split; default: 40")
    render.add_argument("--frames", type=int, default=100, metavar="N", help="frames per sequence; default: 100")
    render.add_argument(
        "--difficulty", type=float, default=1.0, metavar="X", help="0 (slow, unoccluded, alone) to 1; default: 1"
    )
    render.add_argument("--format", choices=IMAGE_FORMATS, default="jpg", help="of the frames; default: jpg")
    arguments = parser.parse_args(argv)

    style = SceneStyle(difficulty=arguments.difficulty)
    dataset = SyntheticDataset(arguments.split, arguments.sequences, arguments.frames, style)
    written = render_dataset(dataset, arguments.out, arguments.format)
    print(f"wrote {written} sequences to {arguments.out}, {len(dataset) - written} were there already")
    return 0


if __name__ == "__main__":
    run(main)
