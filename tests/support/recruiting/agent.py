"""A recruiter whose history counts as long very soon, so that it starts afresh again and again."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from common.agents.recruiter import RecruiterInput, RecruiterResult
    from workflows.recruiter.recruiter import Recruiter

LONG = 4


@workflow.defn(name="recruiter")
class ForgetfulRecruiter(Recruiter):
    """The recruiter, but that its history is long with five calls."""

    @workflow.init
    def __init__(self, input: RecruiterInput) -> None:
        super().__init__(input)

    @workflow.run
    async def run(self, input: RecruiterInput) -> RecruiterResult:
        return await super().run(input)

    def _has_grown(self, memory: BaseModel | None) -> bool:
        return memory is not None and self._sequence > LONG and not self._under_way
