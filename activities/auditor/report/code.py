"""The parts of the page that show code: the fixes with their diffs, the findings with their source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby

from activities.auditor.current_findings import CurrentFindings
from activities.auditor.records import Finding, PlannedFix, ReportRequest, Severity
from activities.auditor.report.charts import in_words
from activities.auditor.report.facts import RANK, Facts, FixOutcome, Located, is_fixed, web_address
from activities.auditor.report.source import Line, excerpts, fix_hunks, read_lines, split_lines
from activities.html.markup import Child, Html, join, tag
from activities.html.parts import badge, more, number, rule_link, table
from common.artifacts import ArtifactStore

# What the page shows of a giant audit: rows of planned files, and files with their diffs.
_FIXES, _DIFFS = 500, 100
_OPEN_FILES = 5


def fixes_section(
    store: ArtifactStore, request: ReportRequest, findings: CurrentFindings, outcomes: list[FixOutcome]
) -> Html:
    """What was planned, what people decided, what became of each file, and the changes themselves."""
    if not outcomes:
        return tag("p", "No fixes were planned: this audit only read.", class_="dim")
    counts = Counter(o.outcome for o in outcomes)
    summary = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common())
    # What was left comes first: it is what a person may have to do something about.
    rows = sorted(outcomes, key=lambda o: (o.outcome == "written", o.fix.path))[:_FIXES]
    patches = "The exact patches are fixes.diff" + (" and undo.patch" if request.applied else "")
    return join(
        [
            tag("p", f"{number(len(outcomes), 'file')} planned: {summary}."),
            tag("ul", (tag("li", decision) for decision in request.decisions), class_="decisions"),
            table(("file", "outcome", "what goes", "lines"), (_row(outcome) for outcome in rows)),
            more(len(outcomes) - len(rows), "planned files"),
            (_diff(store, findings, outcome) for outcome in rows[:_DIFFS]),
            more(len(rows) - _DIFFS, "diffs", where="fixes.diff"),
            tag(
                "p",
                f"{patches}, beside this page. They are whole: keep them as private as the code.",
                class_="dim",
            ),
        ]
    )


def _row(outcome: FixOutcome) -> tuple[Child, ...]:
    fix = outcome.fix
    return (
        tag("code", fix.path),
        [tag("b", outcome.outcome, class_=f"is-{outcome.outcome.split()[0]}"), f" {outcome.reason}"],
        ", ".join(f"{count:,} × {rule}" for rule, count in sorted(fix.rules.items())),
        f"+{fix.lines_added:,} −{fix.lines_removed:,}",
    )


def _diff(store: ArtifactStore, findings: CurrentFindings, outcome: FixOutcome) -> Html:
    label = tag(
        "summary", tag("code", outcome.fix.path), tag("span", f"diff · {outcome.outcome}", class_="dim")
    )
    return tag("details", label, map(_code, fix_hunks(store, findings, outcome.fix)), class_="file")


def findings_section(
    store: ArtifactStore,
    request: ReportRequest,
    findings: CurrentFindings,
    facts: Facts,
    outcomes: list[FixOutcome],
) -> Html:
    """The worst findings, file by file, each under its line."""
    written = {outcome.fix.path: outcome.fix for outcome in outcomes if outcome.outcome == "written"}
    located = sorted(facts.worst, key=lambda one: (one.path, one.finding.line))
    by_file = [list(group) for _, group in groupby(located, key=lambda one: one.path)]
    by_file.sort(key=lambda group: (min(RANK[one.finding.severity] for one in group), group[0].path))
    parts = []
    for count, group in enumerate(by_file):
        path, sha256 = group[0].path, group[0].sha256
        source = read_lines(request.inventory.root, path, sha256)
        fix = written.get(path)
        if source is None and fix and fix.before.sha256 == sha256:
            source = split_lines(store.get(fix.before))
        hidden = findings.secret_lines(path, sha256, source or [])
        parts.append(_file(group, source, hidden, fix, opened=count < _OPEN_FILES))
    return join(
        [
            more(
                facts.total - len(facts.worst),
                "findings, none graver than these,",
                where="report.json and report.sarif",
            ),
            parts,
            tag("p", "Nothing fits the filter.", id="none", hidden=True),
        ]
    )


def _file(
    group: list[Located], source: list[str] | None, hidden: set[int], fix: PlannedFix | None, opened: bool
) -> Html:
    notes: dict[int, list[Html]] = {}
    for located in group:
        line = min(located.finding.line, len(source)) if source else located.finding.line
        notes.setdefault(line, []).append(_finding(located.finding, fix))
    if source:
        body: list[Child] = [_code(run, notes) for run in excerpts(source, notes, hidden)]
    else:
        why = (
            "The file is empty."
            if source == []
            else "The file is no longer what was scanned: no source shown."
        )
        body = [tag("p", why, class_="dim"), tag("div", notes.values(), class_="code")]
    if fix and source:
        body.insert(0, tag("p", "As it was before the fixes.", class_="dim"))
    counts = Counter(located.finding.severity for located in group)
    badges = [badge(severity, counts[severity]) for severity in Severity if counts[severity]]
    label = tag(
        "summary", tag("code", group[0].path), tag("span", badges, class_="badges", title=in_words(counts))
    )
    return tag("details", label, body, class_="file", open=opened, data_path=group[0].path)


def _finding(finding: Finding, fix: PlannedFix | None) -> Html:
    fixed = fix is not None and is_fixed(finding, fix)
    state = "fixed" if fixed else "has a safe fix" if finding.fixable else ""
    return tag(
        "div",
        badge(finding.severity),
        " ",
        rule_link(finding.rule, web_address(finding.url)),
        f" {finding.message} ",
        tag("span", f"{finding.analyser} · {finding.line}:{finding.column}", class_="dim"),
        tag("span", f" {state}", class_="fixable") if state else "",
        class_=f"finding {finding.severity}",
        data_severity=finding.severity.value,
    )


def _code(lines: Iterable[Line], notes: Mapping[int, list[Html]] | None = None) -> Html:
    """Lines of source, each followed by its `notes`; without notes, lines of a diff."""
    kinds = {"+": "line added", "-": "line removed", "*": "line masked", " ": "line"}
    rows = []
    for line in lines:
        found = notes.get(line.number, []) if notes else []
        mark = tag("span", line.mark.strip("*"), class_="mark") if notes is None else ""
        number_ = tag("span", f"{line.number}", class_="no")
        rows.append(
            tag("div", number_, mark, tag("code", line.text), class_=kinds[line.mark] + " hit" * bool(found))
        )
        rows += found
    return tag("div", rows, class_="code")
