"""The archive's chain, its index and its settings, without a server."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.agents.states import RunStatus
from common.archive.chain import Chain, put_checked, verify
from common.archive.index import ArchiveIndex, IndexQuery, pack_rows
from common.archive.layout import (
    ArchivedObject,
    ArchivedRun,
    ArchiveRecord,
    Head,
    IndexRow,
    Manifest,
    index_key,
    record_key,
    run_folder,
    utc_days,
)
from common.archive.search import _conditions
from common.client.filters import AgentFilter
from common.names import UnusableValueError
from common.object_store import FolderStore
from common.settings import Settings, SettingsError

START = datetime(2026, 11, 1, 9, tzinfo=UTC)
WORDS = ("Login", "Log'in", '"; DROP TABLE runs; --', "%", "_", "ann", "bob")


def row(number: int, chance: random.Random) -> IndexRow:
    closed = START + timedelta(hours=7 * number)
    return IndexRow(
        id=f"a-{number}",
        run_id=f"r-{number}",
        kind="errand",
        owner=chance.choice(WORDS),
        batch=chance.choice(WORDS),
        status=chance.choice(list(RunStatus)),
        started=closed - timedelta(hours=chance.randrange(1, 100)),
        closed=closed,
        nodes=chance.sample(WORDS, 2),
        stuck_at=[f"{chance.choice(WORDS)}@{closed:%Y-%m-%d}"] * chance.randrange(2),
        sha256="0" * 64,
    )


ROWS = [row(number, random.Random(number)) for number in range(60)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ArchiveIndex:
    store = FolderStore(tmp_path_factory.mktemp("index"))
    for number in range(6):
        for key, data in pack_rows(ROWS[number * 10 : number * 10 + 10], number + 1):
            store.put(key, data)
    return ArchiveIndex(store)


texts = st.one_of(st.none(), st.sampled_from(WORDS), st.text(max_size=20))


@settings(deadline=None, max_examples=40)
@given(
    owner=texts,
    batch=texts,
    node=texts,
    stuck=st.lists(st.text(max_size=12), max_size=2),
    days=st.integers(0, 20),
)
def test_a_filter_never_becomes_part_of_the_query(
    index: ArchiveIndex, owner: str | None, batch: str | None, node: str | None, stuck: list[str], days: int
) -> None:
    """Whatever the words are, the answer is what comparing them one by one gives, and no error."""
    since = START + timedelta(days=days)
    entries = (*stuck, f"Login@{since:%Y-%m-%d}") if stuck else ()
    found = index.find(IndexQuery(owner=owner, batch=batch, node=node, stuck=entries, since=since))
    assert {each.id for each in found} == {
        each.id
        for each in ROWS
        if owner in (None, each.owner)
        and batch in (None, each.batch)
        and (node is None or node in each.nodes)
        and (not entries or set(entries) & set(each.stuck_at))
        and each.closed >= since
    }


@given(st.text(min_size=1, max_size=40))
def test_nor_does_it_in_visibility(text: str) -> None:
    """What could end a literal is refused, what cannot stands between quotes."""
    try:
        conditions = _conditions(AgentFilter(owner=text, node=text), START)
    except UnusableValueError:
        return
    assert f"AgentOwner = '{text}'" in conditions
    assert f"AgentNode = '{text}'" in conditions
    assert not set(text) & set("'\"\\")


def test_the_index_prunes_days_and_orders_and_limits(index: ArchiveIndex) -> None:
    """Only days that can hold an answer are read; the newest come first."""
    since = START + timedelta(days=10)
    assert len(index.files(since)) < len(index.files())
    assert min(index.files(since)) >= index_key(since.date(), 0)
    everything = index.find(IndexQuery())
    assert [each.closed for each in everything] == sorted((each.closed for each in ROWS), reverse=True)
    assert index.find(IndexQuery(limit=7)) == everything[:7]
    assert index.find(IndexQuery(id="a-3")) == [ROWS[3]]


def test_an_agent_with_two_rows_counts_once(tmp_path: Path) -> None:
    """A kill between chain and deletion has it archived twice."""
    store = FolderStore(tmp_path)
    for number in (1, 2):
        for key, data in pack_rows(ROWS[:5], number):
            store.put(key, data)
    assert len(ArchiveIndex(store).find(IndexQuery())) == 5


def archive(store: FolderStore, count: int) -> Head:
    """Manifests of two agents each."""
    head = Head()
    for number in range(1, count + 1):
        added: list[ArchivedObject] = []
        for each in ROWS[number * 2 : number * 2 + 2]:
            folder = run_folder(each.kind, each.id, each.run_id)
            history = put_checked(store, f"{folder}1.history.json.gz", f"history of {each.id}".encode())
            view = put_checked(store, f"{folder}2.view", f"view of {each.id}".encode())
            record = ArchiveRecord(
                id=each.id,
                run_id=each.run_id,
                kind=each.kind,
                owner=each.owner,
                namespace="default",
                archived_at=START,
                runs=[ArchivedRun(run_id=each.run_id, started_at=START, events=1, history=history)],
                view=view,
            )
            key = record_key(each.kind, each.id, each.run_id)
            added.append(put_checked(store, key, record.model_dump_json().encode()))
        files = [put_checked(store, *file) for file in pack_rows(ROWS[number * 2 : number * 2 + 2], number)]
        manifest = Manifest(
            number=number, previous=head.sha256, service="s", by=str(number), at=START, kinds=["errand"],
            added=[*files, *added],
        )  # fmt: skip
        head = Chain(store).append(manifest)
    return head


def test_every_flipped_cut_missing_or_older_object_is_found(tmp_path: Path) -> None:
    """Each object in turn; and nothing is found where nothing was done."""
    store = FolderStore(tmp_path)
    first = archive(store, 2)
    older = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    head = archive(FolderStore(tmp_path), 4)
    assert first != head
    assert verify(store, head).flaws == []
    for path in sorted(each for each in tmp_path.rglob("*") if each.is_file()):
        whole = path.read_bytes()
        for tampered in (bytes([whole[0] ^ 1]) + whole[1:], whole[:-1], b"", None):
            path.unlink()
            if tampered is not None:
                path.write_bytes(tampered)
            assert verify(store, head).flaws, (path.name, tampered)
            path.write_bytes(whole)
    for path in [each for each in tmp_path.rglob("*") if each.is_file() and each not in older]:
        path.unlink()
    assert any("put back or cut short" in flaw for flaw in verify(store, head).flaws)
    assert verify(store, first).flaws == [], "by itself an older state looks whole; the anchor tells"


def test_a_row_nobody_entered_is_found(tmp_path: Path) -> None:
    """Whoever may write to the bucket cannot make an agent up unseen."""
    store = FolderStore(tmp_path)
    head = archive(store, 2)
    for key, data in pack_rows(ROWS[20:21], 2):
        store.put(key, data)
    assert verify(store, head).flaws == [f"{index_key(ROWS[20].day, 2)} is in no manifest"]


def test_times_differ_by_kind_and_outcome() -> None:
    """Where several fit, the longest; where none does, the default."""
    found = Settings.read({"HIBERNAUT_ARCHIVE_AFTER": "30d, code-auditor=7d, failed=90d"}).archive
    assert found.ttl("code-auditor", "completed") == timedelta(days=7)
    assert found.ttl("code-auditor", "failed") == timedelta(days=90)
    assert found.ttl("buyer", "completed") == timedelta(days=30)
    assert found.shortest == timedelta(days=7)
    for text in ("soon", "30", "30d,failed", "30d,failed=x", "-1d"):
        with pytest.raises(SettingsError, match="HIBERNAUT_ARCHIVE_AFTER"):
            Settings.read({"HIBERNAUT_ARCHIVE_AFTER": text})


def test_days_in_utc_lie_between() -> None:
    """The end itself is not part of it."""
    first = datetime(2026, 11, 22, tzinfo=UTC)
    assert [each.day for each in utc_days(first, first + timedelta(days=2))] == [22, 23]
    assert [each.day for each in utc_days(first - timedelta(hours=1), first + timedelta(hours=1))] == [21, 22]
