"""What the code does with each recorded history, in a readable file beside it: its fingerprint.

    python -m tests.replay.fingerprints           writes them anew
    python -m tests.replay.fingerprints --check   tells where the code does something else

A replay notices other steps. A fingerprint notices whatever else a command says: how long a timer runs, what
a call is handed and how often it is tried, what a fresh history begins with; and what the agent answers in
the end. What a change does to agents is the difference of these files.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from common.digest import digest_bytes
from common.temporal.recording import Recording
from workflows.replayer import RecordingReplayer

HERE = Path(__file__).parent
NEWEST, RELEASES = HERE / "histories", HERE / "releases"
SHOWN = 40
# What says nothing of what the code does: running numbers, what the SDK adds, and where a file lay.
LEFT_OUT = {"seq", "stack_trace", "event_group_markers", "source"}
SHORT = {"retry_policy": "retry", "search_attributes": "", "indexed_fields": ""}
# What comes, and by what it is told from others of its kind.
NAMES = {"signal_workflow": "signal_name", "do_update": "name", "notify_has_patch": "patch_id"}


class BrokenReplayError(Exception):
    """A recorded history that the code does not lead to."""


def read(file: Path) -> WorkflowHistory:
    """A recorded history, under the id that its workflow had: what an agent does depends on it."""
    history = WorkflowHistory.from_json("", file.read_text())
    id = history.events[0].workflow_execution_started_event_attributes.workflow_id
    return WorkflowHistory(id, history.events)


async def fingerprint(file: Path, replayer: RecordingReplayer) -> str:
    """What the code does with a recorded history.

    Raises:
        BrokenReplayError: it does something else than was done.
    """
    recording, failure = await replayer.replay(read(file))
    if failure is not None:
        raise BrokenReplayError(f"{file.name}: {failure}")
    return "\n".join([*_lines(recording), ""])


async def difference(file: Path, replayer: RecordingReplayer) -> str:
    """How what the code does differs from the kept fingerprint of a history; empty where it does not.

    Raises:
        BrokenReplayError: it does something else than was done.
    """
    kept = _kept(file).read_text() if _kept(file).exists() else ""
    does = await fingerprint(file, replayer)
    parts = difflib.unified_diff(kept.split("\n"), does.split("\n"), "kept", "now", lineterm="", n=1)
    return "\n".join(parts)


def _kept(file: Path) -> Path:
    return file.with_suffix(".txt")


def histories() -> list[Path]:
    """Every recorded history: those of this code, and of each release what was recorded anew since."""
    newest = sorted(NEWEST.glob("*.json"))
    content = {file.name: file.read_bytes() for file in newest}
    released = [
        file for file in sorted(RELEASES.glob("*/*.json")) if content.get(file.name) != file.read_bytes()
    ]
    return newest + released


def new_replayer() -> RecordingReplayer:
    """What replays recorded histories, which are in plain text."""
    return RecordingReplayer(pydantic_data_converter)


def _lines(recording: Recording) -> Iterator[str]:
    for step in recording.steps:
        yield f"on {', '.join(map(_came, step.came.jobs))}"
        yield from (f"    {_command(command, recording)}" for command in step.commands)
    for name, answer in recording.answers.items():
        yield f"in the end {name} is {_payload(answer)}"


def _came(job: WorkflowActivationJob) -> str:
    kind = job.WhichOneof("variant") or ""
    body = getattr(job, kind)
    name = getattr(body, NAMES.get(kind, "seq"), "")
    return f"{kind} {name}".rstrip()


def _command(command: WorkflowCommand, recording: Recording) -> str:
    kind = command.WhichOneof("variant") or ""
    body = getattr(command, kind)
    node = "/".join(marker.label.id for marker in command.event_group_markers)
    # A cancellation has nothing but the running number of what it cancels.
    parts = (
        [f"seq={body.seq}"]
        if kind.startswith(("cancel_", "request_cancel_")) and hasattr(body, "seq")
        else []
    )
    parts += _fields(body, recording)
    metadata = _fields(command.user_metadata, recording)
    return " ".join([*([f"[{node}]"] if node else []), kind, *parts, *metadata])


def _fields(body: Message, recording: Recording, prefix: str = "") -> list[str]:
    """Every field that is set, as `name=value`."""
    found = []
    for field, value in body.ListFields():
        name = prefix + SHORT.get(field.name, field.name)
        if field.name in LEFT_OUT:
            continue
        if field.name == "task_queue":
            value = str(value).removeprefix(recording.queue)
            found += [f"{name}={value}"] if value else []
        elif field.is_repeated:
            found += _many(name, field, value, recording)
        elif field.enum_type is not None:
            found.append(f"{name}={field.enum_type.values_by_number[value].name}")
        else:
            found += _one(name, value, recording)
    return found


def _many(name: str, field: Any, values: Any, recording: Recording) -> list[str]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return [
            part
            for key in sorted(values)
            for part in _one(f"{name}.{key}".lstrip("."), values[key], recording)
        ]
    return [part for value in values for part in _one(name, value, recording)]


def _one(name: str, value: Any, recording: Recording) -> list[str]:
    if isinstance(value, Payload):
        return [f"{name}={_payload(value)}"]
    if isinstance(value, Duration):
        return [f"{name}={value.ToJsonString()}"]
    if isinstance(value, Message):
        return _fields(value, recording, f"{name}." if name else "") or [name]
    return [f"{name}={value}"]


def _payload(payload: Payload) -> str:
    """A value as JSON, its long parts by their digests; of an agent's carried state each part for itself."""
    try:
        value = json.loads(payload.data or b"null")
    except ValueError:
        return _digest(payload.data)
    return _value(value, 2)


def _value(value: Any, deep: int) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if len(text) <= SHOWN:
        return text
    if isinstance(value, dict) and deep:
        # Two deep only what a fresh history begins with.
        parts = (
            f"{name}: {_value(each, deep - 1 if name == 'carried' else 0)}" for name, each in value.items()
        )
        return f"{{{', '.join(parts)}}}"
    return _digest(text.encode())


def _digest(data: bytes) -> str:
    return f"<{digest_bytes(data)[:8]}>"


async def main(words: list[str]) -> int:
    """Write the fingerprints, or check them; the exit code."""
    logging.disable(logging.CRITICAL)
    apart = 0
    async with new_replayer() as replayer:
        for file in histories():
            if "--check" in words:
                found = await difference(file, replayer)
                apart += bool(found)
                print(f"{file.stem}: {found}" if found else f"{file.stem}: as kept")
            else:
                _kept(file).write_text(await fingerprint(file, replayer))
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
