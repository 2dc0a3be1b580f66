"""Makes blocks from lines: which lines form a paragraph or a heading, and what number they show.

Plain text and PDF have only lines. A line begins a paragraph if it follows a gap or a line that ended early,
or if it begins with a clause number or a bullet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from activities.documents.assembly import Assembly
from activities.documents.numbers import ClauseOutline, typed_number, words

MAX_HEADING = 120
MAX_HEADING_WORDS = 14
_BULLET = re.compile(r"[•●▪■◦○·➢❖*–—-][ \t]+")
# How much of a line's end is searched: searching all of a line of megabytes would take hours.
_TAIL = 200
_DIVIDED = re.compile(r"[^\W\d_]-$")
_LEADERS = re.compile(r"(?:[.·…] ?){4,}\s*(?:\d{1,4}|[ivxlc]{1,6})$")
# A number without a full stop begins a sentence as often as a clause, so it only counts in a heading.
_BARE = re.compile(r"(\d{1,2})[ \t]+(?=[A-Z])")
_SMALL = words(
    """a an and as at by for from in into of on or the to upon with without not no nor per via der die das
    und"""
)
# Words before figures in brackets, as in "thirty (30) days", which a line's end may divide.
_SPELLED = re.compile(
    r"(?i)\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|"
    r"seventy|eighty|ninety|hundred|thousand|million|percent|dollars)$"
)
# After "pursuant to Section" at the end of a line, a number does not begin a clause.
_REFERS = re.compile(r"(?i)(\b(sections?|clauses?|articles?|paragraphs?|schedules?|annex|exhibits?|no\.)|§)$")
_GOES_ON = re.compile(r"(?i)\b(and|or|to|of|in|under|by|with|than|from|the|a|least|about|through)$")
_ITEM_ENDS = re.compile(r"(?i)[;,:.] ?(and|or|and/or|und|oder)$")
_ENDS = (".", ";", ":", "?", "!", ".”", '."', ";”", ",")


@dataclass(frozen=True)
class Line:
    """A line as laid out: whether there is a gap above it, and whether it ends before its neighbours do."""

    text: str
    page: int | None = None
    gap: bool = False
    short: bool = False
    kind: str = "paragraph"


def add_lines(lines: Iterable[Line], assembly: Assembly, outline: ClauseOutline | None = None) -> None:
    """Add the paragraphs that the lines form."""
    outline = outline or ClauseOutline()
    paragraph: list[Line] = []
    for line in lines:
        if paragraph and _begins(line, paragraph):
            _add(paragraph, assembly, outline)
            paragraph = []
        paragraph.append(line)
    if paragraph:
        _add(paragraph, assembly, outline)


def is_heading(text: str, number: str) -> bool:
    """Whether a paragraph looks like a heading: short, not a sentence, in capitals or numbered title case."""
    if not text:
        return bool(number) and number[0].isalpha() and len(number) > 2
    if len(text) > MAX_HEADING:
        return False
    # Dot leaders mark an entry of a table of contents.
    said = [] if _in_contents(text) else re.findall(r"[^\W\d_][^\s]*", text)
    if not said or len(said) > MAX_HEADING_WORDS or "\t" in text:
        return False
    if text.isupper():
        return len(said[0]) > 1 and not text.endswith((",", ";"))
    if not number or text.rstrip(".").endswith(_ENDS) or not said[0][0].isupper():
        return False
    if text.endswith(".") and len(said) > 5:
        return False
    return all(word[0].isupper() or word.lower() in _SMALL for word in said)


def _in_contents(text: str) -> bool:
    """Whether a line is an entry of a table of contents, by its dot leaders."""
    return bool(_LEADERS.search(text[-_TAIL:]))


def join_lines(lines: list[str]) -> str:
    """The lines of a paragraph as one line; words that were divided at a line's end are joined."""
    parts = lines[:1]
    for line in lines[1:]:
        last = parts[-1]
        if line[:1].islower() and _DIVIDED.search(last[-2:]):
            word = last.rsplit(None, 1)[-1][:-1]
            parts[-1] = last[:-1] + hyphen_after(word)
            parts.append(line)
        else:
            parts += (" ", line)
    return "".join(parts)


def hyphen_after(word: str) -> str:
    """`-` if a hyphen at a line's end is part of the word itself, empty if it only divides the word."""
    return "-" if "-" in word or word.lower() in _PREFIXES else ""


_PREFIXES = words(
    """all co cross ex full good half high in inter low mid multi non off on over part post pre pro quasi re
    self semi short so sub third well year"""
)


def _begins(line: Line, before: list[Line]) -> bool:
    """Whether a line begins a new paragraph."""
    last = before[-1]
    number = "" if _in_contents(line.text) else typed_number(line.text)[0]
    own, words = typed_number(last.text) if len(before) == 1 else ("", last.text)
    if own and not words and not number and line.kind == last.kind:
        # "ARTICLE IV" alone on its line is the number of what follows.
        return False
    if line.gap or line.kind != last.kind:
        # A sentence that continues on the next page is one paragraph.
        over = line.page != last.page and line.kind == last.kind and not last.text.endswith(_ENDS)
        return not (over and not number and (line.text[:1].islower() or not last.short))
    if _BULLET.match(line.text) or _in_contents(last.text):
        return True
    tail = last.text[-_TAIL:]
    ended = last.short or last.text.endswith(_ENDS) or bool(_ITEM_ENDS.search(tail))
    if number and not _REFERS.search(tail):
        # A sentence may continue with "(a) above" or "(30) days" as well as a clause may begin so.
        spelled = line.text[1:2].isdigit() and _SPELLED.search(tail)
        if ended if line.text.startswith("(") else ended or not _GOES_ON.search(tail):
            return not (line.text.startswith("(") and spelled)
    if len(before) == 1 and last.short and is_heading(words, own):
        return True
    return last.short and (last.text.endswith(_ENDS) or (line.text[:1].isupper() and last.text.isupper()))


def _add(paragraph: list[Line], assembly: Assembly, outline: ClauseOutline) -> None:
    first = paragraph[0]
    text = join_lines([line.text for line in paragraph])
    if first.kind != "paragraph":
        assembly.add(text, first.kind, page=first.page)
        return
    # An entry of a table of contents names the clause of that number, but is not one.
    number, rest = ("", text) if _in_contents(text) else typed_number(text)
    if not number and (bare := _BARE.match(text)) and is_heading(text[bare.end() :], bare[1]):
        number, rest = bare[1], text[bare.end() :]
    path = outline.path(number) if number else ""
    assembly.add(
        rest,
        "heading" if is_heading(rest, number) else "paragraph",
        number=number,
        path=path,
        level=len(outline) if number else 0,
        page=first.page,
    )
