"""How to track with an exported network: what its file says beside the network itself."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

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
        return cls(**content)
