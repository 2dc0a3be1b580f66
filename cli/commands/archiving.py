"""Commands for archived agents, and `forget`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.shared import Id, Json, Yes, settings
from cli.options import Commands, read_option
from cli.output import CommandError, run
from common.grammar import parse_span

app = Commands()
archive = Commands(help="Closed agents, moved out of Temporal.")
app.add_typer(archive, name="archive")


@archive.command("run")
def archive_run(
    older_than: Annotated[
        str | None,
        typer.Option(metavar="30d", help="Archive what closed longer ago; else as the settings say."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what is due.")] = False,
    as_json: Json = False,
) -> None:
    """Archive what is due now, and wait for it."""
    from cli.archive import archive_run

    span = read_option("--older-than", older_than, parse_span)
    run(archive_run(settings(), span, dry_run=dry_run, as_json=as_json))


@archive.command("show")
def archive_show(id: Id, as_json: Json = False) -> None:
    """Print what `show` would have printed of an archived agent."""
    from cli.archive import archive_show

    run(archive_show(settings(), id, as_json=as_json))


@archive.command("restore")
def archive_restore(
    id: Id,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file, not to stdout.")
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="The run; the last if not given.")
    ] = None,
    readable: Annotated[bool, typer.Option("--readable", help="Decrypt it.")] = False,
    revive: Annotated[
        bool, typer.Option("--revive", help="Start a new agent that goes on from its end.")
    ] = False,
    as_id: Annotated[
        str | None, typer.Option("--id", help="The revived agent's id; ID-revived if not given.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Print an archived agent's history as Temporal's JSON, or revive the agent."""
    from cli.archive import archive_restore, archive_revive

    if revive and (output or run_id or readable):
        raise CommandError("--output, --run and --readable are for the history, not for --revive.")
    if as_id and not revive:
        raise CommandError("--id is for --revive.")
    if revive:
        run(archive_revive(settings(), id, as_id, yes=yes, as_json=as_json))
    file = output.expanduser().absolute() if output else None
    run(archive_restore(settings(), id, file, run_id, readable=readable))


@archive.command("verify")
def archive_verify(as_json: Json = False) -> None:
    """Verify the whole archive against its chain. Exit code 1: something is wrong."""
    from cli.archive import archive_verify

    run(archive_verify(settings(), as_json=as_json))


@archive.command("setup")
def archive_setup(as_json: Json = False) -> None:
    """Create or update the archivist's schedule, and the bucket's rule for colder storage."""
    from cli.archive import archive_setup

    run(archive_setup(settings(), as_json=as_json))


@app.command()
def forget(
    owner: Annotated[str, typer.Option(metavar="WHO", help="Whose agents.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many there are.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase an owner's agents, live and archived, and print as JSON what was erased."""
    from cli.forgetting import forget

    run(forget(settings(), owner, dry_run=dry_run, yes=yes))
