"""A batch: thousands of things that one agent has done, a bounded number at a time, one verdict each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field, JsonValue

from common.artifacts import ArtifactRef
from common.digest import digest_bytes
from common.grammar import PLAIN_NUMBER

# The workflow type of a page of items, the prefix of its id, and the memo field by which the agent of an item
# knows its page.
PAGE = "batch-page"
PAGE_PREFIX = "batch:"
ITEM_OF = "item_of"
# The signals between them: a page's report, an agent's open questions, and a page's new width.
REPORT = "batch-page"
ASKING = "asking"
WIDTH = "width"

# Bytes, as for any id; see `common/names.py`.
MAX_NAME = 200
MAX_KEY = 100
# Below these limits an agent's own state stays small: a batch keeps a few hundred bytes per page.
MAX_ITEMS = 200_000
MAX_AT_ONCE = 1000
# With this many, a page's history never has to start afresh: an activity leaves about six events there, an
# agent with its questions about fifteen.
ITEMS_IN_A_PAGE = 500
AGENTS_IN_A_PAGE = 200
# All items of a page, or all its verdicts, have to fit into one payload.
MAX_PAGE_BYTES = 1_000_000
MAX_ITEM_BYTES = 64 * 1024
MAX_RESULT_BYTES = 2000
MAX_REASON = 300
# A call with several items begins no further one after this time.
MOMENT = timedelta(seconds=2)
# How many are shown of the items longest in flight, and of the quarantined.
MAX_SHOWN = 20
# Items in one signal; more need more signals.
MAX_MORE = 100
MAX_WAITING_MORE = 1000

Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY)]
AtOnce = Annotated[int, Field(ge=1, le=MAX_AT_ONCE), PLAIN_NUMBER]


class BatchItem(BaseModel, frozen=True):
    """One thing to do: a key that names it within its batch, and the argument of what does it, as JSON."""

    key: Key
    argument: dict[str, JsonValue]


class Verdict(StrEnum):
    """What became of an item: it was done, or it was set aside with a reason and may be tried again."""

    DONE = "done"
    QUARANTINED = "quarantined"


class ItemResult(BaseModel, frozen=True):
    """The verdict on one item: what its activity or agent returned, or the reason why it was set aside.

    For an item that was set aside, ``result`` is the first detail of the failure, if it has any.
    """

    key: Key
    verdict: Verdict
    reason: str = Field("", exclude_if=lambda reason: not reason)
    result: JsonValue = Field(None, exclude_if=lambda result: result is None)


class Work(BaseModel, frozen=True):
    """What is done with each item: an activity by its wire name, or an agent of a kind.

    The other fields say how the activity is called, as in a `CallPolicy`; see `workflows/core/batch.py:
    calling`. One call gets up to `together` items.
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
    together: int = Field(1, exclude_if=lambda together: together == 1)


class Quarantined(BaseModel, frozen=True):
    """An item that was set aside, and why."""

    key: str
    reason: str


class ItemPage(BaseModel, frozen=True):
    """A few hundred items: the artifact of their JSON lines, and how many there are."""

    items: ArtifactRef
    count: int


class JudgedPage(BaseModel, frozen=True):
    """Items and their verdicts, an artifact each; ``items`` is None if they were refused unread."""

    items: ArtifactRef | None
    results: ArtifactRef
    done: int
    quarantined: int


class Listing(BaseModel, frozen=True):
    """The items of a batch in pages, each key once; ``refused`` are those that are not valid.

    ``set_aside`` are up to 20 of these, with their reasons.
    """

    pages: tuple[ItemPage, ...] = ()
    duplicates: int = 0
    refused: JudgedPage | None = None
    set_aside: tuple[Quarantined, ...] = ()


class BatchCommand(BaseModel, frozen=True):
    """The argument of the signal ``batch``: what to change in a running batch; what is left out stays.

    `at_once` is how many items may be in flight from now on, `retry` tries the quarantined items again, and
    `more` adds items; those whose key the batch already has are counted as duplicates and not done again.
    """

    at_once: AtOnce | None = None
    retry: bool = False
    more: tuple[BatchItem, ...] = Field((), max_length=MAX_MORE)


class InFlight(BaseModel, frozen=True):
    """An item that has begun and not ended, since when; ``agent`` is its id where an agent does it."""

    key: str
    since: datetime
    agent: str = ""


class ItemAsks(BaseModel, frozen=True):
    """What the agent of an item tells its page: how many questions it has open, and for whom."""

    agent: str
    questions: int
    deciders: tuple[str, ...] = ()


class BatchStatus(BaseModel):
    """The progress of a batch, in `AgentStatus.batch`; numbers count items.

    ``items`` = ``done`` + ``quarantined`` + ``in_flight`` + ``waiting``; ``duplicates`` are counted in none
    of these. ``pace`` is items per hour, without pauses, over the last reports; ``eta`` is estimated from it;
    both are None until known. ``stuck`` lists up to 20 items in flight, the oldest first; ``set_aside`` up to
    20 quarantined ones. ``asking`` is how many questions of its agents wait for people. ``pages`` are the ids
    of the workflows at work now, ``results`` the artifacts (JSON lines of `ItemResult`) of those that have
    ended. ``id`` is the batch id, which everything that belongs to the batch has as search attribute
    `AgentBatchId`.
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
    """What `Agent.batch` returns: the counts, and the verdicts, an artifact of JSON lines per page.

    Each item has exactly one line, an `ItemResult`, in all of ``results`` together.
    """

    items: int
    done: int
    quarantined: int
    duplicates: int
    results: tuple[ArtifactRef, ...] = ()


def page_prefix(agent: str, run: str) -> str:
    """The prefix of the page ids of an agent's batch; `run` is the id of the agent's first run."""
    return f"{PAGE_PREFIX}{agent}/{run[:8]}-"


def item_agent_id(parent: str, key: str) -> str:
    """The id of the agent that does an item of `parent`'s batch."""
    plain = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,59}", key)
    slug = key if plain else f"{re.sub(r'[^A-Za-z0-9_-]+', '-', key)[:40].strip('-')}-{_short(key)}"
    if len(f"{parent}.{slug}".encode()) > MAX_NAME:
        parent = f"{parent.encode()[:80].decode(errors='ignore')}-{_short(parent)}"
    return f"{parent}.{slug}"


def _short(text: str) -> str:
    return digest_bytes(text.encode())[:8]


def as_lines(items: Iterable[BaseModel]) -> bytes:
    """Models as JSON lines, the format of a batch's items and of its results."""
    return b"".join(each.model_dump_json().encode() + b"\n" for each in items)
