"""Questions to the user at the terminal."""

from __future__ import annotations

import asyncio
import sys

from cli.output import say


def should_confirm(*, yes: bool) -> bool:
    """Whether to ask first: only on a terminal; a script has already said what it wants."""
    return not yes and sys.stdin.isatty()


async def confirmed(question: str) -> bool:
    """Whether the answer is yes; Ctrl-D is no, and Ctrl-C ends the command at once."""
    say(f"{question} [y/N]")
    # A thread would keep reading after Ctrl-C; a blocking read would hide Ctrl-C from asyncio.
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
