"""What is wrong with what was read. It imports little, because short-lived programs use it."""

from __future__ import annotations

from pydantic import ValidationError


def flaw_of(error: BaseException) -> str:
    """What kind of error was found in something that was read, and on which line if ``error`` says so.

    It quotes nothing: files, pages, mail and answers belong to other people, and parsers tend to quote them.
    """
    if isinstance(error, ValidationError):
        flaws = error.errors(include_url=False, include_context=False, include_input=False)
        return f"{error.title}: " + ", ".join(
            f"{'.'.join(map(str, flaw['loc'])) or 'all of it'} ({flaw['type']})" for flaw in flaws[:5]
        )
    # json, lxml, ast and yaml each have their own way to say it.
    line = getattr(error, "lineno", None) or getattr(getattr(error, "problem_mark", None), "line", None)
    return f"{type(error).__name__} on line {line}" if isinstance(line, int) else type(error).__name__
