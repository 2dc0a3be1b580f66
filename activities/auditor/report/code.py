"""What the page shows of code: the fixes with their diffs, the findings with their source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from activities.auditor.current_findings import CurrentFindings
from activities.auditor.records import Finding, ReportRequest, Severity
from activities.auditor.report.charts import in_words
from activities.auditor.report.facts import Facts, FixOutcome, WrittenFixes, web_address
from activities.auditor.report.source import SourceLine, excerpts, fix_hunks, read_lines, split_lines
from common.artifacts import ArtifactStore

# Limits for the page of a giant audit: rows of planned files, files with diffs, files that start unfolded.
_FIXES, _DIFFS, MAX_OPEN = 500, 100, 5


class ShownFixes:
    """What was planned, what became of each file, and the changes themselves."""

    def __init__(self, store: ArtifactStore, findings: CurrentFindings, outcomes: list[FixOutcome]) -> None:
        self._store, self._findings = store, findings
        self.planned = len(outcomes)
        self.max_diffs = _DIFFS
        counts = Counter(outcome.outcome for outcome in outcomes)
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common())
        self.summary = f"{number(len(outcomes), 'file')} planned: {told}."
        # Files that were left come first: a person may have to act on them.
        self.rows = sorted(outcomes, key=lambda o: (o.outcome == "written", o.fix.path))[:_FIXES]

    @property
    def diffs(self) -> Iterator[tuple[FixOutcome, Iterator[list[SourceLine]]]]:
        """The first rows with the hunks of their changes."""
        for row in self.rows[:_DIFFS]:
            yield row, fix_hunks(self._store, self._findings, row.fix)


@dataclass(frozen=True)
class Note:
    """A finding under its line: `url` is its rule's web page, `state` whether it was or can be fixed."""

    finding: Finding
    url: str
    state: str


@dataclass(frozen=True)
class ShownFile:
    """A file with findings. `runs` are the lines around them, empty if no source can be shown."""

    path: str
    counts: Counter[Severity]
    notes: dict[int, list[Note]]
    runs: list[list[SourceLine]]
    remark: str

    @property
    def words(self) -> str:
        """Its findings in words."""
        return in_words(self.counts)


def shown_files(
    store: ArtifactStore,
    request: ReportRequest,
    findings: CurrentFindings,
    facts: Facts,
    outcomes: list[FixOutcome],
) -> Iterator[ShownFile]:
    """The files with the worst findings, the worst file first; one at a time is held in memory."""
    written = WrittenFixes(store, outcomes)
    located = sorted(facts.worst, key=lambda one: (one.path, one.finding.line))
    by_file = [list(group) for _, group in groupby(located, key=lambda one: one.path)]
    by_file.sort(key=lambda group: (min(one.order[:2] for one in group), group[0].path))
    for group in by_file:
        path, sha256 = group[0].path, group[0].sha256
        source, fix = read_lines(request.inventory.root, path, sha256), written.of(path, sha256)
        if source is None and fix:
            source = split_lines(store.get(fix.before))
        notes: dict[int, list[Note]] = {}
        for one in group:
            finding = one.finding
            line = min(finding.line, len(source)) if source else finding.line
            fixed = written.has_fixed(path, sha256, finding)
            state = "fixed" if fixed else "has a safe fix" if finding.fixable else ""
            state = ", ".join(filter(None, ("accepted" if one.accepted else "", state)))
            notes.setdefault(line, []).append(Note(finding, web_address(finding.url), state))
        remark = "As it was before the fixes." if fix else ""
        if not source:
            gone = "The file is no longer what was scanned: no source shown."
            remark = gone if source is None else "The file is empty."
        hidden = findings.secret_lines(path, sha256, source or [])
        yield ShownFile(
            path=path,
            counts=Counter(one.finding.severity for one in group),
            notes=notes,
            runs=list(excerpts(source or [], notes, hidden)),
            remark=remark,
        )


def number(count: int, noun: str, plural: str = "s") -> str:
    """Such as `1 file` and `2,000 files`."""
    return f"{count:,} {noun}{'' if count == 1 else plural}"
