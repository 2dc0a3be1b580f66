"""Checks whether an open workflow could continue with the current code; if not, what differs."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self

from google.protobuf.message import Message
from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from common.agents.kinds import KINDS
from common.archive.payload_sweep import payloads_in
from common.failures import advice, code_place
from common.temporal.converter import reason_of
from common.temporal.differences import Operation, first_difference, lost_question
from common.temporal.recording import Recording
from workflows.replayer import DEADLOCK, RecordingReplayer, failure_message, workflow_classes

# A history at the server's limit of 51,200 events replays in a minute.
LONGEST = timedelta(minutes=3)
# CPU time of a replay. Waking such a workflow takes that long if no worker has it cached.
SLOW = timedelta(seconds=5)
MAX_WORDS = 300


class Verdict(StrEnum):
    """Whether an open workflow could continue."""

    GOES_ON = "goes_on"
    BREAKS = "breaks"
    UNKNOWN = "unknown"


class Finding(BaseModel, frozen=True):
    """The outcome of replaying one history.

    Attributes:
        verdict: `unknown` if it could not be checked.
        why: the reason, in words; empty if it could continue.
        event: the first event of the history that the code does not lead to; None if not known.
        node: the node the agent would not get past; empty if not known.
        expected: what the history has there.
        now: what the code does instead.
        events: the length of the history.
        seconds: CPU time of the replay.
    """

    verdict: Verdict
    why: str = ""
    event: int | None = None
    node: str = ""
    expected: str = ""
    now: str = ""
    events: int = 0
    seconds: float = 0.0

    @property
    def is_slow(self) -> bool:
        """Whether waking it takes long."""
        return self.seconds >= SLOW.total_seconds()


class UpgradeCheck:
    """Replays histories with the current code, and writes nothing anywhere. Use with `async with`."""

    def __init__(self, converter: DataConverter, namespace: str) -> None:
        self._converter = converter
        self._replayer = RecordingReplayer(converter, namespace)
        self.kinds = {_name_of(each) for each in workflow_classes()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._replayer.__aexit__()

    def of_unknown_kind(self, kind: str) -> Finding:
        """The finding for a workflow whose kind is not in `kinds`."""
        known = ", ".join(KINDS)
        return Finding(
            verdict=Verdict.BREAKS, why=f"this checkout has no workflow {kind!r}; its agents are {known}"
        )

    async def examine(self, history: WorkflowHistory) -> Finding:
        """Check the run with this history."""
        begun = time.process_time()
        try:
            async with asyncio.timeout(LONGEST.total_seconds()):
                recording, failure = await self._replayer.replay(history)
            found = await self._judged(history, recording, failure)
        except TimeoutError:
            why = f"its replay takes over {LONGEST.total_seconds():.0f} s"
            found = Finding(verdict=Verdict.UNKNOWN, why=why)
        seconds = round(time.process_time() - begun, 3)
        return found.model_copy(update={"events": len(history.events), "seconds": seconds})

    async def _judged(
        self, history: WorkflowHistory, recording: Recording, failure: Exception | None
    ) -> Finding:
        if failure is None:
            if asked := lost_question(history.events, recording):
                why = f"{asked} is about another plan now: what people decided about it counts no more"
                return Finding(verdict=Verdict.BREAKS, why=why, node=asked.rpartition("-")[0])
            return Finding(verdict=Verdict.GOES_ON)
        if unreadable := await self._unreadable(history.events):
            return Finding(verdict=Verdict.UNKNOWN, why=f"its history cannot be read: {unreadable}")
        found = first_difference(history.events, recording)
        place: dict[str, Any] = {}
        if found:
            event = found.expected.event if found.expected else None
            place = {"event": event or None, "node": found.node}
        if recording.failure:
            why = f"the code raises {_raised(recording)}"
        elif DEADLOCK in str(failure):
            why = "the code does not yield: it works or waits for seconds at a time"
        elif found is None:
            why = re.sub(r"^\[TMPRL\d+\] ", "", failure_message(failure))
        else:
            expected = found.expected.what if found.expected else "nothing more"
            now = found.now.what if found.now else "nothing more"
            words = await self._same_but_argument(found.expected, found.now)
            why = words or f"history has {expected}, this code has {now}"
            place |= {"expected": expected, "now": now}
        return Finding(verdict=Verdict.BREAKS, why=why[:MAX_WORDS], **place)

    async def _same_but_argument(self, expected: Operation | None, now: Operation | None) -> str:
        """A note if the call is the same but its argument differs; otherwise empty."""
        if not (expected and now and expected.key[:2] == now.key[:2] and expected.argument):
            return ""
        if expected.key[2].rpartition("/")[0] != now.key[2].rpartition("/")[0]:
            return ""
        then = await self._converter.decode(expected.argument, [RawValue])
        fields = _fields_apart(_json(then[0].payload), _json(now.argument[0]))
        return f"{expected.what} gets another argument now{f', in {fields}' if fields else ''}"

    async def _unreadable(self, events: Sequence[HistoryEvent]) -> str:
        """Why the agent's own state in a history cannot be read; empty if it can."""
        for payload in own_payloads(events):
            try:
                [raw] = await self._converter.decode([payload], [RawValue])
            except Exception as error:
                return str(error) or type(error).__name__
            if reason := reason_of(raw.payload):
                return reason
        return ""


def _name_of(workflow: type) -> str:
    name: str = getattr(workflow, "__temporal_workflow_definition").name
    return name


def own_payloads(events: Sequence[HistoryEvent]) -> Iterator[Payload]:
    """Payloads a workflow needs to continue: not those from other senders, nor the SDK's unencrypted ones."""
    for event in events:
        kind = event.WhichOneof("attributes") or ""
        if "signaled" in kind or "update" in kind:
            continue
        attributes = getattr(event, kind)
        for name in ("input", "result", "failure"):
            part: Any = getattr(attributes, name, None)
            if isinstance(part, Message):
                yield from payloads_in(part)
        if kind == "marker_recorded_event_attributes" and "result" in attributes.details:
            yield from payloads_in(attributes.details["result"])


def _raised(recording: Recording) -> str:
    """What the code raised, its causes, and where, in one line."""
    assert recording.failure is not None
    failure, words, places = recording.failure, [], ""
    while True:
        kind = failure.application_failure_info.type
        said = " ".join(failure.message.split())
        words.append(f"{kind}: {said}" if kind else said)
        places = failure.stack_trace or places
        if not failure.HasField("cause"):
            break
        failure = failure.cause
    where = code_place(places)
    return advice("; ".join(words))[: MAX_WORDS - len(where) - 20] + where


def _json(payload: Payload) -> Any:
    try:
        return json.loads(payload.data)
    except ValueError:
        return None


def _fields_apart(then: Any, now: Any) -> str:
    """Names of the fields in which two JSON objects differ."""
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return ""
    return ", ".join(name for name in {**then, **now} if then.get(name) != now.get(name))
