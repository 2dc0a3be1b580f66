"""Requests to language models, replies, quotes and budgets. Cheap to import."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, Field, JsonValue

from common.agents.agent import Cost
from common.agents.budget import BudgetPlan
from common.approval.types import Authorization
from common.artifacts import ArtifactRef

OFFLINE = "offline"


class Quote(BaseModel, frozen=True):
    """A verbatim quote: `text` is the item's text from `start` up to, but not including, `end`."""

    text: str
    start: int
    end: int


class ModelItem(BaseModel, frozen=True):
    """One text to rank; `id` is unique in its request."""

    id: str
    text: str


class ModelRequest(BaseModel, frozen=True):
    """Texts to rank by how well they fit `instruction`; at most `keep` come back.

    `task` says what the ranking is for. `instruction` and the texts are data from outside.
    """

    task: str
    instruction: str
    items: list[ModelItem]
    keep: int = Field(gt=0)


class RankedItem(BaseModel, frozen=True):
    """An item that fits: `score` is above 0, and 1 for the best item."""

    id: str
    score: float
    reason: str
    quote: Quote


class ModelReply(BaseModel, frozen=True):
    """The ranking, best first, who made it (`model`), and what was spent on it.

    `note` says why rules made it instead of a language model.
    """

    model: str
    ranking: list[RankedItem]
    cost: Cost = Field(default_factory=Cost)
    note: str = ""


class LanguageModel(Protocol):
    """What ranks texts: a language model behind an API, or the offline analyst."""

    def rank(self, request: ModelRequest) -> ModelReply:
        """Rank the items of `request`; those that do not fit at all are left out."""
        ...


class Material(BaseModel, frozen=True):
    """Text from outside to think about: data, never an instruction.

    It is in `text`, or as UTF-8 in the artifact store under `stored`, which keeps it out of the history.
    """

    id: str = Field(min_length=1, max_length=200)
    source: str = ""
    text: str = ""
    stored: ArtifactRef | None = None


class Text(BaseModel, frozen=True):
    """Asks for free text."""

    kind: Literal["text"] = "text"


class Structured(BaseModel, frozen=True):
    """Asks for a value of the output type registered as `type`."""

    kind: Literal["structured"] = "structured"
    type: str


class Option(BaseModel, frozen=True):
    """One option of a choice; `text` says what it means."""

    id: str = Field(min_length=1, max_length=200)
    text: str = ""


class Choose(BaseModel, frozen=True):
    """Asks for the id of one of `options`; any other answer is bad output."""

    kind: Literal["choose"] = "choose"
    options: tuple[Option, ...] = Field(min_length=1)


class Budget(BaseModel, frozen=True):
    """The most an agent may spend on language models; None means the limit of the settings."""

    tokens: int | None = Field(default=None, gt=0)
    usd: Decimal | None = Field(default=None, gt=0)


class Think(BaseModel, frozen=True):
    """One request to a language model.

    Attributes:
        instruction: what to do, in our own words; never fetched text.
        material: what to work on; marked as data for the model.
        want: free text, a typed value, or a choice among allowed options.
        model: `offline`, `openai:NAME`, `anthropic:NAME` or `bedrock:NAME`; empty is the worker's default.
        after: the transcript to continue; None begins a new one.
        max_output_tokens: the longest answer, in tokens.
        owner: who pays, an opaque id; the kit fills it in.
        budget: the agent's own limit; the kit fills it in.
    """

    instruction: str
    material: tuple[Material, ...] = ()
    want: Annotated[Text | Structured | Choose, Field(discriminator="kind")] = Text()
    model: str = ""
    after: ArtifactRef | None = None
    max_output_tokens: int = Field(default=2000, gt=0, le=16_000)
    owner: str = ""
    budget: Budget = Budget()


class SourceQuote(Quote, frozen=True):
    """A quote and the material it comes from."""

    material: str
    source: str = ""


class Reply(BaseModel, frozen=True):
    """The result of a `Think`.

    Attributes:
        model: who answered; `offline` is the extractive analyst, not a language model.
        text: the answer's words; for a value or a choice, its JSON or id.
        value: the typed value, as JSON; None for free text.
        choice: the id of the chosen option.
        quotes: the passages used; only the offline analyst fills it in.
        transcript: what to pass as `after` to continue this conversation.
        input_tokens: tokens read, over all exchanges of this request.
        output_tokens: tokens written, likewise.
        usd: what it cost; None if the price is unknown.
        notes: what people should know: a repair, a conversation or material that was cut, an unknown price.
        nearly_spent: the budgets that passed 80 % with this request, in words.
        cut: the answer stopped at `max_output_tokens`; a `text` says so at its end.
    """

    model: str
    text: str
    value: JsonValue = None
    choice: str = ""
    quotes: tuple[SourceQuote, ...] = ()
    transcript: ArtifactRef
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = Decimal(0)
    notes: tuple[str, ...] = ()
    nearly_spent: tuple[str, ...] = ()
    cut: bool = False

    @property
    def cost(self) -> Cost:
        """What it took, as far as prices are known."""
        return Cost(
            input_tokens=self.input_tokens, output_tokens=self.output_tokens, usd=self.usd or Decimal(0)
        )


class Spending(BaseModel, frozen=True):
    """Spending of one budget. `scope` is `agent:ID`, or `owner:ID:YYYY-MM-DD` for an owner's UTC day.

    `most_tokens` and `most_usd` are the highest limits that the operator's policy allows.
    """

    scope: str
    tokens: int
    usd: Decimal
    tokens_limit: int | None
    usd_limit: Decimal | None
    most_tokens: int | None = Field(None, exclude_if=lambda most: most is None)
    most_usd: Decimal | None = Field(None, exclude_if=lambda most: most is None)

    def plan_to_double(self) -> BudgetPlan:
        """A plan to double the limits, as far as the operator's policy allows."""
        tokens, usd = self.tokens_limit or 0, self.usd_limit or Decimal(0)
        return BudgetPlan(
            tokens=tokens if self.most_tokens is None else max(0, min(tokens, self.most_tokens - tokens)),
            usd=usd if self.most_usd is None else max(Decimal(0), min(usd, self.most_usd - usd)),
            scope=self.scope,
            spent_tokens=self.tokens,
            spent_usd=self.usd,
            tokens_limit=self.tokens_limit,
            usd_limit=self.usd_limit,
        )


class Thought(BaseModel, frozen=True):
    """The result of the activity `think`: a reply, or the budget that stopped it. Never both."""

    reply: Reply | None = None
    stopped: Spending | None = None


class Grant(BaseModel, frozen=True):
    """The argument of the activity `grant_budget`."""

    plan: BudgetPlan
    authorization: Authorization | None = None


class Granted(BaseModel, frozen=True):
    """What was granted, and under which idempotency key."""

    key: str
    tokens: int
    usd: Decimal
