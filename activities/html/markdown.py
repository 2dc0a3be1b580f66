"""Markdown that shows what others wrote, and obeys none of it."""

from __future__ import annotations

import re


def escaped(text: str) -> str:
    """`text` on one line, as Markdown that shows it as it is."""
    line = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return re.sub(r"([\\`*_\[\]<>|~#&!])", r"\\\1", line)
