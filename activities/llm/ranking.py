"""Ranks texts with the configured model, from within other activities."""

from __future__ import annotations

import math

from temporalio.exceptions import ApplicationError

from activities.llm.activities import caller
from activities.llm.offline import OfflineAnalyst
from activities.llm.outputs import Rank, Ranking, find_quote
from activities.llm.records import (
    OFFLINE,
    LanguageModel,
    Material,
    ModelReply,
    ModelRequest,
    Quote,
    RankedItem,
    Structured,
    Think,
)
from activities.llm.runner import ModelRunner
from common.agents.agent import Cost
from common.settings import Settings

_WISHES = "wishes"
# Errors that mean the model gave no usable ranking; rules rank then, and the reply says so.
NOTHING_TO_USE = ("BadModelOutput", "ContextTooLong", "AnswerTooLarge", "ContentFiltered")


def ranker(runner: ModelRunner, settings: Settings) -> LanguageModel:
    """The ranker for the configured model, for use within an activity."""
    return OfflineAnalyst() if settings.model == OFFLINE else RankingModel(runner, settings.model)


class RankingModel:
    """Ranks with a language model within the agent's budget; offline once that is spent, or if it fails."""

    def __init__(self, runner: ModelRunner, model: str) -> None:
        self._runner = runner
        self._model = model

    def rank(self, request: ModelRequest) -> ModelReply:
        """Rank by structured output, checked: only known items, and only quotes found in their text."""
        if not request.instruction.strip() or not request.items:
            return OfflineAnalyst().rank(request)
        items = [Material(id=each.id, text=each.text) for each in request.items]
        think = Think(
            instruction=f"{request.task}: rank the materials by how well they fit what people want, which "
            f"the material {_WISHES!r} says. At most {request.keep}, best first, only those that fit. Score "
            "from 0 to 1. Quote of each the words that fit best, word for word.",
            material=(Material(id=_WISHES, text=request.instruction), *items),
            want=Structured(type="ranking"),
            model=self._model,
            max_output_tokens=16_000,
        )
        try:
            reply = self._runner.think(think, caller()).reply
        except ApplicationError as error:
            if error.type not in NOTHING_TO_USE:
                raise
            by_rules = OfflineAnalyst().rank(request)
            note = f"the language model's ranking cannot be used, rules rank: {error.type}: {error.message}"
            return by_rules.model_copy(update={"cost": next(iter(error.details), Cost()), "note": note})
        if reply is None:
            return OfflineAnalyst().rank(request)
        ranked = [each for each in Ranking.model_validate(reply.value).items if each.id != _WISHES]
        best = max((each.score for each in ranked), default=0.0)
        return ModelReply(
            model=reply.model,
            ranking=[
                RankedItem(
                    id=each.id,
                    score=round(each.score / best, 4),
                    reason=each.reason,
                    quote=_quote(each, items),
                )
                for each in sorted(ranked, key=lambda each: -each.score)[: request.keep]
                if each.score > 0 and math.isfinite(each.score)
            ],
            cost=reply.cost,
        )


def _quote(rank: Rank, items: list[Material]) -> Quote:
    return find_quote(rank.quote, items, rank.id) or Quote(text="", start=0, end=0)
