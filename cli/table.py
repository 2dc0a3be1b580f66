"""Plain tables on a terminal, wrapped to its width. A thousand rows take milliseconds."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from cli.output import clean

WIDE = 200
GAP = "  "


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout, as wide as the terminal, or wide enough for a file."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    print("\n".join(table_lines(columns, rows, width)), flush=True)


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> list[str]:
    """The lines of a table, none wider than `width` unless a column would vanish; no text is lost."""
    table = [list(columns), *([clean(cell) for cell in row] for row in rows)]
    widest = [max(map(measured, column)) for column in zip(*table, strict=True)]
    widths = _fitted(widest, width - len(GAP) * (len(widest) - 1))
    lines = []
    for row in table:
        cells = [folded(cell, room) for cell, room in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = (cell[number] if number < len(cell) else "" for cell in cells)
            padded = (part + " " * (room - measured(part)) for part, room in zip(parts, widths, strict=True))
            lines.append(GAP.join(padded).rstrip())
    return lines


def folded(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken at a space if there is one."""
    lines = []
    while measured(text) > width:
        end = _that_fit(text, width)
        space = text.rfind(" ", 1, end + 1)
        end = space if space > 0 else end
        lines.append(text[:end])
        text = text[end:].removeprefix(" ")
    return [*lines, text]


def measured(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _that_fit(text: str, width: int) -> int:
    """How many signs of `text` fit in `width` columns; at least one, so that folding ends."""
    used = 0
    for number, sign in enumerate(text):
        used += _columns(sign)
        if used > width:
            return max(number, 1)
    return len(text)


def _fitted(widths: Sequence[int], room: int) -> list[int]:
    """`widths` with the widest made narrower until all fit in `room`."""
    fitted = list(widths)
    while sum(fitted) > room and max(fitted) > 1:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted
