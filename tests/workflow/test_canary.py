"""A secret goes through every way in and out of an agent; where it can be read afterwards."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy

from cli.dev_server import DevServer
from common.agents.agent import Notebook
from common.approval.types import ApprovalPolicy
from common.client.recorded_questions import recorded_questions
from common.client.rows import row_of
from common.errors import permanent
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.agents.agents import PanelAgent
from tests.support.agents.doubles import PanelInput
from tests.support.agents.keepers import KeeperAgent, KeeperInput, Kept
from tests.support.canary import CANARY, is_in
from tests.support.incompressible import incompressible
from tests.support.stage import Stage, state_is


def holders(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if is_in(file.read_bytes())]


@pytest.mark.parametrize("encrypted", [True, False], ids=["on", "off"])
async def test_a_secret_is_found_nowhere_where_encryption_is_on(
    encrypted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Database, history, object folder, logs: none hold it. With encryption off, all but the logs do."""
    caplog.set_level(logging.INFO)
    settings = Settings.read(
        {
            "HIBERNAUT_DATA_DIR": str(tmp_path),
            "HIBERNAUT_TASK_QUEUE": "canary",
            **({"HIBERNAUT_PAYLOAD_KEYS": f"k1:{secrets.token_hex(32)}"} if encrypted else {}),
        }
    )
    histories = []
    async with DevServer(settings, ui_port=None, scratch=True) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        stage = Stage(await connect(settings), settings)
        stage.agents = [KeeperAgent, PanelAgent]
        stage.world.step_text = CANARY + incompressible(150_000)
        await stage.work()
        handles = []
        for ending in ("result", "failure", "step"):
            if ending == "step":
                stage.world.step_error = permanent("Broken", CANARY)
            handle = await stage.client.start_workflow(
                "keeper",
                KeeperInput(say=CANARY, rounds=1, lines=1, steps=1, fail=ending == "failure"),
                id=f"keeper-{ending}",
                task_queue="canary",
                memo={"note": CANARY},
                static_summary=CANARY,
                static_details=CANARY,
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
            if ending != "step":
                await eventually(lambda handle=handle: state_is(stage, handle, "sleeping"))
                await handle.signal("tell", CANARY)
                await handle.signal("wake", None)
            handles.append(handle)
        told = Kept.model_validate(await handles[0].result())
        assert CANARY in told.said
        assert CANARY in told.chat
        for handle in handles[1:]:
            with pytest.raises(WorkflowFailureError) as failure:
                await handle.result()
            assert CANARY in str(failure.value.cause) + str(getattr(failure.value.cause, "cause", ""))
        for handle in handles:
            notebook = await stage.query(handle, "notebook", Notebook)
            assert any(CANARY in entry.text for entry in notebook.entries)
            described = await handle.describe()
            assert (await described.memo())["note"] == CANARY
            # The summary belongs to the first run alone; a carry-over starts without one.
            first = stage.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
            assert await (await first.describe()).static_summary() == CANARY
            histories.append((await first.fetch_history()).to_json().encode())
            histories.append((await handle.fetch_history()).to_json().encode())
        asking = await stage.start(
            PanelInput(questions={CANARY: ApprovalPolicy(approvers=("ann",))}), "panel"
        )
        await stage.asked(asking)
        await stage.rest()
        # What is asked can be read from history by whoever has the keys, while no worker runs.
        row = row_of(await asking.describe())
        [recorded] = (await recorded_questions(stage.client, row)).requests
        assert recorded.question == f"{CANARY}?"
        said = "".join(capfd.readouterr()) + caplog.text
        database = sorted(tmp_path.glob("temporal.db*"))
        assert {file.name for file in database} >= {"temporal.db", "temporal.db-wal"}
        in_database = holders(database)
    objects = [file for file in (tmp_path / "objects").rglob("*") if file.is_file()]
    logs = list((tmp_path / "logs").iterdir())
    assert objects
    assert logs
    assert not is_in(said.encode())
    assert holders(logs) == []
    assert bool(in_database) is not encrypted
    assert bool(holders(objects)) is not encrypted
    assert [is_in(each) for each in histories] == [not encrypted] * 6
