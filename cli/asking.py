"""Questions to whoever sits at the terminal."""

from __future__ import annotations

import asyncio
import sys

from cli.output import say


def asks(*, yes: bool) -> bool:
    """Whether to ask first: who sits at a terminal is asked; a script has said what it wants."""
    return not yes and sys.stdin.isatty()


async def agreed(question: str) -> bool:
    """Whether the answer is yes; Ctrl-D is no, and Ctrl-C ends the command at once."""
    say(f"{question} [y/N]")
    # Not in a thread, which would go on reading after Ctrl-C, nor here, where asyncio would not hear of it.
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
