"""Where the pictures of a scene come from: drawn from seeds here, cut from photographs elsewhere."""

from typing import NamedTuple, Protocol

import numpy as np


class Recipe(Protocol):
    """What the picture of one object is made from; cheap to make and to copy, as many objects are never seen."""

    @property
    def width(self) -> float:
        """Width of the rectangle that the object's outline lies in, in pixels."""
        ...

    @property
    def height(self) -> float:
        """Height of that rectangle in pixels."""
        ...

    def lookalike(self, rng: np.random.Generator) -> "Recipe":
        """Draw an object that is easily mistaken for this one."""
        ...

    def sized(self, width: float, height: float) -> "Recipe":
        """Return the same object at another size."""
        ...

    def picture(self) -> np.ndarray:
        """Make the picture, (H, W, 4) uint8: red, green and blue multiplied by alpha, then alpha.

        The rectangle lies in its middle, surrounded by a margin of `sprite.MARGIN` clear pixels into which a smooth
        border may reach.
        """
        ...


class Plane(NamedTuple):
    """The picture before which a scene plays, wider than the frame.

    Attributes:
        picture: (H, W, 4) uint8 RGB and a fourth channel of no meaning (OpenCV warps four channels faster).
        pixel: side of one of its pixels, in pixels of the frame.
    """

    picture: np.ndarray
    pixel: float


class Looks(Protocol):
    """The look of everything in one scene."""

    def recipe(self, rng: np.random.Generator, width: float, height: float) -> Recipe:
        """Draw an object of its own kind."""
        ...

    def plane(self, rng: np.random.Generator, frame_size: tuple[int, int], detail: float) -> Plane:
        """Draw the background of a frame of (height, width); a detail of 0 leaves it smooth, 1 is all there is."""
        ...
