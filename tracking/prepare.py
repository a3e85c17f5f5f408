"""Prepare data: check the data sets, pack or cut them for speed, write a drawn one as image files."""

import argparse
from pathlib import Path

from lib.config.cli import run
from lib.config.load import load
from lib.data.check import check, describe, parse_selection
from lib.data.cut_regions import cut_regions
from lib.data.datasets import DATASETS, open_dataset, stated_root
from lib.data.datasets.synthetic import SPLITS
from lib.data.pack import pack_folder
from lib.data.region_cache import Reach
from lib.data.render import DRAWN, IMAGE_FORMATS, open_drawn, render_dataset

_EXAMPLES = """examples:
  python tracking/prepare.py check
  python tracking/prepare.py render synthetic --out data/synthetic
  python tracking/prepare.py lmdb got10k --out /fast/got10k
  python tracking/prepare.py crops got10k:train --out /fast/got10k_crops

python tracking/prepare.py COMMAND --help says more about each command.
"""

_CHECK_EXAMPLES = """examples:
  python tracking/prepare.py check                                everything that experiments/paths.yaml states
  python tracking/prepare.py check lasot got10k:val --workers 8   only these
  python tracking/prepare.py check trackingnet:train_0-3 --full   four shards, every frame
  python tracking/prepare.py check folder --root data/my_videos

The annotation of every sequence is read. In 200 sequences missing frames are looked for and three frames are read; with
--full, all frames of all sequences. Of stills, 200 photographs are read, or all. An LMDB and a crop cache are checked
like the data set they were made of; some of TrackingNet's shards are complete by themselves. What is strange but
published so is a note. The exit code is 1 if anything asked for is missing, incomplete or damaged.
"""

_RENDER_EXAMPLES = """examples:
  python tracking/prepare.py render synthetic --out data/synthetic
  python tracking/prepare.py render synthetic --out data/easy --split train --sequences 50 --difficulty 0.3
  python tracking/prepare.py render stills --root my_photographs --out data/pasted

`stills` makes videos of a folder of photographs: objects cut out of some move over others. What is written has the
layout of own data, <sequence>/{img/*.jpg, groundtruth.txt, absent.txt, mask/*.png}, so
  python tracking/test.py static folder --root data/synthetic
works on it, and so does training on the data set `folder`. Sequences that are there already are kept: run the same
command again to resume.
"""

_LMDB_EXAMPLES = """examples:
  python tracking/prepare.py lmdb got10k --out /fast/got10k
  python tracking/prepare.py lmdb trackingnet --out /fast/trackingnet --only TRAIN_0 TRAIN_1
  python tracking/prepare.py lmdb folder --root data/my_videos --out /fast/my_videos

Files are stored with their own bytes, so nothing is lost. State DIR in experiments/paths.yaml (or --root) in place of
the data set's folder, and the same readers read it. Run the same command again to resume what was interrupted, or with
another --only to add to it.
"""

_CROPS_EXAMPLES = """examples:
  python tracking/prepare.py crops got10k:train --out /fast/got10k_crops
  python tracking/prepare.py crops folder --root data/my_videos --out /fast/my_crops --config mmg_vitb --workers 8

Keeps of each frame what training can ever need: the surroundings of the target, as far as the jittered crops of
--config reach and as sharp as they need. State DIR in experiments/paths.yaml in place of the data set's folder and
train as before; samples are the same but for interpolation and a second JPEG. For training only. Run the same command
again to resume, or with another split to add it.
"""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and prepare what it names."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_check(commands)
    _add_render(commands)
    _add_lmdb(commands)
    _add_crops(commands)
    arguments = parser.parse_args(argv)
    return arguments.execute(arguments)


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "check",
        help="say which data sets are there, complete and readable",
        description="Say which data sets are there, complete and readable.",
        epilog=_CHECK_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "datasets",
        nargs="*",
        metavar="DATASET[:SPLIT]",
        help=f"default: all whose folder is stated; known: {', '.join(DATASETS)}",
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder of the one data set that is named")
    parser.add_argument("--paths", type=Path, metavar="FILE", help="instead of experiments/paths.yaml")
    parser.add_argument("--full", action="store_true", help="read every frame; takes hours on the large sets")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="processes; default: 4")
    parser.set_defaults(execute=_check)


def _check(arguments: argparse.Namespace) -> int:
    if arguments.root is not None and len(arguments.datasets) != 1:
        raise ValueError("--root is the folder of one data set: name that one")
    selections = [parse_selection(text, arguments.root) for text in arguments.datasets]
    broken = False
    for report in check(selections, arguments.paths, arguments.full, arguments.workers):
        print(describe(report), flush=True)
        broken = broken or report.broken
    return 1 if broken else 0


def _add_render(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "render",
        help="write a drawn data set as image files",
        description="Write a drawn data set as image files, in the layout of own data.",
        epilog=_RENDER_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", choices=DRAWN, help="the data set to write")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that receives the sequences")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    parser.add_argument("--sequences", type=int, default=40, metavar="N", help="the first N of the split; default: 40")
    parser.add_argument("--frames", type=int, default=100, metavar="N", help="frames per sequence; default: 100")
    parser.add_argument(
        "--difficulty", type=float, default=1.0, metavar="X", help="0 (slow, unoccluded, alone) to 1; default: 1"
    )
    parser.add_argument("--format", choices=IMAGE_FORMATS, default="jpg", help="of the frames; default: jpg")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the photographs of stills, if not the stated folder")
    parser.add_argument("--paths", type=Path, metavar="FILE", help="instead of experiments/paths.yaml")
    parser.set_defaults(execute=_render)


def _render(arguments: argparse.Namespace) -> int:
    root = arguments.root
    if root is None and DATASETS[arguments.dataset].stored:
        root = stated_root(arguments.dataset, arguments.paths)
    dataset = open_drawn(
        arguments.dataset, arguments.split, arguments.sequences, arguments.frames, arguments.difficulty, root
    )
    written = render_dataset(dataset, arguments.out, arguments.format)
    print(f"wrote {written} sequences to {arguments.out}, {len(dataset) - written} were there already")
    return 0


def _add_lmdb(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "lmdb",
        help="pack the files of a data set into one LMDB",
        description="Pack the files of a data set into one LMDB.",
        epilog=_LMDB_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stored = [name for name, entry in DATASETS.items() if entry.stored]
    parser.add_argument("dataset", choices=stored, metavar="DATASET", help=f"one of {', '.join(stored)}")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the LMDB")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the data set's folder, if not the stated one")
    parser.add_argument("--paths", type=Path, metavar="FILE", help="instead of experiments/paths.yaml")
    parser.add_argument("--only", nargs="+", default=[], metavar="FOLDER", help="folders within it; default: all")
    parser.add_argument("--full", action="store_true", help="compare every file byte by byte at the end, not 1 in 50")
    parser.set_defaults(execute=_lmdb)


def _lmdb(arguments: argparse.Namespace) -> int:
    root = arguments.root or stated_root(arguments.dataset, arguments.paths)
    if root is None:
        raise FileNotFoundError(f"where is {arguments.dataset}? Give --root DIR, or state it in experiments/paths.yaml")
    report = pack_folder(root, arguments.out, arguments.only, compare_all=arguments.full)
    print(f"{arguments.out}: {report.files} files, {report.size / 1e9:.2f} GB; {report.kept} were there already, "
          f"{report.compared} compared byte by byte")  # fmt: skip
    return 0


def _add_crops(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "crops",
        help="cut a training set to the surroundings of its targets",
        description="Cut a training set to the surroundings of its targets.",
        epilog=_CROPS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", metavar="DATASET[:SPLIT]", help="default split: train")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the LMDB that is written")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the data set's folder, if not the stated one")
    parser.add_argument("--paths", type=Path, metavar="FILE", help="instead of experiments/paths.yaml")
    parser.add_argument("--config", default="mmg_vitb", help="whose crops and jitter; default: mmg_vitb")
    parser.add_argument("--quality", type=int, default=90, metavar="N", help="of the JPEG written; default: 90")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads; default: 2")
    parser.set_defaults(execute=_crops)


def _crops(arguments: argparse.Namespace) -> int:
    name, _, split = arguments.dataset.partition(":")
    split = split or "train"
    experiment = load(arguments.config)
    dataset = open_dataset(name, split, arguments.root, arguments.paths)
    reach = Reach.of(experiment.data, experiment.crop)
    report = cut_regions(
        dataset, split, arguments.out, reach, name, quality=arguments.quality, workers=arguments.workers
    )
    print(f"{arguments.out}: {report.sequences} sequences, {report.kept} of them were there already; {report.frames} "
          f"regions written, {report.size / 1e9:.3f} GB cut from {report.source_size / 1e9:.3f} GB")  # fmt: skip
    return 0


if __name__ == "__main__":
    run(main)
