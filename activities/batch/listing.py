"""Splits a batch's items into pages, each key once, and puts quarantined items into new pages for a retry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from pydantic import ValidationError
from temporalio import activity

from activities.batch.records import FileRequest, ListRequest, Retry, RetryRequest
from activities.calls.heartbeats import heartbeats
from activities.safe_files import PathSkippedError, read_real
from common.agents.batch import (
    AGENTS_IN_A_PAGE,
    ITEMS_IN_A_PAGE,
    MAX_ITEM_BYTES,
    MAX_ITEMS,
    MAX_KEY,
    MAX_PAGE_BYTES,
    MAX_SHOWN,
    BatchItem,
    ItemPage,
    ItemResult,
    JudgedPage,
    Listing,
    Quarantined,
    Verdict,
    as_lines,
)
from common.agents.kinds import KINDS
from common.artifacts import ArtifactRef, ArtifactStore
from common.errors import permanent
from common.flaws import flaw_of

MAX_FILE_BYTES = 256 * 1024 * 1024


class BatchListing:
    """The activities that list items."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    @activity.defn(name="batch_list")
    async def list_items(self, request: ListRequest) -> Listing:
        """The items in pages, without duplicates and those the batch already has.

        Raises:
            ApplicationError: permanent: `BadItems`, a line is not an item; `TooManyItems`.
        """
        async with heartbeats():
            return await asyncio.to_thread(self._list, request)

    @activity.defn(name="batch_list_file")
    async def list_file(self, request: FileRequest) -> Listing:
        """The lines of a file in pages; a line that is not valid input for the kind is refused with a reason.

        Raises:
            ApplicationError: permanent: `FileUnusable`, with the reason; `TooManyItems`.
        """
        async with heartbeats():
            return await asyncio.to_thread(self._list_file, request)

    @activity.defn(name="batch_try_again")
    async def try_again(self, request: RetryRequest) -> Retry:
        """Move the quarantined items out of the verdicts into new pages, for another try."""
        async with heartbeats():
            return await asyncio.to_thread(self._try_again, request)

    def _list(self, request: ListRequest) -> Listing:
        listed = _Lister(self._artifacts, bool(request.kind))
        listed.known = {item.key for ref in request.earlier for item in _items(self._artifacts.get(ref))}
        more = _items(self._artifacts.get(request.items)) if request.items else request.more
        for item in more:
            listed.add(item)
        return listed.listing()

    def _list_file(self, request: FileRequest) -> Listing:
        try:
            data = read_real(Path(request.path), MAX_FILE_BYTES)
        except PathSkippedError as error:
            raise permanent("FileUnusable", f"{request.path}: {error}") from None
        listed = _Lister(self._artifacts, agents=True)
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                try:
                    listed.add(_item_of(line, f"line-{number}", request.kind))
                except _RefusedError as error:
                    listed.refuse(error.key, f"line {number}: {error}")
        return listed.listing()

    def _try_again(self, request: RetryRequest) -> Retry:
        again, judged, refused = (
            _Lister(self._artifacts, request.agents),
            list[JudgedPage](),
            list[ItemResult](),
        )
        for page in request.judged:
            if page.items is None:
                refused += read_verdicts(self._artifacts, page.results)
            if page.items is None or not page.quarantined:
                judged.append(page)
                continue
            results = read_verdicts(self._artifacts, page.results)
            aside = {each.key for each in results if each.verdict is Verdict.QUARANTINED}
            for item in _items(self._artifacts.get(page.items)):
                if item.key in aside:
                    again.add(item)
            kept = [each for each in results if each.key not in aside]
            if kept:
                ref = self._artifacts.put(as_lines(kept))
                judged.append(page.model_copy(update={"results": ref, "quarantined": 0}))
        return Retry(pages=again.listing().pages, judged=tuple(judged), set_aside=sample_of(refused))


class _RefusedError(Exception):
    """Why a line is not an item, without quoting it; `key` is the key it would have had."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


class _Lister:
    """Collects items into pages, bounded in number and bytes."""

    def __init__(self, artifacts: ArtifactStore, agents: bool) -> None:
        self.known = set[str]()
        self._artifacts = artifacts
        self._most = AGENTS_IN_A_PAGE if agents else ITEMS_IN_A_PAGE
        self._pages = list[ItemPage]()
        self._lines, self._size = list[bytes](), 0
        self._refused = list[ItemResult]()
        self._duplicates = 0

    def add(self, item: BatchItem) -> None:
        """Add an item if its key is new."""
        if item.key in self.known:
            self._duplicates += 1
            return
        self._remember(item.key)
        line = as_lines([item])
        if len(line) > MAX_ITEM_BYTES:
            self._set_aside(item.key, f"it has {len(line)} bytes, over {MAX_ITEM_BYTES}: name a file instead")
            return
        if len(self._lines) == self._most or self._size + len(line) > MAX_PAGE_BYTES:
            self._close_page()
        self._lines.append(line)
        self._size += len(line)

    def refuse(self, key: str, reason: str) -> None:
        """Quarantine a line while listing, before any item is started."""
        if key in self.known:
            self._duplicates += 1
            return
        self._remember(key)
        self._set_aside(key, reason)

    def listing(self) -> Listing:
        """Everything added so far; closes the current page."""
        self._close_page()
        refused = None
        if self._refused:
            ref = self._artifacts.put(as_lines(self._refused))
            refused = JudgedPage(items=None, results=ref, done=0, quarantined=len(self._refused))
        return Listing(
            pages=tuple(self._pages),
            duplicates=self._duplicates,
            refused=refused,
            set_aside=sample_of(self._refused),
        )

    def _remember(self, key: str) -> None:
        self.known.add(key)
        if len(self.known) > MAX_ITEMS:
            raise permanent("TooManyItems", f"a batch has {MAX_ITEMS} items at most: make several of it")

    def _set_aside(self, key: str, reason: str) -> None:
        self._refused.append(ItemResult(key=key, verdict=Verdict.QUARANTINED, reason=reason))

    def _close_page(self) -> None:
        if self._lines:
            self._pages.append(
                ItemPage(items=self._artifacts.put(b"".join(self._lines)), count=len(self._lines))
            )
            self._lines, self._size = [], 0


def sample_of(results: Iterable[ItemResult]) -> tuple[Quarantined, ...]:
    """Up to `MAX_SHOWN` of the quarantined results."""
    aside = (each for each in results if each.verdict is Verdict.QUARANTINED)
    return tuple(Quarantined(key=each.key, reason=each.reason) for each in islice(aside, MAX_SHOWN))


def read_verdicts(artifacts: ArtifactStore, ref: ArtifactRef) -> list[ItemResult]:
    """The verdicts of a finished page."""
    return [ItemResult.model_validate_json(line) for line in artifacts.get(ref).splitlines()]


def _items(data: bytes) -> Iterator[BatchItem]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            yield BatchItem.model_validate_json(line)
        except ValidationError as error:
            raise permanent("BadItems", f"line {number} is no item: {flaw_of(error)}") from None


def _item_of(line: bytes, key: str, kind: str) -> BatchItem:
    """Parse a line as an item. Its `id` becomes the item's key, unless the kind's input has such a field."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise _RefusedError(key, "it is not JSON") from None
    if not isinstance(value, dict):
        raise _RefusedError(key, "it is no JSON object")
    taken = KINDS[kind].input
    if "id" not in taken.model_fields and "id" in value:
        id = str(value.pop("id"))
        if not 0 < len(id) <= MAX_KEY or not id.isprintable():
            raise _RefusedError(key, f"its id is not of 1 to {MAX_KEY} printable characters")
        key = id
    if "carried" in value or (unknown := sorted(set(value) - set(taken.model_fields))):
        names = ", ".join(repr(each[:40]) for each in (["carried"] if "carried" in value else unknown)[:5])
        raise _RefusedError(key, f"{kind} takes no {names}")
    try:
        taken.model_validate(value)
    except ValidationError as error:
        raise _RefusedError(key, flaw_of(error)) from None
    return BatchItem(key=key, argument=value)
