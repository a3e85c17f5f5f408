"""What all plots share: colours, typography, and how they are written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lib.files import whole_file

# Okabe and Ito's colours, which colour-blind readers can tell apart; yellow is left out, being pale on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
GREY = "#777777"
_HEAD_WIDTH = 95  # characters of small print beside each other
_SUFFIXES = (".png", ".pdf", ".svg")
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "pdf.fonttype": 42,  # text stays text
    "text.parse_math": False,  # a name may hold a dollar
}


def colour(index: int) -> str:
    """Return the colour of the result with this place on the command line; a result keeps it in every plot."""
    return _COLOURS[index % len(_COLOURS)]


def dashes(index: int) -> str | tuple[float, tuple[float, ...]]:
    """Return the line style of a result: results of one colour differ in it."""
    return _DASHES[index // len(_COLOURS) % len(_DASHES)]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that no window system has to know of."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_head(plot: Axes, title: str, subtitle: str) -> None:
    """Write a title and lines of small print above a plot."""
    lines = [part for line in subtitle.split("\n") for part in wrap(line, _HEAD_WIDTH)]
    plot.set_title(title, loc="left", fontweight="bold", fontsize=13, pad=9 + 13 * len(lines))
    plot.text(0, 1.03, "\n".join(lines), transform=plot.transAxes, fontsize=9, color="#555555")


def draw_lines(plot: Axes, lines: Sequence[tuple[float, str, ArrayLike, ArrayLike]]) -> list[Artist]:
    """Draw a line a result, of its score, label, x and y, the best on top; return them for a legend, the best first."""
    handles: list[Artist] = []
    for index, (_, label, x, y) in sorted(enumerate(lines), key=lambda item: item[1][0]):
        look = {"color": colour(index), "linestyle": dashes(index), "linewidth": 2}
        handles += plot.plot(x, y, label=label, clip_on=False, **look)
    return handles[::-1]


def save_as(draw: Callable[[], Figure], *paths: Path) -> None:
    """Draw a figure in the common style and write it into files, making their folders; errors as `check_suffix`."""
    for path in paths:
        check_suffix(path)
    with matplotlib.style.context(_STYLE):
        figure = draw()
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as aside:
                figure.savefig(aside, dpi=160, format=path.suffix.lower()[1:])


def check_suffix(path: Path) -> None:
    """Raise ValueError unless a figure can be written into such a file."""
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{path}: a figure is written as {', '.join(_SUFFIXES)}")


def save(draw: Callable[[], Figure], folder: Path, name: str) -> None:
    """Draw a figure in the common style and write it as PNG and PDF."""
    save_as(draw, folder / f"{name}.png", folder / f"{name}.pdf")
