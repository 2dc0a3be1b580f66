"""Formats agents as lines of text. Everything that an agent says is untrusted and passes ``clean``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import datetime

from cli.deciders import DeciderOf
from cli.format_batch import batch_lines, batch_pairs
from cli.output import clean, pasteable, program
from common.agents.agent import NotebookEntry, Progress
from common.agents.batch import BatchStatus
from common.agents.kinds import shown_as
from common.approval.plan_text import whole_lines
from common.approval.plan_view import RenderContext, show_plan
from common.approval.types import ApprovalRequest, DecisionRecord, in_words
from common.artifacts import ArtifactStore
from common.client.batches import counts, percent
from common.client.rows import AgentRow, waits_in_words
from common.client.view import AgentView
from common.grammar import in_utc
from common.hints import command

PLAN_LINES = 40
# More than any plan can have of anything, so it is shown whole.
MAX_PLAN = 1_000_000
# Headings of `row_cells`.
ROW_COLUMNS = ("ID", "KIND", "OWNER", "STATE", "NODE", "WAITS FOR", "STARTED", "ABOUT")


def row_cells(row: AgentRow, batch: BatchStatus | None = None) -> list[str]:
    """The cells of `ROW_COLUMNS`; a batch's progress, or trouble, replaces what the agent waits for."""
    waits = f"{waits_for(row)} until {moment(row.wake_at)}" if row.wake_at else waits_for(row)
    waits = f"{percent(batch)}: {counts(batch)}" if batch else trouble_in_words(row) or waits
    return [
        *(row.id, row.kind, row.owner, row.state, row.node),
        *(waits, moment(row.started_at), row.subject),
    ]


def headline(row: AgentRow) -> str:
    """An agent in one line: its state, its trouble, and what it waits for."""
    failure, live = (row.failure, row.live) if isinstance(row, AgentView) else (None, True)
    words = [row.state, f"at {row.node}" if row.node else "", failure or ""]
    words += [f"in trouble: {trouble_in_words(row)}"] if row.trouble else []
    words += [f"waiting for {waits_for(row)}"] if row.waiting_for else []
    words += [] if live else ["no worker answers"]
    return clean(f"{row.id}: {', '.join(filter(None, words))}")


def trouble_in_words(row: AgentRow) -> str:
    """Why an agent is stuck; empty if no trouble was found."""
    return "; ".join(each.words for each in row.trouble)


def waits_for(row: AgentRow) -> str:
    """What an agent waits for, in words and without digests."""
    return waits_in_words(row, "an approval", "approvals")


def summary(view: AgentView) -> list[tuple[str, str]]:
    """The facts that fit on a line each, as pairs of name and value."""
    pairs = [
        ("agent", view.id),
        ("about", view.subject),
        ("kind", view.kind),
        ("owner", view.owner),
        ("state", view.state),
        ("node", view.node),
        ("waiting for", waits_for(view)),
        ("until", moment(view.wake_at)),
        ("started", moment(view.started_at)),
        ("closed", moment(view.closed_at)),
        ("progress", "" if view.batch else progress(view.progress)),
        *(batch_pairs(view.batch) if view.batch else [("batch", view.batch_id)]),
        ("item of", view.item_of),
        ("build", view.pinned_to.partition(":")[2]),
        ("origin", view.fork.words if view.fork else ""),
        ("stuck at", ", ".join(view.stuck_at)),
        ("failure", view.failure or ""),
        *(
            pair
            for each in view.trouble
            for pair in (("trouble", each.words), ("to do", pasteable(each.fix)))
        ),
    ]
    if view.cost.usd or view.cost.input_tokens or view.cost.output_tokens:
        tokens = f"{view.cost.input_tokens} tokens in, {view.cost.output_tokens} out"
        pairs.append(("cost", f"{view.cost.usd} USD ({tokens})"))
    return [(name, clean(value)) for name, value in pairs if value]


def show_lines(
    view: AgentView,
    artifacts: ArtifactStore | None = None,
    decider_of: DeciderOf | None = None,
    files: Sequence[str] = (),
) -> list[str]:
    """Everything about an agent, as lines; with ``artifacts``, plans are whole, with their diffs.

    ``files`` are the names of what it wrote for people.
    """
    lines = [f"{name:<12} {value}" for name, value in summary(view)]
    if files:
        fetch = f"fetch them with {command('files', view.id, '--save', 'FOLDER')}"
        lines.append(clean(f"{'files':<12} {', '.join(files)} ({fetch})"))
    if not view.live:
        whose = f" It ended on build {view.pinned_to.partition(':')[2]}, whose workers alone could."
        closed = "" if view.running or not view.pinned_to else whose
        lines += ["", f"No worker answered, so only what Temporal itself knows is shown.{closed}"]
    if view.batch:
        lines += batch_lines(view.batch)
    if view.notebook:
        lines += ["", f"notebook ({view.dropped} older lines in the history)" if view.dropped else "notebook"]
        lines += [notebook_line(entry) for entry in view.notebook]
    if view.decisions:
        lines += ["", "decisions", *(decision_line(record) for record in view.decisions)]
    for request in view.requests:
        lines += ["", *approval_lines(view.id, view.kind, request, artifacts, decider_of)]
    if view.result is not None:
        lines += ["", "result", *_shown(view.result, view.kind, RenderContext(is_local=True))]
    return lines


def approval_lines(
    id: str,
    kind: str,
    request: ApprovalRequest,
    artifacts: ArtifactStore | None = None,
    decider_of: DeciderOf | None = None,
) -> list[str]:
    """An open question: its plan, its votes and deadlines, and the commands that answer it.

    With ``artifacts`` the plan is whole and has its diff; otherwise it is cut to what a screen holds.
    """
    policy, limit = request.policy, PLAN_LINES if artifacts is None else None
    lines = [
        f"{request.id} asks {', '.join(request.deciders) or 'nobody'}: {request.question}",
        *_shown(request.plan, kind, RenderContext(artifacts, most=MAX_PLAN), limit),
        *(f"evidence: {line}" for line in request.evidence),
    ]
    if policy.quorum > 1:
        lines.append(f"needs {policy.quorum} approvals, has {len(request.votes)}")
    if request.floor:
        lines.append(request.floor)
    lines += [f"yes {in_words(vote.decision)}" for vote in request.votes]
    if policy.editable:
        lines.append(f"may be edited: {', '.join(policy.editable)}")
    lines += [f"reminds people {moment(at)}" for at in request.remind_at[request.reminded :][:1]]
    if request.escalate_at and not request.escalated:
        lines.append(f"escalates to {', '.join(policy.escalate_to)} {moment(request.escalate_at)}")
    if request.expires_at:
        lines.append(f"expires {moment(request.expires_at)}, then: {policy.on_expiry.replace('_', ' ')}")
    who = decider_of(request) if decider_of else ""
    answer = [id, *(["--as", who] if who else []), "--digest", request.digest[:12]]
    lines.append(f"answer: {program()} approve {shlex.join(answer)}")
    lines.append(f"    or: {program()} reject {shlex.join(answer)} --reason WHY")
    return [clean(line) for line in lines]


def notebook_line(entry: NotebookEntry) -> str:
    """A notebook entry in one line: time, node, text and facts."""
    facts = ", ".join(f"{name}={value}" for name, value in entry.facts.items())
    text = f"{entry.text} ({facts})" if facts else entry.text
    return clean(f"{in_utc(entry.at):%m-%d %H:%M:%S}  {entry.node:<14} {text}")


def decision_line(record: DecisionRecord) -> str:
    """A decision: who, when, through which entry point, whether signed, and its outcome."""
    decision = record.decision
    parts = [
        f"{moment(record.at)}  {decision.verdict} by {decision.by} through {decision.through}",
        "signed" if record.signed else "unsigned",
        f"on {decision.digest[:12]}",
        f"{record.status}{': ' if record.reason else ''}{record.reason}",
    ]
    return clean(", ".join(parts) + (f" — {decision.note}" if decision.note else ""))


def progress(counted: Progress) -> str:
    """`done of total`; empty where nothing is counted."""
    return f"{counted.done} of {counted.total}" if counted.total else ""


def moment(at: datetime | None) -> str:
    """A time to the second, in UTC; empty for none."""
    return f"{in_utc(at):%Y-%m-%d %H:%M:%S} UTC" if at else ""


def _shown(value: object, kind: str, context: RenderContext, limit: int | None = None) -> list[str]:
    """Format a plan or a result as its kind specifies; anything else as JSON."""
    if isinstance(value, dict):
        lines = list(whole_lines(show_plan(value, shown_as(kind, value), context)))
    else:
        lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    lines = [clean(line) for line in lines]
    if limit and len(lines) > limit:
        return [*lines[:limit], f"… {len(lines) - limit} more lines; --json prints them all"]
    return lines
