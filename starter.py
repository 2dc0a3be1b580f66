"""Entry point of the command line. `python starter.py --help` lists the commands."""

from __future__ import annotations

import gc
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.options import options_of, read_option
from cli.output import CommandError, ExitCode, run, say
from common.client.filters import AgentFilter
from common.grammar import parse_moment, parse_span
from common.settings import Settings, SettingsError

# Heavy modules (Temporal's SDK, rich) are imported by the commands that need them.
app = typer.Typer(
    help="Durable agents that live for days.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

archive = typer.Typer(help="Closed agents, moved out of Temporal.", rich_markup_mode=None)
keys = typer.Typer(help="The keys of this data folder.", rich_markup_mode=None)
app.add_typer(archive, name="archive")
app.add_typer(keys, name="keys")

Id = Annotated[str, typer.Argument(metavar="ID", help="The agent's id.")]
MaybeId = Annotated[str | None, typer.Argument(metavar="ID", help="The agent's id; or --batch.")]
Kind = Annotated[str, typer.Argument(metavar="KIND", help="A kind that `agents` lists.")]
Source = Annotated[str | None, typer.Option("--input", metavar="FILE|-", help="The input as a JSON object.")]
FieldsSet = Annotated[
    list[str] | None, typer.Option("--set", metavar="k=v", help="A field of the input; repeatable.")
]
MoreSet = Annotated[list[str] | None, typer.Argument(metavar="[k=v]...", help="More --set words.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
By = Annotated[
    str | None, typer.Option("--as", metavar="WHO", help="Who decides; your HIBERNAUT_USER if not given.")
]
Digest = Annotated[str | None, typer.Option(metavar="PREFIX", help="Only if the plan's digest begins so.")]
Request = Annotated[str, typer.Option("--request", metavar="R", help="The request, if several are open.")]
Batch = Annotated[
    str | None, typer.Option("--batch", metavar="B", help="Of all agents of this batch that ask alike.")
]
LeaveOut = Annotated[str, typer.Option(metavar="ITEM,…", help="Of a batch: without these items.")]
Group = Annotated[str, typer.Option(metavar="G", help="Of a batch: those of this group, if it has several.")]
Seen = Annotated[
    str | None, typer.Option(metavar="FILE|-", help="Of a batch: what `inbox --batch B --json` printed.")
]
NEWEST = typer.Option(min=1, help="At most so many, the newest.")
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the agent has closed.")]


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
        bool, typer.Option("--unsigned", help="Also count unsigned decisions, of whoever reaches Temporal.")
    ] = False,
    copy_to: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Keep a copy: in a folder of another disk, or s3://BUCKET/PREFIX."
        ),
    ] = None,
    restore_from: Annotated[
        str | None, typer.Option(metavar="PLACE", help="First bring the data back from its copy.")
    ] = None,
) -> None:
    """Run the whole stack on this machine: Temporal on a SQLite file, its Web UI, a worker, HTTP."""
    from cli.dev import dev
    from common.settings.state import CopyPlace

    found = settings()
    folder = data_dir.expanduser().absolute() if data_dir else found.data_dir
    copy = read_option("--copy-to", copy_to, CopyPlace.read) or found.state.copy_to
    source = read_option("--restore-from", restore_from, CopyPlace.read)
    chosen = found.but(data_dir=folder, state=found.state.but(copy_to=copy))
    elsewhere = folder != found.data_dir
    run(dev(chosen, port, ui_port, http_port, workers, source, unsigned=unsigned, elsewhere=elsewhere))


@app.command()
def restored(
    to: Annotated[str, typer.Option(metavar="TIME", help="When the copy was made, or a little before.")],
    as_json: Json = False,
) -> None:
    """Note that Temporal's database was restored from an older copy; print what agents did since."""
    from cli.restored import note_restore

    at = read_option("--to", to, lambda text: parse_moment(text, datetime.now(UTC), None))
    note_restore(settings(), at, as_json=as_json)


@app.command()
def agents(
    owner: Annotated[
        str | None, typer.Option(metavar="WHO", help="Whom they would work for; your HIBERNAUT_USER.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the kinds of agents, what each takes, and what the operator's policy says of them."""
    from cli.inputs import print_kinds
    from common.approval.floors import Floors

    found = settings()
    print_kinds(Floors.load(found), found.user if owner is None else owner, as_json=as_json)


@app.command()
def start(
    kind: Kind,
    more: MoreSet = None,
    source: Source = None,
    words: FieldsSet = None,
    id: Annotated[str | None, typer.Option(help="The new agent's id; generated if not given.")] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="WHO", help="Whose it is; your HIBERNAUT_USER.")
    ] = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Start an agent and print its id."""
    from cli.agents import start

    found = settings()
    given = [*(words or ()), *(more or ())]
    run(start(found, kind, source, given, id, owner or found.user, wait=wait, as_json=as_json))


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
        str | None, typer.Option(metavar="WHO", help="Whose it would be; your HIBERNAUT_USER.")
    ] = None,
    lasts: Annotated[str, typer.Option("--for", metavar="30d", help="So long at most, in its time.")] = "30d",
    begins: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="As if started then; now if not given.")
    ] = None,
    within: Annotated[str, typer.Option(metavar="5m", help="So long at most, in real time.")] = "5m",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page.")] = None,
    as_json: Json = False,
) -> None:
    """Rehearse an agent: what it would do in weeks, told in minutes; nothing is done."""
    from cli.rehearsal.rehearse import rehearse

    found = settings()
    given = [*(words or ()), *(more or ())]
    lifetime, real = read_option("--for", lasts, parse_span), read_option("--within", within, parse_span)
    start = read_option("--from", begins, lambda text: parse_moment(text, datetime.now(UTC), None))
    page = html.expanduser().absolute() if html else None
    assert lifetime is not None
    assert real is not None
    whose = owner or found.user
    run(rehearse(found, kind, source, given, answers, whose, lifetime, start, real, page, as_json=as_json))


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
def watch(id: Id, as_json: Json = False) -> None:
    """Watch an agent until it closes. Ctrl-C leaves it running."""
    from cli.watch import watch

    run(watch(settings(), id, as_json=as_json))


@app.command()
def result(id: Id, wait: Wait = False, as_json: Json = False) -> None:
    """Print an agent's result, as JSON with and without --json."""
    from cli.agents import result

    run(result(settings(), id, wait=wait))


@app.command()
def inbox(
    who: Annotated[str | None, typer.Option("--for", metavar="WHO", help="Only what WHO may decide.")] = None,
    batch: Annotated[str | None, typer.Option(metavar="B", help="Each question of this batch.")] = None,
    as_json: Json = False,
) -> None:
    """List the agents that wait for an approval; what those of a batch ask alike is one line."""
    if batch is not None:
        from cli.gathered import list_questions

        run(list_questions(settings(), batch, who, as_json=as_json))
    from cli.inbox import inbox

    run(inbox(settings(), who, as_json=as_json))


@app.command()
def approve(
    id: MaybeId = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[k=v]...", help="More --edit words.")] = None,
    by: By = None,
    note: Annotated[str, typer.Option(metavar="T", help="A note to go with it.")] = "",
    edit: Annotated[
        list[str] | None,
        typer.Option("--edit", metavar="k=v", help="Change a field of the plan; repeatable."),
    ] = None,
    digest: Digest = None,
    request: Request = "",
    batch: Batch = None,
    leave_out: LeaveOut = "",
    group: Group = "",
    seen: Seen = None,
    as_json: Json = False,
) -> None:
    """Approve what an agent asks, or with --batch what those of a batch ask alike. Exit code 4: refused."""
    from cli.agents import decide
    from common.approval.types import Verdict

    found = settings()
    edits = [*(edit or ()), *(more or ())]
    who, of_one = by or found.user, bool(edits or digest is not None or request)
    if decides_batch(id, batch, of_one=of_one, of_all=bool(leave_out or group or seen)):
        from cli.gathered import Chosen, decide_all

        questions = Chosen(batch or "", leave_out, group, seen)
        run(decide_all(found, questions, Verdict.APPROVE, who, note, as_json=as_json))
    id = id or ""
    run(decide(found, id, Verdict.APPROVE, who, note, edits, digest, request_id=request, as_json=as_json))


@app.command()
def reject(
    reason: Annotated[str, typer.Option(metavar="T", help="Why not.")],
    id: MaybeId = None,
    by: By = None,
    digest: Digest = None,
    request: Request = "",
    batch: Batch = None,
    leave_out: LeaveOut = "",
    group: Group = "",
    seen: Seen = None,
    as_json: Json = False,
) -> None:
    """Reject what an agent asks, or with --batch what those of a batch ask alike. Exit code 4: refused."""
    from cli.agents import decide
    from common.approval.types import Verdict

    found = settings()
    who, of_one = by or found.user, bool(digest is not None or request)
    if decides_batch(id, batch, of_one=of_one, of_all=bool(leave_out or group or seen)):
        from cli.gathered import Chosen, decide_all

        questions = Chosen(batch or "", leave_out, group, seen)
        run(decide_all(found, questions, Verdict.REJECT, who, reason, as_json=as_json))
    id = id or ""
    run(decide(found, id, Verdict.REJECT, who, reason, (), digest, request_id=request, as_json=as_json))


@app.command()
def batch(
    id: Id,
    at_once: Annotated[int | None, typer.Option(metavar="N", help="So many in flight from now on.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try the quarantined again.")] = False,
    add: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Add items: JSON lines, each with an id.")
    ] = None,
) -> None:
    """Change a batch while it runs."""
    from cli.batch import batch

    run(batch(settings(), id, at_once, add, retry=retry))


@app.command()
def tell(id: Id, text: Annotated[str, typer.Argument(metavar="TEXT")]) -> None:
    """Steer an agent in words."""
    from cli.agents import steer

    run(steer(settings(), id, lambda agents: agents.tell(id, text)))


@app.command()
def pause(id: Id) -> None:
    """Let an agent start nothing new until `resume`."""
    from cli.agents import steer

    run(steer(settings(), id, lambda agents: agents.pause(id)))


@app.command()
def resume(id: Id) -> None:
    """End a pause."""
    from cli.agents import steer

    run(steer(settings(), id, lambda agents: agents.resume(id)))


@app.command()
def wake(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="The agent's id; or --build.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Sleep until then instead.")] = None,
    for_upgrade: Annotated[
        bool, typer.Option("--for-upgrade", help="Move it to the current build; its sleep goes on there.")
    ] = False,
    build: Annotated[
        str | None, typer.Option(metavar="B", help="For upgrade: all that are pinned to this build.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Wake a sleeping agent now, move the end of its sleep, or move it to the current build."""
    from cli.agents import steer

    if for_upgrade and until is not None:
        raise CommandError("--until is not for --for-upgrade: the sleep goes on as it is.")
    if for_upgrade:
        from cli.versions import move

        run(move(settings(), id, build, as_json=as_json))
    if id is None or build is not None or as_json:
        raise CommandError("give the ID of an agent; --build and --json are for --for-upgrade.")
    at = read_option("--until", until, lambda text: parse_moment(text, datetime.now(UTC), None))
    run(steer(settings(), id, lambda agents: agents.wake(id, at)))


@app.command()
def cancel(id: Id) -> None:
    """Ask an agent to end; it cleans up first."""
    from cli.agents import cancel

    run(cancel(settings(), id))


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
        str | None, typer.Option(metavar="WHO", help="Whose it is; its original's owner.")
    ] = None,
    effects: Annotated[
        bool, typer.Option("--effects", help="Let it act on the world like any other agent.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start an agent from the state another had at a node; what it would do outside is held."""
    from cli.forking import fork

    given = [*(words or ()), *(more or ())]
    run(fork(settings(), id, at, given, as_id, owner, effects=effects, as_json=as_json))


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
    as_csv: Annotated[bool, typer.Option("--csv", help="Print rows with commas.")] = False,
    limit: Annotated[int | None, NEWEST] = None,
    as_json: Json = False,
) -> None:
    """Find agents by their past, in Temporal and in the archive."""
    from cli.find import find

    where = None if live == archived else "live" if live else "archived"
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


@archive.command("run")
def archive_run(
    older_than: Annotated[
        str | None, typer.Option(metavar="30d", help="Closed longer than this; else as the settings say.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is due, and do nothing.")] = False,
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
        str | None, typer.Option("--run", metavar="RUN", help="This run; else the last.")
    ] = None,
    readable: Annotated[bool, typer.Option("--readable", help="Decrypt it.")] = False,
    revive: Annotated[
        bool, typer.Option("--revive", help="Start a new agent that goes on from its end.")
    ] = False,
    as_id: Annotated[
        str | None, typer.Option("--id", help="The revived agent's id; ID-revived if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print an archived agent's history as Temporal's JSON, or revive the agent."""
    from cli.archive import archive_restore, archive_revive

    if revive:
        run(archive_revive(settings(), id, as_id, as_json=as_json))
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
def mail(
    unmatched: Annotated[
        bool, typer.Option("--unmatched", help="List mail that belongs to no agent.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what became of outgoing letters, and what is in the mailbox."""
    from cli.mail import mail

    run(mail(settings(), unmatched=unmatched, as_json=as_json))


@app.command()
def forget(owner: Annotated[str, typer.Option(metavar="WHO", help="Whose agents.")]) -> None:
    """Erase an owner's agents, live and archived, and print as JSON what was erased."""
    from cli.archive import forget

    run(forget(settings(), owner))


@keys.command("rotate")
def keys_rotate(as_json: Json = False) -> None:
    """Add new keys to the data folder's key files; the old ones still decrypt and verify."""
    from cli.keys import rotate_keys

    rotate_keys(settings(), as_json=as_json)


@app.command("check-upgrade")
def check_upgrade(
    kind: Annotated[str | None, typer.Option(metavar="K", help="Only workflows of this kind.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="WHO", help="Only this owner's.")] = None,
    sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most so many of each kind, node and build.")
    ] = 4,
    every: Annotated[bool, typer.Option("--all", help="Check every one.")] = False,
    as_json: Json = False,
) -> None:
    """Replay open workflows with this checkout's code. Exit code 1: some could not go on with it."""
    from cli.check_upgrade import check_upgrade

    run(check_upgrade(settings(), kind, owner, None if every else sample, as_json=as_json))


@app.command()
def versions(
    set_current: Annotated[
        str | None,
        typer.Option(metavar="BUILD", help="Have new agents begin on this build; also a rollback."),
    ] = None,
    unversioned: Annotated[
        bool, typer.Option("--unversioned", help="Have new agents begin on workers without a build.")
    ] = False,
    remove: Annotated[
        str | None, typer.Option(metavar="BUILD", help="Have the server forget a build nothing needs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the builds of the workers, who serves them, how many agents need each, and whether it can go.

    Exit code 4: the change is refused.
    """
    from cli.versions import versions

    run(versions(settings(), set_current, remove, unversioned=unversioned, as_json=as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check everything an agent needs. Exit code 1: something needs fixing."""
    from cli.doctor import doctor

    run(doctor(settings(), as_json=as_json))


def decides_batch(id: str | None, batch: str | None, *, of_one: bool, of_all: bool) -> bool:
    """Whether a decision is for a batch and not for one agent.

    Raises:
        CommandError: it is not said for which of both, or an option is of the other.
    """
    if (id is None) == (batch is None):
        raise CommandError("give the ID of an agent, or --batch B.")
    if batch is not None and of_one:
        raise CommandError("--edit, --digest and --request are for one agent, not for a batch.")
    if batch is None and of_all:
        raise CommandError("--leave-out, --group and --seen need --batch B.")
    return batch is not None


def settings() -> Settings:
    """The settings of this process, read from its environment."""
    return Settings.at_start(os.environ)


def main() -> int:
    """Run the command line; its exit code."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except CommandError as error:
        say(f"error: {error}")
        return error.code
    except SettingsError as error:
        say(f"error: {error}")
        return ExitCode.USAGE
    except typer.TyperException as error:
        words = error.format_message().replace("Value error, ", "")
        say(f"error: {words} (`starter.py COMMAND --help` says what it takes)")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return ExitCode.DONE
    return code or ExitCode.DONE


if __name__ == "__main__":
    # Raise the GC thresholds: little that a command makes is garbage before it ends.
    gc.set_threshold(50_000, 20, 20)
    exit_code = main()
    sys.stderr.flush()
    # The SDK's threads can crash an interpreter that is shutting down.
    os._exit(exit_code)
