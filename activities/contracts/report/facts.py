"""Facts for the report's page and tables, taken from the audits one contract at a time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from activities.contracts.audit import weight
from activities.contracts.playbook import Playbook
from activities.contracts.records import Audit, ContractsReportRequest, Position
from activities.contracts.results import (
    Decided,
    Decisions,
    Results,
    audit_of,
    clause_title,
    read_results,
    verdict_after,
)
from common.agents.contracts import ContractResult, Severity, Verdict
from common.artifacts import ArtifactStore


@dataclass(frozen=True)
class Row:
    """A contract in one line. `weight` and `top`, the worst finding, leave out what people accepted."""

    name: str
    title: str
    category: str
    pages: int | None
    verdict: Verdict
    counts: Counter[Severity]
    weight: int
    top: str
    accepted: int
    result: ContractResult

    @property
    def order(self) -> tuple[int, int, str]:
        """Worst first."""
        return list(Verdict).index(self.verdict), -self.weight, self.name


@dataclass(frozen=True)
class Judged:
    """A contract in full: its row, its audit, and its findings with people's decisions."""

    row: Row
    audit: Audit
    decided: list[Decided]


@dataclass
class RuleRow:
    """The findings of one rule in all contracts, and how people decided on them."""

    clause: str
    title: str
    severity: Severity
    verdict: Verdict
    contracts: int = 0
    accepted: int = 0
    refused: int = 0


@dataclass
class Facts:
    """The counts over all contracts, and a row for each."""

    rows: list[Row] = field(default_factory=list)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    severities: Counter[Severity] = field(default_factory=Counter)
    findings: int = 0
    by_rule: dict[tuple[str, str], RuleRow] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)


class ContractSource:
    """The audits of a report, read from the store one at a time, as often as needed."""

    def __init__(
        self,
        store: ArtifactStore,
        request: ContractsReportRequest,
        playbook: Playbook,
        heartbeat: Callable[[], None],
    ) -> None:
        self._store = store
        self._heartbeat = heartbeat
        self._decisions = Decisions(store, request.decisions)
        self.titles = {each.id: each.title for each in playbook.clauses}
        self.categories = {each.id: each.title for each in playbook.categories}
        self.results: Results = read_results(store, request.results)

    def each(self) -> Iterator[Judged]:
        """Every contract, sorted by key."""
        for _, result in sorted(self.results.audited.items()):
            self._heartbeat()
            yield self.judged(result)

    def judged(self, result: ContractResult) -> Judged:
        """One contract in full."""
        audit = audit_of(self._store, result)
        decided = self._decisions.about(audit)
        left = [each.finding for each in decided if not each.accepted]
        top = left[0] if left else None
        return Judged(
            Row(
                name=audit.name,
                title=audit.title,
                category=self.categories.get(audit.category, ""),
                pages=audit.pages,
                verdict=verdict_after(decided),
                counts=Counter(each.severity for each in left),
                weight=weight(left),
                top=f"{top.title}: {top.said}" if top and top.said else top.title if top else "",
                accepted=len(decided) - len(left),
                result=result,
            ),
            audit,
            decided,
        )


def survey(source: ContractSource) -> Facts:
    """Count everything in one pass; rows are sorted worst first."""
    facts = Facts()
    for contract in source.each():
        facts.rows.append(contract.row)
        facts.verdicts[contract.row.verdict] += 1
        if contract.audit.model:
            facts.models.add(contract.audit.model)
        seen = set()
        for each in contract.decided:
            finding = each.finding
            facts.findings += 1
            facts.severities[finding.severity] += 1
            key = (finding.clause, finding.rule)
            row = facts.by_rule.setdefault(
                key,
                RuleRow(
                    clause_title(finding.clause, source.titles),
                    finding.title,
                    finding.severity,
                    finding.verdict,
                ),
            )
            if key not in seen:
                seen.add(key)
                row.contracts += 1
                row.accepted += each.accepted is True
                row.refused += each.accepted is False
    facts.rows.sort(key=lambda row: row.order)
    return facts


def most_frequent(facts: Facts, count: int) -> list[RuleRow]:
    """The rules that most contracts break, sorted by severity first."""
    severities = list(Severity)
    return heapq.nsmallest(
        count,
        facts.by_rule.values(),
        key=lambda each: (severities.index(each.severity), -each.contracts, each.title),
    )


def place(at: Position | None) -> str:
    """A position in words: `clause 12.3, page 4, character 1,024`."""
    if at is None:
        return ""
    parts = [f"clause {at.number}" if at.number else "", f"page {at.page}" if at.page else ""]
    return ", ".join([*filter(None, parts), f"character {at.start:,}"])
