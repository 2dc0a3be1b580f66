"""What entry points share of the code auditor: its input, the plan a human approves, its result."""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.agents.asking import AskingInput
from common.agents.fields import Count, LocalPath, Words
from common.approval.stakes import Stakes
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
    baseline: LocalPath | None = Field(
        None, description="report.sarif or report.json of an earlier audit, whose findings are accepted"
    )
    verify: str = Field(
        "",
        max_length=2000,
        description="shell command, such as the project's tests, that has to pass on a copy with the fixes",
    )

    @property
    def asks(self) -> bool:
        """Whether the agent comes to ask at all."""
        return self.apply

    @property
    def stakes(self) -> Stakes:
        """The most that can come of it, for the operator's policy to judge."""
        return Stakes(runs_project_code=self.apply and bool(self.verify))


class FilePreview(BaseModel, frozen=True):
    """One file of a plan as a person reads it: `rules` counts the findings that go, by rule."""

    path: str
    rules: dict[str, int]
    lines_added: int
    lines_removed: int


class FixPlan(BaseModel, frozen=True):
    """What a human approves: `fixes` findings fixed in `files` files.

    The digests in `listing` (one ``PlannedFix`` a line) and `diff` (one unified diff) bind every byte of it.
    `skip` holds paths that the approver left out; it is the one field an approver may edit. `proof` says what
    was proven about the fixes, and how.
    """

    root: LocalPath
    files: int
    fixes: int
    preview: tuple[FilePreview, ...]
    listing: ArtifactRef
    diff: ArtifactRef
    skip: Words = Field(default_factory=list)
    # Left out where empty, so that the digests of plans made before there was one stay what they are.
    proof: tuple[str, ...] = Field((), exclude_if=lambda value: not value)


class AuditResult(BaseModel, frozen=True):
    """What the audit came to. `report` holds the paths of the report files by format; times in UTC.

    Of the `findings`, `accepted` ones are in the baseline; of the baseline, `absent` ones were not found.
    """

    files: int
    findings: int
    accepted: int = 0
    absent: int = 0
    by_severity: dict[str, int]
    skipped: dict[str, int]
    fixes_planned: int
    files_fixed: int
    files_left: int
    decision: str
    report: dict[str, str]
