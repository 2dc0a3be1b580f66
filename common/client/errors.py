"""Errors of requests about agents; each message is one line for a person."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from temporalio.service import RPCError, RPCStatusCode

from common.hints import command
from common.names import is_storable


class AgentClientError(Exception):
    """A request about agents that cannot be carried out; the message is one line for a person."""


class NoSuchAgentError(AgentClientError):
    """There is no agent with that id, or it has closed."""


class AgentExistsError(AgentClientError):
    """There is an agent with that id already. Ids are not reused, because idempotency keys contain them."""


def taken(id: str) -> AgentExistsError:
    """The error for an id that an agent has or had."""
    return AgentExistsError(f"there is already an agent with the id {id}, running or ended; choose another.")


class TooManyAgentsError(AgentClientError):
    """An owner has the maximum number of agents at work."""


class TooMuchSaidError(AgentClientError):
    """The agent's history has no room left for signals that are not essential, or for any."""


class NothingToDecideError(AgentClientError):
    """The agent has no open request that the decision could be for."""


class BuildRefusedError(AgentClientError):
    """A build cannot be made current or removed, or an agent cannot move to it."""


class StartRefusedError(AgentClientError):
    """The operator's policy does not let this person start such an agent."""


@asynccontextmanager
async def for_agent(id: str) -> AsyncIterator[None]:
    """Turn Temporal's answers about an unknown agent into errors.

    Raises:
        NoSuchAgentError: Temporal does not know the agent, or no agent can have such an id.
    """
    unknown = NoSuchAgentError(
        f"there is no agent {id!r} in Temporal; `starter.py list` shows those there are, "
        "and `starter.py find` also the archived ones."
    )
    if not is_storable(id):
        raise unknown  # a server on PostgreSQL would say that it is unavailable
    try:
        yield
    except RPCError as error:
        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise
        raise unknown from None


def one_open_request(
    id: str, open_requests: Sequence[tuple[str, str]], digest: str, request_id: str = ""
) -> tuple[str, str]:
    """The one of an agent's open requests, (id, digest) each, that matches the id and the digest's prefix.

    Raises:
        NothingToDecideError: no request is open, or none with that id and digest.
        AgentClientError: several match, and it is unclear which is meant.
    """
    if not open_requests:
        raise NothingToDecideError(f"nothing to decide: agent {id} does not wait for an approval now.")
    meant = [each for each in open_requests if each[1].startswith(digest) and request_id in ("", each[0])]
    there_are = ", ".join(f"{other} {full_digest[:12]}" for other, full_digest in open_requests)
    if not meant:
        named = f"is called {request_id} and has" if request_id else "has"
        raise NothingToDecideError(
            f"no open request of agent {id} {named} a digest that begins with {digest!r}: "
            f"there are {there_are}; see {command('show', id)}."
        )
    if len(meant) > 1:
        raise AgentClientError(
            f"agent {id} has several open requests: {there_are}; choose one, as in "
            f"{command('approve', id, '--request', meant[0][0], '--digest', meant[0][1][:12])}."
        )
    return meant[0]
