"""The archive from a user's shell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from temporalio.client import WorkflowHistory

from common.approval.action_log import ACTS, Act
from common.digest import digest_bytes
from common.object_store import open_store
from common.temporal.connect import data_converter
from testing.waiting import eventually
from tests.support.archive.stage import ArchiveStage, archive_stage, closed
from tests.support.desk import Desk, StandIn
from tests.support.s3 import BUCKET, credentials, in_bucket, moto
from workflows.replayer import replayer

__all__ = ["credentials", "moto"]


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArchiveStage]:
    async with archive_stage(tmp_path, monkeypatch, encrypted=False) as stage:
        stage.agents.append(StandIn)
        await stage.rest()
        await stage.work()
        yield stage


async def test_setup_sets_the_schedule_and_the_buckets_rule(stage: ArchiveStage, moto: str) -> None:
    """As `HIBERNAUT_ARCHIVE_COLD` says, again and again; `never` takes the rule back."""
    desk = Desk(stage.settings, stage.client.service_client.config.target_host)
    desk.environment |= in_bucket(moto, prefix="setup/")
    client = boto3.session.Session().client("s3", endpoint_url=moto, region_name="us-east-1")

    def rules() -> list[tuple[str, int, str]]:
        try:
            found = client.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
        except client.exceptions.ClientError:
            return []
        moves = [(rule["Filter"]["Prefix"], rule["Transitions"][0]) for rule in found]
        return [(prefix, move["Days"], move["StorageClass"]) for prefix, move in moves]

    for cold, told, days in (
        ("90d", "GLACIER_IR after 90 days", [90]),
        ("30d", "GLACIER_IR after 30 days", [30]),
        ("never", "none (HIBERNAUT_ARCHIVE_COLD=never)", []),
    ):
        ran = await desk.run("archive", "setup", "--json", HIBERNAUT_ARCHIVE_COLD=cold)
        assert ran.json == {"schedule": "17 3 * * *", "colder_storage": told}, ran.err
        assert rules() == [("setup/archive/v1/agents/", each, "GLACIER_IR") for each in days]


async def test_a_session_with_the_archive(stage: ArchiveStage, tmp_path: Path) -> None:
    """Set up, look, archive, show, restore, revive, verify, forget: each with its document and code."""
    desk = Desk(stage.settings, stage.client.service_client.config.target_host)
    ids = [await desk.start("done"), await desk.start("fails", fails=True)]
    for id in ids:
        await eventually(lambda id=id: closed(stage.client.get_workflow_handle(id)))
    before = (await desk.run("show", ids[0], "--json")).json
    assert (await desk.run("archive", "setup", "--json")).json["schedule"] == "17 3 * * *"
    dry = await desk.run("archive", "run", "--older-than", "0d", "--dry-run")
    assert sorted(dry.out.split()) == sorted(ids)
    ran = await desk.run("archive", "run", "--older-than", "0d", "--json")
    assert (ran.code, ran.json["archived"]) == (0, 2), ran.err

    assert (await desk.run("archive", "show", ids[0], "--json")).json == before
    failed = await desk.run("result", ids[1])
    assert (failed.code, failed.json["status"]) == (1, "failed")
    file = tmp_path / "history.json"
    assert (await desk.run("archive", "restore", ids[0], "--output", str(file))).code == 0
    history = WorkflowHistory.from_json(ids[0], file.read_text())
    await replayer([StandIn], data_converter(stage.settings, writes=False)).replay_workflow(history)
    assert (await desk.run("archive", "restore", "nobody")).code == 3
    act = Act(agent=ids[0], node="buy", at=datetime(2026, 3, 2, tzinfo=UTC), by=("ann",)).model_dump_json()
    open_store(stage.settings).put(f"{ACTS}{digest_bytes(ids[0].encode())[:32]}/1", act.encode())
    revived = await desk.run("archive", "restore", ids[0], "--revive", "--json")
    assert f"{ids[0]} acted at buy on 2026-03-02 00:00:00 UTC, decided by ann." in revived.err
    assert (revived.json["id"], revived.json["revived_from"]) == (f"{ids[0]}-revived", ids[0])
    assert (await desk.run("archive", "restore", ids[0], "--revive")).code == 2

    verified = await desk.run("archive", "verify", "--json")
    assert (verified.code, verified.json["flaws"], verified.json["agents"]) == (0, [], 2)
    view = next((stage.settings.data_dir / "objects").rglob("*.view"))
    whole = view.read_bytes()
    view.write_bytes(whole[:-1])
    assert (await desk.run("archive", "verify")).code == 1
    view.write_bytes(whole)
    forgotten = await desk.run("forget", "--owner", "me")
    assert (forgotten.code, forgotten.json["archived"], forgotten.json["live"]) == (0, 2, 1)
    assert forgotten.json["before"] == []
    again = await desk.run("forget", "--owner", "me")
    [before] = again.json["before"]
    assert (again.json["archived"], before["archived"], before["live"]) == (0, 2, 1)
    assert f"forgotten at {before['at'][:10]}" in again.err
    dry = await desk.run("forget", "--owner", "me", "--dry-run")
    assert dry.json == {"owner": "me", "live": 0, "archived": 0, "before": [before]}
    assert (await desk.run("show", ids[0])).code == 3
    assert (await desk.run("archive", "verify")).code == 0
    assert (await desk.run("keys", "rotate", "--json")).json.keys() == {"approval"}
