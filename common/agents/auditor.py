"""What crosses doors for the code auditor: its input, the plan a human approves, its result."""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.agents.asking import AskingInput
from common.agents.fields import Count, LocalPath, Words
from common.artifacts import ArtifactRef


class AuditInput(AskingInput):
    """What `start code-auditor` takes."""

    path: LocalPath = Field(description="folder to audit")
    apply: bool = Field(False, description="plan fixes, ask for approval and apply them")
    include: Words = Field(
        default_factory=list, description="only files matching these patterns (gitignore syntax)"
    )
    exclude: Words = Field(default_factory=list, description="leave out files matching these patterns")
    max_file_bytes: Count = Field(1_000_000, gt=0, description="larger files are counted and named, not read")


class FilePreview(BaseModel, frozen=True):
    """One file of a plan as a person reads it: `rules` counts the findings that go, by rule."""

    path: str
    rules: dict[str, int]
    lines_added: int
    lines_removed: int


class FixPlan(BaseModel, frozen=True):
    """What a human approves: `fixes` findings mended in `files` files.

    The digests in `listing` (one ``PlannedFix`` a line) and `diff` (one unified diff) bind every byte of it.
    `skip` holds paths left out on the approver's word; it is the one field an approver may edit.
    """

    root: str
    files: int
    fixes: int
    preview: tuple[FilePreview, ...]
    listing: ArtifactRef
    diff: ArtifactRef
    skip: Words = Field(default_factory=list)


class AuditResult(BaseModel, frozen=True):
    """What the audit came to. `report` holds the paths of the report files by format; times in UTC."""

    files: int
    findings: int
    by_severity: dict[str, int]
    skipped: dict[str, int]
    fixes_planned: int
    files_fixed: int
    files_left: int
    decision: str
    report: dict[str, str]
