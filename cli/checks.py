"""One check of `starter.py doctor` and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """The outcome of a check. Only `NEEDS_FIX` makes the exit code 1."""

    OK = "ok"
    WARNING = "warning"
    UNSEEN = "unseen"
    NEEDS_FIX = "mend"


@dataclass(frozen=True)
class Check:
    """One line of output: what was checked, the outcome, and what to do about it."""

    name: str
    health: Health
    text: str
