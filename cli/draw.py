"""Formats agents as lines of text. Everything that an agent says is untrusted and passes ``clean``."""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import JsonValue

from cli.draw_batch import batch_lines, batch_pairs
from cli.output import clean
from common.agents.agent import NotebookEntry, Progress
from common.agents.batch import BatchStatus
from common.approval.plan_view import author_of, label_of, show_plan
from common.approval.types import ApprovalRequest, DecisionRecord, in_words
from common.artifacts import ArtifactStore
from common.client.batches import counts, percent
from common.client.view import AgentRow, AgentView
from common.grammar import in_utc
from common.temporal import search_attributes

PLAN_LINES = 40


def row_cells(row: AgentRow, batch: BatchStatus | None = None) -> list[str]:
    """Id, kind, owner, state, node, its trouble or what it waits for, start; of a batch, how it stands."""
    if batch:
        waits = f"{percent(batch)}: {counts(batch)}"
        return [row.id, row.kind, row.owner, row.state, row.node, waits, moment(row.started_at)]
    waits = f"{waits_for(row)} until {moment(row.wake_at)}" if row.wake_at else waits_for(row)
    waits = trouble_in_words(row) or waits
    return [row.id, row.kind, row.owner, row.state, row.node, waits, moment(row.started_at)]


def trouble_in_words(row: AgentRow) -> str:
    """Why an agent does not get on; empty if it does, as far as was looked."""
    return "; ".join(each.words for each in row.trouble)


def waits_for(row: AgentRow) -> str:
    """What an agent waits for, in words and without digests."""
    approvals = search_attributes.parse_waiting_for_approvals(row.waiting_for)
    if not approvals:
        return row.waiting_for or ""
    if search_attributes.is_cut(row.waiting_for):
        return f"over {len(approvals)} approvals"
    return "an approval" if len(approvals) == 1 else f"{len(approvals)} approvals"


def summary(view: AgentView) -> list[tuple[str, str]]:
    """The facts that fit on a line each, as pairs of name and value."""
    pairs = [
        ("agent", view.id),
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
        *(pair for each in view.trouble for pair in (("trouble", each.words), ("to do", each.fix))),
    ]
    if view.cost.usd or view.cost.input_tokens or view.cost.output_tokens:
        tokens = f"{view.cost.input_tokens} tokens in, {view.cost.output_tokens} out"
        pairs.append(("cost", f"{view.cost.usd} USD ({tokens})"))
    return [(name, clean(value)) for name, value in pairs if value]


def show_lines(view: AgentView, artifacts: ArtifactStore | None = None) -> list[str]:
    """Everything about an agent, as lines; with ``artifacts``, plans are whole, with their diffs."""
    lines = [f"{name:<12} {value}" for name, value in summary(view)]
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
        lines += ["", *approval_lines(view.id, request, artifacts)]
    if view.result is not None:
        lines += ["", "result", *_json_lines(view.result)]
    return lines


def approval_lines(id: str, request: ApprovalRequest, artifacts: ArtifactStore | None = None) -> list[str]:
    """An open question: its plan, its votes and deadlines, and the command that answers it.

    With ``artifacts`` the plan is whole and has its diff; else it is cut to what a screen holds.
    """
    policy = request.policy
    lines = [
        f"{request.id} asks {', '.join(request.deciders) or 'nobody'}: {request.question}",
        *_authors(request.plan),
        *_json_lines(request.plan, PLAN_LINES if artifacts is None else None),
        *_diff_lines(request, artifacts),
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
    lines.append(
        f"answer: starter.py approve {id} --digest {request.digest[:12]}   "
        f"(or: starter.py reject {id} --digest {request.digest[:12]} --reason …)"
    )
    return [clean(line) for line in lines]


def _authors(plan: dict[str, JsonValue]) -> list[str]:
    """Who wrote which text of a plan, where that may be a language model."""
    written = [(label_of(name), author_of(plan, name)) for name in plan]
    return [f"{label} below: written by {author}" for label, author in written if author]


def notebook_line(entry: NotebookEntry) -> str:
    """Time, node, text and facts of a line of the notebook."""
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


def _diff_lines(request: ApprovalRequest, artifacts: ArtifactStore | None) -> list[str]:
    diff = artifacts and show_plan(request.plan, artifacts).diff
    if not diff:
        return []
    left_out = [f"… {diff.left_out} more lines; the report has them"] if diff.left_out else []
    return ["diff", *(line.text for line in diff.lines), *left_out, *filter(None, [diff.missing])]


def _json_lines(value: object, limit: int | None = PLAN_LINES) -> list[str]:
    lines = [clean(line) for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n")]
    if limit and len(lines) > limit:
        return [*lines[:limit], f"… {len(lines) - limit} more lines; --json prints them all"]
    return lines
