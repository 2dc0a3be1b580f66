"""What entry points share of the code auditor: its input, the plan a human approves, its result."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import BaseModel, Field

from common.agents.asking import AskingInput
from common.agents.fields import CommaList, Count, LocalPath
from common.agents.needs import Needs, Place
from common.approval.stakes import Stakes
from common.artifacts import ArtifactRef
from common.shown import Shown


class AuditInput(AskingInput):
    """What `start code-auditor` takes."""

    path: LocalPath = Field(description="folder to audit")
    apply: bool = Field(False, description="plan fixes, ask for approval and apply them")
    include: CommaList = Field(
        default_factory=list, description="only files matching these patterns (gitignore syntax)"
    )
    exclude: CommaList = Field(default_factory=list, description="leave out files matching these patterns")
    max_file_bytes: Count = Field(1_000_000, gt=0, description="larger files are counted and named, not read")
    baseline: LocalPath | None = Field(
        None, description="report.sarif or report.json of an earlier audit, whose findings are accepted"
    )
    verify: str = Field(
        "",
        max_length=2000,
        description="shell command, such as the project's tests, that has to pass on a copy with the fixes",
    )

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words."""
        return f"Audit of {PurePath(self.path).name}"

    @property
    def asks(self) -> bool:
        """Whether the agent will ask people at all."""
        return self.apply

    @property
    def needs(self) -> Needs:
        """What must be available before people are asked: a folder that fixes can be written to."""
        return Needs(places=(Place(field="path", path=self.path, writes=True),))

    @property
    def stakes(self) -> Stakes:
        """The most that the agent could do, for the operator's policy to judge."""
        return Stakes(runs_project_code=self.apply and bool(self.verify))


class FilePreview(BaseModel, frozen=True):
    """One file of a plan, for people to read: `rules` counts the findings that are fixed, by rule."""

    path: Annotated[str, Shown("File", heading=True)]
    rules: Annotated[dict[str, int], Shown("What is fixed")]
    lines_added: Annotated[int, Shown("Lines more")]
    lines_removed: Annotated[int, Shown("Lines less")]


class FixPlan(BaseModel, frozen=True):
    """What a human approves: `fixes` findings fixed in `files` files.

    The digests in `listing` (one ``PlannedFix`` a line) and `diff` (one unified diff) bind every byte of it.
    `skip` holds paths that the approver left out; it is the one field an approver may edit. `proof` says what
    was proven about the fixes, and how.
    """

    root: Annotated[LocalPath, Shown("Folder")]
    files: Annotated[int, Shown("Files that change")]
    fixes: Annotated[int, Shown("Findings that go")]
    preview: Annotated[tuple[FilePreview, ...], Shown("File by file")]
    listing: Annotated[ArtifactRef, Shown("Every fix", internal=True)]
    diff: Annotated[ArtifactRef, Shown("The changes, line by line", file="changes.diff", form="diff")]
    skip: Annotated[CommaList, Shown("Left out")] = Field(default_factory=list)
    # Left out if empty, so that older plans, made without this field, keep their digests.
    proof: Annotated[tuple[str, ...], Shown("What was proven")] = Field(
        (), exclude_if=lambda value: not value
    )


class AuditResult(BaseModel, frozen=True):
    """The result of an audit. `report` holds the paths of the report files by format; times in UTC.

    Of the `findings`, `accepted` ones are in the baseline; of the baseline, `absent` ones were not found.
    """

    files: Annotated[int, Shown("Files read")]
    findings: int
    accepted: Annotated[int, Shown("Accepted in the baseline")] = 0
    absent: Annotated[int, Shown("In the baseline, and gone")] = 0
    by_severity: dict[str, int]
    skipped: Annotated[dict[str, int], Shown("Not read")]
    fixes_planned: int
    files_fixed: int
    files_left: int
    decision: Annotated[str, Shown("What people decided")]
    report: Annotated[dict[str, str], Shown("The report", form="file", order=-1)]
