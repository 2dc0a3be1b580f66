"""The archive from a user's shell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

import worker
from common.connect import data_converter
from tests.integration.desk import Desk, StandIn
from tests.workflow.archive_stage import ArchiveStage, archive_stage, closed
from tests.workflow.conftest import eventually


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArchiveStage]:
    async with archive_stage(tmp_path, monkeypatch, encrypted=False) as stage:
        stage.agents.append(StandIn)
        await stage.rest()
        await stage.work()
        yield stage


async def test_a_session_with_the_archive(stage: ArchiveStage, tmp_path: Path) -> None:
    """Set up, look, archive, show, restore, revive, verify, forget: each with its document and code."""
    desk = Desk(stage.settings, stage.client.service_client.config.target_host)
    ids = [await desk.start(errand) for errand in ("done", "fails")]
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
    replayer = Replayer(
        workflows=[StandIn],
        data_converter=data_converter(stage.settings, writes=False),
        workflow_runner=worker.sandbox(),
    )
    await replayer.replay_workflow(history)
    assert (await desk.run("archive", "restore", "nobody")).code == 3
    revived = await desk.run("archive", "restore", ids[0], "--revive", "--json")
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
    assert (await desk.run("forget", "--owner", "me")).json["archived"] == 0
    assert (await desk.run("show", ids[0])).code == 3
    assert (await desk.run("archive", "verify")).code == 0
    assert (await desk.run("keys", "rotate", "--json")).json.keys() == {"approval"}
