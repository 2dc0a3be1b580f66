"""Blocks out of lines: which lines are one paragraph, which a heading, and what number they show.

Plain text and PDF know only lines. A line begins a paragraph after a gap, with a clause number or a bullet, and
after a line that ended early.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from activities.documents.assembly import Assembly
from activities.documents.numbers import Trail, typed_number

MAX_HEADING = 120
MAX_HEADING_WORDS = 14
_BULLET = re.compile(r"[•●▪■◦○·➢❖*–—-][ \t]+")
_SMALL = frozenset(
    "a an and as at by for from in into of on or the to upon with without not no nor per via der die das und".split()
)
_ENDS = (".", ";", ":", "?", "!", ".”", '."', ";”", ",")


@dataclass(frozen=True)
class Line:
    """A line as it is set: whether there is a gap above it, and whether it ends before its neighbours do."""

    text: str
    page: int | None = None
    gap: bool = False
    short: bool = False
    kind: str = "paragraph"


def add_lines(lines: Iterable[Line], assembly: Assembly, trail: Trail | None = None) -> None:
    """Add the paragraphs that the lines make."""
    trail = trail or Trail()
    paragraph: list[Line] = []
    for line in lines:
        if paragraph and _begins(line, paragraph):
            _add(paragraph, assembly, trail)
            paragraph = []
        paragraph.append(line)
    if paragraph:
        _add(paragraph, assembly, trail)


def is_heading(text: str, number: str) -> bool:
    """Whether a paragraph is set as a heading: short, no sentence, in capitals or with capital words."""
    if not text:
        return bool(number) and number[0].isalpha() and len(number) > 2
    words = re.findall(r"[^\W\d_][^\s]*", text)
    if not words or len(text) > MAX_HEADING or len(words) > MAX_HEADING_WORDS or "\t" in text:
        return False
    if text.isupper():
        return len(words[0]) > 1 and not text.endswith((",", ";"))
    if not number or text.rstrip(".").endswith(_ENDS) or not words[0][0].isupper():
        return False
    if text.endswith(".") and len(words) > 5:
        return False
    return all(word[0].isupper() or word.lower() in _SMALL for word in words)


def join_lines(lines: list[str]) -> str:
    """Lines of one paragraph as one line; a word that was divided at a line's end is whole again."""
    parts: list[str] = []
    for line in lines:
        if parts and re.search(r"[^\W\d_]-$", parts[-1]) and line[:1].islower():
            word = re.split(r"\s", parts[-1])[-1]
            # What has a hyphen already, or is no syllable, was not divided but ends with its own hyphen.
            own = "-" in word[:-1] or word[:-1].lower() in _PREFIXES
            parts[-1] = (parts[-1] if own else parts[-1][:-1]) + line
        elif parts and parts[-1].endswith(("\u00ad", "\ufffe", "\x02")):
            parts[-1] = parts[-1][:-1] + line
        else:
            parts.append(line)
    return " ".join(parts)


_PREFIXES = frozenset(
    "all co cross ex full good half high in inter low mid multi non off on over part post pre pro quasi re self semi"
    " short so sub third well year".split()
)


def _begins(line: Line, before: list[Line]) -> bool:
    """Whether a line begins a paragraph of its own."""
    last = before[-1]
    if line.gap or line.kind != last.kind:
        # A sentence that goes on over the page is one paragraph.
        over = line.page != last.page and line.kind == last.kind
        return not (over and line.text[:1].islower() and not last.text.endswith(_ENDS))
    if _BULLET.match(line.text):
        return True
    number, rest = typed_number(line.text)
    if number:
        # "pursuant to Section" at the end of a line is followed by a number that begins no clause.
        refers = re.search(r"(?i)\b(sections?|clauses?|articles?|paragraphs?|and|or|to|of|§)$", last.text)
        if not refers and (rest or last.short or last.text.endswith(_ENDS)):
            return True
    own, words = typed_number(last.text) if len(before) == 1 else ("", last.text)
    if len(before) == 1 and last.short and is_heading(words, own):
        return True
    return last.short and (last.text.endswith(_ENDS) or line.text[:1].isupper() and last.text.isupper())


def _add(paragraph: list[Line], assembly: Assembly, trail: Trail) -> None:
    first = paragraph[0]
    text = join_lines([line.text for line in paragraph])
    if first.kind != "paragraph":
        assembly.add(text, first.kind, page=first.page)
        return
    number, rest = typed_number(text)
    path = trail.path(number) if number else ""
    assembly.add(
        rest,
        "heading" if is_heading(rest, number) else "paragraph",
        number=number,
        path=path,
        level=len(trail) if number else 0,
        page=first.page,
    )

