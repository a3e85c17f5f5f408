"""Results that `--overwrite` replaces: each is kept in a folder of its own until its successor is there."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from lib.eval.results import RECORD_NAME, ResultFiles, result_names

FOLDER = "replaced"


def set_aside(folder: Path, sequences: Iterable[str] | None) -> None:
    """Move results away, so that nothing old is taken for new and an interrupted run loses nothing.

    Each file is renamed, and a sequence's boxes go first: a result that lies half here, half there counts as none.

    Args:
        folder: of the result files; they go to a folder within.
        sequences: whose results; None for whatever is there.
    """
    if sequences is None:
        with_boxes = result_names(folder)
        files = sorted(folder.glob("*.txt"), key=lambda path: path.stem not in with_boxes)
    else:
        files = [path for sequence in sequences for path in ResultFiles(folder, sequence).all if path.is_file()]
    if not files:
        return
    aside = folder / FOLDER
    aside.mkdir(exist_ok=True)
    _move_record(folder / RECORD_NAME, aside / RECORD_NAME, others=any(aside.glob("*.txt")))
    for path in files:
        path.replace(aside / path.name)


def forget_replaced(folder: Path, sequences: Iterable[str]) -> int:
    """Remove what was set aside of sequences whose new results are complete; return how many others are kept."""
    aside = folder / FOLDER
    if not aside.is_dir():
        return 0
    for sequence in sequences:
        ResultFiles(aside, sequence).remove()
    kept = result_names(aside)
    if not kept:
        shutil.rmtree(aside)
    return len(kept)


def _move_record(source: Path, target: Path, *, others: bool) -> None:
    """Copy the record along; where results of another record lie already, none is true of all, and none is kept."""
    text = source.read_text(encoding="utf-8") if source.is_file() else None
    if text is None or (others and not (target.is_file() and target.read_text(encoding="utf-8") == text)):
        target.unlink(missing_ok=True)
    else:
        target.write_text(text, encoding="utf-8")
