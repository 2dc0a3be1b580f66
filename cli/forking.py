"""Forks an agent: a new one continues from the state another had when it entered a node."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from cli.clients import open_client
from cli.format import moment
from cli.inputs import kind_named, read_input
from cli.output import CommandError, ExitCode, clean, print_document, say
from cli.revival import fresh_state
from common.agents.agent import Carried, Cost
from common.agents.fork import Fork
from common.agents.kinds import Kind
from common.approval.signing import Signer
from common.archive.histories import AgentRuns, Histories
from common.archive.reader import ArchivedAgents
from common.client.client import AgentClient
from common.hints import command
from common.settings import Settings
from common.temporal.connect import data_converter
from workflows.entries import Entries, Entry, NotReplayedError


async def fork(
    settings: Settings,
    id: str,
    at: str,
    words: Sequence[str],
    as_id: str | None,
    owner: str | None,
    *,
    effects: bool,
    as_json: bool,
) -> None:
    """Start a fork and print its id; the original is only read. ``owner`` defaults to the original's."""
    client = await open_client(settings)
    archived = ArchivedAgents.open(settings)
    histories = Histories(client, archived)
    original = await histories.runs(id)
    kind = kind_named(original.kind)
    run_id, node, entry = await _entered(histories, original, kind, at, settings)
    owner = owner or original.owner or settings.user
    mark = Fork(of=id, run_id=run_id, node=node, effects=effects)
    input = read_input(kind, None, words, entry.input)
    new_id = as_id or f"{id}-fork-{uuid.uuid4().hex[:8]}"
    agents = AgentClient(client, settings, Signer.load(settings))
    await archived.refuse(agents, new_id)
    state = _state(entry, mark, datetime.now(UTC))
    await agents.start(kind.name, input.model_copy(update={"carried": state}), id=new_id, owner=owner)
    if as_json:
        told = {"id": new_id, "kind": kind.name, "owner": owner, "fork": mark, "entered_at": entry.at}
        print_document(told)
    else:
        print(clean(new_id))
    does = "it acts like any other agent" if effects else "what it would do outside is held (--effects: not)"
    say(f"{new_id} goes on from where {id} entered {node} {moment(entry.at)}; {does}.")
    say(f"watch it with {command('watch', new_id)}.")


async def _entered(
    histories: Histories, original: AgentRuns, kind: Kind, at: str, settings: Settings
) -> tuple[str, str, Entry]:
    """The run and node that `at` names, and the agent's state as it entered.

    Raises:
        CommandError: the agent never was at that node, or cannot continue from it.
    """
    node, nth = _parsed(at)
    if nth and not original.whole:
        raise CommandError(
            f"the first runs of {original.id} are gone from Temporal, so nothing can be counted; "
            f"--at {node} takes the latest."
        )
    entries, converter = Entries(node, nth), data_converter(settings, writes=False)
    for run_id in original.runs if nth else reversed(original.runs):
        history = await histories.history(original, run_id)
        try:
            await entries.replay(kind.workflow_class(), history, converter)
        except NotReplayedError as error:
            raise CommandError(
                f"run {run_id} of {original.id} does not replay with this version of its code, so its state "
                f"cannot be told: {str(error)[:300]}",
                ExitCode.AGENT_FAILED,
            ) from error
        if entries.kept:
            _check(entries.kept, kind, node)
            return run_id, node, entries.kept
    been = ", ".join(f"{name}#{count}" if count > 1 else name for name, count in entries.counts.items())
    raise CommandError(
        f"{original.id} has not been at {at!r}; it has been at: {been or 'no node yet'}."
        + ("" if original.whole else " Its first runs are gone from Temporal.")
    )


def _parsed(at: str) -> tuple[str, int | None]:
    """Node and number of `NODE` or `NODE#2`."""
    node, _, number = at.rpartition("#")
    return (node, int(number[:9])) if node and number.isdecimal() and int(number[:9]) else (at, None)


def _check(entry: Entry, kind: Kind, node: str) -> None:
    if entry.state.memory is None and entry.has_begun:
        raise CommandError(
            f"a {kind.name} keeps no memory, so nothing could go on from {node}, when it had begun already; "
            f"{command('start', kind.name)} starts a new one."
        )


def _state(entry: Entry, mark: Fork, now: datetime) -> Carried:
    """The fork's first state. What the original spent, and where it got stuck, stays with the original."""
    state = fresh_state(entry.state, f"{mark.words}, run {mark.run_id}", now, mark)
    # A batch in progress belongs to the original; the fork starts its own.
    batch = state.batch if state.batch and state.batch.over else None
    own = {"started_at": now, "stuck_at": [], "cost": Cost(), "batch": batch}
    return state.model_copy(update=own)
