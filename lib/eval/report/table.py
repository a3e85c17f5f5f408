"""A table, and the ways it is printed: aligned text, CSV and LaTeX. No name can be a command in any of them."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one


class Latex(str):
    """A cell that is LaTeX already."""


Cell = str | float
Rows = Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Table:
    """Rows under a head, by the line of text that stands above them, "" for none; a number that is nan is not known."""

    head: Sequence[str]
    blocks: Mapping[str, Rows]

    def lines(self, *, head_on_top: bool = True) -> list[str]:
        """Return lines whose columns line up, the first to the left, the others to the right; each block with the head
        unless that stands on top."""
        widths = [max(len(str(row[column])) for row in self._rows()) for column in range(len(self.head))]
        head = [_align(self.head, widths)]
        lines = list(head) if head_on_top else []
        for heading, rows in self.blocks.items():
            lines += ["", plain(heading)] if heading else []
            lines += [*([] if head_on_top else head), *(_align(row, widths) for row in rows)]
        return lines

    def csv(self) -> str:
        """Return head and rows; an empty cell where nothing is known, and no cell that a spreadsheet would compute."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows(map(_to_csv, row) for row in self._rows())
        return file.getvalue()

    def latex(self, caption: str, label: str) -> str:
        """Return a floating table in the booktabs style; the preamble needs \\usepackage{booktabs}."""
        lines = [_latex_row(self.head)]
        for heading, rows in self.blocks.items():
            lines.append(r"\midrule")
            if heading:
                lines.append(rf"\multicolumn{{{len(self.head)}}}{{l}}{{\emph{{{escape(heading)}}}}} \\")
            lines += map(_latex_row, rows)
        begin = [r"\begin{table}", r"\centering", rf"\caption{{{escape(caption)}}}", rf"\label{{{plain(label)}}}"]
        begin += [rf"\begin{{tabular}}{{l{'r' * (len(self.head) - 1)}}}", r"\toprule"]
        return "\n".join((*begin, *lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""))

    def _rows(self) -> list[Sequence[Cell]]:
        return [self.head, *(row for rows in self.blocks.values() for row in rows)]


def escape(text: str) -> str:
    """Return text that LaTeX prints as it stands, in one line."""
    return text if isinstance(text, Latex) else "".join(_SPECIAL.get(letter, letter) for letter in plain(text))


def plain(text: str) -> str:
    """Return text without letters that control a terminal or end a line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _align(row: Sequence[Cell], widths: Iterable[int]) -> str:
    first, *others = ((plain(str(cell)), width) for cell, width in zip(row, widths, strict=True))
    return "  ".join((first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)))


def _to_csv(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA) else cell
    return "" if math.isnan(cell) else cell


def _latex_row(cells: Sequence[Cell]) -> str:
    texts = (cell if isinstance(cell, str) else str(cell) for cell in cells)
    return " & ".join("--" if text == "-" else escape(text) for text in texts) + r" \\"
