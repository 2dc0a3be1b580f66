"""Keeps people's answers until the agent's memory reflects them."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from common.agents.agent import Carried
from common.approval.types import Answer
from common.digest import digest


class Answers:
    """Carries answers over to a fresh history, so that no approval is lost and nobody is asked twice.

    A task that got an answer goes on; the agent's memory need not reflect that answer until the task asks
    again. If history starts afresh before that, because another question is waiting, the agent comes to the
    same question and plan again in the new history, and gets the same answer there (`take`).
    """

    def __init__(self, carried: Carried) -> None:
        self._carried = carried
        # The answers of this history, each with the task that asked.
        self._given: list[tuple[asyncio.Task[object] | None, Answer]] = []

    def take(self, question: str, plan: BaseModel) -> Answer | None:
        """The answer that the previous history got to the same question about the same plan."""
        for answer in self._carried.answers:
            if _is_to(answer, question, digest(plan)):
                self._carried.answers.remove(answer)
                return answer
        return None

    def give(self, answer: Answer) -> None:
        """Record that the current task gets `answer`."""
        self._given.append((asyncio.current_task(), answer))

    def commit(self) -> None:
        """Drop the current task's last answer: memory reflects it, as the task asks again."""
        if any(task is asyncio.current_task() for task, _ in self._given):
            self.drop_remembered()

    def drop_remembered(self) -> None:
        """Drop the answers to the current task and to tasks that have ended: memory reflects them.

        Answers from the previous history that were not taken are dropped too: they answer nothing later.
        """
        current = asyncio.current_task()
        self._given = [
            (task, each) for task, each in self._given if task not in (None, current) and not task.done()
        ]
        self._carried.answers = []

    def forget(self, question: str, origin: str) -> None:
        """Drop earlier answers to a question that was acted on or is asked anew."""
        self._given = [each for each in self._given if not _is_to(each[1], question, origin)]

    def keep(self) -> None:
        """Carry answers that memory may not reflect yet over to the next history."""
        self._carried.answers += [answer for _, answer in self._given]


def _is_to(answer: Answer, question: str, origin: str) -> bool:
    return (answer.request.question, answer.request.origin) == (question, origin)
