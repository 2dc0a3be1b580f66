"""The commands about the archive."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from cli.clients import open_agents, open_client
from cli.confirm import confirmed, should_confirm
from cli.format import moment, show_lines
from cli.output import CommandError, ExitCode, clean, print_document, say
from cli.revival import revived_input
from common.approval.action_log import ActionLog
from common.approval.signed import sign_start
from common.approval.signing import Signer
from common.archive.anchor import ArchiveAnchor
from common.archive.chain import verify
from common.archive.layout import (
    AGENTS,
    ARCHIVIST,
    ArchiveRecord,
    ArchiveReport,
    ArchiveRequest,
)
from common.archive.reader import ArchivedAgents
from common.client.client import AgentClient
from common.client.errors import NoSuchAgentError
from common.client.view import AgentView
from common.files import write_atomically
from common.hints import command
from common.object_store import StoreUnavailableError, open_store
from common.s3_store import S3Store
from common.settings import Settings

Done = TypeVar("Done")


async def archive_run(
    settings: Settings, older_than: timedelta | None, *, dry_run: bool, as_json: bool
) -> ExitCode:
    """Run the archivist now and wait for it."""
    request = sign_start(
        ARCHIVIST, ArchiveRequest(older_than=older_than, dry_run=dry_run), Signer.load(settings)
    )
    client = await open_client(settings)
    id = f"{ARCHIVIST}-looks-{uuid.uuid4().hex[:8]}" if dry_run else ARCHIVIST
    report = await done_by(ARCHIVIST, await work(client, settings, ARCHIVIST, request, id, ArchiveReport))
    passed_over = ", ".join(f"{count} {why}" for why, count in sorted(report.passed_over.items()))
    if as_json:
        print_document(report)
    elif dry_run:
        print("\n".join(map(clean, report.due_ids)))
    say(
        f"{report.due} due"
        + ("" if dry_run else f", {report.archived} archived in {report.bytes} bytes")
        + (f", passed over: {passed_over}" if passed_over else "")
        + ("" if dry_run else f"; {report.swept} orphaned payloads deleted; head {_head(report)}")
        + "."
    )
    return ExitCode.DONE


async def archive_show(settings: Settings, id: str, *, as_json: bool) -> None:
    """Print an archived agent as `show` would have printed it."""
    view = await archived_view(settings, id)
    if as_json:
        print_document(view)
    else:
        print("\n".join(show_lines(view)))


async def archive_restore(
    settings: Settings, id: str, output: Path | None, run_id: str | None, *, readable: bool
) -> None:
    """Print or write the history of an archived agent's run."""
    archived = ArchivedAgents.open(settings)
    record = await _record(archived, id)
    runs = [run for run in record.runs if run_id in (None, run.run_id)]
    if not runs:
        raise CommandError(f"--run {run_id}: there are {', '.join(run.run_id for run in record.runs)}.")
    text = await archived.history(record, runs[-1], readable=readable)
    if output is None:
        print(text)
    else:
        await asyncio.to_thread(write_atomically, output, text.encode())
        say(f"wrote {runs[-1].events} events of run {runs[-1].run_id} to {output}.")
    others = len(record.runs) - 1
    if others and run_id is None:
        say(f"{others} earlier runs: " + ", ".join(run.run_id for run in record.runs[:-1]))


async def archive_revive(
    settings: Settings, id: str, as_id: str | None, *, yes: bool, as_json: bool
) -> ExitCode:
    """Start an agent that resumes where the archived one ended, after listing what that one did."""
    client = await open_client(settings)
    archived = ArchivedAgents.open(settings)
    record = await _record(archived, id)
    acts = await asyncio.to_thread(ActionLog.of(settings).acts_of, id)
    for act in acts:
        say(f"{id} acted at {act.node} on {moment(act.at)}, decided by {', '.join(act.by)}.")
    if acts and should_confirm(yes=yes) and not await confirmed("It may ask for the same again. Revive it?"):
        say("nothing was started.")
        return ExitCode.REFUSED
    input = await revived_input(archived, client.data_converter, record, datetime.now(UTC))
    new_id = as_id or f"{id}-revived"
    agents = AgentClient(client, settings, Signer.load(settings))
    await archived.refuse(agents, new_id)
    await agents.start(record.kind, input, id=new_id, owner=record.owner)
    if as_json:
        print_document({"id": new_id, "kind": record.kind, "owner": record.owner, "revived_from": id})
    else:
        print(clean(new_id))
    say(f"{new_id} goes on from where {id} ended; watch it with {command('watch', new_id)}.")
    return ExitCode.DONE


async def archive_verify(settings: Settings, *, as_json: bool) -> ExitCode:
    """Verify every archived object against the chain, and the chain against its head in Temporal."""
    anchor = await ArchiveAnchor(await open_client(settings), settings).head()
    found = await asyncio.to_thread(verify, open_store(settings), anchor)
    if as_json:
        print_document(found)
    for flaw in found.flaws:
        say(flaw)
    unsealed = f"; {found.unsealed} objects of agents not archived yet" if found.unsealed else ""
    said = f"{len(found.flaws)} flaws" if found.flaws else "all good"
    say(f"{said}: {found.agents} agents, {found.objects} objects, {found.head.number} manifests{unsealed}.")
    return ExitCode.AGENT_FAILED if found.flaws else ExitCode.DONE


async def archive_setup(settings: Settings, *, as_json: bool) -> None:
    """Create or update the schedule and, on S3, the rule for colder storage."""
    client = await open_client(settings)
    await ArchiveAnchor(client, settings).set_up()
    cold = await set_cold(settings)
    if as_json:
        print_document({"schedule": settings.archive.schedule, "colder_storage": cold})
    say(f"the archivist runs at `{settings.archive.schedule}` UTC; colder storage: {cold}.")


async def set_cold(settings: Settings) -> str:
    """Set the bucket's rule for colder storage of archived agents; return the outcome in words."""
    store, after = open_store(settings), settings.archive.cold_after
    if not isinstance(store, S3Store):
        return "none, the store is a folder"
    try:
        await asyncio.to_thread(store.move_when_cold, AGENTS, after)
    except StoreUnavailableError as error:
        return f"not set ({error})"
    return f"GLACIER_IR after {after.days} days" if after else "none (HIBERNAUT_ARCHIVE_COLD=never)"


async def view_anywhere(settings: Settings, id: str) -> AgentView:
    """The view of an agent in Temporal, else in the archive.

    Raises:
        NoSuchAgentError: neither has an agent with that id.
    """
    try:
        return await (await open_agents(settings)).view(id)
    except NoSuchAgentError:
        return await archived_view(settings, id)


async def archived_view(settings: Settings, id: str) -> AgentView:
    """The view of an archived agent; also tells the user that it is archived.

    Raises:
        NoSuchAgentError: no agent has that id, in Temporal or archived.
    """
    archived = ArchivedAgents.open(settings)
    record = await _record(archived, id)
    view = await archived.view(record)
    restore = command("archive", "restore", id)
    say(f"{id} was archived {record.archived_at:%Y-%m-%d}; {restore} has its history.")
    return view


async def _record(archived: ArchivedAgents, id: str) -> ArchiveRecord:
    record = await archived.find(id)
    if record is None:
        raise NoSuchAgentError(f"there is no agent {id!r}, in Temporal or archived; `starter.py find` looks.")
    return record


async def work(
    client: Client,
    settings: Settings,
    kind: str,
    request: object,
    id: str,
    done: type[Done],
) -> WorkflowHandle[Any, Done]:
    """Start the archivist or the eraser.

    Raises:
        CommandError: an archivist or eraser is already running.
    """
    try:
        return await client.start_workflow(
            kind,
            request,
            id=id,
            task_queue=settings.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            result_type=done,
        )
    except WorkflowAlreadyStartedError:
        raise CommandError(
            "an archivist is already running; try again when it is done.",
            ExitCode.REFUSED,
        ) from None


async def done_by(kind: str, handle: WorkflowHandle[Any, Done]) -> Done:
    """Wait for the archivist or the eraser, and return its report.

    Raises:
        CommandError: the archivist or eraser failed.
    """
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        cause: BaseException = error
        while deeper := getattr(cause, "cause", None):
            cause = deeper
        raise CommandError(f"the {kind} failed: {cause}", ExitCode.AGENT_FAILED) from error


def _head(report: ArchiveReport) -> str:
    return f"{report.head.number} {report.head.sha256[:12]}" if report.head.number else "none"
