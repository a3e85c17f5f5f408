"""Read an experiment from strict YAML: `base:` inheritance, every key and value checked, errors that name the place."""

import dataclasses
import math
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import yaml

from lib.config.consistency import check_together
from lib.config.refine_schema import RefineExperiment
from lib.config.schema import Experiment
from lib.config.text import YAML_ERRORS, check_name, read_text, suggest

# Knobs of earlier versions, which stored configs have, with their defaults; only those can still be used.
_GONE = {"model.encoder.init": "default"}

_MOST_VALUES = 10_000  # of a section; the largest experiment has about a hundred

_ROOT = Path(__file__).resolve().parents[2]
_INSTALLED = _ROOT / "mmg_tracker" / "experiments"  # where a wheel puts them; in a copy of the repository: at the top
EXPERIMENTS = _INSTALLED if _INSTALLED.is_dir() else _ROOT / "experiments"

# What `kind:` may be at the top of an experiment; a tracker's has none.
KINDS = {"refine": RefineExperiment}


class Value(NamedTuple):
    """A plain YAML value and the place it came from, such as `experiments/mmg_vitb.yaml:12`."""

    plain: Any
    place: str


Flat = dict[str, Value]  # dotted key -> value


def load(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Load a tracker's experiment; arguments and errors as in `load_any`, and another kind is an error too."""
    experiment = load_any(name_or_path, overrides)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{name_or_path} is of kind: {experiment.kind}, a mask network; here a tracker's experiment "
                         "is needed, such as mmg_tiny")  # fmt: skip
    return experiment


def load_any(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Experiment | RefineExperiment:
    """Load an experiment of any kind by file name, by path, or by its name below `experiments/`.

    Args:
        name_or_path: `mmg_vitb`, `table4_none` (found in any subfolder), or a path ending in `.yaml`.
        overrides: settings such as `train.lr=1e-4`, applied last and through the same checks.

    Raises:
        FileNotFoundError: no such experiment.
        ValueError: an unknown or missing key, a value of the wrong type or out of range; names file, key and value.
    """
    path = find_experiment(name_or_path)
    flat = _read_with_base(path, seen=())
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ValueError(f"--set {override}: write it as section.key=value")
        _merge(flat, _flatten(_parse(text, f"--set {key}"), key.strip(), f"--set {key}"))
    return _build_experiment(flat, path.stem, str(path))


def find_experiment(name_or_path: str | Path) -> Path:
    """Resolve a name or path to the experiment's file, or raise FileNotFoundError with the closest name."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        for candidate in (path, EXPERIMENTS / path):
            if candidate.is_file():
                return candidate
        raise FileNotFoundError(f"no experiment file {path}")
    direct = EXPERIMENTS / f"{path}.yaml"
    if direct.is_file():
        return direct
    known = {file.stem: file for file in sorted(EXPERIMENTS.rglob("*.yaml"))}
    if str(path) in known:
        return known[str(path)]
    raise FileNotFoundError(f"no experiment named {str(path)!r} under {EXPERIMENTS}{suggest(str(path), known)}")


def read_flat(path: Path) -> Flat:
    """Read a YAML file into dotted keys, each with its value and place; ValueError, by line and key, for no mapping."""
    flat = _flatten(_parse(read_text(path), str(path)), "", str(path))
    if "" in flat:
        raise ValueError(f"{flat[''].place}: needs a mapping, one `key: value` a line, got {flat[''].plain!r}")
    return flat


def experiment_from_dict(plain: Mapping[str, Any], place: str) -> Experiment:
    """Rebuild an experiment from `experiment_to_dict`, with all checks; `place` names its origin in errors."""
    experiment = any_from_dict(plain, place)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{place} holds a mask network (kind: {experiment.kind}), not a tracker; in tests and "
                         "demos it belongs to --masks alpha_refine, as --refine-checkpoint")  # fmt: skip
    return experiment


def refine_from_dict(plain: Mapping[str, Any], place: str) -> RefineExperiment:
    """Rebuild a mask network's experiment; as `experiment_from_dict`."""
    experiment = any_from_dict(plain, place)
    if not isinstance(experiment, RefineExperiment):
        raise ValueError(f"{place} holds a tracker, not a mask network (kind: refine); in tests and demos it "
                         "belongs to --checkpoint")  # fmt: skip
    return experiment


def any_from_dict(plain: Mapping[str, Any], place: str) -> Experiment | RefineExperiment:
    """Rebuild an experiment of any kind; as `experiment_from_dict`."""
    if not isinstance(plain.get("name"), str):
        raise ValueError(f"{place}: the stored config has no name")
    flat: Flat = {}
    try:
        for key, value in plain.items():
            if key != "name":
                _flatten_plain(value, str(key), place, flat)
    except RecursionError as error:
        raise ValueError(f"{place}: the stored config is nested without end") from error
    return _build_experiment(flat, plain["name"], place)


def experiment_to_dict(experiment: Experiment | RefineExperiment) -> dict[str, Any]:
    """Return plain dicts, lists and scalars, ready for YAML, JSON or a checkpoint."""
    return _plain(dataclasses.asdict(experiment))


def flatten(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested dict as dotted keys, to compare two experiments."""
    flat: Flat = {}
    for key, value in plain.items():
        _flatten_plain(value, key, "", flat)
    return {key: value.plain for key, value in flat.items()}


def differing_keys(one: Experiment | RefineExperiment, other: Experiment | RefineExperiment) -> list[str]:
    """Return the dotted keys in which two experiments differ, but for the name and for knobs that are free."""
    ones, others = flatten(experiment_to_dict(one)), flatten(experiment_to_dict(other))
    free = ("name", *(key for key, _, about in _knobs(type(one)) if about["free"]))
    return sorted(
        key
        for key in ones.keys() | others.keys()
        if ones.get(key) != others.get(key) and not any(f"{key}.".startswith(f"{each}.") for each in free)
    )


def describe(cls: type = Experiment) -> list[str]:
    """Return one line per knob: dotted key, type and what it is."""
    return [f"{key}: {_type_name(kind)}. {about['about']}" for key, kind, about in _knobs(cls)]


def _knobs(cls: type, prefix: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Yield the dotted key of each knob, its type, and what it was declared with."""
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from _knobs(hints[item.name], f"{prefix}{item.name}.")
        elif item.metadata:
            yield f"{prefix}{item.name}", hints[item.name], item.metadata


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that reads `1e-4` as a number, as YAML 1.2 does."""


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)$|^[-+]?(\d[\d_]*\.[\d_]*|\.\d+)$|^[-+]?\.inf$|^\.nan$"
    ),
    list("-+0123456789."),
)


def _parse(text: str, place: str) -> yaml.Node | None:
    try:
        root = yaml.compose(text, Loader=_StrictLoader)
    except RecursionError as error:
        raise ValueError(f"{place}: not valid YAML: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{place}: not valid YAML: {' '.join(str(error).split())}") from error
    for key, value in root.value if isinstance(root, yaml.MappingNode) else [(root, root)]:
        # An alias stands for all that its anchor holds, which may be itself.
        values, left = [value], _MOST_VALUES
        while values and left:
            node, left = values.pop(), left - 1
            if isinstance(node, yaml.CollectionNode):
                values += [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        if values:
            raise ValueError(f"{place}: {key.value if isinstance(key, yaml.ScalarNode) else 'the text'} holds more "
                             f"than {_MOST_VALUES} values, its aliases written out, or refers to itself")  # fmt: skip
    return root


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> Flat:
    """Read one file over its `base:`, nearest file last."""
    if path.resolve() in seen:
        raise ValueError(f"{path}: `base:` leads back to itself through {[str(p) for p in seen]}")
    flat = read_flat(path)
    base = flat.pop("base", None)
    if base is None:
        return flat
    if not isinstance(base.plain, str):
        raise ValueError(f"{base.place}: base: must be the name or path of an experiment, got {base.plain!r}")
    beside = path.parent / f"{base.plain}.yaml"
    try:
        found = beside if beside.is_file() else find_experiment(base.plain)
    except OSError as error:
        raise ValueError(f"{base.place}: base: {error}") from error
    merged = _read_with_base(found, (*seen, path.resolve()))
    _merge(merged, flat)
    return merged


def _merge(target: Flat, changes: Flat) -> None:
    """Apply dotted keys; a whole section given as an empty mapping or scalar replaces what was below it."""
    for key, value in changes.items():
        parts = key.split(".")
        for stale in [".".join(parts[:depth]) for depth in range(1, len(parts))]:
            target.pop(stale, None)
        for stale in [other for other in target if other.startswith(f"{key}.")]:
            del target[stale]
        target[key] = value


def _flatten(node: yaml.Node | None, prefix: str, place: str) -> Flat:
    """Turn a YAML tree into dotted keys with `file:line` places; lists and empty mappings are values."""
    if node is None:
        return {} if not prefix else {prefix: Value(None, place)}
    here = place if place.startswith("--set") else f"{place}:{node.start_mark.line + 1}"
    if not isinstance(node, yaml.MappingNode) or (prefix and not node.value):
        loader = _StrictLoader("")
        try:
            return {prefix: Value(loader.construct_document(node), here)}
        except YAML_ERRORS as error:
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"{here}: {prefix or 'the text'} has no value that can be read: {said}") from error
    flat: Flat = {}
    for key_node, value_node in node.value:
        line = here if place.startswith("--set") else f"{place}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise ValueError(f"{line}: a key must be a plain word")
        key = f"{prefix}.{key_node.value}" if prefix else key_node.value
        part = _flatten(value_node, key, place)
        if any(f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}.") for other in flat):
            raise ValueError(f"{line}: {key} is given twice")
        flat.update(part)
    return flat


def _flatten_plain(value: Any, key: str, place: str, flat: Flat) -> None:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            _flatten_plain(inner, f"{key}.{name}", place, flat)
    else:
        flat[key] = Value(value, place)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _build_experiment(flat: Flat, name: str, file: str) -> Experiment | RefineExperiment:
    check_name(name, file)
    if "name" in flat:
        raise ValueError(f"{flat['name'].place}: an experiment is named by its file; leave out name:")
    flat = {"name": Value(name, file), **flat}
    schema: Any = Experiment
    if kind := flat.get("kind"):
        if kind.plain not in KINDS:
            raise ValueError(f"{kind.place}: kind must be {', '.join(KINDS)}, or be left out for a tracker, got "
                             f"{kind.plain!r}{suggest(str(kind.plain), KINDS)}")  # fmt: skip
        schema = KINDS[kind.plain]
    for key, was in _GONE.items():
        if (value := flat.pop(key, None)) is not None and value.plain != was:
            raise ValueError(f"{value.place}: {key} is gone, and {value.plain!r} is not what was its default, {was!r}")
    unknown = [key for key in flat if not _is_known(key, schema)]
    if unknown:
        options = [line.split(":")[0] for line in describe(schema)]
        section, _, last = unknown[0].lower().rpartition(".")
        same = [option for option in options if option.rpartition(".")[2] == last]
        if not same and not section and len(last) > 2:
            same = sorted((option for option in options if last in option.rpartition(".")[2]), key=len)
        hint = f" (did you mean {' or '.join(map(repr, same))}?)" if same else suggest(unknown[0], options)
        raise ValueError(f"{flat[unknown[0]].place}: unknown key {unknown[0]}{hint}")
    experiment = _build(schema, flat, "", file)
    check_together(experiment, file)
    return experiment


def _is_known(key: str, schema: Any) -> bool:
    """True when the dotted key names a knob, an entry of a dict knob, or a section given as an empty mapping."""
    kind = schema
    for part in key.split("."):
        if get_origin(kind) is dict:
            return True
        if not dataclasses.is_dataclass(kind) or part not in get_type_hints(kind):
            return False
        kind = get_type_hints(kind)[part]
    return True


def _build(cls: Any, flat: Flat, prefix: str, file: str) -> Any:
    """Fill one dataclass from the dotted keys below `prefix`."""
    hints = get_type_hints(cls)
    values = {}
    for item in dataclasses.fields(cls):
        key, kind = f"{prefix}{item.name}", hints[item.name]
        if dataclasses.is_dataclass(kind):
            if key in flat and flat[key].plain not in (None, {}):
                raise ValueError(f"{flat[key].place}: {key} is a section, got {flat[key].plain!r}")
            values[item.name] = _build(kind, flat, f"{key}.", file)
        elif get_origin(kind) is dict:
            inner = {k: v for k, v in flat.items() if k.startswith(f"{key}.")}
            if key not in flat and not inner:
                raise ValueError(f"{file}: {key} is missing: {item.metadata['about']}")
            if key in flat and flat[key].plain != {}:
                raise ValueError(f"{flat[key].place}: {key} must be a mapping, got {flat[key].plain!r}")
            element = get_args(kind)[1]
            values[item.name] = {k[len(key) + 1 :]: _checked(v, k, element, item.metadata) for k, v in inner.items()}
        elif key in flat:
            values[item.name] = _checked(flat[key], key, kind, item.metadata)
        elif item.default is dataclasses.MISSING:
            raise ValueError(f"{file}: {key} is missing: {item.metadata['about']}")
    return cls(**values)


def _checked(value: Value, key: str, kind: Any, metadata: Mapping[str, Any]) -> Any:
    """Return the value as `kind`, or raise ValueError naming place, key, value and what is expected."""
    plain, origin = value.plain, get_origin(kind)
    if origin in (Union, types.UnionType):
        if plain is None:
            return None
        kind = next(option for option in get_args(kind) if option is not type(None))
        return _checked(value, key, kind, metadata)
    if origin is Literal:
        if plain not in get_args(kind) or isinstance(plain, bool):
            hint = suggest(str(plain), get_args(kind))
            raise ValueError(f"{value.place}: {key} must be {_type_name(kind)}, got {plain!r}{hint}")
        return plain
    if origin is tuple:
        if not isinstance(plain, list | tuple):
            raise ValueError(f"{value.place}: {key} must be a list, got {plain!r}")
        element = get_args(kind)[0]
        items = [(Value(item, value.place), f"{key}[{number}]") for number, item in enumerate(plain)]
        if not dataclasses.is_dataclass(element):
            return tuple(_checked(item, name, element, metadata) for item, name in items)
        return tuple(_checked_item(item, name, element) for item, name in items)
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool) and abs(plain) < 2**1000:
        plain = float(plain)
    if isinstance(plain, int) and plain.bit_length() > 64:
        raise ValueError(f"{value.place}: {key} is a number of {plain.bit_length()} bits: too large")
    if not isinstance(plain, kind) or (isinstance(plain, bool) and kind is not bool):
        raise ValueError(f"{value.place}: {key} must be {_type_name(kind)}, got {plain!r}")
    if isinstance(plain, int | float) and not isinstance(plain, bool):
        low, high = metadata["low"], metadata["high"]
        if not math.isfinite(plain) or (low is not None and plain < low) or (high is not None and plain > high):
            limits = f"at least {low}" if high is None else f"in [{low}, {high}]"
            raise ValueError(f"{value.place}: {key} must be {limits}, got {plain!r}")
    return plain


def _checked_item(value: Value, key: str, kind: Any) -> Any:
    """Check one element of a list: a mapping that fills a dataclass."""
    if not isinstance(value.plain, Mapping):
        raise ValueError(f"{value.place}: {key} must be a mapping, got {value.plain!r}")
    hints = get_type_hints(kind)
    for name in value.plain:
        if name not in hints:
            raise ValueError(f"{value.place}: unknown key {key}.{name}{suggest(str(name), hints)}")
    return _build(kind, {f"{key}.{k}": Value(v, value.place) for k, v in value.plain.items()}, f"{key}.", value.place)


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join("null" if option is type(None) else _type_name(option) for option in get_args(kind))
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(kind, "a list" if get_origin(kind) is tuple else "a mapping")
