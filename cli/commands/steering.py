"""Commands that steer agents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.commands.shared import Id, Json, OneOrMany, Yes, moment_ahead, refuse_both, settings
from cli.options import Commands, options_of, read_option
from cli.output import CommandError, run
from common.client.filters import AgentFilter

if TYPE_CHECKING:
    from cli.steering import Send

app = Commands()


@app.command()
def tell(id: Id, text: Annotated[str, typer.Argument(metavar="TEXT")], as_json: Json = False) -> None:
    """Give an agent instructions in words."""
    from cli.steering import steer

    run(steer(settings(), id, lambda agents, each: agents.tell(each, text), as_json=as_json))


@app.command()
@options_of(AgentFilter, "kind", "owner", "state", "batch")
def pause(wanted: AgentFilter, id: OneOrMany = None, yes: Yes = False, as_json: Json = False) -> None:
    """Let an agent, or all that match, start nothing new until `resume`."""
    steer_agents(id, wanted, "pause", lambda agents, each: agents.pause(each), yes=yes, as_json=as_json)


@app.command()
@options_of(AgentFilter, "kind", "owner", "state", "batch")
def resume(wanted: AgentFilter, id: OneOrMany = None, yes: Yes = False, as_json: Json = False) -> None:
    """Let a paused agent, or all that match, go on."""
    steer_agents(id, wanted, "resume", lambda agents, each: agents.resume(each), yes=yes, as_json=as_json)


@app.command()
def wake(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="The agent's id; or --build.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Sleep until then instead.")] = None,
    for_upgrade: Annotated[
        bool, typer.Option("--for-upgrade", help="Move it to the current build; its sleep goes on there.")
    ] = False,
    build: Annotated[
        str | None, typer.Option(metavar="B", help="With --for-upgrade: all agents pinned to this build.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Wake a sleeping agent now, move the end of its sleep, or move it to the current build."""
    from cli.steering import steer

    if for_upgrade and until is not None:
        raise CommandError("--until is not for --for-upgrade: the sleep goes on as it is.")
    if for_upgrade:
        from cli.versions import move

        run(move(settings(), id, build, as_json=as_json))
    if id is None or build is not None:
        raise CommandError("give the ID of an agent; --build is for --for-upgrade.")
    at = read_option("--until", until, moment_ahead)
    if at and at < datetime.now(UTC):
        raise CommandError(f"--until {until}: that has passed; without --until it wakes now.")
    run(steer(settings(), id, lambda agents, each: agents.wake(each, at), as_json=as_json))


@app.command()
@options_of(AgentFilter, "kind", "owner", "state", "batch")
def cancel(wanted: AgentFilter, id: OneOrMany = None, yes: Yes = False, as_json: Json = False) -> None:
    """Ask an agent, or all that match, to end; they clean up first."""
    asked = "asked to end; it cleans up first"
    steer_agents(
        id, wanted, "cancel", lambda agents, each: agents.cancel(each), asked, yes=yes, as_json=as_json
    )


@app.command()
def batch(
    id: Id,
    at_once: Annotated[
        int | None, typer.Option(metavar="N", help="How many items to do at once from now on.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try quarantined items again.")] = False,
    add: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Add items: JSON lines, each with an id.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change a batch while it runs."""
    from cli.batch import batch

    run(batch(settings(), id, at_once, add, retry=retry, as_json=as_json))


def steer_agents(
    id: str | None,
    wanted: AgentFilter,
    verb: str,
    send: Send,
    unconfirmed: str = "",
    *,
    yes: bool,
    as_json: bool,
) -> NoReturn:
    """Steer the agent with that id, or all that match.

    Raises:
        CommandError: both an id and a filter are given, or neither.
    """
    from cli.steering import UNCONFIRMED, steer, steer_all

    if id is None:
        run(steer_all(settings(), wanted, verb, send, yes=yes, as_json=as_json))
    refuse_both(wanted)
    run(steer(settings(), id, send, unconfirmed=unconfirmed or UNCONFIRMED, as_json=as_json))
