"""Learning curves from the logs that training writes: a value against samples seen, runs of several seeds together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from lib.config.text import is_a, parse_json, read_yaml_mapping, suggest
from lib.eval.score.seeds import Spread, group_runs

Axis = Literal["samples", "step"]
AXES: tuple[Axis, ...] = get_args(Axis)
_LOG, _CONFIG = "log.jsonl", "config.yaml"
_KEYS = {"kind": str, "step": int, "epoch": int}  # of a line, beside its values


@dataclass(frozen=True)
class Curve:
    """One run: `values[i]` was logged at `places[i]` of the axis; places ascend."""

    run: str
    places: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class LearningCurve:
    """The runs of one config, which differ in their seed.

    `places` are where every run has a value, `spreads` those values; empty when there is no such place.
    """

    config: str
    runs: tuple[Curve, ...]
    places: tuple[float, ...]
    spreads: tuple[Spread, ...]


def read_learning_curves(
    runs: Sequence[str], key: str = "mean_iou", *, kind: str = "validation", axis: Axis = "samples"
) -> tuple[LearningCurve, ...]:
    """Read one value of the logs of several runs, and group the runs `X.seed<N>` as X.

    Args:
        runs: folders of runs, or their `log.jsonl`.
        key: name of the value, such as mean_iou, total, or the name of a loss.
        kind: of the lines that hold it: validation or train.
        axis: what it is read against. Samples are those of the training set that the steps until then have used.

    Raises FileNotFoundError where there is no such run, ValueError for a damaged log or one without such values.
    """
    logs = [_find_log(run) for run in runs]
    if len({log.resolve() for log in logs}) < len(logs):
        raise ValueError(f"a run is named twice: {', '.join(runs)}")
    names = [log.resolve().parent.name for log in logs]
    if len(set(names)) < len(names):  # such as a/mmg_tiny and b/mmg_tiny
        names = [str(log.parent) for log in logs]
    curves = {name: _read_curve(log, name, key, kind, axis) for name, log in zip(names, logs, strict=True)}
    return tuple(_join(config, [curves[run] for run in group]) for config, group in group_runs(names).items())


def _find_log(run: str) -> Path:
    path = Path(run)
    log = path / _LOG if path.is_dir() else path
    if log.name != _LOG or not log.is_file():
        near = sorted(str(found.parent) for found in path.parent.glob(f"*/{_LOG}"))
        there = f"{suggest(run, near)}; runs there: {', '.join(near)}" if near else ""
        raise FileNotFoundError(f"no run {run!r}: a run is a folder with a {_LOG}, such as runs/mmg_tiny{there}")
    return log


def _read_curve(log: Path, name: str, key: str, kind: str, axis: Axis) -> Curve:
    lines = _read_lines(log)
    of_kind = [line for line in lines if line["kind"] == kind]
    if not of_kind:
        raise ValueError(f"{log} has no lines of the kind {kind!r} (yet): the run has to reach one, or give --kind")
    found = {line["step"]: line for line in of_kind if is_a(line.get(key), float)}  # of a repeated step the last
    if not found:
        known = sorted({name for line in of_kind for name, value in line.items() if is_a(value, float)} - _KEYS.keys())
        raise ValueError(f"{log} has no {kind} value {key!r}{suggest(key, known)}; it has {', '.join(known)}")
    each = _samples_per_step(log, lines) if axis == "samples" else 1
    points = sorted((step * each, float(line[key])) for step, line in found.items())
    return Curve(name, tuple(place for place, _ in points), tuple(value for _, value in points))


def _read_lines(log: Path) -> list[dict[str, Any]]:
    texts = log.read_text(encoding="utf-8", errors="replace").split("\n")
    lines = []
    for row, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            line = parse_json(text)
        except ValueError as error:
            if row == len(texts):  # a run in progress is writing it
                break
            raise ValueError(f"{log}, row {row}: not JSON: {text[:80]!r}") from error
        if not isinstance(line, dict) or not all(is_a(line.get(key), each) for key, each in _KEYS.items()):
            raise ValueError(f"{log}, row {row}: expected kind, step and epoch, found {text[:80]!r}")
        lines.append(line)
    return lines


def _samples_per_step(log: Path, lines: list[dict[str, Any]]) -> float:
    """Return how many training samples a step has used, from the run's config and the length of its epochs.

    An epoch is as many samples as the config says, and ends with a line of its last step; so the number of processes,
    which no file of a run states, need not be known.
    """
    path = log.with_name(_CONFIG)
    cure = "give --against step"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, which says how many samples an epoch has: {cure}")
    try:
        config = read_yaml_mapping(path)
        samples_per_epoch, batch_size = config["data"]["samples_per_epoch"], config["train"]["batch_size"]
        if not is_a([samples_per_epoch, batch_size], list[int]) or min(samples_per_epoch, batch_size) < 1:
            raise ValueError
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} does not say how many samples an epoch has: {cure}") from error
    first_epoch = [line["step"] for line in lines if line["epoch"] == 1 and line["step"] > 0]
    if any(line["epoch"] > 1 or line["kind"] == "validation" for line in lines) and first_epoch:
        return samples_per_epoch / max(first_epoch)
    return batch_size  # within its first epoch; of several processes each takes as many


def _join(config: str, runs: Sequence[Curve]) -> LearningCurve:
    values = [dict(zip(run.places, run.values, strict=True)) for run in runs]
    places = tuple(place for place in runs[0].places if all(place in each for each in values))
    spreads = tuple(Spread(tuple(each[place] for each in values)) for place in places)
    return LearningCurve(config, tuple(runs), places, spreads)
