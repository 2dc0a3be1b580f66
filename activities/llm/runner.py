"""Answers a request: prompt, budget, exchange, check, one repair, one compaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from pydantic import JsonValue

from activities.llm.call_telemetry import observe_call
from activities.llm.failures import ProviderError
from activities.llm.ledger import BudgetLimits, Call, Ledger, Recorded
from activities.llm.offline import OfflineAnalyst
from activities.llm.outputs import BadOutputError, Outputs, OutputType
from activities.llm.prices import Prices
from activities.llm.prompt import (
    Completion,
    Prompt,
    Provider,
    Turn,
    cut_remark,
    shortened,
    strip_imitations,
    task_text,
)
from activities.llm.records import (
    OFFLINE,
    Choose,
    Reply,
    SourceQuote,
    Spending,
    Structured,
    Text,
    Think,
    Thought,
)
from activities.llm.transcript import Conversation, Exchange, Transcripts, compacted
from common.agents.agent import Cost
from common.artifacts import ArtifactRef, ArtifactStore
from common.errors import permanent
from common.settings import Settings, SettingsError
from common.settings.models import check_model, provider_of

# Below this many characters of material, something else is too long for the model.
LEAST_MATERIAL = 500
# A text longer than this takes at least one token per `BYTES_A_TOKEN` bytes, whatever the tokenizer.
MANY_BYTES, BYTES_A_TOKEN = 10_000, 8


@dataclass(frozen=True)
class Caller:
    """Who asks: the agent, a key that is the same in every attempt, and the attempt's number."""

    agent: str
    key: str
    attempt: int = 1


class BudgetSpentError(Exception):
    """A budget is spent; `spending` says which."""

    def __init__(self, spending: Spending) -> None:
        super().__init__(spending.scope)
        self.spending = spending


class Providers(Protocol):
    """Finds the provider of a model."""

    def __call__(self, model: str) -> Provider:
        """The provider of `model`, `provider:NAME`."""
        ...


class ModelRunner:
    """Runs requests with the model they name, within their budget."""

    def __init__(
        self,
        settings: Settings,
        artifacts: ArtifactStore,
        *,
        outputs: Mapping[str, OutputType] | None = None,
        providers: Providers | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`outputs` adds output types by name; `providers` replaces the API providers."""
        self._settings = settings
        self._transcripts = Transcripts(artifacts)
        self._outputs = Outputs(outputs)
        self._providers = providers or self._api_model
        self._prices = Prices(settings.language_models.prices)
        self._now = now
        self._analyst = OfflineAnalyst()
        self.ledger = Ledger.of(settings)

    @property
    def limits(self) -> BudgetLimits:
        """The limits of the settings, without any agent's own."""
        return BudgetLimits.of(self._settings.language_models, None, None)

    def think(self, think: Think, caller: Caller) -> Thought:
        """The reply to `think`, or the budget that stopped it.

        Raises:
            ApplicationError: it failed. Types: `BadModelOutput`, `ModelNotSetUp`, `PriceUnknown`,
                `NeedsLanguageModel`, `UnknownOutputType`, and those of `failures.py`.
        """
        model = think.model or self._settings.model
        think = think.model_copy(update={"material": self._transcripts.load(think.material)})
        if model == OFFLINE:
            with observe_call(OFFLINE, think.max_output_tokens):
                return Thought(reply=self._offline(think))
        try:
            check_model(model, self._settings.model, self._settings.language_models)
        except SettingsError as error:
            raise permanent("ModelNotSetUp", str(error)) from None
        try:
            return Thought(reply=_Request(self, think, model, caller).answer())
        except BudgetSpentError as spent:
            return Thought(stopped=spent.spending)
        except ProviderError as failed:
            raise failed.error from failed

    def exchange(
        self, call: Call, limits: BudgetLimits, prompt: Prompt, attempt: int
    ) -> tuple[Completion, list[str]]:
        """Make one exchange, reserved before and settled afterwards; also return budgets nearly spent."""
        held = self.ledger.reserve(call, limits)
        if isinstance(held, Spending):
            raise BudgetSpentError(held)
        if isinstance(held, Recorded):
            return Completion.model_validate_json(held.answer), self._nearly_spent(call, limits)
        provider = self._providers(call.model)
        self.ledger.mark_sent(held)
        try:
            with observe_call(call.model, prompt.max_output_tokens) as stats:
                got = provider.complete(prompt, attempt)
                usd = self._prices.usd(call.model, got.input_tokens, got.output_tokens)
                stats.input_tokens, stats.output_tokens = got.input_tokens, got.output_tokens
                stats.usd, stats.cut = usd, got.cut
        except ProviderError as failed:
            (self.ledger.mark_lost if failed.may_have_cost else self.ledger.release)(held)
            raise
        self.ledger.settle(held, got.input_tokens + got.output_tokens, usd, got.model_dump_json())
        return got, self._nearly_spent(call, limits)

    def _nearly_spent(self, call: Call, limits: BudgetLimits) -> list[str]:
        return [_nearly(spending) for spending in self.ledger.nearly_spent(call, limits)]

    def _api_model(self, model: str) -> Provider:
        from activities.llm.providers import ApiModel

        same = provider_of(model) == provider_of(self._settings.model)
        address = self._settings.language_models.address if same else ""
        return ApiModel(model, self._settings.language_models, address=address)

    def _offline(self, think: Think) -> Reply:
        value: JsonValue = None
        choice = ""
        quotes: list[SourceQuote] = []
        match think.want:
            case Choose():
                text = choice = self._analyst.choose(think.instruction, think.material, think.want.options)
            case Structured():
                value = self._outputs.offline(think, self._analyst)
                text = json.dumps(value, ensure_ascii=False)
            case Text():
                text, quotes = self._analyst.summarise(think.instruction, think.material)
        exchange = Exchange(instruction=think.instruction, material=think.material, answer=text)
        return Reply(
            model=OFFLINE,
            text=text,
            value=value,
            choice=choice,
            quotes=tuple(quotes),
            transcript=self._transcripts.append(think.after, exchange),
        )


@dataclass
class _Request:
    """One request in progress."""

    runner: ModelRunner
    think: Think
    model: str
    caller: Caller
    notes: list[str] = field(default_factory=list)
    nearly_spent: list[str] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    exchanges: int = 0
    head: ArtifactRef | None = None
    conversation: Conversation = field(default_factory=Conversation)
    compacted: bool = False

    def answer(self) -> Reply:
        think, transcripts = self.think, self.runner._transcripts
        self.head, self.conversation = think.after, transcripts.read(think.after)
        got = self._ask()
        try:
            value, choice = self.runner._outputs.read(got.text, self.think)
        except BadOutputError as error:
            flaw = strip_imitations(str(error))
            self.notes.append(f"the first answer was invalid and was repaired: {flaw}"[:500])
            cut = f"It was cut off after {think.max_output_tokens} tokens. " if got.cut else ""
            repair = f"That was not a valid answer: {flaw}. {cut}Answer again, correctly."
            # Some providers refuse an empty message.
            got = self._ask(
                Turn("assistant", strip_imitations(got.text) or "(no answer)"), Turn("user", repair)
            )
            try:
                value, choice = self.runner._outputs.read(got.text, self.think)
            except BadOutputError as still:
                # The answers were paid for, so report their cost.
                spent = Cost(
                    input_tokens=self.input_tokens,
                    output_tokens=self.output_tokens,
                    usd=self._usd() or Decimal(0),
                )
                said = f"{self.model}: {strip_imitations(str(still))}"[:1000]
                raise permanent("BadModelOutput", said, spent) from None
        material = self.think.material
        if material != think.material:
            kept, whole = (sum(len(part.text) for part in each) for each in (material, think.material))
            self.notes.append(
                f"the material was too long for {self.model}: "
                f"of its {whole:,} characters it was given {kept:,}"
            )
        answer = strip_imitations(got.text)
        text = choice or answer
        if got.cut and isinstance(think.want, Text):
            text += f"\n\n{cut_remark(think.max_output_tokens)}"
        exchange = Exchange(instruction=think.instruction + _options(think), material=material, answer=answer)
        return Reply(
            model=self.model,
            text=text,
            value=value,
            choice=choice,
            transcript=transcripts.append(self.head, exchange),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            usd=self._usd(),
            notes=tuple(self.notes),
            nearly_spent=tuple(self.nearly_spent),
            cut=got.cut,
        )

    def _ask(self, *more: Turn) -> Completion:
        """Make one exchange; if it is too long, shorten the conversation, then the material, and repeat."""
        while True:
            task = task_text(self.think.instruction + _options(self.think), self.think.material)
            try:
                return self._exchange([*self.conversation.turns(), Turn("user", task), *more])
            except ProviderError as failed:
                if not (failed.too_long and (self._compact() or self._halve_material())):
                    raise

    def _exchange(self, turns: list[Turn]) -> Completion:
        think, runner = self.think, self.runner
        prompt = Prompt(turns, think.max_output_tokens, runner._outputs.schema(think))
        self.exchanges += 1
        limits = BudgetLimits.of(runner._settings.language_models, think.budget.tokens, think.budget.usd)
        # Upper bound: all tokens at the higher of the input and output price.
        most = prompt.most_tokens
        prices = runner._prices.usd(self.model, most, 0), runner._prices.usd(self.model, 0, most)
        usd = None if None in prices else max(each for each in prices if each is not None)
        if usd is None and (limits.agent_usd or limits.owner_usd) is not None:
            raise permanent(
                "PriceUnknown",
                f"{self.model} has no known price, and a budget is in dollars: set HIBERNAUT_MODEL_PRICES",
            )
        call = Call(
            key=f"{self.caller.key}/{self.exchanges}",
            agent=self.caller.agent,
            owner_day=f"{think.owner}:{runner._now():%Y-%m-%d}",
            model=self.model,
            tokens=most,
            usd=usd,
        )
        got, nearly_spent = runner.exchange(call, limits, prompt, self.caller.attempt)
        self.input_tokens += got.input_tokens
        self.output_tokens += got.output_tokens
        self.nearly_spent += nearly_spent
        sent = sum(len(turn.text.encode()) for turn in turns)
        if sent > max(MANY_BYTES, BYTES_A_TOKEN * got.input_tokens):
            self.notes.append(
                f"{self.model} counted {got.input_tokens:,} tokens for {sent:,} bytes: its server "
                "may have cut them without saying so, as Ollama does beyond `num_ctx`"
            )
        return got

    def _compact(self) -> bool:
        """Compact the conversation; False if there is none, or it was compacted before."""
        if self.compacted or not self.conversation.exchanges:
            return False
        self.compacted = True
        self.conversation, note = compacted(self.conversation)
        self.notes.append(note)
        self.head = self.runner._transcripts.rewrite(self.conversation, self.head)
        return True

    def _halve_material(self) -> bool:
        """Keep half of the material; False if there is too little to be worth halving."""
        size = sum(len(each.text) for each in self.think.material)
        if size < LEAST_MATERIAL:
            return False
        self.think = self.think.model_copy(update={"material": shortened(self.think.material, size // 2)})
        return True

    def _usd(self) -> Decimal | None:
        usd = self.runner._prices.usd(self.model, self.input_tokens, self.output_tokens)
        if usd is None:
            self.notes.append(f"price unknown: {self.model}")
        return usd


def _options(think: Think) -> str:
    """The options of a choice, for the instruction: they are trusted text."""
    if not isinstance(think.want, Choose):
        return ""
    return "\n\nChoose one of:\n" + "\n".join(f"- {each.id}: {each.text}" for each in think.want.options)


def _nearly(spending: Spending) -> str:
    of = [
        f"{spending.tokens:,} of {spending.tokens_limit:,} tokens" if spending.tokens_limit else "",
        f"{spending.usd:.4f} of {spending.usd_limit} US dollars" if spending.usd_limit else "",
    ]
    return f"over 80 % of the budget {spending.scope} is spent: {', '.join(filter(None, of))}"
