"""Options that are made of a type's fields: one filter serves the command line and HTTP."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

import pytest
import typer

from cli.options import options_of
from cli.output import CommandError
from common.agents.states import RunStatus
from common.client.filters import AgentFilter
from gateway.routes.agents import Listing
from starter import find, list_agents


def run(*words: str) -> AgentFilter:
    """What a command with every option of the filter gets."""
    taken: list[AgentFilter] = []
    app = typer.Typer()

    @app.command()
    @options_of(AgentFilter, *(name for name in AgentFilter.model_fields if name != "where"))
    def command(wanted: AgentFilter) -> None:
        taken.append(wanted)

    app(list(words), standalone_mode=False)
    return taken[0]


def test_every_option_becomes_its_field() -> None:
    """Words, choices, flags and times; what is not given asks for nothing."""
    assert run() == AgentFilter()
    words = "--kind buyer --owner ann --state stuck --status running --batch b --node Login --text x"
    flags = ("--stuck", "--top", "--since", "2026-11-22 10:00", "--zone", "Asia/Tokyo")
    assert run(*words.split(), *flags) == AgentFilter(
        kind="buyer",
        owner="ann",
        state="stuck",
        status=RunStatus.RUNNING,
        batch="b",
        node="Login",
        stuck=True,
        top=True,
        text="x",
        zone="Asia/Tokyo",
        since=datetime(2026, 11, 22, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "words", [("--since", "someday"), ("--zone", "Nowhere"), ("--owner", ""), ("--text", "x" * 201)]
)
def test_what_does_not_fit_is_one_line_with_the_option(words: tuple[str, str]) -> None:
    """And no other line."""
    with pytest.raises(CommandError, match=f"^{words[0]}: ") as error:
        run(*words)
    assert "\n" not in str(error.value)


def test_the_command_line_and_http_leave_no_filter_out() -> None:
    """A filter that is added to the type is an option and a query parameter, or this says so."""
    options = {*inspect.signature(find).parameters, *inspect.signature(list_agents).parameters}
    assert set(AgentFilter.model_fields) - {"where"} <= options
    assert set(AgentFilter.model_fields) <= set(Listing.model_fields)
    assert all(field.description for field in Listing.model_fields.values())
