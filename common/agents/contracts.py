"""What entry points share of the contract auditor: inputs, the plan a human approves, memory, results."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import PurePath
from typing import Annotated

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from common.agents.agent import ThinkerInput
from common.agents.asking import AskingInput
from common.agents.fields import CommaList, Count, LocalPath
from common.artifacts import ArtifactRef
from common.error_message import ErrorMessage
from common.shown import Shown

# How many kinds of findings people are asked about; the report says of all others that they need a human.
MAX_QUESTIONS = 40
# How many contracts a question names; its listing has them all.
MAX_NAMED = 100


class Severity(StrEnum):
    """How much a finding matters, worst first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Verdict(StrEnum):
    """The verdict on a contract or on a finding, worst first."""

    NOT_ACCEPTABLE = "not acceptable"
    NEEDS_HUMAN = "needs a human"
    OK = "ok"


BatchId = Annotated[
    str,
    Field(pattern=r"^[\w.-]*$", max_length=100),
    ErrorMessage("must be at most 100 of letters, digits, '_', '.' and '-'"),
]


class ContractsInput(AskingInput, ThinkerInput):
    """What `start contract-auditor` takes."""

    folder: LocalPath = Field(description="folder of the contracts")
    playbook: LocalPath | None = Field(
        None, description="playbook to check them against, a YAML file; if empty, the default playbook"
    )
    batch: BatchId = Field("", description="the batch's id; if empty, the agent's own id")
    at_once: Count = Field(20, ge=1, le=500, description="how many contracts are worked on at once")
    decide: bool = Field(
        True, description="ask people about what needs a human, once for findings that are alike"
    )

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words."""
        return f"Contracts in {PurePath(self.folder).name}"

    @property
    def asks(self) -> bool:
        """Whether the agent will ask people at all."""
        return self.decide


class ContractReaderInput(ThinkerInput):
    """What `start contract-reader` takes. The auditor pins the playbook; a user names a file."""

    file: LocalPath = Field(description="the contract")
    playbook: LocalPath | None = Field(
        None, description="playbook to check it against, a YAML file; if empty, the default playbook"
    )
    name: SkipJsonSchema[str] = ""
    pinned: SkipJsonSchema[ArtifactRef | None] = None
    approvers: SkipJsonSchema[CommaList] = Field(
        default_factory=list, exclude_if=lambda approvers: not approvers
    )

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words."""
        return f"Contract {PurePath(self.file).name}"


class ContractResult(BaseModel, frozen=True):
    """The result for one contract, in short; `audit` has it in full.

    `digest` is of the bytes that were read, `weight` how bad it is, `findings` counts by severity, `model`
    the language model that was asked as well.
    """

    name: Annotated[str, Shown("Contract")]
    digest: Annotated[str, Shown(internal=True)]
    verdict: Verdict
    title: str
    category: str
    pages: int | None
    weight: Annotated[int, Shown(internal=True)]
    findings: dict[Severity, int]
    audit: Annotated[ArtifactRef, Shown("The audit in full", file="audit.json")]
    model: Annotated[str, Shown("Language model asked")] = ""


class FindingGroup(BaseModel, frozen=True):
    """Findings of one rule in many contracts, and what a human may decide about all of them at once."""

    clause: str
    rule: str
    title: str
    severity: Severity
    verdict: Verdict
    contracts: int
    named: tuple[str, ...]
    said: tuple[str, ...]
    listing: ArtifactRef

    @property
    def key(self) -> str:
        """The unique name of the group."""
        return f"{self.clause}.{self.rule}"


class AcceptPlan(BaseModel, frozen=True):
    """What a human approves: to accept this finding in these contracts.

    `contracts` counts them, `named` has the first, and `listing`, one contract and digest a line, binds them
    all. `leave_out` holds contracts in which it stays as it is; it is the one field an approver may edit.
    """

    clause: Annotated[str, Shown(internal=True)]
    rule: Annotated[str, Shown(internal=True)]
    finding: str
    contracts: int
    named: Annotated[tuple[str, ...], Shown("In these")]
    said: Annotated[tuple[str, ...], Shown("What they say")]
    listing: Annotated[ArtifactRef, Shown("Every contract, with its digest", file="contracts.txt")]
    leave_out: Annotated[CommaList, Shown("Left as they are")] = Field(default_factory=list)


class GroupDecision(BaseModel, frozen=True):
    """What people decided about a group: accepted or not (None if nobody decided), and in words."""

    clause: str
    rule: str
    accepted: bool | None
    words: str
    listing: ArtifactRef
    leave_out: tuple[str, ...] = ()


class ContractsMemory(BaseModel):
    """What the contract auditor carries over.

    `results` are the artifacts of results of the batches so far; a later result of a contract replaces an
    earlier one. `groups` is what is asked, `decisions` what people said; `reread` counts contracts that
    changed meanwhile and were read again, `vanished` lists those that are gone. `checks` counts the checks of
    all documents for changes, `reported` the reports that people asked for.
    """

    listing: ArtifactRef | None = None
    playbook: ArtifactRef | None = None
    playbook_name: str = ""
    items: int = 0
    other: int = 0
    left_out: dict[str, str] = Field(default_factory=dict)
    thinks: bool = False
    results: list[ArtifactRef] = Field(default_factory=list)
    read: bool = False
    groups: list[FindingGroup] | None = None
    decisions: list[GroupDecision] = Field(default_factory=list)
    again: ArtifactRef | None = None
    reread: int = 0
    checks: int = 0
    reported: int = 0
    vanished: ArtifactRef | None = None

    def undecided(self) -> Sequence[FindingGroup]:
        """The groups, for exactly these contracts, that nobody has decided about."""
        decided = {(each.clause, each.rule, each.listing.sha256) for each in self.decisions}
        groups = self.groups or []
        return [each for each in groups if (each.clause, each.rule, each.listing.sha256) not in decided]


class ContractsReport(BaseModel, frozen=True):
    """A report that was written: its files by format, and its counts."""

    files: dict[str, str]
    verdicts: dict[Verdict, int]
    quarantined: int
    findings: int
    worst: tuple[str, ...]


class ContractsResult(BaseModel, frozen=True):
    """The result of the audit. `report` holds the paths of its files by format."""

    contracts: int
    verdicts: dict[Verdict, int]
    quarantined: Annotated[int, Shown("Could not be read")]
    findings: int
    asked: Annotated[int, Shown("Questions asked")]
    accepted: Annotated[int, Shown("Findings accepted")]
    reread: Annotated[int, Shown("Read again")]
    worst: Annotated[tuple[str, ...], Shown("The worst")]
    report: Annotated[dict[str, str], Shown("The report", form="file", order=-1)]


class ContractReaderResult(BaseModel, frozen=True):
    """The contract reader's result in short, and if it was not part of a batch, the worst findings."""

    result: ContractResult
    findings: tuple[str, ...] = ()
