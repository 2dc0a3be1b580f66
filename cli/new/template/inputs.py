"""The types of the template agent that entry points share: its input, the plan people approve, its memory."""

from __future__ import annotations

from datetime import timedelta

from pydantic import AwareDatetime, BaseModel, Field

from common.agents.asking import AskingInput
from common.agents.fields import LocalPath, Pace, Span
from common.approval.types import Authorization


class TemplateInput(AskingInput):
    """What `start template` takes."""

    path: LocalPath = Field(description="folder to watch")
    older_than: Span = Field(timedelta(days=30), description="how long unchanged before it counts as old")
    every: Pace = Field(timedelta(days=1), description="how often to look")


class OldFile(BaseModel, frozen=True):
    """A file of the folder, and when it was last changed."""

    name: str
    changed: AwareDatetime


class TemplatePlan(BaseModel, frozen=True):
    """What would be deleted."""

    path: LocalPath
    files: tuple[OldFile, ...]


class TemplateMemory(BaseModel):
    """What the agent carries over when its history starts afresh; every field has a default.

    Attributes:
        plan: what it found when it looked last.
        look_now: whether it was told to look before it is time.
    """

    plan: TemplatePlan | None = None
    look_now: bool = False


class FindRequest(BaseModel, frozen=True):
    """Which folder to look at, and from when on a file is old."""

    path: LocalPath
    older_than: Span


class DeleteRequest(BaseModel, frozen=True):
    """The argument of the destructive activity; the kit fills in `authorization`."""

    plan: TemplatePlan
    authorization: Authorization | None = None


class Deleted(BaseModel, frozen=True):
    """How many files were deleted."""

    files: int
