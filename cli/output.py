"""What the CLI prints, and how it ends: one document on stdout, prose on stderr, one clear line an error."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import to_json


class ExitCode(IntEnum):
    """What a command's exit code means. Scripts depend on the numbers."""

    DONE = 0
    AGENT_FAILED = 1
    USAGE = 2
    NO_SUCH_AGENT = 3
    REFUSED = 4
    NO_TEMPORAL = 5


class CommandError(Exception):
    """The end of a command that cannot go on: one line for a person, and the exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


def clean(text: object) -> str:
    """``text`` without what could steer a terminal: control characters become spaces, so it is one line."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def say(text: str) -> None:
    """A line of prose on stderr."""
    print(clean(text), file=sys.stderr, flush=True)


def print_document(value: object) -> None:
    """``value``, pydantic types and all, as the one JSON document on stdout."""
    print(to_json(value, indent=2).decode(), flush=True)


def flat(error: ValidationError) -> str:
    """A pydantic error in one line: `field: what is wrong; field: …`."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, part["loc"])), part["msg"].removeprefix("Value error, "))))
        for part in error.errors(include_url=False, include_context=False, include_input=False)
    )


def run(command: Coroutine[Any, Any, ExitCode | None]) -> NoReturn:
    """Run the body of a command to its exit code; what it may raise becomes one line and a code.

    Raises:
        CommandError: instead of whatever ended the command.
        typer.Exit: with the exit code of a command that ended by itself.
    """
    import asyncio

    import typer
    from temporalio.service import RPCError

    from cli.revival import NotRevivableError
    from common.archive.chain import ArchiveDamagedError
    from common.client.errors import AgentClientError, NoSuchAgentError, NothingToDecideError
    from common.client.visibility import UnusableValueError
    from common.grammar import UnreadableTimeError
    from common.object_store import StoreUnavailableError
    from common.settings import SettingsError
    from common.temporal.connect import CannotConnectError

    try:
        code = asyncio.run(command)
    except CannotConnectError as error:
        raise CommandError(str(error), ExitCode.NO_TEMPORAL) from error
    except RPCError as error:
        raise CommandError(
            f"Temporal does not do it: {error.message}; `starter.py doctor` looks for the cause.",
            ExitCode.NO_TEMPORAL,
        ) from error
    except NoSuchAgentError as error:
        raise CommandError(str(error), ExitCode.NO_SUCH_AGENT) from error
    except NothingToDecideError as error:
        raise CommandError(str(error), ExitCode.REFUSED) from error
    except (AgentClientError, SettingsError, UnusableValueError, UnreadableTimeError) as error:
        raise CommandError(str(error)) from error
    except (ArchiveDamagedError, NotRevivableError, StoreUnavailableError) as error:
        raise CommandError(str(error), ExitCode.AGENT_FAILED) from error
    except ValidationError as error:
        raise CommandError(flat(error)) from error
    except UnicodeEncodeError:
        raise CommandError("an argument is not UTF-8 text.") from None
    raise typer.Exit(code or ExitCode.DONE)
