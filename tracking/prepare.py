"""Prepare data: check the data sets, pack or cut them for speed, write a drawn one as image files or for VOT."""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    import _checkout  # noqa: F401

from lib.config.cli import add_data_options, add_mask_options, command_parser, count, run
from lib.config.load import load
from lib.data.check import check, describe, parse_selection
from lib.data.crop_cache.cache import Reach
from lib.data.crop_cache.cut import QUALITY, cut_crops
from lib.data.datasets import DATASETS, open_dataset, stated_root
from lib.data.datasets.synthetic import SPLITS
from lib.data.render import DRAWN, IMAGE_FORMATS, open_drawn, render_dataset
from lib.data.storage.lmdb_writer import write_lmdb
from lib.eval.vot.workspace import VOT2020, LocalData, is_workspace, write_genuine_workspace, write_local_workspace

_EXAMPLES = """examples:
  python tracking/prepare.py check
  python tracking/prepare.py render synthetic --out data/synthetic
  python tracking/prepare.py lmdb got10k --out /fast/got10k
  python tracking/prepare.py crops got10k:train --out /fast/got10k_crops
  python tracking/prepare.py vot-workspace votwork --tracker mmg --config mmg_tiny

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
the data set's folder, and the same readers read it. Run the same command again to resume what was interrupted or to
follow what was changed, added or removed since, or with another --only to add to it.
"""

_CROPS_EXAMPLES = """examples:
  python tracking/prepare.py crops got10k:train --out /fast/got10k_crops
  python tracking/prepare.py crops folder --root data/my_videos --out /fast/my_crops --config mmg_vitb --workers 8

Keeps of each frame what training can ever need: the surroundings of the target, as far as the jittered crops of
--config reach and as sharp as they need. State DIR in experiments/paths.yaml in place of the data set's folder and
train as before; samples are the same but for interpolation and a second JPEG. For training only. Run the same command
again to resume, or when boxes or pictures have changed: what is old is cut again. Or run it with another split.
"""

_VOT_EXAMPLES = """examples:
  python tracking/prepare.py vot-workspace votwork --tracker mmg --config mmg_tiny        drawn videos, box masks
  python tracking/prepare.py vot-workspace votwork --tracker static                       one tracker more in it
  python tracking/prepare.py vot-workspace vot2020 --stack vot2020/shortterm --tracker mmg --config mmg_vitb \\
      --masks alpha_refine --refine-checkpoint refine.pth

Needs pip install -e '.[vot]'. Then the VOT toolkit does the rest:
  vot evaluate --workspace votwork mmg_tiny static
  vot analysis --workspace votwork --format json
  vot report --workspace votwork
  vot pack --workspace votwork mmg_tiny

Run the command again to add a tracker; what is there is kept. The tracker `oracle` answers the ground truth: it must
score an EAO and A near 1; with --masks, it answers what a backend makes of the true boxes. The toolkit downloads the
videos of vot2020/shortterm, unless --sequences-dir has them. It keeps results by the tracker's name; so weights that
change afterwards are refused, and need another --name.
"""


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and prepare what it names."""
    parser = command_parser(__doc__, _EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_check(commands)
    _add_render(commands)
    _add_lmdb(commands)
    _add_crops(commands)
    _add_vot_workspace(commands)
    arguments = parser.parse_args(argv)
    return arguments.execute(arguments)


def _add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary[0].lower() + summary[1:].rstrip("."),
        description=summary,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add_command(commands, "check", "Say which data sets are there, complete and readable.", _CHECK_EXAMPLES)
    parser.add_argument(
        "datasets",
        nargs="*",
        metavar="DATASET[:SPLIT]",
        help=f"default: all whose folder is stated; known: {', '.join(DATASETS)}",
    )
    add_data_options(parser)
    parser.add_argument("--full", action="store_true", help="read every frame; takes hours on the large sets")
    parser.add_argument("--workers", type=count, default=4, metavar="N", help="processes; default: 4")
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
    parser = _add_command(
        commands, "render", "Write a drawn data set as image files, in the layout of own data.", _RENDER_EXAMPLES
    )
    parser.add_argument("dataset", choices=DRAWN, help="the data set to write")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that receives the sequences")
    parser.add_argument("--split", choices=SPLITS, default="test", help="default: test")
    parser.add_argument(
        "--sequences", type=count, default=40, metavar="N", help="the first N of the split; default: 40"
    )
    parser.add_argument("--frames", type=count, default=100, metavar="N", help="frames per sequence; default: 100")
    parser.add_argument(
        "--difficulty", type=float, default=1.0, metavar="X", help="0 (slow, unoccluded, alone) to 1; default: 1"
    )
    parser.add_argument("--format", choices=IMAGE_FORMATS, default="jpg", help="of the frames; default: jpg")
    add_data_options(parser)
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
    parser = _add_command(commands, "lmdb", "Pack the files of a data set into one LMDB.", _LMDB_EXAMPLES)
    stored = [name for name, entry in DATASETS.items() if entry.stored]
    parser.add_argument("dataset", choices=stored, metavar="DATASET", help=f"one of {', '.join(stored)}")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the LMDB")
    add_data_options(parser)
    parser.add_argument("--only", nargs="+", default=[], metavar="FOLDER", help="folders within it; default: all")
    parser.add_argument("--full", action="store_true", help="compare every file byte by byte at the end, not 1 in 50")
    parser.set_defaults(execute=_lmdb)


def _lmdb(arguments: argparse.Namespace) -> int:
    root = arguments.root or stated_root(arguments.dataset, arguments.paths)
    if root is None:
        raise FileNotFoundError(f"where is {arguments.dataset}? Give --root DIR, or state it in experiments/paths.yaml")
    report = write_lmdb(root, arguments.out, arguments.only, compare_all=arguments.full)
    print(f"{arguments.out}: {report.files} files, {report.size / 1e9:.2f} GB; {report.kept} were there already, "
          f"{report.removed} removed that are gone, {report.compared} compared byte by byte")  # fmt: skip
    return 0


def _add_crops(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add_command(commands, "crops", "Cut a training set to the surroundings of its targets.", _CROPS_EXAMPLES)
    parser.add_argument("dataset", metavar="DATASET[:SPLIT]", help="default split: train")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the LMDB that is written")
    add_data_options(parser)
    parser.add_argument("--config", default="mmg_vitb", help="whose crops and jitter; default: mmg_vitb")
    parser.add_argument("--quality", type=count, default=QUALITY, metavar="N",
                        help=f"of the JPEG written; default: {QUALITY}")  # fmt: skip
    parser.add_argument("--workers", type=count, default=2, metavar="N", help="threads; default: 2")
    parser.set_defaults(execute=_crops)


def _crops(arguments: argparse.Namespace) -> int:
    name, _, split = arguments.dataset.partition(":")
    split = split or "train"
    experiment = load(arguments.config)
    dataset = open_dataset(name, split, arguments.root, arguments.paths)
    root = (arguments.root or stated_root(name, arguments.paths)) if DATASETS[name].stored else None
    reach = Reach.of(experiment.data, experiment.crop)
    report = cut_crops(
        dataset, split, arguments.out, reach, name, root=root, quality=arguments.quality, workers=arguments.workers
    )
    print(f"{arguments.out}: {report.sequences} sequences, {report.kept} of them were there already; crops of "
          f"{report.frames} frames written, {report.size / 1e9:.3f} GB cut from {report.source_size / 1e9:.3f} GB; "
          f"{report.removed} files removed that were old")  # fmt: skip
    return 0


def _add_vot_workspace(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    local = LocalData()
    parser = _add_command(
        commands, "vot-workspace", "Write a workspace of the VOT toolkit, or add a tracker to one.", _VOT_EXAMPLES
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the workspace")
    parser.add_argument("--tracker", required=True, type=str.lower, help="a name of tracking/test.py, or oracle")
    parser.add_argument("--config", help="experiment of a trained tracker, by name or path")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights; default: the newest of runs/<config>")
    add_mask_options(parser, "how boxes become masks: box (default) or alpha_refine")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--name", help="the toolkit's name for the tracker; default: its own or its config's")
    parser.add_argument("--stack", choices=("drawn", VOT2020), help="default: what is there, else drawn: a few videos")
    parser.add_argument("--sequences", type=count, metavar="N", help=f"drawn videos; default: {local.sequences}")
    parser.add_argument("--frames", type=count, metavar="N", help=f"length of a drawn video; default: {local.frames}")
    parser.add_argument("--anchors", type=count, metavar="N",
                        help=f"frames between the runs' starts in a drawn video; default: {local.spacing}")  # fmt: skip
    parser.add_argument("--sequences-dir", type=Path, metavar="DIR", help=f"folder of the videos of {VOT2020}")
    parser.set_defaults(execute=_vot_workspace)


def _vot_workspace(arguments: argparse.Namespace) -> int:
    # Loaded here: the other commands of this file do without PyTorch.
    from lib.eval.vot.registry import ORACLE, add_tracker, describe_oracle, describe_tracker
    from lib.tracker import TrackerSpec
    from lib.tracker.masks import MaskSpec

    sizes = {"sequences": arguments.sequences, "frames": arguments.frames, "spacing": arguments.anchors}
    stated = {name: size for name, size in sizes.items() if size is not None}
    genuine = arguments.stack == VOT2020
    if (stated and genuine) or (arguments.sequences_dir is not None and not genuine):
        raise ValueError(f"--sequences, --frames and --anchors are for drawn videos, --sequences-dir for {VOT2020}")
    program = Path(__file__).with_name("vot.py")
    masks = MaskSpec(arguments.masks or "box", arguments.refine_checkpoint, arguments.device, arguments.mask_threshold)
    if arguments.tracker == ORACLE:
        entry = describe_oracle(program, masks if arguments.masks else None, arguments.name)
    else:
        tracker = TrackerSpec(arguments.tracker, arguments.config, arguments.checkpoint, arguments.device, "vot2020")
        entry = describe_tracker(program, tracker, masks, arguments.name)
    if genuine:
        write_genuine_workspace(arguments.folder, arguments.sequences_dir)
    elif stated or arguments.stack or not is_workspace(arguments.folder):
        write_local_workspace(arguments.folder, LocalData(**stated))
    added = add_tracker(arguments.folder, entry)
    print(f"{arguments.folder}: {'added' if added else 'has'} the tracker {entry.name}")
    for path in entry.weights:
        if not path.is_file():
            print(f"note: there is no {path} yet; the tracker cannot start without it", file=sys.stderr)
    return 0


if __name__ == "__main__":
    run(main)
