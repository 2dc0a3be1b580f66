"""Where history and code diverge in a replay: what was done, and what the code does now, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from common.temporal.recording import Recording
from common.temporal.search_attributes import WAITING_FOR, parse_waiting_for_approvals

# The search attribute that the SDK writes along with a patch.
PATCHES = "TemporalChangeVersion"


@dataclass(frozen=True)
class Operation:
    """Something that was done (from an event) or would be done (from a command).

    Attributes:
        what: a description in words.
        key: what a replay compares.
        node: the node of the agent that did it; empty if unknown.
        argument: the argument of an activity.
        local: whether it is a local activity, whose event comes when it has ended.
        event: the id of the event; 0 for a command.
    """

    what: str
    key: tuple[str, ...]
    node: str = ""
    argument: Sequence[Payload] = ()
    local: bool = False
    event: int = 0


@dataclass(frozen=True)
class Difference:
    """The first thing that the code does differently; `expected` is what history has, None if nothing."""

    expected: Operation | None
    now: Operation | None

    @property
    def node(self) -> str:
        """The node of the difference."""
        return next((each.node for each in (self.expected, self.now) if each and each.node), "")


def first_difference(history: Sequence[HistoryEvent], recording: Recording) -> Difference | None:
    """Where the code first does something other than was done; None if no such place is found."""
    calls: list[Operation] = []
    missed: list[Operation] = []
    for task, done in _done(history).items():
        if not any(step.task == task for step in recording.steps):
            break
        does = list(_does(recording, task))
        calls += (each for each in does if each.local)
        # A local activity is in history once it has ended, maybe in a later task than the one that began it.
        missed += (each for each in done if each.local and each.key not in [call.key for call in calls])
        then, now = ([each for each in part if not each.local] for part in (done, does))
        pairs = zip_longest(then, now)
        found = next((pair for pair in pairs if _key(pair[0]) != _key(pair[1])), None)
        if missed:
            instead = next((each for each in does if each.key[1:2] == missed[0].key[1:2]), None)
            return Difference(missed[0], instead or (found[1] if found else None))
        if found:
            return Difference(*found)
    return None


def lost_question(history: Sequence[HistoryEvent], recording: Recording) -> str:
    """The id of a request that the new code would ask about another plan, or not at all; empty if none.

    Its replay succeeds, but decisions made about the old plan would no longer count.
    """
    done = [each.upsert_workflow_search_attributes_event_attributes for each in history]
    commands = [each for step in recording.steps for each in step.commands]
    now = {asked for each in commands for asked in _asked(each.upsert_workflow_search_attributes)}
    return next((id for each in done for id, plan in _asked(each) if (id, plan) not in now), "")


def _asked(attributes: Any) -> list[tuple[str, str]]:
    """Id and digest of each request in the search attributes."""
    value = attributes.search_attributes.indexed_fields.get(WAITING_FOR.name)
    return parse_waiting_for_approvals(json.loads(value.data)) if value and value.data else []


def _key(operation: Operation | None) -> tuple[str, ...] | None:
    return operation.key if operation else None


def _done(history: Sequence[HistoryEvent]) -> dict[int, list[Operation]]:
    """What was done in completed tasks, by the event with which the task started."""
    tasks: dict[int, list[Operation]] = {}
    started: dict[int, int] = {}
    for event in history:
        if event.HasField("workflow_task_completed_event_attributes"):
            begun = event.workflow_task_completed_event_attributes.started_event_id
            started[event.event_id], tasks[begun] = begun, []
        attributes = getattr(event, event.WhichOneof("attributes") or "")
        task = started.get(getattr(attributes, "workflow_task_completed_event_id", 0))
        operation = _of_event(event, attributes)
        if task is not None and operation is not None:
            tasks[task].append(operation)
    return tasks


def _does(recording: Recording, task: int) -> Iterator[Operation]:
    """What the code does in a task, without timers that it also ends there: these leave no event."""
    commands = [each for step in recording.steps if step.task == task for each in step.commands]
    begun = {each.start_timer.seq for each in commands if each.HasField("start_timer")}
    brief = begun & {each.cancel_timer.seq for each in commands if each.HasField("cancel_timer")}
    for command in commands:
        seq = command.start_timer.seq or command.cancel_timer.seq
        operation = None if seq in brief else _of_command(command)
        if operation is not None:
            yield operation


def _of_event(event: HistoryEvent, attributes: Any) -> Operation | None:
    kind = (event.WhichOneof("attributes") or "").removesuffix("_event_attributes")
    node = _node(event.event_group_markers)
    operation: Operation | None = None
    match kind:
        case "activity_task_scheduled":
            name, id = attributes.activity_type.name, attributes.activity_id
            operation = _activity(name, id, attributes.input.payloads)
        case "timer_started":
            operation = _timer(attributes.start_to_fire_timeout)
        case "start_child_workflow_execution_initiated":
            operation = _child(attributes.workflow_type.name, attributes.workflow_id)
        case "signal_external_workflow_execution_initiated":
            operation = _signal(attributes.signal_name, attributes.workflow_execution.workflow_id)
        case "upsert_workflow_search_attributes":
            names = sorted(attributes.search_attributes.indexed_fields)
            operation = None if names == [PATCHES] else _attributes(names)
        case "marker_recorded":
            operation = _marker(attributes)
        case "workflow_execution_continued_as_new":
            operation = _plain("a fresh history")
        case _ if kind in _PLAIN:
            operation = _plain(_PLAIN[kind])
    return operation and replace(operation, node=node or operation.node, event=event.event_id)


def _of_command(command: WorkflowCommand) -> Operation | None:
    kind = command.WhichOneof("variant") or ""
    body = getattr(command, kind)
    operation: Operation | None = None
    match kind:
        case "schedule_activity":
            operation = _activity(body.activity_type, body.activity_id, body.arguments)
        case "schedule_local_activity":
            operation = _activity(body.activity_type, body.activity_id, body.arguments, local=True)
        case "start_timer":
            operation = _timer(body.start_to_fire_timeout)
        case "start_child_workflow_execution":
            operation = _child(body.workflow_type, body.workflow_id)
        case "signal_external_workflow_execution":
            operation = _signal(body.signal_name, body.workflow_execution.workflow_id)
        case "upsert_workflow_search_attributes":
            operation = _attributes(sorted(body.search_attributes.indexed_fields))
        case "set_patch_marker":
            operation = _plain(f"the patch {body.patch_id!r}")
        case "continue_as_new_workflow_execution":
            operation = _plain("a fresh history")
        case _ if kind in _PLAIN:
            operation = _plain(_PLAIN[kind])
    return operation and replace(operation, node=_node(command.event_group_markers) or operation.node)


# Events and commands that are fully described by their type. Those not named here are not compared in a
# replay, or not used by this program's workflows.
_PLAIN = {
    "timer_canceled": "the end of a timer",
    "cancel_timer": "the end of a timer",
    "activity_task_cancel_requested": "a request to cancel an activity",
    "request_cancel_activity": "a request to cancel an activity",
    "request_cancel_external_workflow_execution_initiated": "a request to cancel another workflow",
    "request_cancel_external_workflow_execution": "a request to cancel another workflow",
    "workflow_properties_modified": "a change of its memo",
    "modify_workflow_properties": "a change of its memo",
    "workflow_execution_completed": "its end, done",
    "complete_workflow_execution": "its end, done",
    "workflow_execution_failed": "its end, failed",
    "fail_workflow_execution": "its end, failed",
    "workflow_execution_canceled": "its end, cancelled",
    "cancel_workflow_execution": "its end, cancelled",
}


def _activity(name: str, id: str, argument: Iterable[Payload], *, local: bool = False) -> Operation:
    node = id.partition("/")[0] if "/" in id else ""
    kind = "local activity" if local else "activity"
    return Operation(f"the {kind} {name} ({id})", (kind, name, id), node, tuple(argument), local)


def _timer(span: Duration) -> Operation:
    return Operation(f"a timer of {span.ToTimedelta()}", ("timer",))


def _child(kind: str, id: str) -> Operation:
    return Operation(f"the child workflow {kind} ({id})", ("child", kind, id))


def _signal(name: str, to: str) -> Operation:
    return Operation(f"the signal {name} to {to}", ("signal",))


def _attributes(names: Iterable[str]) -> Operation:
    return Operation(f"the search attributes {', '.join(names)}", ("attributes",))


def _plain(what: str) -> Operation:
    return Operation(what, (what,))


def _marker(attributes: Any) -> Operation | None:
    """What a marker of the SDK stands for: a local activity that has ended, or a patch."""
    match attributes.marker_name:
        case "core_patch":
            return _plain(f"the patch {_told(attributes, 'patch-data')['id']!r}")
        case "core_local_activity":
            call = _told(attributes, "data")
            return _activity(call["activity_type"], call["activity_id"], (), local=True)
    return None


def _told(attributes: Any, name: str) -> Any:
    return json.loads(attributes.details[name].payloads[0].data)


def _node(markers: Iterable[Any]) -> str:
    return next((each.label.id for each in markers), "")
