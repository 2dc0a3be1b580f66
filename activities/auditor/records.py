"""The records that the code auditor's activities exchange, through history or as artifacts.

Lists that grow with the code base are artifacts of JSON lines, so history stays small at 50,000 files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel, Field

from common.agents.agent import Cost
from common.agents.auditor import FixPlan
from common.agents.fields import LocalPath
from common.approval.types import Authorization
from common.artifacts import ArtifactRef, ArtifactStore

# The rule of a finding that reports an analyser's failure on a file.
FAILED_RULE = "analyser-failed"


class Severity(StrEnum):
    """How bad a finding is, worst first; each analyser's own scale is mapped onto it."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NOTE = "note"


class Finding(BaseModel, frozen=True):
    """One thing an analyser found. Lines and columns count from 1; `fixable`: the analyser has a safe fix.

    `mark` is a digest of its line's text, which identifies the finding even after the line has moved. It is
    empty if the line holds a secret, which could be guessed from the digest.
    """

    analyser: str
    rule: str
    severity: Severity
    message: str
    line: int = 1
    column: int = 1
    end_line: int | None = None
    url: str = ""
    fixable: bool = False
    mark: str = Field("", exclude_if=lambda value: not value)

    @property
    def lines(self) -> range:
        """The numbers of all its lines."""
        return range(self.line, max(self.line, self.end_line or 0) + 1)


class FileEntry(BaseModel, frozen=True):
    """A file of the inventory: path relative to the root with `/`, SHA-256, size in bytes, language.

    `packages`: how many of a Python file's folders, from the innermost outwards, are packages; the findings
    in the file may depend on it.
    """

    path: str
    sha256: str
    size: int
    language: str
    packages: int = Field(0, exclude_if=lambda value: not value)


class FileFindings(BaseModel, frozen=True):
    """One line of a findings artifact: a file as it was scanned. A file with no findings has a line too.

    If a sequence of artifacts has several lines for one path, the last one counts.
    """

    path: str
    sha256: str
    findings: list[Finding] = Field(default_factory=list)


class SkippedFile(BaseModel, frozen=True):
    """A file left out, and why: binary, oversized, unreadable, link, name, vanished, special."""

    path: str
    reason: str


class InventoryRequest(BaseModel, frozen=True):
    """What to list under `root`. `only` names paths to look at again, instead of walking the tree."""

    root: LocalPath
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)
    max_file_bytes: int
    only: list[str] | None = None


class Inventory(BaseModel, frozen=True):
    """The inventory: `listing` has one ``FileEntry`` per line, `left_out` one ``SkippedFile`` per line.

    `root` is the real path; `skipped` counts by reason; `languages` counts files by language.
    """

    root: LocalPath
    listing: ArtifactRef
    files: int
    bytes: int
    languages: dict[str, int]
    skipped: dict[str, int]
    left_out: ArtifactRef


class ScanRequest(BaseModel, frozen=True):
    """Which slice of an inventory to scan: entries `first` up to, not including, `last`."""

    root: LocalPath
    listing: ArtifactRef
    first: int
    last: int


class ShardFindings(BaseModel, frozen=True):
    """A scanned slice: `findings` has one ``FileFindings`` per line; `failures` counts analyser crashes."""

    findings: ArtifactRef
    files: int
    by_severity: dict[str, int]
    failures: int


class BaselineRequest(BaseModel, frozen=True):
    """Which file to read as the baseline: the report of an earlier audit, SARIF or JSON."""

    path: LocalPath


class AcceptedFinding(BaseModel, frozen=True):
    """One line of a baseline: a known and accepted finding, identified by its fingerprint."""

    fingerprint: str
    analyser: str
    rule: str
    path: str
    line: int
    message: str


class Baseline(BaseModel, frozen=True):
    """A baseline: `accepted` has one ``AcceptedFinding`` per line."""

    accepted: ArtifactRef
    findings: int


class TriageRequest(BaseModel, frozen=True):
    """Findings to rank and group; `wishes` are the instructions that people gave the agent, in words.

    With a `baseline`, only findings that are not in it are ranked and grouped.
    """

    findings: list[ArtifactRef]
    wishes: list[str] = Field(default_factory=list)
    baseline: Baseline | None = None


class FindingGroup(BaseModel, frozen=True):
    """Findings of one rule in one top folder. `score` ranks groups, highest first; `reason` says why."""

    rule: str
    analyser: str
    severity: Severity
    folder: str
    count: int
    fixable: int
    example: str
    score: float
    reason: str


class Triage(BaseModel, frozen=True):
    """The ranking: `groups` has one ``FindingGroup`` per line. `model` says who ranked them.

    With a baseline, `accepted` counts its findings that are still there, and `absent` those that are gone.
    """

    groups: ArtifactRef
    findings: int
    by_severity: dict[str, int]
    fixable: int
    top: list[str]
    model: str
    accepted: int = 0
    absent: int = 0
    # Left out if empty, as in results from before these fields existed.
    cost: Cost = Field(default_factory=Cost, exclude_if=lambda cost: cost == Cost())
    note: str = Field("", exclude_if=lambda note: not note)


class PlanRequest(BaseModel, frozen=True):
    """What to plan fixes for: every fixable finding in `findings`, except in the paths to `skip`.

    `verify` is a shell command that has to pass on a copy with the fixes, or empty. `owner` is whom the audit
    is for; their rule in the operator's policy says whether the project's code may be run.
    """

    root: LocalPath
    findings: list[ArtifactRef]
    skip: list[str] = Field(default_factory=list)
    # Left out if empty, so that requests from before these fields existed keep their digests.
    verify: str = Field("", exclude_if=lambda value: not value)
    owner: str = Field("", exclude_if=lambda value: not value)


class PlannedFix(BaseModel, frozen=True):
    """One line of a plan's listing: a file's digest before and after, and the artifacts of both contents."""

    path: str
    before: ArtifactRef
    after: ArtifactRef
    rules: dict[str, int]
    lines_added: int
    lines_removed: int


class ChangedRequest(BaseModel, frozen=True):
    """Asks which of a plan's chosen files have changed."""

    plan: FixPlan


class UnprovenRequest(BaseModel, frozen=True):
    """Asks which chosen files of `plan` differ in `proven`, the plan made again without those left out."""

    plan: FixPlan
    proven: FixPlan


class ApplyRequest(BaseModel, frozen=True):
    """The approved plan and its approval; the kit fills in `authorization`."""

    plan: FixPlan
    authorization: Authorization | None = None


class ApplyResult(BaseModel, frozen=True):
    """What was written: `written` counts files, `conflicts` names those that others had changed.

    `details` has one ``AppliedFix`` per line. `undo` is a unified diff that reverts everything that this
    idempotency key wrote.
    """

    written: int
    conflicts: list[str]
    details: ArtifactRef
    undo: ArtifactRef


class AppliedFix(BaseModel, frozen=True):
    """The outcome of one planned fix: `written`, or `left` with the reason."""

    path: str
    outcome: str
    reason: str = ""


class ReportRequest(BaseModel, frozen=True):
    """Everything the report is made from, each list oldest first; `decisions` are approvals in words."""

    inventory: Inventory
    findings: list[ArtifactRef]
    triage: Triage
    plans: list[FixPlan] = Field(default_factory=list)
    decisions: list[str] = Field(default_factory=list)
    applied: list[ApplyResult] = Field(default_factory=list)
    baseline: Baseline | None = None


class AuditorMemory(BaseModel):
    """The state that the auditor carries over to a fresh history.

    Attributes:
        baseline: the known and accepted findings, if the audit was given any.
        triage: None until everything has been scanned.
        plan: the fixes that await a decision, or that are approved and still to be applied.
        plans: the plans that people decided on, as amended by their decisions.
        changed: files that others changed since the last approval.
        unproven: files whose fixes do not hold without the ones that the last approval left out.
    """

    baseline: Baseline | None = None
    inventory: Inventory | None = None
    findings: list[ArtifactRef] = Field(default_factory=list)
    triage: Triage | None = None
    plan: FixPlan | None = None
    plans: list[FixPlan] = Field(default_factory=list)
    decisions: list[str] = Field(default_factory=list)
    applied: list[ApplyResult] = Field(default_factory=list)
    skipped: list[str] = Field(default_factory=list)
    changed: list[str] = Field(default_factory=list)
    unproven: list[str] = Field(default_factory=list)
    settled: bool = False


class ReportFiles(BaseModel, frozen=True):
    """Absolute paths by name: sarif (sarif-2 and so on), json, html; if there are fixes, diff and undo."""

    files: dict[str, str]


Record = TypeVar("Record", bound=BaseModel)


def put_records(store: ArtifactStore, records: Iterable[BaseModel]) -> ArtifactRef:
    """Store `records` as one artifact of JSON lines."""
    return store.put(b"".join(record.model_dump_json().encode() + b"\n" for record in records))


def get_records(store: ArtifactStore, ref: ArtifactRef, kind: type[Record]) -> Iterator[Record]:
    """The records of an artifact of JSON lines."""
    for line in store.get(ref).splitlines():
        yield kind.model_validate_json(line)
