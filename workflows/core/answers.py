"""What people answered, kept until the agent's memory holds what came of it."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from common.agents.agent import Carried
from common.approval.types import Answer
from common.digest import digest


class Answers:
    """Keeps answers over a fresh history, so that no approval is lost and nobody is asked twice.

    A task that was answered goes on, and only when it asks again must the agent's memory hold what came of
    that. Where history starts afresh before, because another question waits beside, the agent comes to the
    same question and plan once more in the new history, and there the answer is what it was (`take`).
    """

    def __init__(self, carried: Carried) -> None:
        self._carried = carried
        # Those of this history, each with the task that asked.
        self._given: list[tuple[asyncio.Task[object] | None, Answer]] = []

    def take(self, question: str, plan: BaseModel) -> Answer | None:
        """The answer that the history before had to the same question about the same plan."""
        for answer in self._carried.answers:
            if _is_to(answer, question, digest(plan)):
                self._carried.answers.remove(answer)
                return answer
        return None

    def give(self, answer: Answer) -> None:
        """Note that the current task is handed `answer`."""
        self._given.append((asyncio.current_task(), answer))

    def commit(self) -> None:
        """The current task asks again: memory holds what came of its last answer."""
        if any(task is asyncio.current_task() for task, _ in self._given):
            self.move_on()

    def move_on(self) -> None:
        """Memory holds what came of the answers to the current task, and to tasks that have ended.

        What the history before kept and nobody asked for answers nothing later.
        """
        current = asyncio.current_task()
        self._given = [
            (task, each) for task, each in self._given if task not in (None, current) and not task.done()
        ]
        self._carried.answers = []

    def forget(self, question: str, origin: str) -> None:
        """The question was acted on, or is asked anew: what was answered before counts no more."""
        self._given = [each for each in self._given if not _is_to(each[1], question, origin)]

    def keep(self) -> None:
        """Put what memory may not hold yet where the next history finds it."""
        self._carried.answers += [answer for _, answer in self._given]


def _is_to(answer: Answer, question: str, origin: str) -> bool:
    return (answer.request.question, answer.request.origin) == (question, origin)
