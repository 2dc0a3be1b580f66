"""Judges the clauses of a contract by the rules of a playbook. Pure functions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from activities.contracts import facts
from activities.contracts.clauses import Passage
from activities.contracts.laws import laws, usual_name
from activities.contracts.phrases import FIGURE, Phrase, Phrases, sentence_span, with_figures
from activities.contracts.playbook import (
    Absent,
    AmountRule,
    ClauseType,
    DurationRule,
    FeesRule,
    LawRule,
    Mutual,
    PercentRule,
    Present,
    Rule,
    Says,
    SaysNot,
    read_duration,
)
from activities.contracts.records import Finding, Position
from activities.documents.structure import Block

MAX_QUOTE = 600
_FEES = Phrases(
    map(
        Phrase.read,
        (
            "fees|amounts|charges|sums|payments|price|royalties|amount|fee ... paid|payable|received|due",
            "paid|payable|received ... fees|amounts|charges|sums|price|amount",
            "paid ... for the software|services|product|license",
            "paid by ... to",
        ),
    )
)
_TIMES = {"twice": 2, "double": 2, "two times": 2, "three times": 3, "triple": 3}


@dataclass(frozen=True)
class _Breach:
    """A broken rule: what the contract says, and where."""

    said: str
    passage: Passage | None = None
    first: int = 0
    last: int = 0
    not_acceptable: bool = False


def judge(clause: ClauseType, passages: Sequence[Passage]) -> list[Finding]:
    """What the rules of a clause find in its passages: for each broken rule the first breach."""
    found = []
    for rule in clause.rules:
        breach = next(_CHECKS[type(rule)](rule, passages), None)
        if breach:
            found.append(_finding(clause, rule, breach))
    return found


def facts_of(passage: Passage) -> tuple[str, ...]:
    """The figures, names and dates in a passage as they are written, each once."""
    text, words = passage.text, passage.words
    said = [
        *(each.text for each in facts.durations(words, text)),
        *(each.text for each in facts.amounts(words, text)),
        *(each.text for each in facts.percentages(words, text)),
        *(each.place for each in laws(text) if passage.clause == "governing_law"),
        *facts.dates(text),
    ]
    return tuple(dict.fromkeys(" ".join(each.split())[:80] for each in said))[:12]


def block_at(blocks: Sequence[Block], start: int) -> Block:
    """The block that contains the document's character `start`."""
    return next((each for each in reversed(blocks) if each.start <= start), blocks[0])


def quote_at(passage: Passage, first: int, last: int) -> tuple[str, Position]:
    """The sentences from word `first` to word `last` of a passage, and their position."""
    if not passage.words:
        return passage.text[:MAX_QUOTE], Position(
            start=passage.start, page=passage.page, number=passage.number
        )
    start, _ = sentence_span(passage.words, min(first, len(passage.words) - 1), passage.text)
    _, end = sentence_span(passage.words, min(last, len(passage.words) - 1), passage.text)
    block = block_at(passage.blocks, passage.start + start)
    quote = passage.text[start:end]
    if len(quote) > MAX_QUOTE:
        # Cut so that the words that matter stay visible.
        at = passage.words[first].start
        start = max(start, min(at - MAX_QUOTE // 3, end - MAX_QUOTE))
        quote = passage.text[start : start + MAX_QUOTE]
    return quote, Position(start=passage.start + start, page=block.page, number=block.path or block.number)


def _finding(clause: ClauseType, rule: Rule, breach: _Breach) -> Finding:
    quote, at = "", None
    if breach.passage:
        quote, at = quote_at(breach.passage, breach.first, breach.last)
    return Finding(
        clause=clause.id,
        rule=rule.id,
        title=rule.title,
        severity=rule.severity,
        verdict="not acceptable" if breach.not_acceptable else rule.verdict,
        said=breach.said,
        why=rule.why,
        quote=quote,
        at=at,
    )


@lru_cache(4096)
def _phrases(texts: tuple[str, ...]) -> Phrases:
    return Phrases(map(Phrase.read, texts))


def _whole(said: str, passage: Passage) -> _Breach:
    """A breach by a whole passage, so that the quote is of the clause and not only of its heading."""
    return _Breach(said, passage, 0, len(passage.words) - 1)


def _present(rule: Present, passages: Sequence[Passage]) -> Iterator[_Breach]:
    if not passages:
        yield _Breach("not found")


def _absent(rule: Absent, passages: Sequence[Passage]) -> Iterator[_Breach]:
    for passage in passages:
        yield _whole("found", passage)


def _says(rule: Says, passages: Sequence[Passage]) -> Iterator[_Breach]:
    wanted = _phrases(rule.any)
    if passages and not any(wanted.found_in(passage.words) for passage in passages):
        yield _whole("not said", passages[0])


def _says_not(rule: SaysNot, passages: Sequence[Passage]) -> Iterator[_Breach]:
    unwanted, unless = _phrases(rule.any), _phrases(rule.unless)
    for passage in passages:
        excused = {passage.words[each.first].sentence for each in unless.find(passage.words)}
        for found in unwanted.find(passage.words):
            if passage.words[found.first].sentence not in excused:
                start, end = passage.words[found.first].start, passage.words[found.last].end
                yield _Breach(f"“{_line(passage.text[start:end])}”", passage, found.first, found.last)


def _mutual(rule: Mutual, passages: Sequence[Passage]) -> Iterator[_Breach]:
    both, one = _phrases(rule.both), _phrases(rule.one_sided)
    if any(both.found_in(passage.words) for passage in passages):
        return
    for passage in passages:
        if found := one.found_in(passage.words):
            start, end = passage.words[found.first].start, passage.words[found.last].end
            yield _Breach(f"“{_line(passage.text[start:end])}”", passage, found.first, found.last)


def _near(near: tuple[str, ...], passage: Passage, figures: Sequence[tuple[int, int]]) -> set[int]:
    """The first words of the figures that count: matched as `#` by a phrase, or in a sentence with one."""
    if not near:
        return {first for first, _ in figures}
    words = with_figures(passage.words, figures)
    held: set[int] = set()
    sentences: set[int] = set()
    for found in _phrases(near).find(words):
        said = [word for word in words[found.first : found.last + 1] if word.plain == FIGURE]
        if FIGURE in near[found.phrase]:
            held.update(word.start for word in said)
        else:
            sentences.add(words[found.first].sentence)
    return {
        first
        for first, _ in figures
        if passage.words[first].start in held or passage.words[first].sentence in sentences
    }


def _duration(rule: DurationRule, passages: Sequence[Passage]) -> Iterator[_Breach]:
    said = False
    for passage in passages:
        found = list(facts.durations(passage.words, passage.text))
        counts = _near(rule.near, passage, [(each.first, each.last) for each in found])
        for each in found:
            if each.first in counts:
                said = True
                yield from _outside(rule, each, each.text, passage, each.first, each.last)
    yield from _unsaid(rule, passages, said)


def _fees(rule: FeesRule, passages: Sequence[Passage]) -> Iterator[_Breach]:
    said = False
    for passage in passages:
        sentences = {passage.words[each.first].sentence for each in _FEES.find(passage.words)}
        found = list(facts.durations(passage.words, passage.text))
        counts = _near(rule.near, passage, [(each.first, each.last) for each in found])
        for each in found:
            if passage.words[each.last].sentence in sentences and each.first in counts:
                said = True
                yield from _outside(rule, each, f"{each.text} of fees", passage, each.first, each.last)
    yield from _unsaid(rule, passages, said)


def _outside(
    rule: DurationRule | FeesRule, each: facts.Duration, said: str, passage: Passage, first: int, last: int
) -> Iterator[_Breach]:
    if rule.at_least and each.compare(_limit(rule.at_least)) < 0:
        yield _Breach(f"{_line(said)}; at least {rule.at_least} is acceptable", passage, first, last)
    elif rule.at_most and each.compare(_limit(rule.at_most)) > 0:
        yield _Breach(f"{_line(said)}; at most {rule.at_most} is acceptable", passage, first, last)


@lru_cache(256)
def _limit(text: str) -> facts.Duration:
    return read_duration(text)


def _amount(rule: AmountRule, passages: Sequence[Passage]) -> Iterator[_Breach]:
    said = False
    for passage in passages:
        found = [(_word_at(passage, each.start), each) for each in facts.amounts(passage.words, passage.text)]
        counts = _near(rule.near, passage, [(at, _word_at(passage, each.end - 1)) for at, each in found])
        for at, each in found:
            if at not in counts:
                continue
            said = True
            listed = {*(rule.at_least or {}), *(rule.at_most or {})}
            if each.currency not in listed:
                yield _Breach(
                    f"{_line(each.text)}; the playbook has no limit in {each.currency}", passage, at, at
                )
                continue
            yield from _beyond(
                (rule.at_least or {}).get(each.currency),
                (rule.at_most or {}).get(each.currency),
                each.value,
                _line(each.text),
                f" {each.currency}",
                passage,
                at,
            )
    yield from _unsaid(rule, passages, said)


def _percent(rule: PercentRule, passages: Sequence[Passage]) -> Iterator[_Breach]:
    said = False
    for passage in passages:
        found = list(facts.percentages(passage.words, passage.text))
        counts = _near(rule.near, passage, [(each.first, each.last) for each in found])
        for each in found:
            if each.first in counts:
                said = True
                yield from _beyond(
                    rule.at_least, rule.at_most, each.value, _line(each.text), " %", passage, each.last
                )
    yield from _unsaid(rule, passages, said)


def _beyond(
    least: Decimal | None,
    most: Decimal | None,
    value: Decimal,
    said: str,
    unit: str,
    passage: Passage,
    at: int,
) -> Iterator[_Breach]:
    if least is not None and value < least:
        yield _Breach(f"{said}; at least {least:,}{unit} is acceptable", passage, at, at)
    elif most is not None and value > most:
        yield _Breach(f"{said}; at most {most:,}{unit} is acceptable", passage, at, at)


def _word_at(passage: Passage, start: int) -> int:
    """The number of the word at an offset, or of the next word."""
    ends = [word.end for word in passage.words]
    return min(bisect_right(ends, start), len(ends) - 1)


def _unsaid(rule: Any, passages: Sequence[Passage], said: bool) -> Iterator[_Breach]:
    if rule.unsaid and passages and not said:
        yield _whole("not said in figures", passages[0])


def _law(rule: LawRule, passages: Sequence[Passage]) -> Iterator[_Breach]:
    allowed = {usual_name(each).lower() or each.lower() for each in rule.allowed}
    refused = {usual_name(each).lower() or each.lower() for each in rule.refused}
    for passage in passages:
        for each in laws(passage.text):
            name = each.place.lower()
            if name in allowed:
                continue
            at = _word_at(passage, each.start)
            yield _Breach(f"law of {_line(each.place)}", passage, at, at, not_acceptable=name in refused)


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 120 else text[:119] + "…"


_CHECKS: dict[type, Callable[[Any, Sequence[Passage]], Iterator[_Breach]]] = {
    Present: _present,
    Absent: _absent,
    Says: _says,
    SaysNot: _says_not,
    Mutual: _mutual,
    DurationRule: _duration,
    AmountRule: _amount,
    PercentRule: _percent,
    FeesRule: _fees,
    LawRule: _law,
}
