"""The bodies of the commands that look at agents and steer them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from temporalio.service import RPCError, RPCStatusCode

from cli.archive import archived_view
from cli.clients import open_agents
from cli.draw import row_cells, show_lines
from cli.inputs import kind_named, read_edits, read_input
from cli.output import CommandError, ExitCode, clean, print_document, say
from cli.table import print_table
from common.agents.agent import AgentState
from common.approval.types import DecisionStatus, Verdict
from common.archive.reader import ArchivedAgents
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.view import Ending, RunStatus
from common.settings import Settings

RETRY_AFTER = 1.0


async def start(
    settings: Settings,
    kind_name: str,
    source: str | None,
    words: Sequence[str],
    id: str | None,
    owner: str,
    *,
    wait: bool,
    as_json: bool,
) -> ExitCode:
    """Start an agent and print its id; with ``wait`` stay until it has closed."""
    kind = kind_named(kind_name)
    input = read_input(kind, source, words)
    agents = await open_agents(settings)
    if id:
        await ArchivedAgents.open(settings).refuse(agents, id)
    id = await agents.start(kind.name, input, id=id, owner=owner)
    ending = Ending(status=RunStatus.RUNNING)
    if not as_json:
        print(clean(id), flush=True)
    if wait:
        ending = await _until_closed(agents, id)
        say(_told(id, ending))
    elif not as_json:
        say(f"watch it with `starter.py watch {id}`; come back with `starter.py result {id}`.")
    if as_json:
        print_document({"id": id, "kind": kind.name, "owner": owner, **ending.model_dump()})
    return _code(ending)


async def list_agents(
    settings: Settings,
    kind: str | None,
    owner: str | None,
    state: str | None,
    status: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Print the newest agents that fit."""
    _one_of("--state", state, AgentState)
    _one_of("--status", status, RunStatus)
    agents = await open_agents(settings)
    rows = await agents.list_agents(
        kind=kind, owner=owner, state=state, status=RunStatus(status) if status else None, limit=limit
    )
    if as_json:
        print_document(rows)
    elif rows:
        print_table(
            ["ID", "KIND", "OWNER", "STATE", "NODE", "WAITS FOR", "STARTED"], [row_cells(row) for row in rows]
        )
    else:
        say("no agents; start one with `starter.py start KIND` (`starter.py agents` lists the kinds).")


async def show(settings: Settings, id: str, *, as_json: bool) -> None:
    """Print everything there is to know of an agent, in Temporal or in the archive."""
    try:
        view = await (await open_agents(settings)).view(id)
    except NoSuchAgentError:
        view = await archived_view(settings, id)
    if as_json:
        print_document(view)
    else:
        print("\n".join(show_lines(view)))


async def result(settings: Settings, id: str, *, wait: bool) -> ExitCode:
    """Print the result, or say that there is none yet, or why there will be none."""
    agents = await open_agents(settings)
    try:
        ending = await _until_closed(agents, id) if wait else await agents.ending(id, wait=False)
    except NoSuchAgentError:
        view = await archived_view(settings, id)
        ending = Ending(status=view.status, result=view.result, failure=view.failure)
    if ending.status is RunStatus.COMPLETED:
        print_document(ending.result)
    else:
        print_document({"id": id, "status": ending.status, "failure": ending.failure})
        say(_told(id, ending))
    return _code(ending)


async def decide(
    settings: Settings,
    id: str,
    verdict: Verdict,
    by: str,
    note: str,
    edits: Sequence[str],
    digest: str,
    *,
    request_id: str = "",
    as_json: bool,
) -> ExitCode:
    """Send a decision and say what the agent made of it."""
    agents = await open_agents(settings)
    decision = await agents.decide(
        id,
        verdict,
        by=by,
        note=note,
        edits=read_edits(edits),
        through="cli",
        digest=digest,
        request_id=request_id,
    )
    record = await agents.outcome(id, decision.id)
    status = record.status.value if record else "recorded"
    reason = record.reason if record else "no worker has taken it yet; it will count when one wakes"
    if as_json:
        print_document(
            {
                "id": id,
                "decision_id": decision.id,
                "request_id": decision.request_id,
                "digest": decision.digest,
                "verdict": decision.verdict,
                "status": status,
                "reason": reason,
                "signed": record.signed if record else decision.signature is not None,
            }
        )
    say(f"{decision.verdict} of plan {decision.digest[:12]}: {status}" + (f" ({reason})." if reason else "."))
    return ExitCode.REFUSED if record and record.status is DecisionStatus.REFUSED else ExitCode.DONE


async def tell(settings: Settings, id: str, text: str) -> None:
    """Steer an agent in words."""
    await (await open_agents(settings)).tell(id, text)
    say(f"told {id}.")


async def pause(settings: Settings, id: str) -> None:
    """Ask an agent to start nothing new."""
    await (await open_agents(settings)).pause(id)
    say(f"{id} pauses before its next step; `starter.py resume {id}` ends that.")


async def resume(settings: Settings, id: str) -> None:
    """End a pause."""
    await (await open_agents(settings)).resume(id)
    say(f"{id} goes on.")


async def wake(settings: Settings, id: str, until: str | None) -> None:
    """End an agent's sleep, or move its end."""
    await (await open_agents(settings)).wake(id, _moment(until) if until else None)
    say(f"{id} sleeps until {until} instead." if until else f"woke {id}.")


async def cancel(settings: Settings, id: str) -> None:
    """Ask an agent to end."""
    await (await open_agents(settings)).cancel(id)
    say(f"asked {id} to end; it tidies up first.")


def _one_of(option: str, value: str | None, values: type[StrEnum]) -> None:
    if value is not None and value not in list(values):
        raise CommandError(f"{option} {value}: say one of {', '.join(values)}.")


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--until {text}: give a time, as in 2026-11-23T10:00:00Z.") from None
    return at.astimezone()  # a time without a zone is this machine's


async def _until_closed(agents: AgentClient, id: str) -> Ending:
    """How the agent closed, waited for through any outage of Temporal."""
    while True:
        try:
            return await agents.ending(id, wait=True)
        except RPCError as error:
            if error.status not in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
                raise
            say("reconnecting…")
            await asyncio.sleep(RETRY_AFTER)


def _told(id: str, ending: Ending) -> str:
    match ending.status:
        case RunStatus.RUNNING:
            return f"{id} still runs; wait for it with --wait."
        case RunStatus.COMPLETED:
            return f"{id} has completed; `starter.py result {id}` prints its result."
    return f"{id} has ended, {ending.status}: {ending.failure}"


def _code(ending: Ending) -> ExitCode:
    good = ending.status in (RunStatus.RUNNING, RunStatus.COMPLETED)
    return ExitCode.DONE if good else ExitCode.AGENT_FAILED
