"""What counts as trouble, and what is said of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo, WorkflowExecutionInfo

from common.approval.groups import Directory
from common.client.diagnosis import OVERDUE_AFTER, Diagnosis
from common.client.rows import row_of_info
from common.client.trouble import NOT_REGISTERED, Cause, failing_activity, failing_task, nobody_decides

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SCHEDULED = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
STARTED = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


def causes(tmp_path: Path, **attributes: Any) -> list[Cause]:
    """The trouble that the row of an agent with these search attributes shows."""
    (tmp_path / "groups.json").write_text('{"treasury": ["ann"], "nobody": []}')
    info = WorkflowExecutionInfo()
    info.status = 1
    info.execution.workflow_id = "buyer-1"
    for name, value in attributes.items():
        info.search_attributes.indexed_fields[name].data = json.dumps(value).encode()
    diagnosis = Diagnosis(None, Directory(tmp_path / "groups.json"), "q")  # type: ignore[arg-type]
    row = row_of_info(info)
    row.trouble = diagnosis.of_row(row, NOW)
    assert diagnosis.of_row(row, NOW) == row.trouble, "a second look finds the same"
    return [each.cause for each in row.trouble]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, []),
        ({"AgentState": "working"}, []),
        ({"AgentState": "stuck"}, [Cause.STUCK]),
        (
            {"TemporalReportedProblems": ["category=x", "cause=y"], "AgentState": "working"},
            [Cause.TASK_FAILS],
        ),
        ({"TemporalReportedProblems": "category=x"}, [Cause.TASK_FAILS]),
        ({"AgentWaitingFor": "approval r 1", "AgentApprovers": ["ann"]}, []),
        ({"AgentWaitingFor": "approval r 1", "AgentApprovers": ["@treasury"]}, []),
        ({"AgentWaitingFor": "approval r 1", "AgentApprovers": ["@nobody"]}, [Cause.WAITS_FOR_NOBODY]),
        ({"AgentWaitingFor": "approval r 1", "AgentApprovers": "@none"}, [Cause.WAITS_FOR_NOBODY]),
        ({"AgentWaitingFor": "approval r 1", "AgentApprovers": ["@nobody", "…"]}, []),
        ({"AgentWaitingFor": "approval r 1"}, [Cause.WAITS_FOR_NOBODY]),
        ({"AgentWaitingFor": "mail", "AgentState": "awaiting_event"}, []),
        ({"AgentWaitingFor": "time", "AgentState": "sleeping"}, [Cause.WAITS_FOR_NOBODY]),
        ({"AgentWaitingFor": "a sale", "AgentState": "sleeping"}, []),
    ],
)
def test_what_a_row_shows(tmp_path: Path, attributes: dict[str, Any], expected: list[Cause]) -> None:
    """As far as visibility can say it, without asking anybody."""
    assert causes(tmp_path, **attributes) == expected


@pytest.mark.parametrize(
    ("late", "state", "expected"),
    [
        (-timedelta(days=1), "sleeping", []),
        (OVERDUE_AFTER, "sleeping", []),
        (OVERDUE_AFTER * 2, "sleeping", [Cause.NO_WORKER]),
        (OVERDUE_AFTER * 2, "awaiting_event", [Cause.NO_WORKER]),
        (OVERDUE_AFTER * 2, "paused", []),
    ],
)
def test_who_slept_past_the_time_has_no_worker(
    tmp_path: Path, late: timedelta, state: str, expected: list[Cause]
) -> None:
    """A moment of grace is given; and one that is paused does not wake on purpose."""
    wake_at = (NOW - late).isoformat()
    assert causes(tmp_path, AgentState=state, AgentWaitingFor="time", AgentWakeAt=wake_at) == expected


def test_a_closed_agent_is_in_no_trouble(tmp_path: Path) -> None:
    """Whatever its attributes still say."""
    info = WorkflowExecutionInfo()
    info.status = 2
    info.search_attributes.indexed_fields["AgentState"].data = b'"stuck"'
    diagnosis = Diagnosis(None, Directory(tmp_path / "groups.json"), "q")  # type: ignore[arg-type]
    assert diagnosis.of_row(row_of_info(info), NOW) == []


def pending(attempt: int, most: int = 0, state: int = SCHEDULED, wait: float = 5) -> PendingActivityInfo:
    """A call whose attempts fail, and whose next begins in `wait` seconds."""
    info = PendingActivityInfo(attempt=attempt, maximum_attempts=most, state=state)  # type: ignore[arg-type]
    info.activity_type.name = "fetch"
    info.next_attempt_schedule_time.FromDatetime(NOW + timedelta(seconds=wait))
    return info


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (pending(2), None),
        (pending(2, state=STARTED), None),
        (pending(2, wait=3600), "fetch: attempt 2, next try at 2026-11-23 13:00:00 UTC, last error E: no"),
        (pending(12, 20), "fetch: attempt 12 of 20, next try at 2026-11-23 12:00:05 UTC, last error E: no"),
        (pending(3, state=STARTED), "fetch: attempt 3, under way, last error E: no"),
        (pending(3, wait=-1), "fetch: attempt 3, under way, last error E: no"),
    ],
)
def test_a_call_that_keeps_failing(call: PendingActivityInfo, words: str | None) -> None:
    """A second attempt within seconds is no trouble yet."""
    found = failing_activity(call, "E: no", NOW)
    assert (found and found.words) == words


def test_what_no_worker_has_is_named() -> None:
    """Not by the sentence of a library, but as what it is."""
    error = f"NotFoundError: Activity function fetch for workflow buyer {NOT_REGISTERED}, available: x"
    activity = failing_activity(pending(3), error, NOW)
    assert activity is not None
    assert activity.cause is Cause.UNKNOWN_ACTIVITY
    assert activity.words.startswith("no worker has the activity fetch: attempt 3")
    kind = failing_task("buyer-1", "buyer", 4, error)
    assert (kind.cause, kind.words) == (Cause.UNKNOWN_KIND, "no worker has the kind buyer (attempt 4)")
    other = failing_task("buyer-1", "buyer", 4, "KeyError: 'x'")
    assert (other.cause, other.words) == (
        Cause.TASK_FAILS,
        "its workflow task fails (attempt 4): KeyError: 'x'",
    )


def test_an_approval_that_cannot_come_is_said_with_what_is_missing() -> None:
    """People in a group, or anybody at all."""
    group = nobody_decides("a", ("@treasury",))
    assert group.words == "it waits for an approval that cannot come: of @treasury nobody can decide"
    assert group.fix.startswith("add people to the group")
    nobody = nobody_decides("a", ())
    assert nobody.words == "it waits for an approval that cannot come: its policy names no approvers"
    assert nobody.fix.startswith("name some in its code")
