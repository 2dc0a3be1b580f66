"""A continuous copy of a data folder, by Litestream: what is in it, what it refuses, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.clients import open_agents
from cli.copying.files import conflicts
from cli.copying.keeper import CopyKeeper, open_copy
from cli.copying.litestream import restore
from cli.copying.place import CompleteState, CopyMark, NotACopyError, OpenPlace
from cli.copying.restore import first_restorable, restore_copy
from cli.copying.state import CopyState, describe_copy, end_copy
from cli.output import CommandError
from common.agents.auditor import AuditInput
from common.agents.buyer import BuyerInput
from common.approval.action_log import ActionLog
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.client.filters import AgentFilter
from common.object_store import FolderStore, StoredObject
from common.settings import Settings
from common.settings.state import CopyPlace
from common.temporal.codec import DATABASE
from testing.waiting import eventually
from tests.support.dev import ROOT, dev
from tests.support.s3 import BUCKET, SECRET, Rclone, credentials, rclone

__all__ = ["credentials", "rclone"]

STATE_PAGE = (ROOT / "docs" / "state.md").read_text()


class Folder:
    """A data folder with databases that a test writes to, and files."""

    def __init__(self, path: Path, copy_to: str) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.settings = Settings.read({"HIBERNAUT_DATA_DIR": str(path), "HIBERNAUT_COPY_TO": copy_to})
        assert self.settings.state.copy_to
        self.place = self.settings.state.copy_to

    def write(self, name: str, row: str) -> None:
        with closing(sqlite3.connect(self.path / name, timeout=20, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE IF NOT EXISTS rows (row TEXT)")
            database.execute("INSERT INTO rows VALUES (?)", (row,))

    def rows(self, name: str) -> list[str]:
        with closing(sqlite3.connect(self.path / name)) as database:
            return [row for (row,) in database.execute("SELECT row FROM rows ORDER BY rowid")]

    def put(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    @asynccontextmanager
    async def copied(self) -> AsyncIterator[CopyKeeper]:
        """Its copy, kept as `dev` does."""
        keeper = await open_copy(self.settings)
        assert keeper
        await keeper.program.start()
        try:
            yield keeper
        finally:
            await keeper.finish()

    async def whole(self, keeper: CopyKeeper) -> None:
        """Wait until everything until now is in the copy."""
        now = datetime.now(UTC)

        async def is_whole() -> bool:
            await keeper.copy()
            return keeper.complete_at >= now

        await eventually(is_whole)

    def copies(self, name: str) -> list[Path]:
        """Where the copy has a database, generation after generation."""
        assert self.place.folder
        return sorted(each / name for each in (self.place.folder / "databases").iterdir())

    async def comes_back(self, source: CopyPlace | None = None) -> None:
        await restore_copy(self.settings, source or self.place)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """As the command line sets it."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Of a name that addresses would have to escape."""
    made = Folder(tmp_path / "data", str(tmp_path / "an other disk" / "100% copy"))
    made.write(DATABASE, "first")
    made.put("payload.keys", "k1:00")
    return made


async def test_all_that_matters_comes_back_and_nothing_else(folder: Folder) -> None:
    """Databases to the last row, keys and artifacts; no lock, log, address or cache. All of it private."""
    folder.write("paper.db", "an order")
    folder.put("artifacts/ab/abcd", "an artifact")
    for name in ("dev.lock", "stack.json", "paper.db.lock", "logs/worker-1.log", "fetching/pages/1", ".tmp"):
        folder.put(name, "of no use")
    folder.put("demo/dev.lock", "the data folder of another stack")
    folder.put("demo/payload.keys", "k9:00")
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        folder.write(DATABASE, "last")
        folder.put("artifacts/ab/last", "of the last row")
        await folder.whole(keeper)
        await keeper.program.stop()  # without a farewell
    place = folder.place.folder
    assert place
    assert [each for each in (place, *place.rglob("*")) if each.stat().st_mode & 0o077] == []
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    await folder.comes_back()
    assert folder.rows(DATABASE) == ["first", "last"]
    assert folder.rows("paper.db") == ["an order"]
    files = {each.relative_to(folder.path).as_posix() for each in folder.path.rglob("*") if each.is_file()}
    files = {each for each in files if not each.startswith("objects/restores/")}
    assert files - {"copy.json", "logs/restore.log"} == {
        *(DATABASE, "paper.db", "payload.keys", "artifacts/ab/abcd", "artifacts/ab/last"),
    }
    assert [each for each in files if (folder.path / each).stat().st_mode & 0o077] == []
    # It goes on where it was, and comes back a second time.
    async with folder.copied() as keeper:
        folder.write(DATABASE, "later")
        await folder.whole(keeper)
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    await folder.comes_back()
    assert folder.rows(DATABASE) == ["first", "last", "later"]


async def test_a_copy_from_before_there_were_generations_comes_back(folder: Folder) -> None:
    """Its databases lie one level higher, and its mark names none."""
    folder.write("paper.db", "an order")
    async with folder.copied() as keeper:
        await folder.whole(keeper)
    place = OpenPlace(folder.place, folder.settings)
    mark = place.mark()
    assert mark
    for copy in (*folder.copies(DATABASE), *folder.copies("paper.db")):
        copy.rename(copy.parents[1] / copy.name)
    place.put(mark.model_copy(update={"generation": ""}))
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    await folder.comes_back()
    assert (folder.rows(DATABASE), folder.rows("paper.db")) == (["first"], ["an order"])


async def test_no_row_comes_back_without_the_file_it_refers_to(folder: Folder) -> None:
    """Where the disk was lost between both, the row is left out, too; what was done is not forgotten."""
    folder.write("paper.db", "an order")
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        folder.put("artifacts/ab/late", "never copied")
        folder.write(DATABASE, "refers to it")
        folder.write("paper.db", "a later order")
        for name in (DATABASE, "paper.db"):
            database = folder.path / name
            await keeper.program.until_there(database, await keeper.program.sync(database))
        await keeper.program.stop()
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    await folder.comes_back()
    assert not (folder.path / "artifacts").exists()
    assert folder.rows(DATABASE) == ["first"]
    assert folder.rows("paper.db") == ["an order", "a later order"]


async def test_what_was_written_right_before_the_log_begins_anew_is_copied(folder: Folder) -> None:
    """SQLite overwrites its log once all of it is in the database, but nothing that is not copied yet.

    Also after a checkpoint of Litestream's own, which a log of a thousand pages brings about.
    """
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        with closing(sqlite3.connect(folder.path / DATABASE, isolation_level=None)) as database:
            for round in range(5):
                for size in (5_000_000, 50_000):
                    folder.write(DATABASE, "x" * size)
                    await keeper.copy()
                database.execute("INSERT INTO rows VALUES (?)", (f"not copied yet {round}" * 1000,))
                database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                database.execute("INSERT INTO rows VALUES ('first in the log')")
        await folder.whole(keeper)
        await _killed(keeper)
        with closing(sqlite3.connect(folder.path / DATABASE, isolation_level=None)) as database:
            database.execute("INSERT INTO rows VALUES (?)", ("while nothing copied" * 1000,))
            database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            database.execute("INSERT INTO rows VALUES ('first in the log')")
            await keeper.program.start()
            await folder.whole(keeper)
    rows = folder.rows(DATABASE)
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    await folder.comes_back()
    assert folder.rows(DATABASE) == rows


async def test_a_copy_that_does_not_come_back_is_begun_afresh(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it is damaged or only has other rows. The doctor knows when it last came back."""
    folder.write("paper.db", "an order")
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        assert await keeper.test_restore()
        state = CopyState.load(folder.settings)
        assert state
        assert state.proven
        assert "restored as a test 0 s ago" in describe_copy(folder.settings, state.proven)[1]
        assert not (folder.path / ".proof").exists()
        with monkeypatch.context() as changed:
            changed.setattr("cli.copying.restore_test.restore", _restore_with_another_row)
            assert not await keeper.test_restore()
        level, words = describe_copy(folder.settings, keeper.complete_at)
        assert (level, words.partition("restore test failed: ")[2]) == (
            "mend",
            "of paper.db, the table rows comes back other than it is",
        )
        _damage(folder.copies("paper.db")[-1])
        assert not await keeper.test_restore()
        assert not await keeper.test_restore()
        assert "the copy failed its restore test, and is started anew" in capsys.readouterr().err
        assert not keeper.program.runs
        await keeper.program.start()  # as `dev` does
        await folder.whole(keeper)
        assert await keeper.test_restore()
        assert describe_copy(folder.settings, keeper.complete_at)[0] == "ok"
        folder.write("paper.db", "another order")
        await folder.whole(keeper)
        # What does not come back is deleted.
        await eventually(lambda: len(folder.copies(DATABASE)) == 1)


async def test_a_test_that_is_cut_short_leaves_its_database_alone_first(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed when the thread that compares it has ended: SQLite would crash the whole stack."""
    begun, ended = threading.Event(), threading.Event()

    def compare(live: sqlite3.Connection, back: Path) -> str:
        begun.set()
        time.sleep(0.2)
        with contextlib.suppress(sqlite3.OperationalError):  # it is interrupted
            live.execute("SELECT count(*) FROM rows").fetchone()
        ended.set()
        return ""

    monkeypatch.setattr("cli.copying.restore_test._difference", compare)
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        proof = asyncio.create_task(keeper.test_restore())
        await asyncio.to_thread(begun.wait)
        proof.cancel()
        with pytest.raises(asyncio.CancelledError):
            await proof
        assert ended.is_set()
    assert not (folder.path / ".proof").exists()


async def test_where_the_end_of_a_copy_is_damaged_the_youngest_sound_state_comes_back(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of this generation, else of one before; it says how much is lost at most."""
    for generation in range(2):
        async with folder.copied() as keeper:
            for number in range(4):
                folder.write(DATABASE, f"{generation}.{number}")
                await folder.whole(keeper)
            await _killed(keeper)
    rows = folder.rows(DATABASE)
    until = keeper.complete_at
    shutil.rmtree(folder.path)
    earlier, later = folder.copies(DATABASE)
    for damaged, comes_back in ((_last(later), rows[:-1]), ([later], rows[:5])):
        for each in damaged:
            _damage(each)
        folder.path.mkdir()
        await folder.comes_back()
        assert folder.rows(DATABASE) == comes_back
        assert f"what the copy has of {DATABASE} is damaged at its end" in capsys.readouterr().err
        assert (ActionLog.of(folder.settings).restored_to() or until) < until
        shutil.rmtree(folder.path)
    _damage(earlier)
    folder.path.mkdir()
    # Litestream names the file, or only what is wrong with it.
    with pytest.raises(CommandError, match=r"--restore-from .*(ltx|unexpected EOF)"):
        await folder.comes_back()
    assert not (folder.path / DATABASE).exists()


async def test_the_youngest_state_that_comes_back_is_found_by_few_attempts() -> None:
    """However many younger ones do not."""
    for sound, count in itertools.combinations_with_replacement(range(20), 2):
        asked: list[int] = []

        async def restorable(state: int, sound: int = sound, asked: list[int] = asked) -> bool:
            asked.append(state)
            return state >= sound

        found = await first_restorable(range(count), restorable)
        assert found == (sound if sound < count else None)
        assert len(asked) <= 2 * count.bit_length() + 1
        if found is not None:
            assert [each for each in asked if each >= sound][-1] == found


def test_generations_before_are_kept_for_a_day_and_the_last_proven_one_for_longer() -> None:
    """As many as a program that ends again and again may leave."""
    now = datetime(2026, 11, 30, tzinfo=UTC)
    then = now - timedelta(days=9)
    mark = CopyMark(holder="h", generation="g0", until=then, proven=then)
    for number in range(1, 9):
        mark = mark.succeeded_by(CompleteState(generation=f"g{number}", until=now), wrong=["g6"])
    assert [each.generation for each in mark.earlier] == ["g7", "g5", "g4", "g0"]
    mark = mark.succeeded_by(CompleteState(generation="g8", until=now, proven=now), wrong=[])
    assert mark.generations() == {"g8", "g7", "g5", "g4"}
    mark = mark.succeeded_by(
        CompleteState(generation="g8", until=now + timedelta(hours=25), proven=now), wrong=[]
    )
    assert mark.generations() == {"g8"}


async def test_a_bucket_takes_the_copy(
    tmp_path: Path, rclone: Rclone, credentials: Callable[[str], None]
) -> None:
    """A service that checks keys, at an address of its own."""
    to = f"s3://{BUCKET}/team one/copy?endpoint=http://127.0.0.1:{rclone.port}&region=us-east-1"
    folder = Folder(tmp_path / "data", to)
    folder.write(DATABASE, "first")
    folder.put("objects/payloads/a b", "large")
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        folder.write(DATABASE, "last")
        await folder.whole(keeper)
        level, words = describe_copy(folder.settings, datetime.now(UTC))
        assert (level, f"the newest page at s3://{BUCKET}/team one/copy is" in words) == ("ok", True)
        assert await keeper.test_restore()
    databases = rclone.folder / BUCKET / "team one" / "copy" / "databases"
    assert (databases / keeper.program.generation / DATABASE).is_dir()
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    credentials("not-the-secret")
    with pytest.raises(CommandError, match=f"HIBERNAUT_COPY_TO.*{BUCKET}.*SignatureDoesNotMatch"):
        await folder.comes_back()
    credentials(SECRET)
    await folder.comes_back()
    assert folder.rows(DATABASE) == ["first", "last"]
    assert (folder.path / "objects" / "payloads" / "a b").read_text() == "large"


async def test_nothing_that_is_there_is_overwritten(folder: Folder, tmp_path: Path) -> None:
    """A database, its log, another key file, another folder's copy, what is no copy: each in a line."""
    with pytest.raises(CommandError, match="there is no whole copy"):
        await Folder(tmp_path / "new", str(folder.place)).comes_back()
    async with folder.copied() as keeper:
        with pytest.raises(CommandError, match="there is no whole copy"):
            await Folder(tmp_path / "new", str(folder.place)).comes_back()
        await folder.whole(keeper)
    with pytest.raises(CommandError, match="has a database already, and nothing is overwritten"):
        await folder.comes_back()
    other = Folder(tmp_path / "other", str(folder.place))
    other.put("payload.keys", "k2:00")
    with pytest.raises(CommandError, match=r"payload\.keys is not of the copy: move it away"):
        await other.comes_back()
    other.put("payload.keys", "k1:00")
    other.put(f"{DATABASE}-wal", "of a database that is gone")
    with pytest.raises(CommandError, match=rf"{DATABASE}-wal is not of the copy"):
        await other.comes_back()
    with pytest.raises(CommandError, match=r"the copy of another data folder.*--restore-from"):
        await open_copy(other.settings)
    with pytest.raises(CommandError, match="holds other things: name an empty place"):
        await open_copy(Folder(tmp_path / "other", str(tmp_path)).settings)
    with pytest.raises(CommandError, match=r"^--copy-to /proc/here: .*No such file"):
        await open_copy(Folder(tmp_path / "third", "/proc/here").settings)
    with pytest.raises(CommandError, match="outside of the data folder"):
        await open_copy(Folder(tmp_path / "third", str(tmp_path / "third" / "copy")).settings)
    assert (other.path / "payload.keys").read_text() == "k1:00"
    assert not (other.path / DATABASE).exists()


async def test_what_was_interrupted_while_it_came_back_is_done_again(folder: Folder) -> None:
    """Until Temporal's database is there, the folder does not count as brought back."""
    folder.write("paper.db", "an order")
    async with folder.copied() as keeper:
        await folder.whole(keeper)
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    [database] = folder.copies(DATABASE)
    database.rename(database.with_name("out of reach"))
    with pytest.raises(CommandError, match="--restore-from"):
        await folder.comes_back()
    assert (folder.path / "payload.keys").exists()
    assert folder.rows("paper.db") == ["an order"]
    assert not (folder.path / DATABASE).exists()
    database.with_name("out of reach").rename(database)
    await folder.comes_back()
    assert folder.rows(DATABASE) == ["first"]
    async with folder.copied() as keeper:
        await folder.whole(keeper)


async def test_the_first_owner_of_a_copy_that_came_back_elsewhere_writes_it_no_more(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or two stacks would mix what they copy."""
    new = Folder(tmp_path / ("new" * 40), str(folder.place))  # a socket does not
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        await new.comes_back()
        folder.write(DATABASE, "in the past")
        await keeper.copy()
        assert "the copy of another data folder" in capsys.readouterr().err
        level, words = describe_copy(folder.settings, datetime.now(UTC))
        assert (level, "another data folder" in words) == ("mend", True)
        await asyncio.wait_for(keeper.keep(), 120)  # returns
    async with new.copied() as again:
        new.write(DATABASE, "in the present")
        await new.whole(again)
    assert new.rows(DATABASE) == ["first", "in the present"]


async def test_trouble_is_said_once_and_so_is_its_end(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Meanwhile the stack works on, and the doctor knows."""
    monkeypatch.setattr("cli.copying.keeper.TROUBLE_AFTER", timedelta())
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        await keeper.program.stop()
        for _ in range(2):
            await keeper.copy()
        assert capsys.readouterr().err.count("the copy is behind: litestream ") == 1
        assert describe_copy(folder.settings, datetime.now(UTC))[0] == "mend"
        folder.write(DATABASE, "meanwhile")
        await keeper.program.start()
        await folder.whole(keeper)
        assert capsys.readouterr().err.count("the copy is up to date again") == 1
        assert describe_copy(folder.settings, datetime.now(UTC))[0] == "ok"
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    await folder.comes_back()
    assert folder.rows(DATABASE) == ["first", "meanwhile"]


async def test_a_disk_that_is_gone_takes_nothing_out_of_the_copy(folder: Folder) -> None:
    """Neither the copied disk nor the copy's: an empty mount point looks like everything deleted."""
    folder.put("artifacts/ab/abcd", "an artifact")
    place = folder.place.folder
    assert place
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        folder.path.rename(folder.path.with_name("unmounted"))
        await keeper.copy()
        assert not folder.path.exists()
        assert (place / "files" / "artifacts" / "ab" / "abcd").exists()
    folder.path.with_name("unmounted").rename(folder.path)
    place.rename(place.with_name("unmounted"))
    with pytest.raises(CommandError, match="the copy that was there is gone: is its disk mounted"):
        await open_copy(folder.settings)
    assert not place.exists()


async def test_what_was_deleted_leaves_the_copy_after_a_day(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before: an earlier state of the database still finds its files. A restart changes nothing."""
    folder.put("artifacts/ab/old", "to be forgotten")
    folder.put("artifacts/ab/back", "deleted and made again")
    assert folder.place.folder
    copies = folder.place.folder / "files" / "artifacts" / "ab"
    async with folder.copied() as keeper:
        await folder.whole(keeper)
        for name in ("old", "back"):
            (folder.path / "artifacts" / "ab" / name).unlink()
        await folder.whole(keeper)
        assert {each.name for each in copies.iterdir()} == {"old", "back"}
    folder.put("artifacts/ab/back", "made again")
    later = datetime.now(UTC) + timedelta(hours=25)
    clock = type("Later", (datetime,), {"now": classmethod(lambda cls, zone: later)})
    async with folder.copied() as keeper:
        monkeypatch.setattr("cli.copying.keeper.datetime", clock)
        await folder.whole(keeper)
    assert {each.name: each.read_text() for each in copies.iterdir()} == {"back": "made again"}


@pytest.mark.parametrize("name", ["../payload.keys", "/etc/passwd", "a//b", "a/./b", ""])
def test_no_name_in_a_copy_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    """Others may be able to write to a bucket."""

    class Hostile(FolderStore):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            yield StoredObject(f"{prefix}{name}", 1, datetime.now(UTC))

    with pytest.raises(NotACopyError, match="the name of no file in a data folder"):
        conflicts(tmp_path, Hostile(tmp_path))


def test_a_copy_that_is_behind_or_no_longer_kept_is_said(folder: Folder) -> None:
    """As lines of the doctor."""
    now = datetime.now(UTC)
    state = CopyState(place="/mnt/copy", holder="h", begun=True, until=now - timedelta(seconds=3))
    told = []
    for each in (
        state,
        state.model_copy(update={"proven": now - timedelta(hours=5)}),
        state.model_copy(update={"proven": now - timedelta(hours=50)}),
        state.model_copy(update={"proven": now, "unproven": "damaged"}),
        state.model_copy(update={"until": now - timedelta(hours=5)}),
        state.model_copy(update={"problem": "cannot write"}),
        state.model_copy(update={"until": None}),
    ):
        each.save(folder.settings)
        told.append(describe_copy(folder.settings, now))
    assert told == [
        ("ok", "the newest page at /mnt/copy is 3 s old; no restore test yet"),
        ("ok", "the newest page at /mnt/copy is 3 s old; restored as a test 5 h ago"),
        ("warning", "the newest page at /mnt/copy is 3 s old; restored as a test 2 d 2 h ago"),
        ("mend", "the newest page at /mnt/copy is 3 s old, but its restore test failed: damaged"),
        ("mend", "the newest page at /mnt/copy is 5 h old: see logs/litestream.log in the data folder"),
        ("mend", "the newest page at /mnt/copy is 3 s old: cannot write"),
        ("warning", "the first copy to /mnt/copy is under way"),
    ]
    end_copy(folder.settings)
    level, words = describe_copy(folder.settings, now)
    assert (level, words.startswith("not kept any more")) == ("warning", True)
    with contextlib.suppress(FileNotFoundError):
        CopyState.file(folder.settings).unlink()
    assert describe_copy(folder.settings, now)[0] == "ok"


async def test_a_lost_disk_takes_no_agent_with_it(tmp_path: Path) -> None:
    """Everything killed, the data folder deleted: agents that slept and asked are there, and go on.

    By the commands of docs/state.md as they stand there.
    """
    keep, bring_back = re.findall(r"^python starter\.py dev (.*)$", STATE_PAGE, re.MULTILINE)
    disk, copy, code = tmp_path / "disk", tmp_path / "copy", tmp_path / "code"
    code.mkdir()
    (code / "a.py").write_text("import os\n")
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(disk)})
    async with dev(disk, more=_words(keep, copy)) as stack:
        await stack.hears("its copy")
        await stack.hears("ready;")
        agents = await open_agents(settings)
        paths = {"path": str(code), "apply": True}
        await agents.start("code-auditor", AuditInput.model_validate(paths), id="fixes", owner="local")
        far = {"symbol": "BAC", "quantity": 1, "limit": 1, "when": "within-limit", "look_every": "1h"}
        for id, input in (("buys", {"symbol": "BAC", "quantity": 1, "limit": 1000}), ("sleeps", far)):
            await agents.start("buyer", BuyerInput.model_validate(input), id=id, owner="local")
        states = {"fixes": "awaiting_approval", "buys": "awaiting_approval", "sleeps": "sleeping"}

        async def stand(agents: AgentClient) -> bool:
            return {each.id: each.state for each in await agents.list_agents(AgentFilter())} == states

        await eventually(lambda: stand(agents))
        await agents.start("buyer", BuyerInput.model_validate(far), id="last", owner="local")
        started, states["last"] = datetime.now(UTC), "sleeping"
        await eventually(lambda: _until(copy) > started)
        stack.children()["litestream"].kill()
        await stack.hears("litestream started again")
        await agents.start("buyer", BuyerInput.model_validate(far), id="later", owner="local")
        started, states["later"] = datetime.now(UTC), "sleeping"
        await eventually(lambda: _until(copy) > started)
        children = stack.children().values()
        stack.process.kill()
        await stack.process.wait()
        await eventually(lambda: not any(each.is_running() for each in children))
    shutil.rmtree(disk)
    async with dev(disk, more=_words(bring_back, copy)) as stack:
        await stack.hears("brought back")
        await stack.hears("ready;")
        agents = await open_agents(settings)
        await eventually(lambda: stand(agents))
        for id in ("buys", "fixes"):
            await agents.decide(id, Verdict.APPROVE, by="local", through="cli")
            await eventually(lambda id=id: _ended(agents, id))
        with closing(sqlite3.connect(disk / "paper.db")) as book:
            assert book.execute("SELECT count(*) FROM orders").fetchone() == (1,)
        assert "import os" not in (code / "a.py").read_text()
        await eventually(lambda: _proven(settings))
        assert describe_copy(settings, datetime.now(UTC))[0] == "ok"


async def _killed(keeper: CopyKeeper) -> None:
    assert keeper.program.process
    keeper.program.process.kill()
    await keeper.program.wait()


def _last(copy: Path) -> list[Path]:
    """The file of the last transaction, and what was put together of it and others since."""
    ends = {each: each.name.rpartition("-")[2] for each in copy.rglob("*.ltx")}
    return [each for each, end in ends.items() if end == max(ends.values())]


def _damage(copy: Path) -> None:
    """Cut a file short, or every file of a folder."""
    for each in [copy] if copy.is_file() else copy.rglob("*.ltx"):
        os.truncate(each, each.stat().st_size // 2)


async def _restore_with_another_row(
    place: OpenPlace, generation: str, name: str, transaction: int, file: Path, log: Path
) -> None:
    await restore(place, generation, name, transaction, file, log)
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("UPDATE rows SET row = 'another'")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _words(command: str, copy: Path) -> list[str]:
    assert "/mnt/other-disk/hibernaut" in command
    # Nobody asks the gateway.
    return [*command.replace("/mnt/other-disk/hibernaut", str(copy)).split(), "--http-port", "0"]


def _until(copy: Path) -> datetime:
    found = CopyMark.model_validate_json((copy / "copy.json").read_bytes()).until
    return found or datetime.fromtimestamp(0, UTC)


async def _proven(settings: Settings) -> bool:
    state = CopyState.load(settings)
    return bool(state and state.proven)


async def _ended(agents: AgentClient, id: str) -> bool:
    view = await agents.view(id)
    assert view.status in ("running", "completed"), view
    return view.status == "completed"


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///prefix", "gs://bucket", "s3://bucket/x?colour=red", "s3://b?endpoint=ftp://x"]
)
def test_a_place_that_is_none_is_refused_by_name(text: str) -> None:
    """In the setting as in the option."""
    with pytest.raises(ValueError, match=r"HIBERNAUT_COPY_TO=.*give"):
        Settings.read({"HIBERNAUT_COPY_TO": text})
    with pytest.raises(ValueError, match="give a folder"):
        CopyPlace.read(" ")


def test_a_place_in_a_bucket_is_told_to_litestream_as_it_reads_it() -> None:
    """Escaped, with endpoint and region."""
    place = CopyPlace.read("s3://bucket/a b/?endpoint=http://127.0.0.1:9&region=eu-1")
    assert str(place) == "s3://bucket/a b"
    assert OpenPlace(place, Settings.read({})).replica("g", "x.db") == {
        "url": "s3://bucket/a%20b/databases/g/x.db?endpoint=http%3A%2F%2F127.0.0.1%3A9&region=eu-1"
    }
