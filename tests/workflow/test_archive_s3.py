"""The archivist and a real S3 process: a wrong key first, a restart in the middle, files on disk at last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.dev_server import listens
from common.archive.chain import Chain, verify
from common.archive.layout import AGENTS, ARCHIVIST, MANIFESTS, RECORD, Head, Manifest
from common.object_store import FolderStore
from testing.waiting import eventually
from tests.support.archive.stage import ArchiveStage, archive_stage
from tests.support.s3 import BUCKET, SECRET, Rclone, credentials, in_bucket

__all__ = ["credentials"]


async def answered(stage: ArchiveStage, words: str) -> bool:
    """Whether a step of the archivist failed with these words, and is to be tried again."""
    described = await stage.client.get_workflow_handle(ARCHIVIST).describe()
    pending = described.raw_description.pending_activities
    return any(words in each.last_failure.message for each in pending)


async def halted(at: threading.Event) -> bool:
    return at.is_set()


async def test_a_wrong_key_a_restart_and_then_all_is_there_as_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credentials: Callable[[str], None]
) -> None:
    """Nothing leaves Temporal before it lies safe elsewhere; what the service gave up, it finds again."""
    in_the_middle, go_on = threading.Event(), threading.Event()
    append = Chain.append

    def append_later(chain: Chain, manifest: Manifest) -> Head:
        in_the_middle.set()
        assert go_on.wait(240)
        return append(chain, manifest)

    monkeypatch.setattr(Chain, "append", append_later)
    rclone = Rclone(tmp_path / "served")
    files = FolderStore(rclone.folder / BUCKET / "team")
    where = in_bucket(f"http://127.0.0.1:{rclone.port}")
    async with archive_stage(tmp_path / "data", monkeypatch, encrypted=False, **where) as stage:
        async with rclone.running():
            handles = [await stage.kept(say=f"{number}" * 200_000) for number in range(3)]
            before = {each.key for each in files.list("")}
            await stage.rest()
            credentials("wrong")
            await stage.work()
            archiving = await stage.begin_archiving()
            await eventually(lambda: answered(stage, "SignatureDoesNotMatch"))
            assert {each.key for each in files.list("")} == before
            for handle in handles:
                assert (await handle.describe()).close_time is not None
            await stage.rest()
            credentials(SECRET)
            await stage.work()

            await eventually(lambda: halted(in_the_middle))
            records = [each.key for each in files.list(AGENTS) if each.key.endswith(RECORD)]
            assert (len(records), list(files.list(MANIFESTS))) == (3, [])
        assert not await listens(rclone.port)
        go_on.set()
        await eventually(lambda: answered(stage, "EndpointConnectionError"))
        for handle in handles:
            assert (await handle.describe()).close_time is not None
        async with rclone.running():
            report = await archiving.result()
            assert (report.archived, report.passed_over) == (3, {})
            shown = [await stage.archived.find(handle.id) for handle in handles]
            assert all(record and record.payloads for record in shown)
    anchor = report.head
    found = verify(files, anchor)
    assert (found.flaws, found.agents, found.head) == ([], 3, anchor)
