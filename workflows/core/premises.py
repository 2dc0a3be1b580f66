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

from common.approval.types import PremiseState, said
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

    With both given, the narrower holds. What is no finite number never holds.
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
    """The digest of the value is the one seen; `seen` is the digest, 64 hexadecimal digits."""

    def holds(self, seen: Any, now: Any) -> bool:
        """Whether `now` is still within what `seen` allows."""
        return bool(digest(now) == seen)


@dataclass(frozen=True)
class StillTrue:
    """A yes-or-no fact is still a yes, whatever was seen."""

    def holds(self, seen: Any, now: Any) -> bool:
        """Whether `now` is still within what `seen` allows."""
        return now is True


Tolerance = Exact | Within | SameDigest | StillTrue


@dataclass(frozen=True)
class Premise:
    """A fact a plan rests on.

    Attributes:
        name: what it is, in words.
        activity: fetches it again.
        argument: what to hand to the activity.
        seen: the value the plan was made on.
        tolerance: how far the value may have moved.
        read: takes the value out of what the activity returns; the whole of it where not given.
        policy: how it is fetched; what it gives up on counts as drift.
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
    """The drift of `premise` now that its value is `now`; None where it holds."""
    if premise.tolerance.holds(premise.seen, now):
        return None
    return Drift(premise.name, premise.seen, now, f"{said(premise.seen)} has become {said(now)}")


def unfetched(premise: Premise, error: BaseException) -> Drift:
    """The drift of a premise that cannot be fetched: not knowing is never a pass."""
    return Drift(premise.name, premise.seen, None, f"it cannot be fetched: {error}")


@dataclass(frozen=True)
class Fetched:
    """A premise with its value now, None where that could not be had, and its drift, None where it holds."""

    premise: Premise
    now: Any
    drift: Drift | None

    @property
    def state(self) -> PremiseState:
        """How the premise stands, for people."""
        now, drift = "" if self.now is None else said(self.now), self.drift.reason if self.drift else ""
        return unfetched_state(self.premise).model_copy(update={"now": now, "drift": drift})


def unfetched_state(premise: Premise) -> PremiseState:
    """How a premise stood when the plan was made, for people."""
    return PremiseState(name=premise.name, seen=said(premise.seen))


async def fetched_all(premises: Sequence[Premise], calls: Calls) -> list[Fetched]:
    """Each premise as it is now, all fetched side by side."""
    return list(await asyncio.gather(*(_fetched(each, calls) for each in premises)))


async def _fetched(premise: Premise, calls: Calls) -> Fetched:
    try:
        now = premise.read(await calls.watched(premise.activity, premise.argument, premise.policy))
    except Exception as error:
        # Also an answer that cannot be read: not knowing is never a pass, and never wedges an agent.
        if is_cancelled_exception(error):
            raise
        return Fetched(premise, None, unfetched(premise, getattr(error, "cause", None) or error))
    return Fetched(premise, now, drift(premise, now))
