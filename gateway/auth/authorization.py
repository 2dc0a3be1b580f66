"""Who may see and steer which agent. To everyone else, an agent does not exist."""

from __future__ import annotations

from http import HTTPStatus

from common.archive.chain import ArchiveDamagedError
from common.client.errors import NoSuchAgentError
from common.client.rows import AgentRow
from common.client.view import AgentView
from common.temporal import search_attributes
from gateway.auth.authentication import Subject
from gateway.problems import Problem
from gateway.views import Views


def may_see(row: AgentRow, subject: Subject) -> bool:
    """Whether it is their agent, or asks something they may decide; operators see all."""
    if not row.owner:
        return False  # a workflow that is not an agent
    return subject.operator or row.owner == subject.id or bool(subject.names & deciders(row))


def may_steer(row: AgentRow, subject: Subject) -> bool:
    """Whether it is their agent; operators steer all."""
    return subject.operator or row.owner == subject.id


def deciders(row: AgentRow) -> set[str]:
    """The people and groups who may decide what the agent asks now."""
    requests = row.requests if isinstance(row, AgentView) else []
    return {*row.approvers, *(name for request in requests for name in request.deciders)}


async def require_visible(views: Views, subject: Subject, id: str) -> AgentRow:
    """The agent, if the subject may see it.

    Raises:
        NoSuchAgentError: the agent does not exist, or the subject may not see it.
        ArchiveDamagedError: its archived copy cannot be read; only operators are told.
    """
    try:
        row = await views.row(id)
    except ArchiveDamagedError:
        if subject.operator:
            raise
        raise NoSuchAgentError(id) from None  # the owner is unreadable, too: tell nobody else
    if may_see(row, subject):
        return row
    # The search attribute truncates a long list of approvers; ask the agent for the whole list.
    if row.owner and (row.waiting_for or "").startswith(search_attributes.APPROVAL):
        row = await views.view(id)
        if may_see(row, subject):
            return row
    raise NoSuchAgentError(id)


async def require_steerable(views: Views, subject: Subject, id: str) -> AgentRow:
    """The agent, if the subject may steer it.

    Raises:
        NoSuchAgentError: the agent does not exist, or the subject may not see it.
        Problem: 403, the subject may only see it to decide what it asks.
    """
    row = await require_visible(views, subject, id)
    if not may_steer(row, subject):
        raise Problem(HTTPStatus.FORBIDDEN, "Only an agent's owner or an operator may do that.")
    return row
