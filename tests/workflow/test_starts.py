"""Workflows that are no agents, started by somebody who reaches Temporal and has no key, in plain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from activities.batch.records import PageRequest
from common.agents.batch import PAGE, ItemPage, Work
from common.approval.signed import sign_start
from common.approval.signing import Signer
from common.approval.starts import SignedStart
from common.archive.layout import ARCHIVIST, ERASER, ArchiveRequest, Erased, EraseRequest
from common.artifacts import ArtifactRef
from common.key_ring import KeyRing
from common.mail import MAILROOM, MailroomRequest
from common.notices.types import COURIER, Destination, Dispatch, Notice, NoticeEvent
from testing.waiting import eventually
from tests.support.archive.stage import ArchiveStage, archive_stage
from workflows.batch_page import BatchPage
from workflows.courier import Courier
from workflows.mailroom import Mailroom

FOREIGN = Signer(KeyRing.of({"theirs": bytes(32)}))
NOTICE = Notice(id="a/0/1", agent="a", kind="errand", owner="victim", event=NoticeEvent.FINISHED, text="x")


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArchiveStage]:
    async with archive_stage(tmp_path, monkeypatch, encrypted=False) as stage:
        await stage.rest()
        stage.agents += [Courier, Mailroom, BatchPage]
        await stage.work()
        yield stage


def requests() -> dict[str, SignedStart]:
    now = datetime.now(UTC)
    return {
        ARCHIVIST: ArchiveRequest(older_than=timedelta()),
        ERASER: EraseRequest(owner="victim", until=now),
        COURIER: Dispatch(notice=NOTICE, places=(Destination(way="email", address="a@example.com"),)),
        MAILROOM: MailroomRequest(),
        PAGE: PageRequest(
            parent="p",
            batch="b",
            number=1,
            page=ItemPage(items=ArtifactRef(sha256="0" * 64, size=0), count=1),
            work=Work(activity="erase_live"),
            width=1,
        ),
    }


async def refused(handle: WorkflowHandle[Any, Any]) -> str:
    """The type of the failure that a workflow ended with."""
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    cause: BaseException | None = failure.value
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = getattr(cause, "cause", None)
    return str(cause.type) if isinstance(cause, ApplicationError) else ""


async def test_a_start_that_nobody_signed_does_nothing(stage: ArchiveStage) -> None:
    """Unsigned, by another key, for another kind, changed afterwards, begun in the middle, empty."""
    owners = await stage.kept(owner="victim")
    good, now = requests(), datetime.now(UTC)
    forged: list[tuple[str, Any]] = list(good.items())
    forged += [(kind, sign_start(kind, request, FOREIGN)) for kind, request in good.items()]
    forged += [(kind, sign_start("another", request, stage.signer)) for kind, request in good.items()]
    erase = sign_start(ERASER, EraseRequest(owner="somebody", until=now), stage.signer)
    forged.append((ERASER, erase.model_copy(update={"owner": "victim"})))
    archive = sign_start(ARCHIVIST, ArchiveRequest(older_than=timedelta(days=30)), stage.signer)
    forged.append((ARCHIVIST, archive.model_copy(update={"at": now, "older_than": timedelta()})))
    forged.append((MAILROOM, None))
    for number, (kind, request) in enumerate(forged):
        arguments = [] if request is None else [request]
        handle = await stage.client.start_workflow(
            kind, args=arguments, id=f"forged-{number}", task_queue=stage.settings.task_queue
        )
        assert await refused(handle) == "ForgedStart", (kind, request)
    assert (await owners.describe()).close_time is not None, "it is still there"


async def test_a_start_with_another_number_of_arguments_ends_at_once(stage: ArchiveStage) -> None:
    """The SDK would fail its workflow task again and again."""
    for number, (kind, arguments) in enumerate(
        [("errand", []), ("errand", [{}, {}]), (ERASER, []), (COURIER, [{}, {}])]
    ):
        handle = await stage.client.start_workflow(
            kind, args=arguments, id=f"miscounted-{number}", task_queue=stage.settings.task_queue
        )
        assert await refused(handle) == "PayloadRefused", (kind, arguments)


async def test_no_schedule_or_retry_gets_past_the_check(stage: ArchiveStage) -> None:
    """A run that follows by itself looks like one that goes on; it is checked again."""
    handle = await stage.client.start_workflow(
        ERASER,
        EraseRequest(owner="victim", until=datetime.now(UTC)),
        id=ARCHIVIST,
        task_queue=stage.settings.task_queue,
        cron_schedule="@every 1s",
    )

    async def followed() -> list[str]:
        runs = [each async for each in stage.client.list_workflows("ExecutionStatus = 'Failed'")]
        return [each.run_id for each in runs][1:]

    for run in await eventually(followed):
        events = await stage.client.get_workflow_handle(ARCHIVIST, run_id=run).fetch_history()
        assert "ForgedStart" in events.to_json()
    await handle.terminate()


async def test_an_erasure_sent_again_erases_nothing_that_came_later(stage: ArchiveStage) -> None:
    """Whoever reads it can send it again, but only as it was; under another id it does not work."""
    request = sign_start(ERASER, EraseRequest(owner="victim", until=datetime.now(UTC)), stage.signer)
    later = await stage.kept(owner="victim")
    again = {"task_queue": stage.settings.task_queue, "result_type": Erased}
    erased = await stage.client.execute_workflow(ERASER, request, id=ARCHIVIST, **again)
    assert erased.live == 0
    assert (await later.describe()).close_time is not None
    elsewhere = await stage.client.start_workflow(ERASER, request, id="elsewhere", **again)
    assert await refused(elsewhere) == "WrongId"


async def test_no_activity_runs_without_its_workflow(stage: ArchiveStage) -> None:
    """Temporal starts one by itself for whoever asks; what the eraser guards must not run past it."""
    owners = await stage.kept(owner="victim")
    now = datetime.now(UTC).isoformat()
    part = {"owner": "victim", "by": "x", "at": now, "until": now}
    handle = await stage.client.start_activity(
        "erase_live",
        part,
        id="alone",
        task_queue=stage.settings.task_queue,
        start_to_close_timeout=timedelta(seconds=30),
    )
    with pytest.raises(Exception, match="Activity execution failed") as failure:
        await handle.result()
    assert "runs only for a workflow" in str(getattr(failure.value, "cause", ""))
    assert (await owners.describe()).close_time is not None
