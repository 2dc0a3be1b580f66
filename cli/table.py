"""Plain tables on a terminal, fitted to its width. A thousand rows take milliseconds."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from cli.output import clean, say

WIDE = 200
GAP = "  "
# Columns people copy from or search in: never wrapped, though possibly left out.
WHOLE = frozenset(
    {"ID", "AGENT", "ITEM", "STATE", "REQUEST", "DIGEST", "BUILD", "KIND", "STARTED", "CLOSED", "WHERE"}
)
# Columns to leave out if there is no room for all, in this order.
DROPPABLE = ("WHERE", "OWNER", "STARTED", "CLOSED", "ABOUT", "KIND", "NODE", "STUCK AT")
# A lesser column is dropped before a text column gets narrower than the first number; no column gets narrower
# than the second.
MIN_TEXT_WIDTH, MIN_WIDTH = 20, 9


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as wide as the terminal, or wide enough for a file; name the columns left out."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    lines, left_out = table_lines(columns, rows, width)
    print("\n".join(lines), flush=True)
    if left_out:
        say(f"left out: {', '.join(left_out)}; a wider terminal has room for them, and --json has all.")


def table_lines(
    columns: Sequence[str], rows: Iterable[Sequence[str]], width: int
) -> tuple[list[str], list[str]]:
    """The lines of a table, at most `width` wide if `WHOLE` columns allow; and the columns left out."""
    table = [list(columns), *([clean(cell) for cell in row] for row in rows)]
    widest = dict(
        zip(columns, (max(map(measured, column)) for column in zip(*table, strict=True)), strict=True)
    )
    shown, left_out = _chosen(
        widest, {name for name, *cells in zip(*table, strict=True) if any(cells)}, width
    )
    places = [columns.index(name) for name in shown]
    widths = _fitted(shown, width)
    lines = []
    for row in table:
        cells = [folded(row[place], room) for place, room in zip(places, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = (cell[number] if number < len(cell) else "" for cell in cells)
            padded = (part + " " * (room - measured(part)) for part, room in zip(parts, widths, strict=True))
            lines.append(GAP.join(padded).rstrip())
    return lines, left_out


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
    """How many characters of `text` fit in `width` columns; at least one, so that folding ends."""
    used = 0
    for number, sign in enumerate(text):
        used += _columns(sign)
        if used > width:
            return max(number, 1)
    return len(text)


def _chosen(
    widest: Mapping[str, int], filled: Collection[str], width: int
) -> tuple[dict[str, int], list[str]]:
    """The columns to show, with the width each wants; and non-empty columns that do not fit."""
    shown, left_out = dict(widest), []
    empty = [name for name in widest if name in DROPPABLE and name not in filled]
    for name in (*empty, *(name for name in DROPPABLE if name in filled)):
        least = (room if each in WHOLE else min(room, MIN_TEXT_WIDTH) for each, room in shown.items())
        if sum(least) + len(GAP) * (len(shown) - 1) <= width:
            break
        if shown.pop(name, None) and name in filled:
            left_out.append(name)
    return shown, left_out


def _fitted(shown: Mapping[str, int], width: int) -> list[int]:
    """Column widths that fit: the widest are narrowed, `WHOLE` ones never."""
    fitted = dict(shown)
    room = width - len(GAP) * (len(fitted) - 1)
    narrowed = [name for name in fitted if name not in WHOLE]
    while narrowed and sum(fitted.values()) > room:
        widest = max(narrowed, key=lambda name: fitted[name])
        if fitted[widest] <= MIN_WIDTH:
            break
        fitted[widest] -= 1
    return list(fitted.values())
