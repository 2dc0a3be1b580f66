"""Commands that start agents, or predict what one would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.shared import FieldsSet, Id, Json, Kind, MoreSet, Source, Wait, moment_ahead, settings
from cli.options import Commands, read_option
from cli.output import run
from common.grammar import parse_period

app = Commands()


@app.command()
def agents(
    owner: Annotated[
        str | None, typer.Option(metavar="WHO", help="Who they would work for; HIBERNAUT_USER if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the kinds of agents, what each takes, and what the operator's policy requires."""
    from cli.inputs import print_kinds
    from common.approval.floors import Floors

    found = settings()
    print_kinds(Floors.load(found), found.user if owner is None else owner, as_json=as_json)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its kind, such as invoice-payer.")],
    as_json: Json = False,
) -> None:
    """Write an agent of your own that runs, with its test, and register its kind."""
    from cli.new.new import new

    raise typer.Exit(new(name, as_json=as_json))


@app.command()
def start(
    kind: Kind,
    more: MoreSet = None,
    source: Source = None,
    words: FieldsSet = None,
    id: Annotated[str | None, typer.Option(help="The new agent's id; generated if not given.")] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="WHO", help="Who it works for; HIBERNAUT_USER if not given.")
    ] = None,
    wait: Wait = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check, and print the whole input; start nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start an agent and print its id."""
    from cli.agents import start

    found = settings()
    given, whose = [*(words or ()), *(more or ())], owner or found.user
    run(start(found, kind, source, given, id, whose, dry_run=dry_run, wait=wait, as_json=as_json))


@app.command()
def rerun(
    id: Id,
    more: MoreSet = None,
    words: FieldsSet = None,
    as_id: Annotated[
        str | None, typer.Option("--id", help="The new agent's id; generated if not given.")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(metavar="WHO", help="Who it works for; the other agent's owner if not given."),
    ] = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Start an agent with the input that another was started with, and print its id."""
    from cli.rerun import rerun

    given = [*(words or ()), *(more or ())]
    run(rerun(settings(), id, given, as_id, owner, wait=wait, as_json=as_json))


@app.command()
def rehearse(
    kind: Kind,
    more: MoreSet = None,
    source: Source = None,
    words: FieldsSet = None,
    answers: Annotated[
        str, typer.Option(metavar="approve|reject|nobody|FILE", help="What people answer.")
    ] = "approve",
    owner: Annotated[
        str | None, typer.Option(metavar="WHO", help="Who it would work for; HIBERNAUT_USER if not given.")
    ] = None,
    lasts: Annotated[
        str, typer.Option("--for", metavar="30d", help="How long to simulate at most, in the agent's time.")
    ] = "30d",
    begins: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="When it would be started; now if not given.")
    ] = None,
    within: Annotated[str, typer.Option(metavar="5m", help="How long to take at most, in real time.")] = "5m",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page.")] = None,
    as_json: Json = False,
) -> None:
    """Rehearse an agent: show in minutes what it would do in weeks, without doing it."""
    from cli.rehearsal.rehearse import rehearse

    found = settings()
    given = [*(words or ()), *(more or ())]
    lifetime, real = read_option("--for", lasts, parse_period), read_option("--within", within, parse_period)
    start = read_option("--from", begins, moment_ahead)
    page = html.expanduser().absolute() if html else None
    assert lifetime is not None
    assert real is not None
    whose = owner or found.user
    run(rehearse(found, kind, source, given, answers, whose, lifetime, start, real, page, as_json=as_json))


@app.command()
def fork(
    id: Id,
    at: Annotated[
        str, typer.Option(metavar="NODE", help="As it entered NODE last; NODE#2: the second time.")
    ],
    more: MoreSet = None,
    words: Annotated[
        list[str] | None, typer.Option("--set", metavar="k=v", help="Another input; repeatable.")
    ] = None,
    as_id: Annotated[str | None, typer.Option("--id", help="The fork's id; generated if not given.")] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="WHO", help="Who it works for; the original's owner if not given.")
    ] = None,
    effects: Annotated[
        bool, typer.Option("--effects", help="Let it act on the world like any other agent.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start an agent from the state another had at a node; it does nothing outside."""
    from cli.forking import fork

    given = [*(words or ()), *(more or ())]
    run(fork(settings(), id, at, given, as_id, owner, effects=effects, as_json=as_json))
