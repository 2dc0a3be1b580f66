"""Facts for the report's page and files, counted in one pass over the findings."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import Match

from activities.auditor.baseline import AcceptedFindings
from activities.auditor.current_findings import CurrentFindings, top_folder
from activities.auditor.fix.diff import kept_lines
from activities.auditor.records import (
    FAILED_RULE,
    AppliedFix,
    Finding,
    PlannedFix,
    ReportRequest,
    Severity,
    get_records,
)
from common.artifacts import ArtifactStore

RANK = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True)
class Located:
    """A finding, the file it is in, the digest of the bytes it was found in, and whether it is accepted."""

    path: str
    sha256: str
    finding: Finding
    accepted: bool = False

    @property
    def order(self) -> tuple[bool, int, str, int]:
        """New ones first, then by severity, path and line."""
        return self.accepted, RANK[self.finding.severity], self.path, self.finding.line


@dataclass
class Facts:
    """Counts over all findings, and the worst of them in full.

    `urls` is keyed by analyser and rule; `failed` counts the files that each analyser crashed on.
    """

    total: int = 0
    accepted: int = 0
    by_rule: dict[tuple[str, str], Counter[Severity]] = field(default_factory=lambda: defaultdict(Counter))
    by_folder: dict[str, Counter[Severity]] = field(default_factory=lambda: defaultdict(Counter))
    by_severity: Counter[Severity] = field(default_factory=Counter)
    urls: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    failed: Counter[str] = field(default_factory=Counter)
    worst: list[Located] = field(default_factory=list)


def survey(findings: CurrentFindings, accepted: AcceptedFindings, keep: int) -> Facts:
    """Count `findings`, and keep the worst `keep` of them."""
    facts = Facts()

    def walk() -> Iterator[Located]:
        for record in findings:
            folder = top_folder(record.path)
            for finding, known in zip(record.findings, accepted.states(record), strict=True):
                facts.total += 1
                facts.accepted += known
                facts.by_severity[finding.severity] += 1
                facts.by_folder[folder][finding.severity] += 1
                facts.by_rule[finding.analyser, finding.rule][finding.severity] += 1
                rules = facts.urls[finding.analyser]
                if finding.rule == FAILED_RULE:
                    facts.failed[finding.analyser] += 1
                else:
                    rules[finding.rule] = rules.get(finding.rule) or web_address(finding.url)
                yield Located(record.path, record.sha256, finding, known)

    facts.worst = heapq.nsmallest(keep, walk(), key=lambda located: located.order)
    return facts


def web_address(url: str) -> str:
    """`url` if it is a web address, otherwise empty: no page of ours contains a `javascript:` link."""
    return url if url.startswith(("https://", "http://")) and url.isprintable() and " " not in url else ""


@dataclass(frozen=True)
class FixOutcome:
    """A planned fix and its outcome: `written`, `left` or `not applied`, with the reason."""

    fix: PlannedFix
    outcome: str
    reason: str


def fix_outcomes(store: ArtifactStore, request: ReportRequest) -> list[FixOutcome]:
    """The newest fix of each planned path and its newest outcome, by path."""
    planned = {
        fix.path: fix for plan in request.plans for fix in get_records(store, plan.listing, PlannedFix)
    }
    became = {
        done.path: done
        for result in request.applied
        for done in get_records(store, result.details, AppliedFix)
    }
    skipped = {path for plan in request.plans for path in plan.skip}
    outcomes = []
    for path, fix in sorted(planned.items()):
        if path in became:
            outcomes.append(FixOutcome(fix, became[path].outcome, became[path].reason))
        elif path in skipped:
            outcomes.append(FixOutcome(fix, "left", "left out on the approver's word"))
        else:
            outcomes.append(FixOutcome(fix, "not applied", "" if request.applied else "nothing was applied"))
    return outcomes


class WrittenFixes:
    """The fixes that were written: which findings they fixed, and where the others are now."""

    def __init__(self, store: ArtifactStore, outcomes: Iterable[FixOutcome]) -> None:
        self._store = store
        self._fixes = {each.fix.path: each.fix for each in outcomes if each.outcome == "written"}
        self._kept: dict[str, list[Match]] = {}

    def of(self, path: str, sha256: str) -> PlannedFix | None:
        """The fix that was written to a file that had this digest."""
        fix = self._fixes.get(path)
        return fix if fix and fix.before.sha256 == sha256 else None

    def has_fixed(self, path: str, sha256: str, finding: Finding) -> bool:
        """Whether a finding is gone: a fix of its rule was written, and changed its line."""
        fix = self.of(path, sha256)
        if fix is None or not finding.fixable or finding.rule not in fix.rules:
            return False
        return not any(block.a < finding.line <= block.a + block.size for block in self._blocks(fix))

    def now(self, path: str, sha256: str, finding: Finding) -> Finding | None:
        """The finding with the lines it has now; None if it was fixed."""
        fix = self.of(path, sha256)
        if fix is None:
            return finding
        if self.has_fixed(path, sha256, finding):
            return None
        moved = {"line": self._moved(fix, finding.line)}
        if finding.end_line:
            moved["end_line"] = self._moved(fix, finding.end_line)
        return finding.model_copy(update=moved)

    def _moved(self, fix: PlannedFix, line: int) -> int:
        """A line's number now; for a changed line, the one after the last unchanged line before it."""
        above = [block for block in self._blocks(fix) if block.size and block.a < line]
        if not above:
            return 1
        return above[-1].b + min(line - above[-1].a, above[-1].size + 1)

    def _blocks(self, fix: PlannedFix) -> list[Match]:
        if fix.path not in self._kept:
            self._kept[fix.path] = kept_lines(self._store.get(fix.before), self._store.get(fix.after))
        return self._kept[fix.path]
