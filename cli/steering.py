"""Steers one agent, or all running ones that match a filter, and prints the outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from cli.clients import open_agents
from cli.confirm import confirmed, should_confirm
from cli.inputs import kind_named
from cli.output import CommandError, ExitCode, clean, print_document, say
from common.agents.agent import Receipt
from common.agents.states import RunStatus
from common.client.client import AgentClient
from common.client.errors import AgentClientError, NoSuchAgentError
from common.client.filters import AgentFilter
from common.grammar import counted
from common.settings import Settings

# How many agents are steered concurrently, and at most by one command.
AT_ONCE = 20
MAX_STEERED = 10_000
UNCONFIRMED = "sent, but no worker has taken it yet"
# Sends a command to an agent; returns the receipt's id, None if the agent writes none.
Send = Callable[[AgentClient, str], Awaitable[str | None]]


class SteeringResult(BaseModel):
    """The outcome: `taken`, `refused`, `ended`, or `sent` if no worker has confirmed it yet."""

    id: str
    status: str
    detail: str = ""

    @classmethod
    def of(cls, id: str, receipt: Receipt | None, unconfirmed: str = UNCONFIRMED) -> SteeringResult:
        """The outcome, from the agent's receipt."""
        if receipt is None:
            return cls(id=id, status="sent", detail=unconfirmed)
        return cls(id=id, status="taken" if receipt.taken else "refused", detail=receipt.words)

    @property
    def refused(self) -> bool:
        """Whether the agent refused it."""
        return self.status == "refused"

    @property
    def words(self) -> str:
        """The outcome in one line; `taken` goes without saying."""
        said = [self.status] if self.status != "taken" else []
        return clean(f"{self.id}: {': '.join(filter(None, (*said, self.detail)))}.")


async def steer(
    settings: Settings,
    id: str,
    send: Send,
    *,
    unconfirmed: str = UNCONFIRMED,
    as_json: bool = False,
) -> ExitCode:
    """Steer an agent, and print the outcome."""
    agents = await open_agents(settings)
    steered = await _sent(agents, id, send, unconfirmed)
    if as_json:
        print_document(steered)
    say(steered.words)
    return ExitCode.REFUSED if steered.refused else ExitCode.DONE


async def steer_all(
    settings: Settings, wanted: AgentFilter, verb: str, send: Send, *, yes: bool, as_json: bool
) -> ExitCode:
    """Steer every running agent that matches, and print the outcome.

    Raises:
        CommandError: the filter is empty, which would mean all agents.
    """
    if wanted == AgentFilter():
        raise CommandError(f"say what to {verb}: the ID of an agent, or --kind, --owner, --state or --batch.")
    agents = await open_agents(settings)
    rows = await agents.list_agents(wanted.model_copy(update={"status": RunStatus.RUNNING}), MAX_STEERED)
    if wanted.kind and not rows:
        kind_named(wanted.kind)  # it may be misspelt
    question = f"{verb} {counted(len(rows), 'running agent')}, such as {rows[0].id if rows else ''}?"
    if rows and should_confirm(yes=yes) and not await confirmed(question):
        say("nothing was done.")
        return ExitCode.REFUSED
    free = asyncio.Semaphore(AT_ONCE)

    async def steer_one(id: str) -> SteeringResult:
        async with free:
            return await _steered(agents, id, send)

    steered = await asyncio.gather(*(steer_one(row.id) for row in rows))
    if as_json:
        print_document(steered)
    counts = Counter(each.status for each in steered)
    for each in steered:
        if each.refused:
            say(each.words)
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    say(f"{verb}: {said or 'no running agent matches'}.")
    return ExitCode.REFUSED if counts["refused"] else ExitCode.DONE


async def _steered(agents: AgentClient, id: str, send: Send) -> SteeringResult:
    try:
        return await _sent(agents, id, send, UNCONFIRMED)
    except NoSuchAgentError:
        return SteeringResult(id=id, status="ended")
    except AgentClientError as error:
        return SteeringResult(id=id, status="refused", detail=str(error).rstrip("."))


async def _sent(agents: AgentClient, id: str, send: Send, unconfirmed: str) -> SteeringResult:
    receipt = await send(agents, id)
    return SteeringResult.of(id, await agents.receipt(id, receipt) if receipt else None, unconfirmed)
