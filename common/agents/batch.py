"""A batch: thousands of things that one agent has done, a bounded number at a time, one verdict each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field, JsonValue

from common.artifacts import ArtifactRef
from common.grammar import PLAIN

MAX_KEY = 100
# Below these an agent's own state stays small: a batch keeps a few hundred bytes a page.
MAX_ITEMS = 200_000
MAX_AT_ONCE = 1000
# What comes in one signal; more come in more signals.
MAX_MORE = 100

Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY)]
AtOnce = Annotated[int, Field(ge=1, le=MAX_AT_ONCE), PLAIN]


class BatchItem(BaseModel, frozen=True):
    """One thing to do: a key that names it within its batch, and the argument of what does it, as JSON."""

    key: Key
    argument: dict[str, JsonValue]


class Verdict(StrEnum):
    """What came of an item: it was done, or it was set aside with a reason and may be tried again."""

    DONE = "done"
    QUARANTINED = "quarantined"


class ItemResult(BaseModel, frozen=True):
    """The verdict on one item; `result` is what its activity or agent returned, `reason` why it was set aside."""

    key: Key
    verdict: Verdict
    reason: str = Field("", exclude_if=lambda reason: not reason)
    result: JsonValue = Field(None, exclude_if=lambda result: result is None)


class Work(BaseModel, frozen=True):
    """What is done with each item: an activity by its wire name, or an agent of a kind.

    The rest is how the activity is called, as in a `CallPolicy`; see `workflows/core/batch.py: calling`.
    """

    activity: str = ""
    kind: str = ""
    queue: str = ""
    start_to_close: timedelta = timedelta(minutes=1)
    heartbeat: timedelta | None = None
    schedule_to_close: timedelta | None = None
    first_retry: timedelta = timedelta(seconds=1)
    longest_retry: timedelta = timedelta(minutes=5)
    attempts: int = 0


class BatchCommand(BaseModel, frozen=True):
    """The argument of the signal ``batch``: what to change in a batch that runs. Fields left out change nothing.

    `at_once` is how many items may be in flight from now on, `retry` gives the quarantined another go, and
    `more` adds items; those whose key the batch has already are counted as duplicates and not done again.
    """

    at_once: AtOnce | None = None
    retry: bool = False
    more: tuple[BatchItem, ...] = Field((), max_length=MAX_MORE)


class InFlight(BaseModel, frozen=True):
    """An item that has begun and not ended, since when; ``agent`` is its id where an agent does it."""

    key: str
    since: datetime
    agent: str = ""


class Quarantined(BaseModel, frozen=True):
    """An item that was set aside, and why."""

    key: str
    reason: str


class BatchStatus(BaseModel):
    """How a batch stands, in `AgentStatus.batch`; every number is of items.

    ``items`` = ``done`` + ``quarantined`` + ``in_flight`` + ``waiting``; ``duplicates`` came besides and are in
    none of these. ``pace`` is items an hour of time not paused, over the last reports, and ``eta`` follows from
    it; both None until known. ``stuck`` are up to 20 of those in flight, the longest first; ``set_aside`` up to
    20 of the quarantined; ``asking`` how many questions of its agents wait for people. ``pages`` are the ids
    of the workflows that do the work now; ``results`` the artifacts (JSON lines of `ItemResult`) of those that
    have ended. ``id`` is the batch id, in the search attribute `AgentBatchId` of everything that belongs to it.
    """

    id: str
    kind: str = ""
    items: int
    done: int
    quarantined: int
    in_flight: int
    waiting: int
    duplicates: int
    at_once: int
    asking: int = 0
    pace: float | None = None
    eta: datetime | None = None
    stuck: list[InFlight] = Field(default_factory=list)
    set_aside: list[Quarantined] = Field(default_factory=list)
    pages: list[str] = Field(default_factory=list)
    results: list[ArtifactRef] = Field(default_factory=list)


class BatchCounts(BaseModel, frozen=True):
    """What `Agent.batch` returns: the counts, and where the verdicts are, an artifact of JSON lines a page.

    Each item has exactly one line, an `ItemResult`, in all of ``results`` together.
    """

    items: int
    done: int
    quarantined: int
    duplicates: int
    results: tuple[ArtifactRef, ...] = ()


def as_lines(items: Iterable[BaseModel]) -> bytes:
    """Models as JSON lines: how items are handed to a batch, and how results are kept."""
    return b"".join(each.model_dump_json().encode() + b"\n" for each in items)
