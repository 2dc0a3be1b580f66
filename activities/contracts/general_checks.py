"""The checks for every contract, whatever the playbook: is it finished, and is it consistent?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from activities.contracts import facts
from activities.contracts.clauses import Passage
from activities.contracts.phrases import Word, words_of
from activities.contracts.records import OTHER, Finding, Position
from activities.documents.structure import Block, Change, StructuredDocument
from common.agents.contracts import Severity, Verdict

_MAX_OF_A_RULE = 5
_AROUND = 120

_BLANK = re.compile(
    r"\[[\s_•●.…*]{0,40}\]|_{4,}|\bT\.?B\.?[DCA]\b\.?|\[(?:insert|enter|date|name|amount|party|company|address|state|"
    r"jurisdiction|number|price|fee|currency|period|email|title)\b[^\[\]\n]{0,60}\]|<(?:insert|date|name|amount|party)\b"
    r"[^<>\n]{0,60}>|\bto be (?:determined|agreed|completed|confirmed)\b",
    re.IGNORECASE,
)
# A signature line is meant to be blank.
_TO_SIGN = re.compile(
    r"^\W*(?:by|name|title|date|dated|signed?|signature|its|print(?:ed)? name|place|witness(?:ed)?|address|"
    r"authori[sz]ed signat\w+|for and on behalf)\b|(?:signature|signed|date|name)\s*:?\s*_{4,}",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"\b(sections?|clauses?|articles?|paragraphs?|subsections?|sub-sections?|sub-clauses?)\s+"
    r"(\d{1,3}(?:\.\d{1,3}){0,5}|[IVXL]{1,6}(?:\.\d{1,3})?)((?:\s?\([a-z0-9]{1,4}\)){0,3})(?![\w.]*\d)",
    re.IGNORECASE,
)
# A reference to a law, or to another document.
_ELSEWHERE_AFTER = re.compile(
    r"\s*(?:\([a-z0-9]{1,4}\)\s*)*,?\s*(?:of|in|to|under)\s+(?:the|that|an?|any|its|such|[A-Z]|schedule|exhibit|annex|appendix|attachment)"
    r"(?!\w*\s*(?:agreement|contract|licen[cs]e|terms|eula)\b)",
)
_OWN_AFTER = re.compile(
    r"\s*(?:of|in|to|under)\s+(?:this|these|the)\s+(?:agreement|contract|licen[cs]e|terms|eula|present)",
    re.IGNORECASE,
)
_ELSEWHERE_BEFORE = re.compile(
    r"(?:U\.?S\.?C\.?|C\.?F\.?R\.?|D?FARS?|Code|Act|Regulations?|Rules?|Law|Statutes?|GPL|Directive|Schedule|Exhibit|Annex|Appendix)\W*(?:\d\S*\W+)?$",
    re.IGNORECASE,
)


def general_findings(document: StructuredDocument, found: Sequence[Passage]) -> Iterator[Finding]:
    """Blanks, contradictory figures, dangling references, unsettled changes, and what could not be read."""
    texts = [block for block in document.blocks if block.kind not in ("comment", "annotation")]
    yield from _first(_blanks(texts))
    yield from _first(_disagreements(texts))
    yield from _first(_references(document, texts))
    yield from _changes(document, found)
    if document.cut:
        yield _of("cut", "Too long to be read whole", Severity.HIGH, said="only the beginning was judged")
    if document.unread:
        yield _of(
            "unread",
            "Parts of it could not be read",
            Severity.MEDIUM,
            said=", ".join(document.unread)[:300],
            why="A reader of the page sees more than was judged.",
        )


def _of(
    rule: str,
    title: str,
    severity: Severity,
    *,
    said: str,
    why: str = "",
    block: Block | None = None,
    at: int = 0,
) -> Finding:
    return Finding(
        clause=OTHER,
        rule=rule,
        title=title,
        severity=severity,
        verdict=Verdict.NEEDS_HUMAN,
        said=said,
        why=why,
        quote=_around(block.text, at) if block else "",
        at=Position(start=block.start + at, page=block.page, number=block.path or block.number)
        if block
        else None,
    )


def _first(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The first few findings of a rule; the last of them says how many more there are."""
    every = list(findings)
    yield from every[: _MAX_OF_A_RULE - 1]
    if len(every) >= _MAX_OF_A_RULE:
        more = len(every) - _MAX_OF_A_RULE
        last = every[_MAX_OF_A_RULE - 1]
        yield last.model_copy(update={"said": f"{last.said} (and {more} more)"}) if more else last


def _blanks(blocks: Sequence[Block]) -> Iterator[Finding]:
    for block in blocks:
        if _TO_SIGN.search(block.text[:200]) and len(block.text) < 300:
            continue
        if match := _BLANK.search(block.text):
            yield _of(
                "blank",
                "Something is left blank",
                Severity.HIGH,
                said=f"“{' '.join(match[0].split())[:60]}”",
                why="What is agreed here is not written yet.",
                block=block,
                at=match.start(),
            )


def _disagreements(blocks: Sequence[Block]) -> Iterator[Finding]:
    for block in blocks:
        words = words_of(block.text)
        for at, differs in sorted(_differing(words, block.text), key=lambda pair: pair[0]):
            yield _of(
                "words-and-figures",
                "Words and figures disagree",
                Severity.HIGH,
                said=f"“{' '.join(differs.words.split())[:60]}” in words, “{differs.figures[:40]}” in digits",
                why="In case of doubt courts often take the words.",
                block=block,
                at=at,
            )


def _differing(words: Sequence[Word], text: str) -> Iterator[tuple[int, facts.Disagreement]]:
    for duration in facts.durations(words, text):
        if duration.disagreement:
            yield words[duration.first].start, duration.disagreement
    for percent in facts.percentages(words, text):
        if percent.disagreement:
            yield words[percent.first].start, percent.disagreement
    for amount in facts.amounts(words, text):
        if amount.disagreement:
            yield amount.start, amount.disagreement


def _references(document: StructuredDocument, blocks: Sequence[Block]) -> Iterator[Finding]:
    known = numbers_of(document)
    if sum(1 for each in known if each[0].isdigit()) < 3:
        return
    seen: set[str] = set()
    for block in blocks:
        for match in _REFERENCE.finditer(block.text):
            number = match[2].rstrip(".").lower()
            below = "".join(match[3].split()).lower()
            roman = not number[0].isdigit()
            if roman and (match[2] != match[2].upper() or not any(_is_roman(each) for each in known)):
                continue
            if f"{number}{below}" in known or (below and number in known) or f"{number}{below}" in seen:
                continue
            if not _OWN_AFTER.match(block.text, match.end()) and (
                _ELSEWHERE_AFTER.match(block.text, match.end())
                or _ELSEWHERE_BEFORE.search(block.text[max(0, match.start() - 40) : match.start()])
            ):
                continue
            seen.add(f"{number}{below}")
            yield _of(
                "reference",
                "It refers to a clause that is not there",
                Severity.MEDIUM,
                said=" ".join(match[0].split()),
                why="The clause may have been taken out, or numbers have moved.",
                block=block,
                at=match.start(),
            )


def numbers_of(document: StructuredDocument) -> set[str]:
    """The numbers of a contract's clauses in plain form, `12.3(a)`, and of all clauses around them."""
    known: set[str] = set()
    for block in document.blocks:
        for shown in (block.number, block.path):
            plain = re.sub(r"^(?:section|clause|article|paragraph|§+)\s*", "", shown.strip().lower())
            plain = plain.rstrip(".):").lstrip("(") if not re.search(r"\(\w+\)$", plain) else plain
            plain = re.sub(r"\s+", "", plain)
            if plain:
                known.add(plain)
                # If there is a 12.3(a), then there is a 12.3 and a 12.
                parts = re.split(r"(?=\()|\.", plain)
                known.update(".".join(parts[:count]).replace(".(", "(") for count in range(1, len(parts)))
    return known - {""}


def _is_roman(text: str) -> bool:
    return bool(text) and set(text) <= set("ivxl")


def _changes(document: StructuredDocument, found: Sequence[Passage]) -> Iterator[Finding]:
    """Tracked changes: one finding per clause that has any, and one for all changes outside clauses."""
    of_clause: dict[int, Passage] = {}
    for passage in found:
        for block in passage.blocks:
            of_clause.setdefault(block.start, passage)
    told: set[str] = set()
    outside: list[tuple[Block, Change]] = []
    for block in document.blocks:
        for change in block.changes:
            home = of_clause.get(block.start)
            if home is None:
                outside.append((block, change))
            elif home.clause not in told:
                told.add(home.clause)
                yield _changed(block, change).model_copy(update={"clause": home.clause})
    if outside:
        finding = _changed(*outside[0])
        more = f" (and {len(outside) - 1} more)" if len(outside) > 1 else ""
        yield finding.model_copy(update={"said": finding.said + more})


def _changed(block: Block, change: Change) -> Finding:
    how = change.kind.replace("_", " ")
    return _of(
        "unsettled-change",
        "A tracked change is not settled",
        Severity.HIGH,
        said=f"{how}: “{' '.join(change.text.split())[:160]}”",
        why="It is open which wording is agreed.",
        block=block,
        at=max(0, min(change.at - block.start, len(block.text))),
    )


def _around(text: str, at: int) -> str:
    start = max(0, at - _AROUND)
    return text[start : at + 2 * _AROUND]
