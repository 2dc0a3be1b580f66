"""The records that the contract auditor's activities exchange, through history or as artifacts."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, Field

from common.agents.contracts import ContractResult, FindingGroup, GroupDecision, Severity, Verdict
from common.agents.fields import LocalPath
from common.artifacts import ArtifactRef

OTHER = "contract"


class Position(BaseModel, frozen=True):
    """Where some text stands: character offset in the contract's text, page from 1, clause number."""

    start: int
    page: int | None = None
    number: str = ""


class Finding(BaseModel, frozen=True):
    """One thing that a person should know about a contract.

    `clause` and `rule` are ids of the playbook, or `contract` and the id of a rule that every contract is
    judged by. `title` is the same for all contracts, `said` what this one says. `by` is who found it.
    """

    clause: str
    rule: str
    title: str
    severity: Severity
    verdict: Verdict
    said: str = ""
    why: str = ""
    quote: str = ""
    at: Position | None = None
    by: str = "rules"


class ClauseFound(BaseModel, frozen=True):
    """A passage on a clause: its text, truncated if it is long, and the facts that the rules see in it."""

    clause: str
    heading: str
    text: str
    length: int
    at: Position
    facts: tuple[str, ...] = ()


class ModelQuestion(BaseModel, frozen=True):
    """What a language model is asked about a clause, the passages that it gets, and the rules' verdict."""

    clause: str
    title: str
    ask: str
    passages: ArtifactRef
    rules: Verdict


class ModelAnswer(BaseModel, frozen=True):
    """What a language model chose, and its name; `choice` is empty if it gave no usable answer."""

    clause: str
    title: str
    rules: Verdict
    model: str
    choice: str
    start: int = 0


class Audit(BaseModel, frozen=True):
    """A contract as it was judged; stored as one artifact."""

    name: str
    digest: str
    title: str
    media_type: str
    category: str
    characters: int
    pages: int | None
    verdict: Verdict
    findings: tuple[Finding, ...]
    clauses: tuple[ClauseFound, ...]
    missing: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    model: str = ""


class ModelBudget(BaseModel, frozen=True):
    """The language model and its budget for a contract; the settings decide what is empty.

    Besides the owner, `approvers` may raise the budget.
    """

    model: str = ""
    budget_tokens: int | None = None
    budget_usd: Decimal | None = None
    approvers: tuple[str, ...] = Field((), exclude_if=lambda approvers: not approvers)


class OpenRequest(BaseModel, frozen=True):
    """Asks to list the contracts below a folder and to read a playbook, the default one if None."""

    folder: LocalPath
    playbook: LocalPath | None = None
    thinker: ModelBudget = ModelBudget()


class Opened(BaseModel, frozen=True):
    """What there is to audit.

    `listing` has one batch item per line. `playbook` is a copy of the playbook, so that a whole batch is
    judged by the same one even if the file changes. `other` counts files of other kinds; `left_out` names the
    first of those that are not looked at, with the reasons. `thinks`: a language model is set up.
    """

    listing: ArtifactRef
    items: int
    playbook: ArtifactRef
    playbook_name: str
    other: int
    left_out: dict[str, str]
    thinks: bool


class PinRequest(BaseModel, frozen=True):
    """Asks for a playbook as it is now, the default one if None."""

    playbook: LocalPath | None = None


class Pinned(BaseModel, frozen=True):
    """A playbook in the artifact store, and its name."""

    playbook: ArtifactRef
    name: str


class AuditRequest(BaseModel, frozen=True):
    """Asks to read and judge one contract, by its path below the folder.

    `asks`: also say what a language model is to be asked.
    """

    folder: LocalPath
    name: str
    playbook: ArtifactRef
    asks: bool = False


class Audited(BaseModel, frozen=True):
    """An audited contract: the result and, where asked for, what to ask a model and the worst findings."""

    result: ContractResult
    questions: tuple[ModelQuestion, ...] = ()
    worst: tuple[str, ...] = ()


class Unread(BaseModel, frozen=True):
    """A document that was set aside, and the digest of its bytes, empty if they could not be read.

    The digest shows when it has been repaired or replaced.
    """

    name: str
    digest: str


class CompareRequest(BaseModel, frozen=True):
    """Asks to compare a language model's answers with the rules' verdicts."""

    result: ContractResult
    answers: tuple[ModelAnswer, ...]


class GroupRequest(BaseModel, frozen=True):
    """Asks for the findings to ask people about. Of two results for one contract, the later counts."""

    results: tuple[ArtifactRef, ...]
    decisions: tuple[GroupDecision, ...] = ()


class Grouped(BaseModel, frozen=True):
    """The findings that need a human, grouped, worst first; `more` counts groups too many to ask about."""

    groups: tuple[FindingGroup, ...]
    more: int


class CheckRequest(BaseModel, frozen=True):
    """Asks which contracts have changed since they were read.

    With a `thinker`, a language model reads the changed ones again, too.
    """

    folder: LocalPath
    results: tuple[ArtifactRef, ...]
    playbook: ArtifactRef
    thinker: ModelBudget | None = None


class Checked(BaseModel, frozen=True):
    """What changed: a listing of the contracts to read again, and the names of those gone, one per line."""

    changed: int
    listing: ArtifactRef
    vanished: int
    gone: ArtifactRef


class ContractsReportRequest(BaseModel, frozen=True):
    """Asks for a report of the results so far."""

    folder: LocalPath
    playbook: ArtifactRef
    results: tuple[ArtifactRef, ...]
    decisions: tuple[GroupDecision, ...] = ()
    items: int
    other: int = 0
    left_out: dict[str, str] = Field(default_factory=dict)
    reread: int = 0
    vanished: ArtifactRef | None = None
    unfinished: bool = False
