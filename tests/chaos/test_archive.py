"""The archivist while everything around it fails: nothing is lost, unreadable or deleted too early."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from cli.children import end_child, start_child
from cli.dev_server import DevServer, listens
from common.approval.signed import sign_start
from common.approval.signing import Signer
from common.archive.anchor import ArchiveAnchor
from common.archive.chain import verify
from common.archive.index import IndexQuery
from common.archive.layout import ARCHIVIST, MANIFESTS, RECORD, ArchiveReport, ArchiveRequest, Head
from common.archive.reader import ArchivedAgents
from common.client.client import AgentClient
from common.object_store import FolderStore, StoreUnavailableError
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.brief_input import BriefInput
from tests.support.archive.worker_steps import CI_STEPS, SOAK_STEPS
from tests.support.incompressible import incompressible
from tests.support.limits import QUICK_DELETION, QUICK_TASKS
from tests.support.s3 import BUCKET, KEY_ID, SECRET, Rclone, in_bucket
from tests.support.seeds import seed
from tests.support.stack import ROOT

SEED = seed("CHAOS_SEED")
CHANCE = 0.03
STARTS_AT_ONCE = 20
STEP_SECONDS = 600  # a bound: before an index comes a whole batch
RESTART_AFTER = "after-put-record"


class Siege:
    """A server, an S3 service and a worker as processes of their own, and agents that close all the time."""

    def __init__(self, folder: Path, address: str, rclone: Rclone) -> None:
        self.folder, self.rclone = folder, rclone
        self.environment = {
            "TEMPORAL_ADDRESS": address,
            "HIBERNAUT_DATA_DIR": str(folder / "data"),
            "HIBERNAUT_TASK_QUEUE": "siege",
            "HIBERNAUT_PAYLOAD_KEYS": f"k1:{secrets.token_hex(32)}",
            **in_bucket(f"http://127.0.0.1:{rclone.port}"),
            "CHAOS_FOLDER": str(folder),
            "CHAOS_CHANCE": str(CHANCE),
        }
        self.settings = Settings.read(self.environment)
        self.signer = Signer.load(self.settings, create=True)
        self.said: dict[str, str] = {}
        self.worker: Process
        self.starts = 0
        self.store: AsyncExitStack
        for name in ("kills", "struck"):
            (folder / name).mkdir()

    @property
    def files(self) -> Path:
        """What the S3 service has, as files on disk."""
        return self.rclone.folder / BUCKET / "team"

    async def start_store(self) -> None:
        self.store = AsyncExitStack()
        await self.store.enter_async_context(self.rclone.running())

    async def restart_store(self) -> None:
        """Take the S3 service away for two seconds, and see that it was missed."""
        await self.store.aclose()
        assert not await listens(self.rclone.port)
        await asyncio.sleep(2)
        await self.start_store()

    async def start_worker(self) -> None:
        self.starts += 1
        self.worker = await start_child(
            [sys.executable, str(ROOT / "tests" / "support" / "archive" / "worker.py")],
            environment={**os.environ, **self.environment, "CHAOS_SEED": str(SEED + self.starts)},
            log=self.folder / "worker.log",
        )

    async def killed_at(self, step: str) -> None:
        """Have the worker die at the step, and start another."""
        (self.folder / "kills" / step).touch()
        async with asyncio.timeout(STEP_SECONDS):
            assert await self.worker.wait() == -signal.SIGKILL, step
        assert (self.folder / "struck" / step).exists()
        await self.start_worker()

    async def start_agents(self, agents: AgentClient, count: int) -> None:
        slots = asyncio.Semaphore(STARTS_AT_ONCE)

        async def start(number: int) -> None:
            say = f"{secrets.token_hex(4)} {incompressible(150_000) if number % 10 == 0 else 'short'}"
            ending = "fails" if number % 7 == 0 else "done"
            async with slots:
                self.said[await self._start(agents, BriefInput(say=say, ending=ending))] = say

        await asyncio.gather(*map(start, range(count)))

    async def _start(self, agents: AgentClient, input: BriefInput) -> str:
        """Start an agent as a person would: again, where the store was away."""
        for _ in range(5):
            try:
                return await agents.start("brief", input, owner="boss")
            except StoreUnavailableError as away:
                print(away)
        raise AssertionError("the store stays away")


@asynccontextmanager
async def siege(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Siege]:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    rclone = Rclone(folder / "served")
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder / "data")})
    async with DevServer(settings, ui_port=None, limits=QUICK_TASKS | QUICK_DELETION, scratch=True) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        besieged = Siege(folder, server.address, rclone)
        await besieged.start_store()
        await besieged.start_worker()
        try:
            yield besieged
        finally:
            await end_child(besieged.worker, 0.1)
            await besieged.store.aclose()


async def _archive_under_fire(
    count: int, steps: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"CHAOS_SEED={SEED}")
    async with siege(folder, monkeypatch) as besieged:
        client = await connect(besieged.settings)
        agents = AgentClient(client, besieged.settings, besieged.signer)
        await besieged.start_agents(agents, count)

        async def all_closed() -> bool:
            counted = await client.count_workflows("AgentOwner = 'boss' AND CloseTime IS NOT NULL")
            return counted.count == len(besieged.said)

        async def none_runs() -> bool:
            counted = await client.count_workflows("AgentOwner = 'boss' AND ExecutionStatus = 'Running'")
            return counted.count == 0

        async def archive() -> ArchiveReport:
            return await client.execute_workflow(
                ARCHIVIST,
                sign_start(ARCHIVIST, ArchiveRequest(older_than=timedelta()), besieged.signer),
                id=ARCHIVIST,
                task_queue="siege",
                result_type=ArchiveReport,
            )

        await eventually(all_closed, 300)
        first = asyncio.create_task(archive())
        # Agents go on to close while the archivist works and dies.
        for step in steps:
            await besieged.start_agents(agents, 2)
            await besieged.killed_at(step)
            if step == RESTART_AFTER:
                await besieged.restart_store()
        reports = [await first]
        snapshot = folder / "snapshot"
        shutil.copytree(besieged.files / "archive", snapshot)
        await eventually(none_runs, 120)
        (folder / "calm").touch()
        reports.append(await archive())

        assert sum(each.archived for each in reports) == len(besieged.said) == count + 2 * len(steps)
        assert [each.passed_over for each in reports] == [{}, {}]
        faults = len((folder / "faults").read_text().splitlines())
        assert faults > count / 6, "the store did fail"
        await _assert_all_are_there(besieged)
        anchor = await ArchiveAnchor(client, besieged.settings).head()
        assert anchor == reports[-1].head
        found = _assert_every_tampering_is_found(besieged.files, anchor, snapshot)
        print(
            f"{len(besieged.said)} agents archived, {len(steps)} kills, {faults} failures of the store; "
            f"0 lost, 0 unreadable, 0 deleted before verified; {found} tamperings, all found"
        )


async def _assert_all_are_there(besieged: Siege) -> None:
    """Every agent once in the index, each readable with its result, and none deleted before it was safe."""
    archived = ArchivedAgents.open(besieged.settings)
    rows = await asyncio.to_thread(archived.index.find, IndexQuery())
    assert sorted(row.id for row in rows) == sorted(besieged.said)
    for row in rows:
        record = await archived.read(row)
        view = await archived.view(record)
        ended = view.result if row.status == "completed" else view.failure
        assert ended == (
            besieged.said[row.id] if row.status == "completed" else "Broken: it did not work out"
        )
        text = await archived.history(record, record.runs[-1], readable=True)
        assert json.loads(text)["events"]
    deletions = [json.loads(line) for line in (besieged.folder / "deletions").read_text().splitlines()]
    assert {id for id, _, _ in deletions} == set(besieged.said)
    assert [each for each in deletions if not each[2]] == []


WAYS: dict[str, Callable[[bytes], bytes | None]] = {
    "a flipped bit": lambda whole: (
        whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :]
    ),
    "its end cut off": lambda whole: whole[:-1],
    "something added": lambda whole: whole + b"\0",
    "gone": lambda whole: None,
}


@contextmanager
def tampered(paths: list[Path], way: str) -> Iterator[None]:
    """These files changed in the way of that name, and put back."""
    before = {path: path.read_bytes() for path in paths}
    for path, whole in before.items():
        path.unlink()
        if (changed := WAYS[way](whole)) is not None:
            path.write_bytes(changed)
    yield
    for path, whole in before.items():
        path.write_bytes(whole)


def some_of_each_kind(found: list[Path]) -> list[Path]:
    """The first and the last of each kind but manifests."""
    records = [path for path in found if path.name == RECORD]
    chosen = {records[0], records[-1]}
    # A bad record hides the rest of its agent.
    hidden = {path.parent for path in chosen}
    for end in (".parquet", ".view", ".payload", ".gz"):
        paths = [path for path in found if path.name.endswith(end) and path.parent not in hidden]
        chosen |= {paths[0], paths[-1]}
    return sorted(chosen)


def _assert_every_tampering_is_found(files: Path, anchor: Head | None, snapshot: Path) -> int:
    """One object of each kind: a bit, its end, all of it; then the archive as it was before. How many."""
    store, tamperings = FolderStore(files), 0
    clean = verify(store, anchor)
    assert (clean.flaws, clean.unsealed) == ([], 0), "and nothing is left of the attempts that were killed"
    found = sorted(path for path in (files / "archive").rglob("*") if path.is_file())
    manifests = [path for path in found if MANIFESTS.rstrip("/") in str(path)]
    others = some_of_each_kind(found)
    for way in WAYS:
        # A manifest speaks for all that follow, so each of them alone; of the others each must be named.
        for path in (manifests[0], manifests[-1]):
            with tampered([path], way):
                assert verify(store, anchor).flaws, (path.name, way)
        with tampered(others, way):
            flaws = verify(store, anchor).flaws
        for path in others:
            assert any(path.relative_to(files).as_posix() in flaw for flaw in flaws), (path, flaws)
        tamperings += 2 + len(others)
    assert verify(store, anchor).flaws == []
    now = files.parent / "now"
    (files / "archive").rename(now)
    shutil.copytree(snapshot, files / "archive")
    assert any("put back or cut short" in flaw for flaw in verify(store, anchor).flaws)
    assert verify(store, None).flaws, "nor does it pass where Temporal has forgotten the head"
    shutil.rmtree(files / "archive")
    now.rename(files / "archive")
    return tamperings + 1


@pytest.mark.timeout(900)
async def test_agents_are_archived_under_fire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store fails at random, the worker is killed at each step, new agents close meanwhile."""
    await _archive_under_fire(30, CI_STEPS, tmp_path, monkeypatch)


@pytest.mark.soak
async def test_2000_agents_are_archived_under_fire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a night may bring, killed before and after each step."""
    await _archive_under_fire(2000, SOAK_STEPS, tmp_path, monkeypatch)
