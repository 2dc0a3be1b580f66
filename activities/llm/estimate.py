"""Estimates what a language model would cost without calling it: the offline analyst answers instead."""

from __future__ import annotations

from decimal import Decimal

from temporalio.exceptions import ApplicationError

from activities.llm.prompt import Prompt, Turn, task_text
from activities.llm.records import OFFLINE, Think, Thought
from activities.llm.runner import Caller, ModelRunner
from common.agents.agent import Cost
from common.errors import permanent
from common.settings import SettingsError
from common.settings.models import check_model

# Typical of English text with most tokenizers.
BYTES_A_TOKEN = 4
# If the analyst has no answer, assume a quarter of the allowed output tokens: models seldom use all of them.
USED = 4


class EstimatingRunner(ModelRunner):
    """Answers by rules, and estimates the tokens and money that the requested model would have taken."""

    def think(self, think: Think, caller: Caller) -> Thought:
        """The offline reply to `think`, with the estimated cost of the model that it names.

        Raises:
            ApplicationError: as for a `ModelRunner`; `BadModelOutput` if rules cannot give such an answer.
        """
        model = think.model or self._settings.model
        by_rules = think.model_copy(update={"model": OFFLINE})
        if model == OFFLINE:
            return super().think(by_rules, caller)
        try:
            check_model(model, self._settings.model, self._settings.language_models)
        except SettingsError as error:
            raise permanent("ModelNotSetUp", str(error)) from None
        told = f"{model} was not asked: tokens and money are estimated"
        try:
            reply = super().think(by_rules, caller).reply
        except ApplicationError as error:
            spent = self._cost(think, model, think.max_output_tokens // USED)
            message = f"{told}, and rules have no answer: {error.message}"
            raise permanent("BadModelOutput", message, spent) from None
        assert reply is not None
        cost = self._cost(think, model, len(reply.text.encode()) // BYTES_A_TOKEN + 1)
        priced = self._prices.usd(model, 1, 1) is not None
        notes = (*reply.notes, told if priced else f"{told}; price unknown: {model}")
        return Thought(reply=reply.model_copy(update={**dict(cost), "notes": notes}))

    def _cost(self, think: Think, model: str, written: int) -> Cost:
        task = task_text(think.instruction, self._transcripts.load(think.material))
        turns = [*self._transcripts.read(think.after).turns(), Turn("user", task)]
        prompt = Prompt(turns, think.max_output_tokens, self._outputs.schema(think))
        read = (prompt.most_tokens - think.max_output_tokens) // BYTES_A_TOKEN
        usd = self._prices.usd(model, read, written) or Decimal(0)
        return Cost(input_tokens=read, output_tokens=written, usd=usd)
