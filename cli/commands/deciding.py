"""Commands that show and answer agents' questions."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.shared import Batch, By, Digest, Group, Json, LeaveOut, MaybeId, Request, Seen, settings
from cli.options import Commands
from cli.output import CommandError, run

app = Commands()


@app.command()
def inbox(
    who: Annotated[str | None, typer.Option("--for", metavar="WHO", help="Only what WHO may decide.")] = None,
    batch: Annotated[str | None, typer.Option(metavar="B", help="Each question of this batch.")] = None,
    as_json: Json = False,
) -> None:
    """List the agents that wait for an approval; like questions of a batch are one line."""
    if batch is not None:
        from cli.batch_questions import list_questions

        run(list_questions(settings(), batch, who, as_json=as_json))
    from cli.inbox import inbox

    run(inbox(settings(), who, as_json=as_json))


@app.command()
def approve(
    id: MaybeId = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[k=v]...", help="More fields, as for --edit.")
    ] = None,
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
    """Approve what an agent asks, or with --batch like questions of a batch. Exit code 4: refused."""
    edits = [*(edit or ()), *(more or ())]
    chosen = (batch, leave_out, group, seen)
    _decide("approve", id, chosen, by, note, edits, digest, request, as_json=as_json)


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
    """Reject what an agent asks, or with --batch like questions of a batch. Exit code 4: refused."""
    _decide("reject", id, (batch, leave_out, group, seen), by, reason, [], digest, request, as_json=as_json)


def _decide(
    verdict: str,
    id: str | None,
    chosen: tuple[str | None, str, str, str | None],
    by: str | None,
    note: str,
    edits: list[str],
    digest: str | None,
    request: str,
    *,
    as_json: bool,
) -> None:
    """Decide for one agent, or for the agents of a batch that `chosen` selects.

    Raises:
        CommandError: both an agent and a batch are given, or neither, or an option is for the other one.
    """
    from cli.agents import decide
    from common.approval.types import Verdict

    found = settings()
    who, (batch, leave_out, group, seen) = by or found.user, chosen
    if (id is None) == (batch is None):
        raise CommandError("give the ID of an agent, or --batch B.")
    if batch is None:
        if leave_out or group or seen:
            raise CommandError("--leave-out, --group and --seen need --batch B.")
        run(
            decide(
                found,
                id or "",
                Verdict(verdict),
                who,
                note,
                edits,
                digest,
                request_id=request,
                as_json=as_json,
            )
        )
    if edits or digest is not None or request:
        raise CommandError("--edit, --digest and --request are for one agent, not for a batch.")
    from cli.batch_questions import Chosen, decide_all

    questions = Chosen(batch, leave_out, group, seen)
    run(decide_all(found, questions, Verdict(verdict), who, note, as_json=as_json))
