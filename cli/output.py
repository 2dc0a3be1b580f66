"""What commands print and how they end: documents on stdout, prose on stderr, one line for each error."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Coroutine
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import to_json

from common.visible_text import escaped


class ExitCode(IntEnum):
    """What a command's exit code means. Scripts depend on the numbers."""

    DONE = 0
    AGENT_FAILED = 1
    USAGE = 2
    NO_SUCH_AGENT = 3
    REFUSED = 4
    NO_TEMPORAL = 5


class CommandError(Exception):
    """Ends a command with one line for the user and an exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def clean(text: object) -> str:
    """``text`` as one line with everything visible; control characters are escaped."""
    return escaped(re.sub(r"\r\n|[\n\t]", " ", str(text)))


def program() -> str:
    """How the user called this program, so that printed commands can be pasted."""
    name, typed = sys.argv[0], sys.orig_argv
    if Path(name).name == "hibernaut":
        return "hibernaut" if shutil.which("hibernaut") == name else shlex.quote(name)
    if len(typed) > 1 and typed[1] == name != "-c":
        return shlex.join(typed[:2])
    return "starter.py"


def pasteable(text: str) -> str:
    """`text` with the commands in backticks as the user has to call them."""
    return text.replace("`starter.py ", f"`{program()} ")


def say(text: str) -> None:
    """Print a line of prose to stderr."""
    print(pasteable(clean(text)), file=sys.stderr, flush=True)


def say_as_json(told: dict[str, str | int]) -> None:
    """Print a JSON object on one line to stderr, its texts as `say` prints them."""
    shown = {name: pasteable(clean(each)) if isinstance(each, str) else each for name, each in told.items()}
    print(json.dumps(shown), file=sys.stderr, flush=True)


def print_document(value: object) -> None:
    """Print ``value`` (pydantic types too) as the one JSON document on stdout."""
    # JSON escapes, so the values stay exact.
    print(escaped(to_json(value, indent=2).decode()), flush=True)


def flat(error: ValidationError) -> str:
    """A pydantic error in one line: `field: what is wrong; field: …`."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, part["loc"])), part["msg"].removeprefix("Value error, "))))
        for part in error.errors(include_url=False, include_context=False, include_input=False)
    )


def run(command: Coroutine[Any, Any, ExitCode | None]) -> NoReturn:
    """Run the body of a command; turn its errors into one line and an exit code.

    Raises:
        CommandError: replaces the error that ended the command.
        typer.Exit: the command ended without an error; has its exit code.
    """
    import asyncio

    import typer
    from temporalio.service import RPCError

    from cli.revival import NotRevivableError
    from common.archive.chain import ArchiveDamagedError
    from common.client.errors import (
        AgentClientError,
        BuildRefusedError,
        NoSuchAgentError,
        NothingToDecideError,
    )
    from common.grammar import UnreadableTimeError
    from common.names import UnusableValueError
    from common.object_store import StoreUnavailableError
    from common.settings import SettingsError
    from common.temporal.connect import CannotConnectError
    from common.temporal.search_attributes import unregistered

    codes: dict[type[Exception], ExitCode] = {
        CannotConnectError: ExitCode.NO_TEMPORAL,
        NoSuchAgentError: ExitCode.NO_SUCH_AGENT,
        NothingToDecideError: ExitCode.REFUSED,
        BuildRefusedError: ExitCode.REFUSED,
        AgentClientError: ExitCode.USAGE,
        SettingsError: ExitCode.USAGE,
        UnusableValueError: ExitCode.USAGE,
        UnreadableTimeError: ExitCode.USAGE,
        ArchiveDamagedError: ExitCode.AGENT_FAILED,
        NotRevivableError: ExitCode.AGENT_FAILED,
        StoreUnavailableError: ExitCode.AGENT_FAILED,
    }
    try:
        code = asyncio.run(command)
    except RPCError as error:
        if missing := unregistered(error):
            words = f"Temporal has no search attribute {missing}; `starter.py setup` registers it."
        else:
            words = f"Temporal refuses: {error.message}; `starter.py doctor` looks for the cause."
        raise CommandError(words, ExitCode.NO_TEMPORAL) from error
    except ValidationError as error:
        raise CommandError(flat(error)) from error
    except UnicodeEncodeError:
        raise CommandError("an argument is not UTF-8 text.") from None
    except tuple(codes) as error:
        code = next(code for kind, code in codes.items() if isinstance(error, kind))
        raise CommandError(str(error), code) from error
    raise typer.Exit(code or ExitCode.DONE)
