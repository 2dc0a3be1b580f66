"""Commands that run, maintain and upgrade a stack."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.shared import SAMPLE, Json, settings
from cli.options import Commands, read_option
from cli.output import CommandError, run
from common.client.tokens import Scope
from common.grammar import parse_moment

app = Commands()
keys = Commands(help="The keys of this data folder.")
tokens = Commands(help="Who uses the gateway, where no OIDC issuer signs people in.")
app.add_typer(keys, name="keys")
app.add_typer(tokens, name="tokens")


@app.command()
def dev(
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the stack's data.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Temporal.")] = 7233,
    ui_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Web UI.")] = 8233,
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of HTTP and the dashboard; 0 for none.")
    ] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    unsigned: Annotated[
        bool,
        typer.Option("--unsigned", help="Also accept unsigned decisions, from anybody who reaches Temporal."),
    ] = False,
    copy_to: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Keep a copy in a folder on another disk, or in s3://BUCKET/PREFIX."
        ),
    ] = None,
    restore_from: Annotated[
        str | None, typer.Option(metavar="PLACE", help="First restore the data from its copy.")
    ] = None,
    reload: Annotated[bool, typer.Option(help="Restart the worker when code changes.")] = True,
) -> None:
    """Run the whole stack on this machine: Temporal on a SQLite file, its Web UI, a worker, HTTP."""
    from cli.dev import dev
    from common.settings.state import CopyPlace

    found = settings()
    folder = data_dir.expanduser().absolute() if data_dir else found.data_dir
    copy = read_option("--copy-to", copy_to, CopyPlace.read) or found.state.copy_to
    source = read_option("--restore-from", restore_from, CopyPlace.read)
    chosen = found.but(data_dir=folder, state=found.state.but(copy_to=copy))
    said = {"unsigned": unsigned, "is_custom_folder": folder != found.data_dir, "reloads": reload}
    run(dev(chosen, port, ui_port, http_port, workers, source, **said))


@app.command("setup")
def set_up(as_json: Json = False) -> None:
    """Prepare a cluster, once: namespace, retention, search attributes, archivist, fetch rate.

    It may be repeated. Exit code 1: something could not be set up.
    """
    from cli.setup import setup

    run(setup(settings(), as_json=as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check everything an agent needs. Exit code 1: something needs fixing."""
    from cli.doctor import doctor

    run(doctor(settings(), as_json=as_json))


@app.command()
def versions(
    set_current: Annotated[
        str | None,
        typer.Option(metavar="BUILD", help="Let new agents begin on this build; also to roll back."),
    ] = None,
    unversioned: Annotated[
        bool, typer.Option("--unversioned", help="Let new agents begin on workers without a build.")
    ] = False,
    remove: Annotated[
        str | None, typer.Option(metavar="BUILD", help="Remove a build that nothing needs from the server.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the builds of the workers: who serves each, how many agents need it, whether it can go.

    Exit code 4: the change is refused.
    """
    from cli.versions import versions

    run(versions(settings(), set_current, remove, unversioned=unversioned, as_json=as_json))


@app.command("check-upgrade")
def check_upgrade(
    kind: Annotated[str | None, typer.Option(metavar="K", help="Only workflows of this kind.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="WHO", help="Only this owner's.")] = None,
    sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many to check of each kind, node and build.")
    ] = SAMPLE,
    every: Annotated[bool, typer.Option("--all", help="Check every one.")] = False,
    as_json: Json = False,
) -> None:
    """Replay open workflows with this checkout's code. Exit code 1: some could not go on with it."""
    from cli.check_upgrade import check_upgrade

    if every and sample != SAMPLE:
        raise CommandError("give --sample or --all.")
    run(check_upgrade(settings(), kind, owner, None if every else sample, as_json=as_json))


@app.command()
def restored(
    to: Annotated[str, typer.Option(metavar="TIME", help="When the copy was made, or a little before.")],
    as_json: Json = False,
) -> None:
    """Record that Temporal's database was restored from an older copy; print what agents did since."""
    from cli.restored import note_restore

    at = read_option("--to", to, lambda text: parse_moment(text, datetime.now(UTC), None))
    note_restore(settings(), at, as_json=as_json)


@keys.command("rotate")
def keys_rotate(as_json: Json = False) -> None:
    """Add new keys to the data folder's key files; the old ones still decrypt and verify."""
    from cli.keys import rotate_keys

    rotate_keys(settings(), as_json=as_json)


@tokens.command("add")
def tokens_add(
    who: Annotated[str, typer.Argument(metavar="WHO", help="The person's id, as in approvers.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="What it allows, again for each; else all that concerns WHO's own agents."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a new gateway token for WHO."""
    from cli.tokens import OWN, add_token

    add_token(settings(), who, scope or OWN, as_json=as_json)


@tokens.command("revoke")
def tokens_revoke(
    who: Annotated[str, typer.Argument(metavar="WHO", help="The person's id, as in approvers.")],
    as_json: Json = False,
) -> None:
    """Revoke all tokens of WHO."""
    from cli.tokens import revoke_tokens

    revoke_tokens(settings(), who, as_json=as_json)
