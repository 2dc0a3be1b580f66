"""Arguments and options shared by several commands, and the settings."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.output import CommandError
from common.client.filters import AgentFilter
from common.grammar import parse_moment
from common.settings import Settings
from common.telemetry.spans import traced

# Cleanup to run at the end of any command.
ending = ExitStack()

Id = Annotated[str, typer.Argument(metavar="ID", help="The agent's id.")]
OneOrMany = Annotated[
    str | None, typer.Argument(metavar="ID", help="The agent's id; or use options to choose agents.")
]
MaybeId = Annotated[str | None, typer.Argument(metavar="ID", help="The agent's id; or --batch.")]
Kind = Annotated[str, typer.Argument(metavar="KIND", help="A kind that `agents` lists.")]
Source = Annotated[str | None, typer.Option("--input", metavar="FILE|-", help="The input as a JSON object.")]
FieldsSet = Annotated[
    list[str] | None, typer.Option("--set", metavar="k=v", help="A field of the input; repeatable.")
]
MoreSet = Annotated[list[str] | None, typer.Argument(metavar="[k=v]...", help="More fields, as for --set.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
By = Annotated[
    str | None, typer.Option("--as", metavar="WHO", help="Who decides; HIBERNAUT_USER if not given.")
]
Digest = Annotated[
    str | None, typer.Option(metavar="PREFIX", help="Only if the plan's digest begins with this.")
]
Request = Annotated[str, typer.Option("--request", metavar="R", help="The request, if several are open.")]
Batch = Annotated[
    str | None, typer.Option("--batch", metavar="B", help="For all agents of this batch that ask alike.")
]
LeaveOut = Annotated[str, typer.Option(metavar="ITEM,…", help="With --batch: leave out these items.")]
Group = Annotated[str, typer.Option(metavar="G", help="With --batch: only this group of questions.")]
Seen = Annotated[
    str | None,
    typer.Option(metavar="FILE|-", help="With --batch: only as `inbox --batch B --json` printed it."),
]
NEWEST = typer.Option(min=1, help="How many to list at most, newest first.")
SAMPLE = 4
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the agent has closed.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def settings() -> Settings:
    """Read the settings from the environment, and trace the command from here on as they say."""
    found = Settings.at_start(os.environ)
    ending.enter_context(traced(found, "cli"))
    return found


def moment_ahead(text: str) -> datetime:
    """Parse a future time, as people write it."""
    return parse_moment(text, datetime.now(UTC), None, ahead=True)


def refuse_both(wanted: AgentFilter) -> None:
    """Refuse filter options if an agent's id is given.

    Raises:
        CommandError: filter options are given.
    """
    if wanted != AgentFilter():
        raise CommandError("give the ID of an agent, or say what many have in common, and not both.")
