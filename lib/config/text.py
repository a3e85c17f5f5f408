"""Text from files and people: how it is read, what may be a name or a record, what a misspelt name may have meant."""

import dataclasses
import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")
_NAME = re.compile(r"\w[\w.-]*")
# PyYAML lets through what Python's own types raise on a date, a truth value or a number.
YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark; ValueError for one of other bytes."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def read_yaml_mapping(path: Path) -> dict[Any, Any]:
    """Return what a YAML file says whose top is a mapping; ValueError where it is none or holds impossible values."""
    text = read_text(path)
    try:
        document = yaml.safe_load(text)
    except YAML_ERRORS as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected a mapping, lines of `key: value`")
    return document


def suggest(name: str, options: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the closest option, whatever the case, or "" when none is close."""
    by_lower = {option.lower(): option for option in options}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[matches[0]]!r}?)" if matches else ""


def check_name(name: str, place: str) -> str:
    """Return a name that a file states and that files and folders will bear; ValueError where it cannot be one."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{place}: {name[:80]!r} cannot be a name: give one of letters, digits, _ - and .")
    return name


def parse_json(text: str | bytes) -> Any:
    """Return what JSON says; ValueError where it is none, in no known encoding or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def record_from_json(kind: type[T], text: str | bytes, *, gone: Iterable[str] = ()) -> T:
    """Make a dataclass of the JSON object that describes one.

    Args:
        kind: the dataclass; its fields may be plain values, lists, tuples, dictionaries and unions of these.
        text: the JSON.
        gone: keys of earlier versions, which are passed over.

    Raises:
        ValueError: it is no JSON, or a field is missing, unknown or of another type; the message names it.
    """
    content = parse_json(text)
    if not isinstance(content, dict):
        raise ValueError(f"a JSON object is expected, found {type(content).__name__}")
    types = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    found = {name: value for name, value in content.items() if name not in set(gone)}
    needed = {name for name, field in fields.items() if field.default is field.default_factory is dataclasses.MISSING}
    if wrong := sorted((found.keys() - fields.keys()) | (needed - found.keys())):
        raise ValueError(f"it lacks, or has besides, {', '.join(wrong)}")
    if wrong := [name for name, value in found.items() if not is_a(value, types[name])]:
        raise ValueError(f"it has no sensible {', '.join(wrong)}")
    return kind(**{name: tuple(value) if get_origin(types[name]) is tuple else value for name, value in found.items()})


def is_a(value: object, kind: Any) -> bool:
    """Tell whether a value read from JSON is of a type; a float may be written as a whole number."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or origin is Literal:
        return kind is Any or value in arguments
    if origin in (Union, UnionType):
        return any(is_a(value, each) for each in arguments)
    if isinstance(value, list):
        return origin in (list, tuple) and all(is_a(item, arguments[0]) for item in value)
    if isinstance(value, dict):
        return origin is dict and all(is_a(item, arguments[1]) for item in value.values())
    if isinstance(value, bool) or origin is not None:
        return kind is bool
    # No float and no array may hold a larger number.
    return isinstance(value, (int, float) if kind is float else kind) and not (type(value) is int and abs(value) >> 64)
