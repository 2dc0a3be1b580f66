"""What a data folder records about its copy: where it is and how recent."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ValidationError

from cli.output import say
from common.files import write_atomically
from common.grammar import rounded
from common.settings import Settings

BEHIND_AFTER = timedelta(minutes=1)
# Twice the interval of the restore tests.
UNPROVEN_AFTER = timedelta(hours=48)


class CopyState(BaseModel, frozen=True):
    """What a data folder records about its copy, in `copy.json`.

    `begun`: its mark was written. `kept`: it is still written to. `proven`: when it last passed a restore
    test. `unproven`: why that test fails now.
    """

    place: str
    holder: str
    begun: bool = False
    kept: bool = True
    until: AwareDatetime | None = None
    problem: str = ""
    proven: AwareDatetime | None = None
    unproven: str = ""

    @staticmethod
    def file(settings: Settings) -> Path:
        """The path of the record."""
        return settings.data_dir / "copy.json"

    @classmethod
    def load(cls, settings: Settings) -> CopyState | None:
        """Read the record; None if there never was a copy."""
        try:
            return cls.model_validate_json(cls.file(settings).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def save(self, settings: Settings) -> None:
        """Write the record."""
        write_atomically(self.file(settings), self.model_dump_json().encode())


def end_copy(settings: Settings) -> None:
    """Record that the copy of this folder is no longer kept."""
    known = CopyState.load(settings)
    if known and known.kept:
        known.model_copy(update={"kept": False}).save(settings)
        say(f"no copy is kept any more; the one at {known.place} stays as it is (--copy-to goes on with it)")


def describe_copy(settings: Settings, now: datetime) -> tuple[Literal["ok", "warning", "mend"], str]:
    """The health of a data folder's copy, and what to do about it."""
    state = CopyState.load(settings)
    if state is None:
        return "ok", "none is kept; `starter.py dev --copy-to PLACE` keeps one on another disk"
    newest = f"the newest page at {state.place} is {rounded(now - state.until)} old" if state.until else ""
    if not state.kept:
        return "warning", f"not kept any more; {newest or 'there is none'}: `starter.py dev --copy-to PLACE`"
    if state.problem:
        return "mend", f"{newest or 'the first copy is not whole yet'}: {state.problem}"
    if not state.until:
        return "warning", f"the first copy to {state.place} is under way"
    if now - state.until > BEHIND_AFTER:
        return "mend", f"{newest}: see logs/litestream.log in the data folder"
    if state.unproven:
        return "mend", f"{newest}, but its restore test failed: {state.unproven}"
    if state.proven is None:
        return "ok", f"{newest}; no restore test yet"
    words = f"{newest}; restored as a test {rounded(now - state.proven)} ago"
    return ("warning" if now - state.proven > UNPROVEN_AFTER else "ok"), words
