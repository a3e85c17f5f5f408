"""How to track with an exported network: what its file says beside the network itself."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from lib.tracker.template_update import UpdateMode

KEY = "mmg"  # of the entry in the file's metadata
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class TrackingRecipe:
    """All that a tracker needs besides the network, as one JSON object.

    Attributes:
        config: name of the experiment.
        checkpoint_sha256: of the file that the weights are from.
        template_size, search_size: sides of the crops in pixels.
        template_factor, search_factor: crop side / sqrt(target area).
        pixel_mean, pixel_std: of R, G and B in 0 to 255; the network itself normalises by them.
        clip_margin: pixels of a box that stay inside the frame.
        update, update_interval, score_threshold: see `TemplateUpdate`.
        update_intervals: intervals of particular benchmarks, by name.
        format: of this description.
    """

    config: str
    checkpoint_sha256: str
    template_size: int
    template_factor: float
    search_size: int
    search_factor: float
    pixel_mean: list[float]
    pixel_std: list[float]
    clip_margin: float
    update: UpdateMode
    update_interval: int
    update_intervals: dict[str, int]
    score_threshold: float
    format: int = FORMAT

    @property
    def settings(self) -> dict[str, Any]:
        """What decides boxes besides network and crops, by the names of the config's `track` section."""
        names = ("update", "update_interval", "update_intervals", "score_threshold", "clip_margin")
        return {name: value for name, value in dataclasses.asdict(self).items() if name in names}

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str) -> "TrackingRecipe":
        """Invert `to_json`.

        Raises:
            ValueError: the text, from the file `source`, is of another format, or no recipe.
        """
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ValueError(f"{source}: its metadata entry {KEY!r} is not what tracking/export.py writes")
        if content.get("format") != FORMAT:
            raise ValueError(f"{source} has format {content.get('format')!r}, and this code reads {FORMAT}: export it "
                             "again from its checkpoint")  # fmt: skip
        differing = content.keys() ^ {field.name for field in dataclasses.fields(cls)}
        if differing:
            raise ValueError(f"{source}: its metadata lack, or have besides, {', '.join(sorted(differing))}: export it "
                             "again from its checkpoint")  # fmt: skip
        wrong = [field.name for field in dataclasses.fields(cls) if not _is_a(content[field.name], field.type)]
        if wrong:
            raise ValueError(f"{source}: its metadata have no sensible {', '.join(wrong)}: export it again from its "
                             "checkpoint")  # fmt: skip
        return cls(**content)


def _is_a(value: object, kind: Any) -> bool:
    """Tell whether a value read from JSON is of a field's type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in arguments
    if isinstance(value, list):
        return origin is list and all(_is_a(item, arguments[0]) for item in value)
    if isinstance(value, dict):
        return origin is dict and all(_is_a(item, arguments[1]) for item in value.values())
    if isinstance(value, bool) or origin is not None:
        return False
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)
