"""Who may see and steer which agent. What somebody may not see is, for them, not there."""

from __future__ import annotations

from http import HTTPStatus

from common.archive.chain import ArchiveDamagedError
from common.client.errors import NoSuchAgentError
from common.client.view import AgentRow, AgentView
from common.temporal import search_attributes
from gateway.auth.authentication import Subject
from gateway.problems import Problem
from gateway.views import Views


def may_see(row: AgentRow, subject: Subject) -> bool:
    """Whether it is the subject's agent, or one that asks something they may decide; operators see all."""
    if not row.owner:
        return False  # a workflow, and no agent
    return subject.operator or row.owner == subject.id or bool(subject.names & deciders(row))


def deciders(row: AgentRow) -> set[str]:
    """Who may decide what the agent asks now, people and groups."""
    requests = row.requests if isinstance(row, AgentView) else []
    return {*row.approvers, *(name for request in requests for name in request.deciders)}


async def require_visible(views: Views, subject: Subject, id: str) -> AgentRow:
    """The agent, for a subject who may see it.

    Raises:
        NoSuchAgentError: there is none, or it is not theirs to see.
        ArchiveDamagedError: what the archive has of it cannot be read; for operators alone.
    """
    try:
        row = await views.row(id)
    except ArchiveDamagedError:
        if subject.operator:
            raise
        raise NoSuchAgentError(id) from None  # whose it is cannot be read either
    if may_see(row, subject):
        return row
    # What Temporal itself holds of the approvers is cut where it is long; the agent knows them all.
    if row.owner and search_attributes.parse_waiting_for_approvals(row.waiting_for):
        row = await views.view(id)
        if may_see(row, subject):
            return row
    raise NoSuchAgentError(id)


async def require_steerable(views: Views, subject: Subject, id: str) -> AgentRow:
    """The agent, for a subject who may steer it.

    Raises:
        NoSuchAgentError: there is none, or it is not theirs to see.
        Problem: 403, they see it only to decide what it asks.
    """
    row = await require_visible(views, subject, id)
    if not (subject.operator or row.owner == subject.id):
        raise Problem(HTTPStatus.FORBIDDEN, "Only its owner or an operator may do that to an agent.")
    return row
