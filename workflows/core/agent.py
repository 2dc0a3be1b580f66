"""The base of every agent: all its parts together, and the one door that signals come in through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from temporalio import workflow
from temporalio.common import RawValue

from common.agent import WakeUp
from workflows.core.signals import UnreadableSignalError, read_signal
from workflows.core.thinking import Thinker, told_model


class Agent(Thinker):
    """A durable agent: nodes and notes, calls, sleep, approval, action and carry-over.

    A subclass has an `__init__` under `@workflow.init` and a `run` under `@workflow.run`, both with its own
    input type, and its `run` reads as the list of its nodes. One with `reads_mail` takes what comes for it
    out of `_kept.mail`.
    """

    reads_mail = False

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
