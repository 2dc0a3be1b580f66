"""A unified diff as people see it: split as `patch` splits it, with every change visible and secrets masked.

The kind of a line follows from its position in the diff, not from how it looks, so its content cannot fake
one. Whatever is cut, masked or left out says so, and the whole diff can be fetched unchanged.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from common.visible_text import visible

# What fits on a page; the artifact has the whole diff.
DIFF_LINES = 1500
# Characters shown of an unchanged line, of a changed one, and on both sides of what changes in it.
MAX_SAME, MAX_CHANGED, AROUND = 400, 4000, 60
MASK = "•••• (masked: it looks like a secret)"
# Shorter secrets may be ordinary words, so they are masked only where they were found.
MIN_REPEATED = 8
_SCANNING = threading.Lock()
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_SIGNS = {"+": "added", "-": "removed", " ": "same", "": "same", "\\": "same"}


@dataclass(frozen=True)
class DiffLine:
    """A line of a diff; its kind is `file`, `hunk`, `added`, `removed` or `same`."""

    kind: str
    text: str


@dataclass(frozen=True)
class Diff:
    """The beginning of a unified diff and how many lines are left out, or why it is `missing`.

    `shortened`: some lines are cut around what changes in them, or masked.
    """

    lines: list[DiffLine] = field(default_factory=list)
    left_out: int = 0
    missing: str = ""
    shortened: bool = False


def view_of(text: str) -> Diff:
    """The diff for a page. Takes a second or so for a long one."""
    # Only at line feeds: other line breaks are part of a line, which could otherwise forge more lines.
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    shown = _parsed(lines[:DIFF_LINES])
    masked = _masked([line.text for line in shown])
    cut = [
        line if line.kind in ("file", "hunk") else DiffLine(line.kind, _cut(safe, partner))
        for line, safe, partner in zip(shown, masked, _partners(shown, masked), strict=True)
    ]
    return Diff(
        [DiffLine(line.kind, visible(line.text, spaces=True)) for line in cut],
        left_out=len(lines) - len(shown),
        shortened=cut != shown,
    )


def _parsed(lines: Sequence[str]) -> list[DiffLine]:
    """The lines with their kinds, in a hunk by its counts: a removed `-- x` is not taken for a file name."""
    found, old, new = list[DiffLine](), 0, 0
    for line in lines:
        sign = line[:1]
        if old > 0 or new > 0:
            found.append(DiffLine(_SIGNS.get(sign, "same"), line))
            old -= sign in ("-", " ", "")
            new -= sign in ("+", " ", "")
        elif hunk := _HUNK.match(line):
            old, new = (int(count) if count else 1 for count in hunk.groups())
            found.append(DiffLine("hunk", line))
        else:
            header = sign not in _SIGNS or line.startswith(("+++ ", "--- "))
            found.append(DiffLine("file" if header else _SIGNS[sign], line))
    return found


def _partners(lines: Sequence[DiffLine], texts: Sequence[str]) -> Iterator[str]:
    """For each line, the one it replaces or is replaced by: removed and added lines pair up in order."""
    partners = [""] * len(lines)
    start = 0
    while start < len(lines):
        middle = _end_of(lines, start, "removed")
        end = _end_of(lines, middle, "added")
        for removed, added in zip(range(start, middle), range(middle, end), strict=False):
            partners[removed], partners[added] = texts[added], texts[removed]
        start = max(end, start + 1)
    yield from partners


def _end_of(lines: Sequence[DiffLine], start: int, kind: str) -> int:
    end = start
    while end < len(lines) and lines[end].kind == kind:
        end += 1
    return end


def _cut(line: str, partner: str) -> str:
    """A long line cut to what changes in it and some context, with the length of what is missing."""
    if len(line) <= MAX_SAME:
        return line
    first, last = 1, 1 + (MAX_CHANGED if line[0] in "+-" else MAX_SAME)
    if partner:
        same = _same(line[1:], partner[1:])
        after = _same(line[1 + same :][::-1], partner[1 + same :][::-1])
        first = max(1, 1 + same - AROUND)
        last = min(len(line) - after + AROUND, first + MAX_CHANGED)
    before, rest = first - 1, len(line) - last
    return "".join(
        [
            line[0],
            f"[… {before:,} characters …]" if before > 0 else "",
            line[first:last],
            f"[… {rest:,} characters …]" if rest > 0 else "",
        ]
    )


def _same(one: str, other: str) -> int:
    """The length of the common prefix."""
    for count, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return count
    return min(len(one), len(other))


def _masked(lines: Sequence[str]) -> list[str]:
    """The lines with what looks like a secret masked; a long one in every line that repeats it."""
    found = _secrets_in([line[1:] for line in lines])
    repeated = {value for values in found for value in values if len(value) >= MIN_REPEATED}
    masked, in_key = list[str](), False
    for line, values in zip(lines, found, strict=True):
        in_key = in_key or ("-----BEGIN" in line and "PRIVATE KEY" in line)
        wanted = sorted(repeated | values, key=len, reverse=True)
        masked.append(line[:1] + MASK if in_key else line[:1] + _without(wanted, line[1:]))
        in_key = in_key and "-----END" not in line
    return masked


def _without(secrets: Sequence[str], line: str) -> str:
    there = [re.escape(secret) for secret in secrets if secret in line]
    return re.sub(rf"(?<!\w)(?:{'|'.join(there)})(?!\w)", MASK, line) if there else line


def _secrets_in(lines: Sequence[str]) -> list[set[str]]:
    """The secrets of each line."""
    # Imported with the first diff, because it takes half a second.
    from detect_secrets.settings import default_settings, get_plugins

    # Its settings are global.
    with _SCANNING, default_settings() as settings:
        settings.disable_plugins("IPPublicDetector")  # an address is not a secret
        plugins = list(get_plugins())
        return [
            {found.secret_value for each in plugins for found in each.analyze_line("diff", line, 1)}
            - {"", None}
            for line in lines
        ]
