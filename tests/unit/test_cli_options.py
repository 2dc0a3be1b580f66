"""Options that are made of a type's fields: one filter serves the command line and HTTP."""

from __future__ import annotations

import inspect
import os
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

import starter
from cli.commands.showing import find, list_agents
from cli.options import options_of
from cli.output import CommandError
from common.agents.states import RunStatus
from common.client.filters import AgentFilter
from gateway.routes.agents import Listing
from starter import app

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--state completed", "--state: completed is a status, not a state: ask for status completed"),
        ("--status stuck", "--status: stuck is a state, not a status: ask for state stuck"),
        ("--state stuck --status failed", "only running agents are in a state: leave out stuck, or failed"),
        ("--since tomorrow --until 2h", "since, .* UTC, is not before until"),
        ("--troubled --status failed", "only running agents are in trouble"),
    ],
)
def test_what_cannot_be_says_what_is_meant(words: str, said: str) -> None:
    """A word of the other kind, and options that contradict each other."""
    with pytest.raises(CommandError, match=f"^{said}"):
        run(*words.split())


@pytest.mark.parametrize(
    "words",
    [
        "find --live --archived",
        "find --count --csv",
        "find --csv --json",
        "archive restore x --revive --readable",
        "archive restore x --id y",
        "check-upgrade --all --sample 2",
        "wake x --until 2h --for-upgrade",
        "wake x --until yesterday",
        "rehearse buyer --for 0d",
        "watch x --kind buyer",
        "list --limit 0",
    ],
)
def test_options_that_contradict_each_other_are_refused(words: str) -> None:
    """Before anything is asked of Temporal, which is not there."""
    with pytest.raises((CommandError, typer.TyperException)):
        app(words.split(), standalone_mode=False)


def test_the_command_line_and_http_leave_no_filter_out() -> None:
    """A filter that is added to the type is an option and a query parameter, or this says so."""
    options = {*inspect.signature(find).parameters, *inspect.signature(list_agents).parameters}
    assert set(AgentFilter.model_fields) - {"where"} <= options
    assert set(AgentFilter.model_fields) <= set(Listing.model_fields)
    assert all(field.description for field in Listing.model_fields.values())


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("show|", "ID"),
        ("tell|x| ", "TEXT"),
        ("start|buyer|--id|", "--id"),
        ("start|buyer|--owner|", "--owner"),
        ("reject|x|--reason|", "--reason"),
        ("approve|x|--digest|", "--digest"),
        ("list|--kind|", "--kind"),
        ("archive|show|", "ID"),
    ],
)
def test_a_blank_value_is_not_taken_for_none(words: str, name: str) -> None:
    """A script whose variable is empty hears of it, and nothing is done."""
    with pytest.raises(CommandError, match=f"^{name} is empty"):
        app(words.split("|"), standalone_mode=False)


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints it, and needs no command."""
    app(["--version"], standalone_mode=False)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert capsys.readouterr().out == f"{project['version']}\n"


def test_a_full_disk_and_a_bad_data_folder_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, whatever the system says."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HIBERNAUT_DATA_DIR", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(sys, "argv", ["starter.py", "list"])
    assert starter.main() == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'file'} is no folder: ")
    assert (tmp_path / "file").stat().st_mode & 0o100 == 0, "a file is left as it was"
    monkeypatch.setattr(sys, "argv", ["starter.py", "--version"])
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert starter.main() == 1
        # What could not be written is not written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert capsys.readouterr().err == "error: the output cannot be written: No space left on device.\n"
