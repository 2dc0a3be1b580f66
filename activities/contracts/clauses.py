"""Finds the clauses of a contract: by its headings, and by the phrases in its blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from activities.contracts.phrases import Phrase, Phrases, Word, words_of
from activities.contracts.playbook import ClauseType, Playbook
from activities.documents.structure import Block, StructuredDocument

# Text that is not part of a contract's clauses.
_ASIDE = frozenset({"header", "footer", "comment", "annotation"})
# A heading before the text of a clause: `Governing Law. This Agreement …`, `12. TERM AND TERMINATION: …`
_RUN_IN = re.compile(r"\s*[\"“]?([A-Z][^.:;\n—]{1,78}?)[\"”]?\s*(?:[.:—]|\s[-–]\s)(?:\s|$)")
_LINKING = frozenset(
    [
        "a",
        "an",
        "and",
        "as",
        "at",
        "by",
        "for",
        "from",
        "in",
        "into",
        "no",
        "of",
        "on",
        "or",
        "the",
        "to",
        "under",
        "upon",
        "with",
        "your",
        "our",
    ]
)
_MAX_HEADING = 100


@dataclass(frozen=True)
class Unit:
    """A block as the search sees it: its words, and the headings above it, the nearest first."""

    block: Block
    words: Sequence[Word]
    headings: tuple[str, ...]
    own_heading: bool
    section: int


@dataclass(frozen=True)
class Passage:
    """A place where a contract covers a clause: text, words, offset, page, number and heading."""

    clause: str
    text: str
    start: int
    number: str
    heading: str
    page: int | None
    blocks: tuple[Block, ...]
    words: Sequence[Word] = field(repr=False)


def units(document: StructuredDocument) -> list[Unit]:
    """The blocks of a contract's own text, each with the headings above it."""
    found: list[Unit] = []
    above: list[tuple[int, str]] = []
    section = 0
    for block in document.blocks:
        if block.kind in _ASIDE:
            continue
        text = block.text
        if _is_heading(block):
            if not found and not block.number:
                # The contract's own title does not name a clause.
                found.append(_unit(block, (), True, section))
                continue
            level = block.level or 1
            above = [each for each in above if each[0] < level] + [(level, text.strip())]
            section += 1
            found.append(_unit(block, tuple(heading for _, heading in reversed(above)), True, section))
            continue
        if block.number and block.level:
            # A numbered clause ends the headings of its own depth and deeper.
            above = [each for each in above if each[0] < block.level]
            section += 1
        run_in = _run_in(text)
        headings = tuple(heading for _, heading in reversed(above))
        if run_in:
            if block.number and block.level:
                above.append((block.level, run_in))
            else:
                section += 1
            headings = (run_in, *headings)
        found.append(_unit(block, headings, bool(run_in), section))
    return found


def _unit(block: Block, headings: tuple[str, ...], own: bool, section: int) -> Unit:
    return Unit(block, words_of(block.text), headings, own, section)


def _is_heading(block: Block) -> bool:
    text = block.text.strip()
    if not text or len(text) > _MAX_HEADING:
        return False
    if block.kind == "heading":
        return True
    return (
        bool(block.number)
        and len(text.split()) <= 8
        and not text.endswith((".", ";", ","))
        and _is_titled(text)
    )


def _run_in(text: str) -> str:
    match = _RUN_IN.match(text[:_MAX_HEADING])
    return match[1].strip() if match and _is_titled(match[1]) else ""


def _is_titled(text: str) -> bool:
    """Whether all significant words begin with capitals, or there are at most two of them."""
    words = [word for word in re.findall(r"[^\W\d_][^\W_]*", text) if word.lower() not in _LINKING]
    return bool(words) and len(words) <= 8 and (all(word[0].isupper() for word in words) or len(words) <= 2)


class ClauseFinder:
    """Finds the clauses of a playbook."""

    def __init__(self, playbook: Playbook) -> None:
        self._types = playbook.clauses
        self._headings = _Index(each.headings for each in self._types)
        self._phrases = _Index(each.phrases for each in self._types)
        self._hints = _Index(each.hints for each in self._types)
        self._never = _Index(each.never for each in self._types)

    def find(self, document: StructuredDocument) -> dict[str, list[Passage]]:
        """The passages of each clause, by its id; adjacent blocks of a section form one passage."""
        found: dict[str, list[Passage]] = {each.id: [] for each in self._types}
        sections = units(document)
        kinds = [self.kinds_of(unit) for unit in sections]
        for place, each in enumerate(self._types):
            numbers = [number for number, kind in enumerate(kinds) if place in kind]
            for _, run in groupby(
                enumerate(numbers), lambda pair: (pair[1] - pair[0], sections[pair[1]].section)
            ):
                if passage := _passage(each, [sections[number] for _, number in run], document):
                    found[each.id].append(passage)
        return found

    def kinds_of(self, unit: Unit, *, by_heading: bool = True) -> set[int]:
        """The numbers of the clauses that a unit belongs to."""
        heads = [self.named_by(heading) for heading in unit.headings] if by_heading else []
        nearest = heads[0] if heads else set()
        above = set().union(*heads[1:]) if heads[1:] else set()
        body = unit.words
        never = {number for number, _ in self._never.each(body)}
        found = {number for number, _ in self._phrases.each(body)} - never
        hints: dict[int, int] = {}
        for number, _ in set(self._hints.each(body)):
            hints[number] = hints.get(number, 0) + 1
        found |= {number for number, count in hints.items() if count > 1 or number in above} - never
        return nearest | found

    def named_by(self, heading: str) -> set[int]:
        """The numbers of the clauses that a heading names."""
        return {number for number, _ in self._headings.each(words_of(heading))}


class _Index:
    """The phrases of every clause, and which clause each belongs to."""

    def __init__(self, phrases: Iterable[Sequence[str]]) -> None:
        pairs = [(place, Phrase.read(text)) for place, texts in enumerate(phrases) for text in texts]
        self._clause_of = [place for place, _ in pairs]
        self._phrases = Phrases(phrase for _, phrase in pairs)

    def each(self, words: Sequence[Word]) -> Iterator[tuple[int, int]]:
        for found in self._phrases.find(words):
            yield self._clause_of[found.phrase], found.first


def _passage(clause: ClauseType, run: Sequence[Unit], document: StructuredDocument) -> Passage | None:
    """The passage of adjacent units; None if they are only headings, with nothing below."""
    if all(_is_heading(unit.block) and not unit.block.changes for unit in run):
        return None
    first, last = run[0].block, run[-1].block
    text = document.text[first.start : last.start + len(last.text)]
    return Passage(
        clause=clause.id,
        text=text,
        start=first.start,
        number=first.path or first.number,
        heading=run[0].headings[0] if run[0].headings else "",
        page=first.page,
        blocks=tuple(unit.block for unit in run),
        words=words_of(text),
    )
