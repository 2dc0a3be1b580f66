"""`starter.py forget`: erases an owner's agents, and reports progress and earlier erasures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from cli.archive import done_by, work
from cli.clients import open_client
from cli.confirm import confirmed, should_confirm
from cli.find import agent_search
from cli.format import moment
from cli.output import ExitCode, print_document, say
from common.approval.signed import sign_start
from common.approval.signing import Signer
from common.archive.layout import ARCHIVIST, ERASER, Erased, EraseRequest, Forgotten
from common.client.filters import AgentFilter
from common.client.visibility import quote
from common.grammar import counted
from common.hints import command
from common.object_store import open_store
from common.settings import Settings
from common.temporal import search_attributes

# Agents are started by the server's clock, which may be ahead of ours.
CLOCKS_DIFFER = timedelta(minutes=10)
TOLD_EVERY = 3.0


class Told(Erased):
    """What was erased now, and in earlier runs."""

    before: list[Forgotten]


async def forget(settings: Settings, owner: str, *, dry_run: bool, yes: bool) -> ExitCode:
    """Erase an owner's agents, and print what was erased; with ``dry_run`` only how many there are."""
    quote(owner)  # raises if no query can hold the name
    client = await open_client(settings)
    before = await asyncio.to_thread(lambda: sorted(_forgotten(settings, owner), key=lambda each: each.at))
    for each in before:
        say(f"forgotten at {moment(each.at)}: {_counts(each)}.")
    if dry_run:
        live, archived = await _agents_of(client, settings, owner)
        print_document({"owner": owner, "live": live, "archived": archived, "before": before})
        return ExitCode.DONE
    if should_confirm(yes=yes):
        live, archived = await _agents_of(client, settings, owner)
        words = f"erase the {live} agents of {owner} in Temporal and the {archived} archived ones"
        if not await confirmed(f"{words}, with all that is kept of them, for good?"):
            say("nothing was erased.")
            return ExitCode.REFUSED
    request = EraseRequest(owner=owner, until=datetime.now(UTC) + CLOCKS_DIFFER)
    signed = sign_start(ERASER, request, Signer.load(settings))
    handle = await work(client, settings, ERASER, signed, ARCHIVIST, Erased)
    telling = asyncio.create_task(_tell_progress(client, handle, owner))
    try:
        erased = await done_by(ERASER, handle)
    except asyncio.CancelledError:
        say(f"the erasure goes on; {command('forget', '--owner', owner, '--dry-run')} tells what came of it.")
        raise
    finally:
        telling.cancel()
    print_document(Told(**erased.model_dump(), before=before))
    say(f"forgotten: {_counts(erased)}.")
    if erased.held:
        say(f"{erased.held} are on legal hold and were left alone.")
    return ExitCode.REFUSED if erased.held else ExitCode.DONE


async def _agents_of(client: Client, settings: Settings, owner: str) -> tuple[int, int]:
    """How many agents an owner has in Temporal, and archived."""
    found = await agent_search(client, settings).find(AgentFilter(owner=owner), datetime.now(UTC))
    archived = sum(each.archived for each in found.agents)
    return len(found.agents) - archived, archived


async def _tell_progress(client: Client, handle: WorkflowHandle[object, Erased], owner: str) -> None:
    """Report progress whenever it changes."""
    told = ""
    query = f"{search_attributes.OWNER.name} = {quote(owner)}"
    while True:
        await asyncio.sleep(TOLD_EVERY)
        try:
            left = (await client.count_workflows(query)).count
            pending = (await handle.describe()).raw_description.pending_activities
        except RPCError:
            continue  # try again: this only reports
        doing = ", ".join(each.activity_type.name.replace("_", " ") for each in pending)
        words = f"{doing or 'erasing'}: {counted(left, 'workflow')} of {owner} left in Temporal …"
        if words != told:
            say(words)
        told = words


def _forgotten(settings: Settings, owner: str) -> Iterator[Forgotten]:
    objects = open_store(settings)
    for each in objects.list(Forgotten.prefix(owner)):
        yield Forgotten.model_validate_json(objects.get(each.key))


def _counts(erased: Erased) -> str:
    what = f"{counted(erased.live, 'agent')} in Temporal, {erased.archived} archived"
    return f"{what}, {counted(erased.objects + erased.artifacts, 'object')} of {erased.bytes:,} bytes"
