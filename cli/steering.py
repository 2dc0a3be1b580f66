"""Sends an agent, or every running one that a filter names, what steers it, and says what came of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from cli.asking import agreed, asks
from cli.clients import open_agents
from cli.inputs import kind_named
from cli.output import CommandError, ExitCode, clean, print_document, say
from common.agents.agent import Receipt
from common.agents.states import RunStatus
from common.client.client import AgentClient
from common.client.errors import AgentClientError, NoSuchAgentError
from common.client.filters import AgentFilter
from common.grammar import counted
from common.settings import Settings

# So many agents are sent something at the same time; and so many at most by one command.
AT_ONCE = 20
MOST = 10_000
UNCONFIRMED = "sent, but no worker has taken it yet"
# What is sent to one agent: gives the id of the receipt, None where the agent writes none.
Send = Callable[[AgentClient, str], Awaitable[str | None]]


class Steered(BaseModel):
    """What came of it: `taken`, `refused`, `ended`, or `sent` where no worker has said so yet."""

    id: str
    status: str
    detail: str = ""

    @classmethod
    def of(cls, id: str, receipt: Receipt | None, unconfirmed: str = UNCONFIRMED) -> Steered:
        """What an agent made of what was sent."""
        if receipt is None:
            return cls(id=id, status="sent", detail=unconfirmed)
        return cls(id=id, status="taken" if receipt.taken else "refused", detail=receipt.words)

    @property
    def refused(self) -> bool:
        """Whether the agent refused it."""
        return self.status == "refused"

    @property
    def words(self) -> str:
        """In a line; that it was taken goes without saying."""
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
    """Send an agent something, and say what came of it."""
    agents = await open_agents(settings)
    steered = await _sent(agents, id, send, unconfirmed)
    if as_json:
        print_document(steered)
    say(steered.words)
    return ExitCode.REFUSED if steered.refused else ExitCode.DONE


async def steer_all(
    settings: Settings, wanted: AgentFilter, verb: str, send: Send, *, yes: bool, as_json: bool
) -> ExitCode:
    """Send something to every running agent that matches, and say what came of it.

    Raises:
        CommandError: nothing is asked for, which would be all agents.
    """
    if wanted == AgentFilter():
        raise CommandError(f"say what to {verb}: the ID of an agent, or --kind, --owner, --state or --batch.")
    agents = await open_agents(settings)
    rows = await agents.list_agents(wanted.model_copy(update={"status": RunStatus.RUNNING}), MOST)
    if wanted.kind and not rows:
        kind_named(wanted.kind)  # it may be misspelt
    question = f"{verb} {counted(len(rows), 'running agent')}, such as {rows[0].id if rows else ''}?"
    if rows and asks(yes=yes) and not await agreed(question):
        say("nothing was done.")
        return ExitCode.REFUSED
    free = asyncio.Semaphore(AT_ONCE)

    async def steer_one(id: str) -> Steered:
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


async def _steered(agents: AgentClient, id: str, send: Send) -> Steered:
    try:
        return await _sent(agents, id, send, UNCONFIRMED)
    except NoSuchAgentError:
        return Steered(id=id, status="ended")
    except AgentClientError as error:
        return Steered(id=id, status="refused", detail=str(error).rstrip("."))


async def _sent(agents: AgentClient, id: str, send: Send, unconfirmed: str) -> Steered:
    receipt = await send(agents, id)
    return Steered.of(id, await agents.receipt(id, receipt) if receipt else None, unconfirmed)
