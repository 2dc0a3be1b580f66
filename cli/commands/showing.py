"""Commands that show agents and what is known about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.shared import NEWEST, Id, Json, OneOrMany, Wait, refuse_both, settings
from cli.options import Commands, options_of
from cli.output import CommandError, run
from common.client.filters import AgentFilter

app = Commands()


@app.command("list")
@options_of(AgentFilter, "kind", "owner", "state", "status", "batch")
def list_agents(
    wanted: AgentFilter,
    limit: Annotated[int, NEWEST] = 100,
    as_json: Json = False,
) -> None:
    """List agents, newest first."""
    from cli.agents import list_agents

    run(list_agents(settings(), wanted, limit, as_json=as_json))


@app.command()
def show(id: Id, as_json: Json = False) -> None:
    """Show everything known about an agent."""
    from cli.agents import show

    run(show(settings(), id, as_json=as_json))


@app.command()
def files(
    id: Id,
    save: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write them into that folder.")] = None,
    as_json: Json = False,
) -> None:
    """List the reports, drafts and letters that an agent wrote, on any machine; or fetch them."""
    from cli.files import files

    run(files(settings(), id, save, as_json=as_json))


@app.command()
@options_of(AgentFilter, "kind", "owner", "batch")
def watch(wanted: AgentFilter, id: OneOrMany = None, as_json: Json = False) -> None:
    """Watch an agent, or all that match, until none runs. Ctrl-C leaves them running."""
    if id is None:
        from cli.watch_many import watch_many

        run(watch_many(settings(), wanted, as_json=as_json))
    from cli.watch import watch

    refuse_both(wanted)
    run(watch(settings(), id, as_json=as_json))


@app.command()
def logs(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="Only what is about this agent.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing new lines until Ctrl-C.")] = False,
    lines: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many of the last lines to print.")
    ] = 100,
    as_json: Json = False,
) -> None:
    """Print what workers and gateway of this data folder's stack have logged."""
    from cli.logs import logs

    if follow and as_json:
        raise CommandError("--json is one document, and --follow never ends: give one of them.")
    run(logs(settings(), id, lines, follow=follow, as_json=as_json))


@app.command()
def result(id: Id, wait: Wait = False, as_json: Json = False) -> None:
    """Print an agent's result as JSON."""
    from cli.agents import result

    run(result(settings(), id, wait=wait))


@app.command()
@options_of(
    AgentFilter,
    *(
        "node",
        "stuck",
        "troubled",
        "since",
        "until",
        "zone",
        "kind",
        "status",
        "owner",
        "batch",
        "top",
        "text",
    ),
)
def find(
    wanted: AgentFilter,
    live: Annotated[bool, typer.Option("--live", help="Only in Temporal.")] = False,
    archived: Annotated[bool, typer.Option("--archived", help="Only in the archive.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Print how many.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    limit: Annotated[int | None, NEWEST] = None,
    as_json: Json = False,
) -> None:
    """Find agents by what they did, in Temporal and in the archive."""
    from cli.find import find

    if live and archived:
        raise CommandError("--live or --archived: without either it is looked in both.")
    if count + as_csv + as_json > 1:
        raise CommandError("give one of --count, --csv and --json.")
    where = "live" if live else "archived" if archived else None
    wanted = wanted.model_copy(update={"where": where})
    run(find(settings(), wanted, limit, count=count, as_csv=as_csv, as_json=as_json))


@app.command()
def notices(
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Only this agent's.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed deliveries.")] = False,
    limit: Annotated[int, NEWEST] = 20,
    as_json: Json = False,
) -> None:
    """List the notices that were sent, and the outcome of each delivery."""
    from cli.notices import list_notices

    run(list_notices(settings(), agent, limit, failed=failed, as_json=as_json))


@app.command()
def mail(
    unmatched: Annotated[
        bool, typer.Option("--unmatched", help="List mail that belongs to no agent.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Count outgoing letters by outcome, and the mails in the mailbox."""
    from cli.mail import mail

    run(mail(settings(), unmatched=unmatched, as_json=as_json))
