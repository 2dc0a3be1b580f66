"""The commands that show agents, decide for them and steer them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from temporalio.service import RPCError, RPCStatusCode

from cli.archive import archived_view
from cli.clients import open_agents
from cli.draw import row_cells, show_lines
from cli.inputs import kind_named, read_edits, read_input
from cli.output import CommandError, ExitCode, clean, print_document, say
from cli.table import print_table
from common.agents.agent import Receipt
from common.approval.types import DecisionStatus, Verdict
from common.archive.reader import ArchivedAgents
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.filters import AgentFilter
from common.client.view import Ending, RunStatus
from common.settings import Settings

RETRY_AFTER = 1.0
BATCH_PATIENCE = timedelta(seconds=0.5)  # the list is complete without


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


async def list_agents(settings: Settings, wanted: AgentFilter, limit: int, *, as_json: bool) -> None:
    """Print the newest agents that match."""
    agents = await open_agents(settings)
    # Thousands of items would hide everything else; their batch stands for them.
    narrowed = (wanted.batch, wanted.kind, wanted.state) != (None, None, None)
    wanted = wanted.model_copy(update={"top": not narrowed})
    rows = await agents.list_agents(wanted, limit)
    await agents.diagnosis.look(rows, datetime.now(UTC))
    if as_json:
        print_document(rows)
    elif rows:
        batches = await agents.batches(rows, BATCH_PATIENCE)
        print_table(
            ["ID", "KIND", "OWNER", "STATE", "NODE", "WAITS FOR", "STARTED"],
            [row_cells(row, batches.get(row.id)) for row in rows],
        )
        if batches and wanted.top:
            say("agents that do items of a batch are not listed; `starter.py list --batch B` lists them.")
    else:
        say("no agents; start one with `starter.py start KIND` (`starter.py agents` lists the kinds).")


async def show(settings: Settings, id: str, *, as_json: bool) -> None:
    """Print everything known about an agent, in Temporal or in the archive."""
    try:
        view = await (await open_agents(settings)).view(id)
    except NoSuchAgentError:
        view = await archived_view(settings, id)
    if as_json:
        print_document(view)
    else:
        print("\n".join(show_lines(view, ArtifactStore.of(settings))))


async def result(settings: Settings, id: str, *, wait: bool) -> ExitCode:
    """Print the result, or that there is none yet, or why there will be none."""
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
    digest: str | None,
    *,
    request_id: str = "",
    as_json: bool,
) -> ExitCode:
    """Send a decision and print its outcome.

    Raises:
        CommandError: the digest is empty, which every digest begins with.
    """
    if digest is not None and not digest.strip():
        raise CommandError(f"--digest is empty: give the beginning of what `starter.py show {id}` prints.")
    agents = await open_agents(settings)
    decision = await agents.decide(
        id,
        verdict,
        by=by,
        note=note,
        edits=read_edits(edits),
        through="cli",
        digest=digest or "",
        request_id=request_id,
    )
    record = await agents.outcome(id, decision.id)
    status = record.status.value if record else "recorded"
    reason = record.reason if record else "no worker has taken it yet; it counts once one runs"
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


async def steer(settings: Settings, id: str, send: Callable[[AgentClient], Awaitable[str]]) -> ExitCode:
    """Send an agent something, and say what came of it."""
    agents = await open_agents(settings)
    return told_of(id, await agents.receipt(id, await send(agents)))


def told_of(id: str, receipt: Receipt | None) -> ExitCode:
    """Say what came of what was sent to an agent."""
    if receipt is None:
        say(f"{id}: sent; not confirmed, for no worker has taken it yet.")
        return ExitCode.DONE
    say(f"{id}: {'' if receipt.taken else 'refused: '}{clean(receipt.words)}.")
    return ExitCode.DONE if receipt.taken else ExitCode.REFUSED


async def cancel(settings: Settings, id: str) -> None:
    """Ask an agent to end."""
    await (await open_agents(settings)).cancel(id)
    say(f"asked {id} to end; it cleans up first.")


async def _until_closed(agents: AgentClient, id: str) -> Ending:
    """How the agent closed; waits for it through any outage of Temporal."""
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
