"""Entry point of the command line. `python starter.py --help` lists the commands."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, NoReturn

import typer

from cli.commands import archiving, deciding, operating, showing, starting, steering
from cli.commands.shared import ending
from cli.options import Commands
from cli.output import CommandError, ExitCode, say, say_as_json
from common.lifecycle import exit_now
from common.settings import SettingsError
from common.version import VERSION

app = Commands(pretty_exceptions_enable=False)
# Heavy modules (Temporal's SDK, rich) are imported by the commands that need them.
for part in (operating, starting, showing, deciding, steering, archiving):
    app.add_typer(part.app)


def print_version(asked: bool) -> None:
    """Print the version and exit."""
    if asked:
        print(VERSION)
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Durable agents that live for days."""


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except CommandError as error:
        return fail(str(error), error.code)
    except SettingsError as error:
        return fail(str(error), ExitCode.USAGE)
    except typer.TyperException as error:
        words = error.format_message().replace("Value error, ", "")
        return fail(f"{words} (`starter.py COMMAND --help` says what it takes)", error.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return ExitCode.DONE
    except OSError as error:
        what = error.filename or "the output cannot be written"
        return fail(f"{what}: {error.strerror or error}.", ExitCode.AGENT_FAILED)
    finally:
        ending.close()
    return code or ExitCode.DONE


def fail(words: str, code: int) -> int:
    """Print why a command failed, in one line (JSON if `--json` was given), and return its exit code."""
    if "--json" in sys.argv[1:]:
        say_as_json({"error": words, "exit_code": int(code)})
    else:
        say(f"error: {words}")
    return code


def command() -> NoReturn:
    """Run the command line as a program, which `.venv/bin/hibernaut` also is."""
    # Raise the GC thresholds: a command creates little garbage before it ends.
    gc.set_threshold(50_000, 20, 20)
    # The caller may have closed them; the next opened file must not get their descriptors.
    sys.stdout, sys.stderr = (each or open(os.devnull, "w") for each in (sys.stdout, sys.stderr))  # noqa: SIM115
    exit_now(main())


if __name__ == "__main__":
    command()
