"""Judges one contract by the playbook and by the checks for every contract. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from activities.contracts.clause_rules import facts_of, judge
from activities.contracts.clauses import ClauseFinder, Passage
from activities.contracts.general_checks import general_findings
from activities.contracts.phrases import Phrase, Phrases, words_of
from activities.contracts.playbook import Playbook
from activities.contracts.records import Audit, ClauseFound, Finding, Position
from activities.documents.structure import StructuredDocument
from common.agents.contracts import Severity, Verdict

MAX_TEXT = 1_500
_MAX_PASSAGES = 12
_TITLE_CHARACTERS = 600
_MAX_TITLE = 120
_TITLE_WEIGHT = 4
# With less evidence than this a contract has no category.
_LEAST = 2
_ORDER = list(Verdict)
_SEVERITIES = list(Severity)


class Auditor:
    """Judges contracts by one playbook."""

    def __init__(self, playbook: Playbook) -> None:
        self.playbook = playbook
        self._finder = ClauseFinder(playbook)

    def audit(self, name: str, digest: str, document: StructuredDocument) -> Audit:
        """Judge a contract, given as the document that was read."""
        found = self._finder.find(document)
        every = [passage for passages in found.values() for passage in passages]
        findings = [
            *general_findings(document, every),
            *(finding for clause in self.playbook.clauses for finding in judge(clause, found[clause.id])),
        ]
        return Audit(
            name=name,
            digest=digest,
            title=title_of(document),
            media_type=document.media_type,
            category=category_of(self.playbook, document),
            characters=len(document.text),
            pages=document.pages,
            verdict=verdict_of(findings),
            findings=tuple(in_order(findings)),
            clauses=tuple(_found(each) for passages in found.values() for each in passages[:_MAX_PASSAGES]),
            missing=tuple(clause.id for clause in self.playbook.clauses if not found[clause.id]),
            unread=document.unread,
            remarks=document.remarks,
        )


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict of the findings; ones of low severity that only need a human do not count."""
    verdicts = [
        each.verdict
        for each in findings
        if each.severity is not Severity.LOW or each.verdict is not Verdict.NEEDS_HUMAN
    ]
    return min(verdicts, key=_ORDER.index, default=Verdict.OK)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, worst first."""
    return sorted(findings, key=lambda each: (_ORDER.index(each.verdict), _SEVERITIES.index(each.severity)))


def title_of(document: StructuredDocument) -> str:
    """The title of a contract: its first line if that is short and not a clause, else its file's title."""
    first = next((each for each in document.blocks if each.text.strip() and each.kind != "header"), None)
    titled = first and not first.number and len(first.text) <= _MAX_TITLE
    title = first.text if first and (titled or not document.title) else document.title
    return " ".join(title.split())[:160]


def category_of(playbook: Playbook, document: StructuredDocument) -> str:
    """The playbook's category that a contract belongs to; empty if there is too little evidence for any."""
    scores = category_scores(playbook, document.title, document.text)
    best = max(scores, key=lambda id: scores[id], default="")
    return best if best and scores[best] >= _LEAST else ""


def category_scores(playbook: Playbook, title: str, text: str) -> dict[str, int]:
    """The evidence for each category: phrases in the title weigh most; each phrase counts once."""
    head = words_of(f"{title}\n{text[:_TITLE_CHARACTERS]}")
    body = words_of(text)
    scores = {}
    for category in playbook.categories:
        titles, phrases = _index(category.titles), _index(category.phrases)
        scores[category.id] = _TITLE_WEIGHT * len({each.phrase for each in titles.find(head)}) + 2 * len(
            {each.phrase for each in phrases.find(body)}
        )
    return scores


@lru_cache(256)
def _index(texts: tuple[str, ...]) -> Phrases:
    return Phrases(map(Phrase.read, texts))


def _found(passage: Passage) -> ClauseFound:
    return ClauseFound(
        clause=passage.clause,
        heading=passage.heading[:160],
        text=passage.text[:MAX_TEXT],
        length=len(passage.text),
        at=Position(start=passage.start, page=passage.page, number=passage.number),
        facts=facts_of(passage),
    )


def passages_text(audit: Audit, clause: str) -> str:
    """What a contract says on a clause, for a language model to read."""
    return "\n\n".join(
        f"{each.at.number} {each.text}".strip() for each in audit.clauses if each.clause == clause
    )


def weight(findings: Sequence[Finding]) -> int:
    """How bad a contract is, for sorting the worst first."""
    weights = {Severity.HIGH: 9, Severity.MEDIUM: 3, Severity.LOW: 1}
    return sum(
        weights[each.severity] * (4 if each.verdict is Verdict.NOT_ACCEPTABLE else 1) for each in findings
    )
