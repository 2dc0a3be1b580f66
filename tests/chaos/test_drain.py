"""A deploy in the middle of work: the worker that has to go finishes or hands over, and nothing fails."""

from __future__ import annotations

import json
from pathlib import Path

from temporalio.api.enums.v1 import EventType

from cli.children import end_child
from common.agents.auditor import AuditInput
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.auditor.code_base import code_base, ended, journals
from tests.support.stack import Stack

# Four shards of two batches each: none is over when the first batch is.
FILES = 1000
WENT_WRONG = {EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED, EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT}


async def test_a_scan_whose_worker_gets_sigterm_goes_on_at_the_next_file_on_another(tmp_path: Path) -> None:
    """Each file is scanned once, and the history tells of no failure."""
    root = code_base(tmp_path / "code", FILES)
    async with Stack(tmp_path / "stack") as stack:
        agents = await stack.agents()
        id = await agents.start("code-auditor", AuditInput(path=str(root)), owner="local")

        def scanned() -> int:
            return sum(files for files, _ in journals(stack.settings, id).values())

        going = stack.worker
        assert going
        await eventually(scanned, every=0.05)
        going.terminate()
        assert 0 < scanned() < FILES, "the worker did not have to go in the middle of the scan"
        await stack.start_worker()
        assert await end_child(going, 60) == 0

        def attempts() -> list[list[int]]:
            return [resumed for _, resumed in journals(stack.settings, id).values()]

        await eventually(lambda: max(map(len, attempts())) > 1)
        assert [each[0] for each in attempts()] == [0] * len(attempts())
        assert all(later > 0 for each in attempts() for later in each[1:])
        view = await ended(agents, id)
        assert isinstance(view.result, dict)
        assert len(json.loads(Path(view.result["report"]["json"]).read_text())["findings"]) >= FILES / 4
        history = await (await connect(stack.settings)).get_workflow_handle(id).fetch_history()
        assert not WENT_WRONG & {event.event_type for event in history.events}
        closed = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
        started = [
            event.activity_task_started_event_attributes
            for event in history.events
            if event.event_type == closed
        ]
        assert any(each.last_failure.application_failure_info.type == "HandedOver" for each in started)
