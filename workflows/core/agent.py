"""The base of every agent: all its parts together, and the one door that signals come in through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, cast

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError, is_cancelled_exception

from activities.delivery.notices import say
from common.agents.agent import WakeUp
from common.notices.types import NoticeEvent
from workflows.core.signals import UnreadableSignalError, read_signal
from workflows.core.thinking import Thinker, told_model
from workflows.core.visible import cause_of


class Agent(Thinker):
    """A durable agent: nodes and notes, calls, sleep, approval, action and carry-over.

    A subclass has an `__init__` under `@workflow.init` and a `run` under `@workflow.run`, both with its own
    input type, and its `run` reads as the list of its nodes. One with `reads_mail` takes what comes for it
    out of `_kept.mail`.
    """

    reads_mail = False

    def __init_subclass__(cls) -> None:
        """However an agent ends in its own time, people hear of it."""
        super().__init_subclass__()
        if "run" in vars(cls):
            setattr(cls, "run", _to_its_end(vars(cls)["run"]))  # noqa: B010 -- each has a run of its own

    async def _tell_end(self, event: NoticeEvent, text: str) -> None:
        # A cancellation that comes now is too late; what is done must not look undone.
        with suppress(asyncio.CancelledError):
            for request in list(self._gate.memory.open.values()):
                await self._settle(request, f"{request.id}: not answered, {text}")
            if self._elsewhere:
                await self._tell_people(event, text)
            elif not workflow.unsafe.is_replaying():
                # A line on the terminal needs no record in history.
                say(event, workflow.info().workflow_id, text)

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, arguments: Sequence[RawValue]) -> None:
        """Every signal comes in here, so that none can fail the agent or be dropped unseen."""
        try:
            value = read_signal(name, arguments)
        except UnreadableSignalError as error:
            self.note(f"refused the signal {name[:40]!r}: {error}")
            return
        match name:
            case "decide":
                record = self._gate.offer(value, workflow.now())
                if record is not None:
                    self._note_refusal(record)
            case "tell":
                self._kept.told = [*self._kept.told, value][-50:]
                self._kept.model = told_model(value) or self._kept.model
                self.note(f"was told: {value}")
            case "undelivered":
                self.note(f"not told: {value}")
            case "wake":
                self._woken = cast(WakeUp, value)
            case "mail" if self.reads_mail:
                self._kept.mail.append(value)
            case "mail":
                self.note(f"refused mail from {value.sender}: this agent reads none")
            case "pause" | "resume":
                self._kept.paused = name == "pause"
                self.note(f"{name}d")
                self._show_all()


def _to_its_end(run: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """An agent's `run` that also has people told of its end. A carry-over and a bug are none."""

    @wraps(run)
    async def to_its_end(self: Agent, input: Any) -> Any:
        try:
            result = await run(self, input)
        except (FailureError, TimeoutError, asyncio.CancelledError) as error:
            cancelled = is_cancelled_exception(error)
            event = NoticeEvent.FINISHED if cancelled else NoticeEvent.FAILED
            await self._tell_end(event, "ended: cancelled" if cancelled else f"failed: {cause_of(error)}")
            raise
        await self._tell_end(NoticeEvent.FINISHED, "ended: done")
        return result

    return to_its_end
