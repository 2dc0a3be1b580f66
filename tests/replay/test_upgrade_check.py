"""What `check-upgrade` says of a history: whether it goes on with this code, and what differs if not."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.history.v1 import History
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from cli import upgrade_check
from cli.open_runs import OpenRun, _Group
from cli.upgrade_check import Finding, UpgradeCheck, Verdict, own_payloads
from common.settings import Settings
from common.temporal.connect import data_converter
from common.temporal.search_attributes import BUILD, parse_waiting_for_approvals
from tests.replay.fingerprints import NEWEST, read

Events = list[dict[str, Any]]


def recorded(name: str) -> Events:
    found: Events = json.loads((NEWEST / f"{name}.json").read_text())["events"]
    return found


async def said(events: Events, check: UpgradeCheck | None = None) -> Finding:
    async with check or UpgradeCheck(pydantic_data_converter, "default") as check:
        return await check.examine(
            WorkflowHistory.from_json("buyer-approved", json.dumps({"events": events}))
        )


def attributes(events: Events, kind: str, number: int = 0) -> dict[str, Any]:
    """Those of the event of a kind, by its number among its like."""
    found = [each for each in events if each["eventType"] == f"EVENT_TYPE_{kind}"][number]
    return next(value for name, value in found.items() if name.endswith("Attributes"))


def as_json(value: object) -> dict[str, Any]:
    data = b64encode(json.dumps(value).encode()).decode()
    return {"metadata": {"encoding": b64encode(b"json/plain").decode()}, "data": data}


async def test_a_history_of_this_code_goes_on() -> None:
    """As it is, and where nothing was done yet."""
    events = recorded("buyer-approved")
    whole = await said(events)
    assert (whole.verdict, whole.why, whole.events) == (Verdict.GOES_ON, "", len(events))
    assert (await said(events[:2])).verdict is Verdict.GOES_ON


async def test_a_call_with_another_argument_is_named_with_its_fields() -> None:
    """The id of a call holds a digest of its argument."""
    events = recorded("buyer-approved")
    quote = attributes(events, "ACTIVITY_TASK_SCHEDULED")
    quote["activityId"] = "case/2/000000000000"
    quote["input"] = {"payloads": [as_json({"symbol": "PEP"})]}
    found = await said(events)
    assert (found.verdict, found.event, found.node) == (Verdict.BREAKS, 6, "case")
    assert found.why == "the activity quote (case/2/000000000000) gets another argument now, in symbol"


async def test_another_step_is_named_with_what_the_code_does() -> None:
    """A timer where history has a call, a local call of another name, an end that came too soon."""
    events = recorded("buyer-approved")
    attributes(events, "ACTIVITY_TASK_SCHEDULED", 2)["activityType"]["name"] = "ponder"
    found = await said(events)
    assert (found.expected, found.now) == (
        "the activity ponder (case/4/c88f42960920)",
        "the activity think (case/4/c88f42960920)",
    )
    events = recorded("buyer-approved")
    data = attributes(events, "MARKER_RECORDED")["details"]["data"]["payloads"][0]
    call = json.loads(b64decode(data["data"])) | {"activity_type": "shout"}
    data["data"] = as_json(call)["data"]
    found = await said(events)
    assert found.expected == "the local activity shout (preconditions/1)"
    assert found.node == "preconditions"
    short = recorded("buyer-rejected")
    completed = short[-1].pop("workflowExecutionCompletedEventAttributes")
    task = completed["workflowTaskCompletedEventId"]
    timer = {"timerId": "9", "startToFireTimeout": "60s", "workflowTaskCompletedEventId": task}
    short[-1] |= {"eventType": "EVENT_TYPE_TIMER_STARTED", "timerStartedEventAttributes": timer}
    found = await said(short)
    assert found.why == "history has a timer of 0:01:00, this code has its end, done"


async def test_a_question_about_another_plan_is_a_break() -> None:
    """No command differs, and yet those who have decided would have decided about something else."""
    events = recorded("buyer-asleep")
    upserts = (each.get("upsertWorkflowSearchAttributesEventAttributes") for each in events)
    fields = [each["searchAttributes"]["indexedFields"] for each in upserts if each]
    upsert = next(each for each in fields if "AgentWaitingFor" in each)
    asked = json.loads(b64decode(upsert["AgentWaitingFor"]["data"]))
    [(id, digest)] = parse_waiting_for_approvals(asked)
    assert (await said(events)).verdict is Verdict.GOES_ON
    upsert["AgentWaitingFor"]["data"] = as_json(asked.replace(digest, "0" * 64))["data"]
    found = await said(events)
    assert (found.verdict, found.node) == (Verdict.BREAKS, "approval")
    assert found.why == f"{id} is about another plan now: what people decided about it counts no more"


async def test_what_the_code_raises_is_said() -> None:
    """An input that it no longer reads, with the field."""
    events = recorded("buyer-approved")
    attributes(events, "WORKFLOW_EXECUTION_STARTED")["input"] = {"payloads": [as_json({"symbol": "KO"})]}
    found = await said(events)
    assert found.verdict is Verdict.BREAKS
    assert found.why.startswith("the code raises")
    assert "ValidationError" in found.why
    assert "quantity" in found.why


async def test_what_cannot_be_read_is_no_break_and_no_pass(tmp_path: Path) -> None:
    """Encrypted with a key that these settings do not have."""

    def check(key: str) -> UpgradeCheck:
        environment = {"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_PAYLOAD_KEYS": f"k{key}:{key * 32}"}
        return UpgradeCheck(data_converter(Settings.read(environment), writes=False), "default")

    history = read(NEWEST / "buyer-asleep.json")
    whole = History(events=history.events)
    codec = data_converter(
        Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_PAYLOAD_KEYS": f"kab:{'ab' * 32}"})
    ).payload_codec
    assert codec
    for payload in own_payloads(whole.events):
        [sealed] = await codec.encode([payload])
        payload.CopyFrom(sealed)
    sealed_history = WorkflowHistory(history.workflow_id, whole.events)
    async with check("ab") as able:
        assert (await able.examine(sealed_history)).verdict is Verdict.GOES_ON
    async with check("cd") as other:
        found = await other.examine(sealed_history)
    assert found.verdict is Verdict.UNKNOWN
    assert found.why.startswith("its history cannot be read: ")
    # With the key a break is a break.
    call = sealed_history.events[5].activity_task_scheduled_event_attributes
    call.activity_id = "case/2/000000000000"
    async with check("ab") as able:
        found = await able.examine(sealed_history)
    assert (found.verdict, found.event) == (Verdict.BREAKS, 6)


async def test_a_replay_that_takes_too_long_is_given_up_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a break nor a pass."""
    async with UpgradeCheck(pydantic_data_converter, "default") as check:
        for longest, verdict in ((0, Verdict.UNKNOWN), (60, Verdict.GOES_ON), (0, Verdict.UNKNOWN)):
            monkeypatch.setattr(upgrade_check, "LONGEST", timedelta(seconds=longest))
            found = await check.examine(read(NEWEST / "buyer-drifted.json"))
            assert found.verdict is verdict
            assert found.why == ("its replay takes over 0 s" if verdict is Verdict.UNKNOWN else "")


@pytest.mark.parametrize("writes", [True, False])
async def test_a_check_stores_nothing(tmp_path: Path, *, writes: bool) -> None:
    """Not even what a worker would: an argument over 128 KiB, which the code hands to its next call."""
    events = recorded("buyer-approved")
    started = attributes(events, "WORKFLOW_EXECUTION_STARTED")["input"]["payloads"][0]
    input = json.loads(b64decode(started["data"])) | {"documents": "/" + "x" * 200_000}
    started["data"] = as_json(input)["data"]
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_ENCRYPTION": "off"})
    found = await said(events, UpgradeCheck(data_converter(settings, writes=writes), "default"))
    assert found.verdict is Verdict.BREAKS
    assert "gets another argument now, in folder" in found.why
    assert [*tmp_path.rglob("*")] == [] or writes
    assert any(file.is_file() for file in tmp_path.rglob("*")) == writes


@pytest.mark.parametrize(("size", "taken"), [(1, [0]), (2, [0, 9]), (3, [0, 1, 9]), (4, [0, 1, 8, 9])])
def test_a_sample_has_the_newest_and_the_oldest(size: int, taken: list[int]) -> None:
    """Of ten that come newest first."""
    group = _Group(size)
    for number in range(10):
        group.take(OpenRun(str(number), "", "buyer", "", "", ""))
    assert [int(each.id) for each in (*group.newest, *group.oldest)] == taken


def test_the_build_is_what_the_server_says() -> None:
    """Of versioned workers; of others it says nothing."""
    info = WorkflowExecutionInfo()
    info.execution.workflow_id, info.type.name = "buyer-1", "buyer"
    assert OpenRun.of(info).build == ""
    info.search_attributes.indexed_fields[BUILD].data = b'"shop:2"'
    assert OpenRun.of(info).build == "shop:2"
