"""Shell sessions in the documentation's pages, and a check that their commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import typer
from typer.main import get_command

import worker
from starter import app


def sessions(page: str) -> list[str]:
    """The shell sessions of a page (its `sh` code blocks)."""
    return [dedent(each) for each in re.findall(r"^ *```sh\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)]


def commands(page: str) -> Iterator[list[str]]:
    """Every command in the page's sessions: program and arguments."""
    for line in "".join(sessions(page)).splitlines():
        words = shlex.split(line.removesuffix(" &"))
        yield words[1:] if words[0] == ".venv/bin/python" else words


def check_command(words: list[str]) -> None:
    """Check that the program accepts a command with its options."""
    program, *arguments = words
    if program == "worker.py":
        assert set(worker.options(arguments)) <= {"TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID"}
        return
    assert program == "starter.py"
    group: Any = get_command(app)
    with typer.Context(group) as context:
        _, command, rest = group.resolve_command(context, arguments)
        while hasattr(command, "resolve_command"):
            _, command, rest = command.resolve_command(context, rest)
        command.make_context(arguments[0], rest)
