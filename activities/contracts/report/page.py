"""The report as one HTML page that loads nothing: the worst contracts first, quotes, everything escaped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from activities.contracts.playbook import Playbook
from activities.contracts.records import ContractsReportRequest
from activities.contracts.report.facts import ContractSource, Facts, Judged, most_frequent, place
from activities.contracts.results import clause_title
from activities.html.render import render
from common.agents.contracts import GroupDecision, Severity, Verdict

# Limits for the page of a giant batch; the tables have everything.
MAX_ROWS, MAX_IN_FULL, MAX_WORST = 2_000, 300, 3
_MAX_RULES, _MAX_SET_ASIDE = 60, 500
_SHORT = {Verdict.NOT_ACCEPTABLE: "refuse", Verdict.NEEDS_HUMAN: "human", Verdict.OK: "ok"}


def page(
    request: ContractsReportRequest, source: ContractSource, facts: Facts, playbook: Playbook, gone: list[str]
) -> str:
    """The whole page."""
    name = PurePosixPath(request.folder).name or request.folder
    rows = facts.rows[:MAX_ROWS]
    in_full = min(MAX_IN_FULL, len(rows))
    set_aside = sorted(source.results.set_aside.items())
    return render(
        "contracts/report/page.html",
        title=f"Contracts in {name}",
        name=name,
        folder=request.folder,
        playbook=playbook.name,
        models=", ".join(sorted(facts.models)),
        unfinished=request.unfinished,
        items=request.items,
        looked_at=len(facts.rows) + len(set_aside),
        verdicts=list(Verdict),
        severities=list(Severity),
        short=_SHORT,
        counts=facts.verdicts,
        findings=facts.findings,
        rows=list(enumerate(rows, 1)),
        more_rows=len(facts.rows) - len(rows),
        in_full=in_full,
        worst=[source.judged(row.result) for row in rows[:MAX_WORST] if row.verdict is not Verdict.OK],
        contracts=_in_full(source, facts, in_full),
        rules=most_frequent(facts, _MAX_RULES),
        more_rules=max(0, len(facts.by_rule) - _MAX_RULES),
        decisions=request.decisions,
        finding_of=lambda decision: _finding_of(facts, decision),
        set_aside=set_aside[:_MAX_SET_ASIDE],
        more_set_aside=max(0, len(set_aside) - _MAX_SET_ASIDE),
        left_out=sorted(request.left_out.items()),
        other=request.other,
        reread=request.reread,
        gone=gone,
        clause=lambda id: clause_title(id, source.titles),
        place=place,
    )


def _finding_of(facts: Facts, decision: GroupDecision) -> str:
    """The title of the finding that was decided on, or its rule if no contract has it any more."""
    row = facts.by_rule.get((decision.clause, decision.rule))
    return row.title if row else decision.rule


def _in_full(source: ContractSource, facts: Facts, count: int) -> Iterator[tuple[int, Judged]]:
    for number, row in enumerate(facts.rows[:count], 1):
        yield number, source.judged(row.result)
