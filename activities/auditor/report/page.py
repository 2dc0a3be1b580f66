"""The report as one HTML page that loads nothing: text, charts, diffs and source, everything escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath

from activities.auditor.baseline import AcceptedFindings
from activities.auditor.current_findings import CurrentFindings
from activities.auditor.records import FindingGroup, ReportRequest, Severity, SkippedFile, get_records
from activities.auditor.report.charts import Bar, bars
from activities.auditor.report.code import MAX_OPEN, ShownFixes, number, shown_files
from activities.auditor.report.facts import Facts, FixOutcome, fix_outcomes
from activities.html.render import render
from activities.llm.records import OFFLINE
from common.artifacts import ArtifactStore

# Limits for the page of a giant audit: findings, groups, and names of files left out for one reason.
CAP, _GROUPS, _NAMES = 2000, 60, 100


def page(
    store: ArtifactStore,
    request: ReportRequest,
    findings: CurrentFindings,
    facts: Facts,
    versions: Mapping[str, str],
    accepted: AcceptedFindings,
) -> str:
    """The whole page. Source lines are read from the audited root, if the file is still as scanned."""
    outcomes, triage = fix_outcomes(store, request), request.triage
    groups = list(get_records(store, triage.groups, FindingGroup))
    name = PurePosixPath(request.inventory.root).name or request.inventory.root
    return render(
        "auditor/report/page.html",
        title=f"Audit of {name}",
        name=name,
        inventory=request.inventory,
        triage=triage,
        decisions=request.decisions,
        proof=request.plans[-1].proof if request.plans else (),
        applied=request.applied,
        versions=versions,
        severities=list(Severity),
        lead=_lead(request, facts, outcomes),
        against_baseline=_against_baseline(facts, accepted),
        absent=list(islice(accepted.absent(), _NAMES)) if accepted.given else [],
        more_absent=accepted.absent_count - _NAMES,
        failed=", ".join(f"{analyser} ({count:,})" for analyser, count in sorted(facts.failed.items())),
        all=Bar("", facts.by_severity, facts.total or 1),
        by_rule=bars({f"{rule} · {analyser}": counts for (analyser, rule), counts in facts.by_rule.items()}),
        by_folder=bars({_folder(name): counts for name, counts in facts.by_folder.items()}),
        fixes=ShownFixes(store, findings, outcomes) if outcomes else None,
        ranked_by="offline analyst (no language model)" if triage.model == OFFLINE else triage.model,
        groups=[(group, facts.urls[group.analyser].get(group.rule, "")) for group in groups[:_GROUPS]],
        more_groups=len(groups) - _GROUPS,
        folder_name=_folder,
        files=shown_files(store, request, findings, facts, outcomes),
        open_files=MAX_OPEN,
        more_findings=facts.total - len(facts.worst),
        left_out=_left_out(store, request),
    )


def _lead(request: ReportRequest, facts: Facts, outcomes: list[FixOutcome]) -> str:
    """How much was read, what was found, and what became of it."""
    inventory = request.inventory
    lead = f"{number(inventory.files, 'file')} ({_size(inventory.bytes)}) read, "
    lead += f"{number(facts.total, 'finding')}. " if facts.total else "nothing found. "
    if written := [outcome for outcome in outcomes if outcome.outcome == "written"]:
        fixed = sum(sum(outcome.fix.rules.values()) for outcome in written)
        return lead + f"{number(fixed, 'fix', 'es')} written to {number(len(written), 'file')}."
    if outcomes:
        return lead + f"Fixes for {number(len(outcomes), 'file')} were planned, none was written."
    if request.triage.fixable:
        lead += f"{request.triage.fixable:,} of them have a safe fix; nothing was changed."
    return lead


def _against_baseline(facts: Facts, accepted: AcceptedFindings) -> str:
    """How much of what was found is new; empty without a baseline."""
    if not accepted.given:
        return ""
    new = facts.total - facts.accepted
    return f"Against the baseline: {new:,} new, {facts.accepted:,} accepted, {accepted.absent_count:,} gone."


def _left_out(store: ArtifactStore, request: ReportRequest) -> Iterator[tuple[str, int, list[str]]]:
    """Each reason for leaving files out, how many there are, and the first of their names."""
    names: dict[str, list[str]] = {}
    for record in get_records(store, request.inventory.left_out, SkippedFile):
        of_reason = names.setdefault(record.reason, [])
        if len(of_reason) < _NAMES:
            of_reason.append(record.path)
    for reason, count in sorted(request.inventory.skipped.items()):
        if count:
            yield reason, count, names.get(reason, [])


def _folder(name: str) -> str:
    return "(top folder)" if name == "." else f"{name}/"


def _size(count: int) -> str:
    """Bytes for people, such as `4.2 MB`."""
    value, unit = float(count), "B"
    for larger in ("KB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
