"""A base backup of the database, taken while agents sleep, and put in the place of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from cli.cluster.cluster import Cluster
from cli.cluster.postgres import ACCOUNT, USER, binaries
from common.approval.signing import Signer
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.doubles import ErrandInput
from tests.support.stage import Stage, state_is

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


async def test_sleepers_wake_from_a_backup(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that slept or asked when it was taken go on; what began later is gone."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_TASK_QUEUE": "backup"})
    Signer.load(settings, create=True)
    async with Cluster(folder / "first") as cluster:
        await cluster.set_up({**cluster.environment(), "HIBERNAUT_DATA_DIR": str(tmp_path)})
        monkeypatch.setenv("TEMPORAL_ADDRESS", cluster.address)
        async with Stage(await connect(settings), settings).at_work(replays=False) as stage:
            asleep = await stage.start(ErrandInput(sleep=timedelta(days=3)))
            asking = await stage.start(ErrandInput())
            request = await stage.asked(asking)
            await eventually(lambda: state_is(stage, asleep, "sleeping"))
            take_backup(cluster, folder / "backup")
            later = await stage.start(ErrandInput())
            await stage.asked(later)
            stage.handles.clear()  # left as they are: the disk is lost with them
    second = folder / "second"
    second.mkdir()
    shutil.copytree(folder / "backup", second / "postgres" / "data")
    shutil.copy(folder / "first" / "postgres" / "password", second / "postgres" / "password")
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{ACCOUNT}:", second / "postgres"], check=True)
    async with Cluster(second) as cluster:
        monkeypatch.setenv("TEMPORAL_ADDRESS", cluster.address)
        async with Stage(await connect(settings), settings).at_work(replays=False) as stage:
            client = stage.client
            for agent in (asleep, asking):
                stage.handles.append(client.get_workflow_handle(agent.id))
            asleep, asking = stage.handles
            assert await state_is(stage, asleep, "sleeping")
            await stage.decide(asking, request)
            assert (await asking.result())["confirmation"]["key"].startswith(asking.id)
            await asleep.signal("wake", None)
            await stage.decide(asleep, await stage.asked(asleep))
            await asleep.result()
            assert len(stage.world.acted) == 2

            async def are_listed() -> bool:
                listed = {each.id async for each in client.list_workflows("WorkflowType = 'errand'")}
                return listed == {asleep.id, asking.id}

            await eventually(are_listed)


def take_backup(cluster: Cluster, to: Path) -> None:
    """As the runbook says."""
    programs, postgres = binaries(), cluster.database.postgres
    assert programs
    place = ["--host=127.0.0.1", f"--port={postgres.port}", f"--username={USER}", "--no-password"]
    subprocess.run(
        [programs / "pg_basebackup", *place, f"--pgdata={to}", "--wal-method=stream", "--checkpoint=fast"],
        env={**os.environ, "PGPASSWORD": postgres.password},
        check=True,
    )
