"""Premises: the facts a plan rests on, and the pure rules that compare old with new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from temporalio.exceptions import is_cancelled_exception

from common.approval.types import PremiseState, short_text
from common.digest import digest
from workflows.core.calls import RECHECK, CallPolicy, Calls


@dataclass(frozen=True)
class Exact:
    """The value is the same."""

    def holds(self, seen: Any, now: Any) -> bool:
        """Whether `now` is still within what `seen` allows."""
        return bool(to_jsonable_python(seen) == to_jsonable_python(now))


@dataclass(frozen=True)
class Within:
    """A number has moved by no more than a band: `absolute` in its own unit, `relative` as a share of `seen`.

    With both given, the narrower applies. A value that is not a finite number never holds.
    """

    absolute: Decimal | None = None
    relative: Decimal | None = None

    def __post_init__(self) -> None:
        if self.absolute is None and self.relative is None:
            raise ValueError("a band needs an absolute or a relative width")

    def holds(self, seen: Any, now: Any) -> bool:
        """Whether `now` is still within what `seen` allows."""
        try:
            old, new = Decimal(str(seen)), Decimal(str(now))
        except InvalidOperation:
            return False
        if not (old.is_finite() and new.is_finite()):
            return False
        relative = None if self.relative is None else abs(old) * self.relative
        return abs(new - old) <= min(width for width in (self.absolute, relative) if width is not None)


@dataclass(frozen=True)
class SameDigest:
    """The value has the same digest; `seen` is the digest, 64 hexadecimal digits."""

    def holds(self, seen: Any, now: Any) -> bool:
        """Whether `now` is still within what `seen` allows."""
        return bool(digest(now) == seen)


@dataclass(frozen=True)
class StillTrue:
    """A boolean fact is true now, whatever was seen."""

    def holds(self, seen: Any, now: Any) -> bool:
        """Whether `now` is still within what `seen` allows."""
        return now is True


Tolerance = Exact | Within | SameDigest | StillTrue


@dataclass(frozen=True)
class Premise:
    """A fact a plan rests on.

    Attributes:
        name: what it is, in words.
        activity: fetches the value again.
        argument: passed to the activity.
        seen: the value the plan was based on.
        tolerance: how far the value may have moved.
        read: extracts the value from what the activity returns; if not given, all of that is the value.
        policy: how it is fetched; if it gives up, that counts as drift.
    """

    name: str
    activity: Callable[..., Any]
    argument: BaseModel
    seen: Any
    tolerance: Tolerance = field(default_factory=Exact)
    read: Callable[[Any], Any] = lambda fetched: fetched
    policy: CallPolicy = RECHECK


@dataclass(frozen=True)
class Drift:
    """A premise that no longer holds: the old value, the new one, and why that is too far."""

    premise: str
    seen: Any
    now: Any
    reason: str


def drift(premise: Premise, now: Any) -> Drift | None:
    """The drift of `premise` if its value is `now`; None if it holds."""
    if premise.tolerance.holds(premise.seen, now):
        return None
    return Drift(premise.name, premise.seen, now, f"{short_text(premise.seen)} has become {short_text(now)}")


def unfetched(premise: Premise, error: BaseException) -> Drift:
    """The drift of a premise that cannot be fetched: not knowing is never a pass."""
    return Drift(premise.name, premise.seen, None, f"it cannot be fetched: {error}")


@dataclass(frozen=True)
class Fetched:
    """A premise, its value now (None if it could not be fetched), and its drift (None if it holds)."""

    premise: Premise
    now: Any
    drift: Drift | None

    @property
    def state(self) -> PremiseState:
        """How the premise stands, for people."""
        now, drift = "" if self.now is None else short_text(self.now), self.drift.reason if self.drift else ""
        return unfetched_state(self.premise).model_copy(update={"now": now, "drift": drift})


def unfetched_state(premise: Premise) -> PremiseState:
    """How a premise stood when the plan was made, for people."""
    return PremiseState(name=premise.name, seen=short_text(premise.seen))


async def fetched_all(premises: Sequence[Premise], calls: Calls) -> list[Fetched]:
    """Fetch all premises in parallel."""
    return list(await asyncio.gather(*(_fetched(each, calls) for each in premises)))


async def _fetched(premise: Premise, calls: Calls) -> Fetched:
    try:
        now = premise.read(await calls.execute_watched(premise.activity, premise.argument, premise.policy))
    except Exception as error:
        # This includes an answer that `read` cannot handle: it counts as drift and must not wedge the agent.
        if is_cancelled_exception(error):
            raise
        return Fetched(premise, None, unfetched(premise, getattr(error, "cause", None) or error))
    return Fetched(premise, now, drift(premise, now))
