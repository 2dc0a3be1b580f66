"""Commands that messages tell people to run, quoted so that they can be pasted."""

from __future__ import annotations

import shlex


def command(*words: str) -> str:
    """A command of `starter.py` for a message, in backticks."""
    return f"`starter.py {shlex.join(words)}`"
