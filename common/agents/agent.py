"""What every agent shows and carries over: status, notebook, progress, state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, field_validator
from pydantic.json_schema import SkipJsonSchema

from common.agents.batch import BatchStatus
from common.agents.batch_state import BatchState
from common.agents.fields import Amount, Count, paths_of
from common.agents.fork import Fork, mark_of
from common.agents.states import AgentState as AgentState
from common.approval.stakes import Stakes
from common.approval.types import Answer, ApprovalRequest, Decision, DecisionRecord
from common.error_message import ErrorMessage
from common.grammar import Moment
from common.mail import IncomingMail

# Bytes. Temporal allows 400, and encryption adds some.
MAX_SUMMARY = 150
# The memo field.
SUBJECT = "subject"


class Woken(StrEnum):
    """Why a sleep ended."""

    TIME = "time"
    SIGNAL = "signal"
    EVENT = "event"


class NotebookEntry(BaseModel, frozen=True):
    """One line of an agent's notebook."""

    at: datetime
    node: str
    text: str
    facts: dict[str, JsonValue] = Field(default_factory=dict)


class Progress(BaseModel):
    """Units done of units known; also what a heartbeating activity reports."""

    done: int = 0
    total: int = 0

    def with_under_way(self, reported: Progress) -> Progress:
        """The agent's own count plus what its running activities have reported, at most the total.

        If the agent counts nothing, its activities' counts are shown.
        """
        done, total = self.done + reported.done, self.total or reported.total
        return Progress(done=min(done, total) if total else done, total=total)


class Cost(BaseModel):
    """What an agent has spent on language models so far: tokens, and US dollars."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal = Decimal(0)

    def add(self, more: Cost) -> None:
        """Add `more`."""
        self.input_tokens += more.input_tokens
        self.output_tokens += more.output_tokens
        self.usd += more.usd


class AgentStatus(BaseModel):
    """The answer to ``status``. ``approval`` is the oldest open request, ``batch`` the latest batch."""

    owner: str
    state: AgentState
    node: str
    waiting_for: str | None
    wake_at: datetime | None
    started_at: datetime
    progress: Progress
    cost: Cost
    approval: ApprovalRequest | None
    stuck_at: list[str]
    batch: BatchStatus | None = Field(None, exclude_if=lambda batch: batch is None)


class Notebook(BaseModel):
    """The answer to the query ``notebook``: the newest entries, and how many are only in history."""

    entries: list[NotebookEntry] = Field(default_factory=list)
    dropped: int = 0


class Approvals(BaseModel):
    """The gate's memory: open requests, how closed ones ended, decisions waiting and decisions judged.

    ``waiting`` holds the decisions that are not judged yet, by the request they name, oldest first.
    """

    asked: int = 0
    open: dict[str, ApprovalRequest] = Field(default_factory=dict)
    closed: dict[str, str] = Field(default_factory=dict)
    waiting: dict[str, deque[Decision]] = Field(default_factory=dict)
    records: list[DecisionRecord] = Field(default_factory=list)

    # Older histories carried one list for all requests.
    @field_validator("waiting", mode="before")
    @classmethod
    def _by_request(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        decisions = [Decision.model_validate(each) for each in value]
        ids = dict.fromkeys(each.request_id for each in decisions)
        return {id: [each for each in decisions if each.request_id == id] for id in ids}


class Asleep(BaseModel):
    """A sleep under way: where, what for, until when; ``woken`` says why it ended, for a paused agent."""

    node: str
    waiting_for: str
    until: datetime | None
    woken: Woken | None = None


class Carried(BaseModel):
    """Everything an agent carries over when its history starts afresh.

    ``memory`` is the agent's own state as JSON; ``model`` the language model people told it to use; ``mail``
    the mail not read yet; ``couriers``, by request, the couriers to tell how it ends; ``answers`` the
    decisions that the agent's memory may not reflect yet; ``sleeps`` the sleeps under way; ``batch`` the
    latest batch; ``fork`` what it is a fork of, if it is one; the rest belongs to the kit.
    """

    started_at: AwareDatetime
    notebook: Notebook = Field(default_factory=Notebook)
    approvals: Approvals = Field(default_factory=Approvals)
    told: list[str] = Field(default_factory=list)
    mail: list[IncomingMail] = Field(default_factory=list)
    model: str = ""
    paused: bool = False
    stuck_at: list[str] = Field(default_factory=list)
    progress: Progress = Field(default_factory=Progress)
    cost: Cost = Field(default_factory=Cost)
    couriers: dict[str, list[str]] = Field(default_factory=dict)
    answers: list[Answer] = Field(default_factory=list)
    sleeps: list[Asleep] = Field(default_factory=list)
    batch: BatchState | None = Field(None, exclude_if=lambda batch: batch is None)
    fork: Fork | None = Field(None, exclude_if=lambda fork: fork is None)
    memory: dict[str, Any] | None = None

    def with_memory(self, memory: BaseModel | None) -> Self:
        """A copy with the agent's current memory; fields that newer code wrote and this code lacks stay."""
        if memory is None:
            return self.model_copy(update={"memory": None})
        known = type(memory).model_fields
        unknown = {name: value for name, value in (self.memory or {}).items() if name not in known}
        return self.model_copy(update={"memory": unknown | memory.model_dump(mode="json")})


class AgentInput(BaseModel):
    """Base of every agent's input. ``carried`` belongs to the kit: set by carry-over, never by a user."""

    carried: SkipJsonSchema[Carried | None] = Field(None, exclude_if=lambda carried: carried is None)

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words; empty if its kind says enough."""
        return ""

    @property
    def stakes(self) -> Stakes:
        """The most that the agent could do, for the operator's policy to judge."""
        return Stakes()

    @property
    def named_files(self) -> Iterator[tuple[str, str]]:
        """Every path in the worker's file system that it names: the field, and the path."""
        return paths_of(self)


def summary_of(input: AgentInput) -> str | None:
    """The subject as Temporal's summary of the workflow, cut to the length allowed."""
    words = " ".join(input.subject.split()).encode()
    return words[:MAX_SUMMARY].decode(errors="ignore") or None


def memo_of(input: AgentInput) -> dict[str, JsonValue]:
    """The memo of an agent with this input: whether it is a fork, and what it is about.

    Unlike a summary, a memo is kept when an agent's history starts afresh.
    """
    return mark_of(input.carried.fork if input.carried else None) | about(summary_of(input))


def about(subject: str | None) -> dict[str, JsonValue]:
    """The part of a memo that says what an agent is about; empty without a subject."""
    return {SUBJECT: subject} if subject else {}


ModelName = Annotated[
    str,
    Field(pattern=r"^(offline|(openai|anthropic|bedrock):\S{1,100})?$"),
    ErrorMessage("must be offline, openai:NAME, anthropic:NAME or bedrock:NAME"),
]


class ThinkerInput(AgentInput):
    """Base of the input of agents that think with a language model."""

    model: ModelName = Field(
        "",
        description="language model, such as offline or openai:NAME; if empty, as in the settings",
    )
    budget_tokens: Count | None = Field(
        None, gt=0, description="tokens to spend before it asks for more; if empty, as in the settings"
    )
    budget_usd: Amount | None = Field(None, description="US dollars likewise")

    @property
    def stakes(self) -> Stakes:
        """The most that the agent could do, for the operator's policy to judge."""
        return Stakes(agent_tokens=self.budget_tokens or 0, agent_usd=self.budget_usd or Decimal(0))


class WakeUp(BaseModel, frozen=True):
    """The argument of the signal ``wake``: empty to wake now, or the time to sleep until instead."""

    until: Moment | None = None


class Receipt(BaseModel, frozen=True):
    """What came of a signal: whether the agent took it, and in words what it does now, or why not."""

    taken: bool
    words: str


class Receipts(BaseModel):
    """The answer to the query ``receipts``: the newest receipts, by the ids that senders gave."""

    receipts: dict[str, Receipt] = Field(default_factory=dict)
