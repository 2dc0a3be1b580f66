"""Escapes untrusted text for Markdown."""

from __future__ import annotations

import re


def escaped(text: str) -> str:
    """`text` on one line, escaped so that Markdown shows it literally."""
    line = "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
    return re.sub(r"([\\`*_\[\]<>|~#&!])", r"\\\1", line)
