"""What can be seen of agents while they move into the archive, and which of them do not move."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.archive import removal
from activities.archive.agents import AgentArchiver
from activities.archive.records import Stored, StoreRequest
from common.agent_objects import objects_of
from common.archive.index import IndexQuery, unpack_rows
from common.archive.layout import agent_folder
from common.archive.search import FoundAgent
from common.client.filters import AgentFilter
from testing.waiting import eventually
from tests.support.agents.keepers import KeeperInput
from tests.support.archive.stage import ArchiveStage, archive_stage, patience
from tests.support.canary import CANARY, is_in
from tests.support.incompressible import incompressible
from workflows.archivist import AT_ONCE

__all__ = ["patience"]


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ArchiveStage]:
    with pytest.MonkeyPatch.context() as patch:
        async with archive_stage(tmp_path_factory.mktemp("moves"), patch) as stage:
            yield stage


async def found(stage: ArchiveStage, **query: Any) -> list[FoundAgent]:
    search = stage.search
    findings = await search.find(AgentFilter(**query), datetime.now(UTC))
    assert findings.gaps == []
    return findings.agents


@pytest.mark.usefixtures("patience")
async def test_one_that_is_being_moved_is_found_once(
    stage: ArchiveStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, in between, where it is in both, and afterwards; what it worked with goes last."""
    handle = await stage.kept(say="moving", owner="mover")
    own = stage.own_objects(handle)
    halted, go_on = asyncio.Event(), asyncio.Event()
    delete = removal._delete

    async def delete_later(*which: Any) -> None:
        halted.set()
        await go_on.wait()
        await delete(*which)

    monkeypatch.setattr(removal, "_delete", delete_later)
    seen = [await found(stage, owner="mover")]
    archiving = await stage.begin_archiving()
    await asyncio.wait_for(halted.wait(), 120)
    [row] = await asyncio.to_thread(stage.archived.index.find, IndexQuery(owner="mover"))
    assert (row.id, (await handle.describe()).id) == (handle.id, handle.id), "it is in both"
    assert objects_of(stage.store, [handle.id]) == own
    seen.append(await found(stage, owner="mover"))
    seen.append(await found(stage, owner="mover", text="MOVING"))
    go_on.set()
    assert (await archiving.result()).archived == 1
    assert objects_of(stage.store, [handle.id]) == [each for each in own if "/work/" not in each.key]

    async def archived_alone() -> list[FoundAgent] | None:
        # Visibility lists what was deleted for a moment yet.
        rows = await found(stage, owner="mover")
        return rows if all(each.archived for each in rows) else None

    seen.append(await eventually(archived_alone))
    assert [[(each.id, each.archived) for each in rows] for rows in seen] == [
        [(handle.id, False)],
        [(handle.id, False)],
        [(handle.id, False)],
        [(handle.id, True)],
    ]


async def test_few_move_at_once(stage: ArchiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are due, four at a time, side by side: those that work must not feel it."""
    for number in range(3 * AT_ONCE):
        await stage.kept(say=f"due {number}", owner="crowd")
    busy, most = set[str](), 0
    store, full = AgentArchiver._store, asyncio.Event()

    async def seen(archiver: AgentArchiver, request: StoreRequest) -> Stored:
        nonlocal most
        busy.add(request.agent.id)
        most = max(most, len(busy))
        if most >= AT_ONCE:
            full.set()
        # The first wait for each other, however slowly they come.
        with suppress(TimeoutError):
            await asyncio.wait_for(full.wait(), 60)
        await asyncio.sleep(0.2)
        try:
            return await store(archiver, request)
        finally:
            busy.remove(request.agent.id)

    monkeypatch.setattr(AgentArchiver, "_store", seen)
    assert (await stage.archive()).archived == 3 * AT_ONCE
    assert most == AT_ONCE


async def test_what_is_busy_or_damaged_stays(stage: ArchiveStage) -> None:
    """A newer run of its id goes on, or a payload is gone: it is passed over, and moved once that is over."""
    busy = await stage.kept(say="busy")
    damaged = await stage.kept(say=incompressible(200_000))
    again = await stage.start(KeeperInput(), "keeper", id=busy.id)
    [key] = [each.key for each in stage.store.list("payloads/") if damaged.id in each.key][:1]
    payload = stage.store.get(key)
    stage.store.delete([key])
    report = await stage.archive()
    assert (report.archived, report.passed_over) == (0, {"busy": 1, "damaged": 1})
    assert (await damaged.describe()).close_time is not None
    assert not list(stage.store.list(agent_folder("keeper", damaged.id))), (
        "of a copy that cannot be whole nothing is left"
    )
    stage.store.put(key, payload)
    await again.terminate("the test is over")

    async def both_moved() -> bool:
        await stage.archive()  # visibility learns of an end a little later
        return all([await stage.archived.find(handle.id) for handle in (busy, damaged)])

    await eventually(both_moved)
    for handle in (busy, damaged):
        record = await stage.archived.find(handle.id)
        assert record is not None
        assert len(record.runs) == (2 if handle is busy else 1), "the runs of an id go together"
        assert record.missing == []


@pytest.mark.usefixtures("patience")
async def test_a_secret_is_in_no_archived_object_and_is_found_by_its_words(
    stage: ArchiveStage, caplog: pytest.LogCaptureFixture
) -> None:
    """Histories, views, payloads, records and rows, unzipped; who has the keys finds it, and unlogged."""
    caplog.set_level(logging.INFO)
    told = await stage.kept(say=CANARY, lines=1)
    large = await stage.kept(say=CANARY + incompressible(200_000))
    failed = await stage.kept(say=CANARY, fail=True)
    await stage.archive()
    ids = sorted(each.id for each in await found(stage, text=CANARY.upper()))
    assert ids == sorted(each.id for each in (told, large, failed))
    objects = {each.key: stage.store.get(each.key) for each in stage.store.list("archive/")}
    kinds = {key.rpartition(".")[2] for key in objects}
    assert kinds == {"json", "gz", "view", "payload", "parquet"}
    for key, data in objects.items():
        shown = data
        if key.endswith(".gz"):
            shown = gzip.decompress(data)
        elif key.endswith(".parquet"):
            shown = repr(unpack_rows(data)).encode()
        assert not is_in(shown), key
    assert CANARY not in caplog.text
    for handle in (told, large, failed):
        record = await stage.archived.find(handle.id)
        assert record is not None
        readable = await stage.archived.history(record, record.runs[-1], readable=True)
        assert is_in(readable.encode()), "and with the keys it can be read"
