"""The commands that show agents, decide for them and steer them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from temporalio.service import RPCError, RPCStatusCode

from cli.archive import archived_view, view_anywhere
from cli.clients import open_agents, open_client
from cli.deciders import decider_lookup
from cli.format import ROW_COLUMNS, row_cells, show_lines
from cli.inputs import check_files, kind_named, read_edits, read_input
from cli.output import CommandError, ExitCode, clean, print_document, say
from cli.table import print_table
from common.agent_files import AgentFiles
from common.agents.agent import AgentInput
from common.agents.kinds import Kind
from common.agents.states import RunStatus
from common.approval.signing import Signer
from common.approval.types import DecisionStatus, Verdict
from common.archive.reader import ArchivedAgents
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError, taken
from common.client.filters import AgentFilter
from common.client.rows import row_of
from common.client.subjects import name_subjects
from common.client.trouble import Trouble
from common.client.view import Ending
from common.hints import command
from common.names import check_agent_id
from common.settings import Settings
from common.temporal.search_attributes import parse_missing

RETRY_AFTER = 1.0
# How long `start` waits to see whether the agent fails at once, and its poll interval; seconds.
START_WAIT, POLL_INTERVAL = 2.0, 0.2
BATCH_PATIENCE = timedelta(seconds=0.5)  # batch progress is optional: the list is complete without it


async def start(
    settings: Settings,
    kind_name: str,
    source: str | None,
    words: Sequence[str],
    id: str | None,
    owner: str,
    *,
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> ExitCode:
    """Start an agent from a file and `k=v` fields; with ``dry_run``, only print what would start."""
    kind = kind_named(kind_name)
    input = read_input(kind, source, words)
    if not dry_run:
        return await begin(settings, kind, input, id, owner, wait=wait, as_json=as_json)
    agents = await open_agents(settings)
    await _refuse_taken(settings, agents, id)
    with suppress(NoSuchAgentError):
        if id and await agents.describe(id):
            raise taken(id)
    check_files(settings, input)
    await agents.check_start(kind.name, input, owner)
    print_document({"id": id, "kind": kind.name, "owner": owner, "input": input})
    say("it may start; nothing was started.")
    return ExitCode.DONE


async def begin(
    settings: Settings,
    kind: Kind,
    input: AgentInput,
    id: str | None,
    owner: str,
    *,
    wait: bool,
    as_json: bool,
) -> ExitCode:
    """Start an agent and print its id; with ``wait``, wait until it closes, otherwise only a moment.

    Raises:
        CommandError: the input names a file that does not exist, and the worker runs on this machine.
    """
    agents = await open_agents(settings)
    check_files(settings, input)
    await _refuse_taken(settings, agents, id)
    id = await agents.start(kind.name, input, id=id, owner=owner)
    missing, trouble = "", list[Trouble]()
    if not as_json:
        print(clean(id), flush=True)
    if wait:
        ending = await _until_closed(agents, id)
    else:
        ending, missing, trouble = await _after_a_moment(agents, id)
    if wait or ending.status is not RunStatus.RUNNING:
        say(_told(id, ending))
    elif missing:
        say(clean(f"{id} is stuck: {missing}. Once that is fixed, run {command('wake', id)}."))
    elif trouble:
        say(clean(f"{id}: {trouble[0].words}. To do: {trouble[0].fix}."))
    elif not as_json:
        say(f"watch it with {command('watch', id)}; come back with {command('result', id)}.")
    if as_json:
        stuck = {"missing": missing} if missing else {"trouble": trouble} if trouble else {}
        print_document({"id": id, "kind": kind.name, "owner": owner, **ending.model_dump(), **stuck})
    return _code(ending)


async def _refuse_taken(settings: Settings, agents: AgentClient, id: str | None) -> None:
    """Refuse an id that is invalid, or that an agent has or once had."""
    if id:
        await ArchivedAgents.open(settings).refuse(agents, check_agent_id(id))


async def list_agents(settings: Settings, wanted: AgentFilter, limit: int, *, as_json: bool) -> None:
    """Print the newest agents that match."""
    client = await open_client(settings)
    agents = AgentClient(client, settings, Signer.load(settings))
    # Thousands of batch items would drown everything else: list only their batch.
    narrowed = (wanted.batch, wanted.kind, wanted.state) != (None, None, None)
    wanted = wanted.model_copy(update={"top": not narrowed})
    rows = await agents.list_agents(wanted, limit)
    if wanted.kind and not rows:
        kind_named(wanted.kind)  # it may be misspelt
    await agents.diagnosis.look(rows, datetime.now(UTC))
    await name_subjects(client, rows)
    if as_json:
        print_document(rows)
    elif rows:
        batches = await agents.batches(rows, BATCH_PATIENCE)
        print_table(
            ROW_COLUMNS,
            [row_cells(row, batches.get(row.id)) for row in rows],
        )
        if batches and wanted.top:
            say("agents that do items of a batch are not listed; `starter.py list --batch B` lists them.")
    elif narrowed or wanted.owner or wanted.status:
        say("no agents match.")
    else:
        say("no agents; start one with `starter.py start KIND` (`starter.py agents` lists the kinds).")


async def show(settings: Settings, id: str, *, as_json: bool) -> None:
    """Print everything known about an agent, in Temporal or in the archive."""
    view = await view_anywhere(settings, id)
    if as_json:
        print_document(view)
    else:
        files = await AgentFiles.of(settings).listed(id)
        print("\n".join(show_lines(view, ArtifactStore.of(settings), decider_lookup(settings), files)))


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
        CommandError: the digest is empty, so it would match any plan.
    """
    if digest is not None and not digest.strip():
        raise CommandError(f"--digest is empty: give the beginning of what {command('show', id)} prints.")
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


async def _after_a_moment(agents: AgentClient, id: str) -> tuple[Ending, str, list[Trouble]]:
    """How the agent stands once it closes, waits or `START_WAIT` has passed; what it lacks; its trouble."""
    now = asyncio.get_running_loop().time
    until = now() + START_WAIT
    # The agent has started; losing the connection now is no error.
    with suppress(RPCError):
        while True:
            described = await agents.describe(id)
            row = row_of(described)
            if not row.running:
                return await agents.ending(id, wait=False), "", []
            if row.waiting_for:
                return Ending(status=RunStatus.RUNNING), parse_missing(row.waiting_for), []
            if now() > until:
                found = await agents.diagnosis.of(described, datetime.now(UTC))
                return Ending(status=RunStatus.RUNNING), "", found
            await asyncio.sleep(POLL_INTERVAL)
    return Ending(status=RunStatus.RUNNING), "", []


async def _until_closed(agents: AgentClient, id: str) -> Ending:
    """Wait for the agent to close, through any outage of Temporal, and return how it ended."""
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
            return f"{id} has completed; {command('result', id)} prints its result."
    return f"{id} has ended, {ending.status}: {ending.failure}"


def _code(ending: Ending) -> ExitCode:
    good = ending.status in (RunStatus.RUNNING, RunStatus.COMPLETED)
    return ExitCode.DONE if good else ExitCode.AGENT_FAILED
