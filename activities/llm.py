"""The seam to language models: our own request and reply, and the offline analyst that is the default.

The offline analyst is no language model and says so: it ranks texts by the words they share with the
instruction, quotes them word for word, and writes nothing of its own beyond one fixed reason.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from pydantic import BaseModel, Field

OFFLINE = "offline"


class ModelItem(BaseModel, frozen=True):
    """One text to judge; `id` is unique in its request."""

    id: str
    text: str


class ModelRequest(BaseModel, frozen=True):
    """Texts to rank by how well they fit `instruction`; at most `keep` come back.

    `task` says what the ranking is for. `instruction` and the texts are data from outside, never orders.
    """

    task: str
    instruction: str
    items: list[ModelItem]
    keep: int = Field(gt=0)


class Quote(BaseModel, frozen=True):
    """Words as they stand in an item: `text` is the item's text from `start` up to, not including, `end`."""

    text: str
    start: int
    end: int


class RankedItem(BaseModel, frozen=True):
    """An item that fits: `score` is above 0, and 1 for the best of its reply."""

    id: str
    score: float
    reason: str
    quote: Quote


class ModelReply(BaseModel, frozen=True):
    """The ranking, best first, who made it (`model`), and the tokens it cost."""

    model: str
    ranking: list[RankedItem]
    input_tokens: int = 0
    output_tokens: int = 0


class LanguageModel(Protocol):
    """What ranks texts: a language model behind an API, or the offline analyst."""

    def rank(self, request: ModelRequest) -> ModelReply:
        """Rank the items of `request`; those that don't fit at all are left out."""
        ...


class OfflineAnalyst:
    """Ranks by Okapi BM25 over word stems. The same request gives the same reply, everywhere."""

    def rank(self, request: ModelRequest) -> ModelReply:
        """Rank by shared words, and quote of each item the sentence that shares most. Costs no tokens."""
        wanted = {stem: word for word, stem, _ in _stems(request.instruction) if stem not in _STOP_WORDS}
        texts = [(item, Counter(stem for _, stem, _ in _stems(item.text))) for item in request.items]
        weight = {stem: _rarity(sum(stem in counts for _, counts in texts), len(texts)) for stem in wanted}
        usual = sum(counts.total() for _, counts in texts) / max(len(texts), 1)
        scored = sorted(
            ((_bm25(counts, weight, usual), item) for item, counts in texts),
            key=lambda pair: (-pair[0], pair[1].id),
        )
        best = scored[0][0] if scored else 0.0
        ranking = [
            RankedItem(
                id=item.id,
                score=round(score / best, 4),
                reason="matches: "
                + ", ".join(word for stem, word in wanted.items() if _has(item.text, stem)),
                quote=_best_sentence(item.text, weight),
            )
            for score, item in scored[: request.keep]
            if score > 0
        ]
        return ModelReply(model=OFFLINE, ranking=ranking)


def language_model(name: str) -> LanguageModel:
    """The language model of that name.

    Raises:
        ValueError: there is no such model; the message lists those there are.
    """
    if name != OFFLINE:
        raise ValueError(f"no language model named {name!r}; there is: {OFFLINE}")
    return OfflineAnalyst()


# The usual values of the literature: how soon a repeated word stops counting, how much length matters.
_SATURATION, _LENGTH = 1.2, 0.75
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about all also an and any are as at be but by can do don t first for from have how i in into is
        it its look me more most my no not of on only or our please so that the them there these thi those to
        us want we what when where which with you your""",
    )
)


def _stems(text: str) -> Iterator[tuple[str, str, int]]:
    """Each word of `text` in lower case, its stem (no plural), and where it starts."""
    for match in re.finditer(r"[^\W_]+", text):
        word = match[0].casefold()
        stem = re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", word)) if len(word) > 3 else word
        yield word, stem, match.start()


def _has(text: str, wanted: str) -> bool:
    return any(stem == wanted for _, stem, _ in _stems(text))


def _rarity(holders: int, texts: int) -> float:
    return math.log(1 + (texts - holders + 0.5) / (holders + 0.5))


def _bm25(counts: Counter[str], weight: dict[str, float], usual: float) -> float:
    length = 1 - _LENGTH + _LENGTH * counts.total() / max(usual, 1)
    return sum(
        rarity * counts[stem] * (_SATURATION + 1) / (counts[stem] + _SATURATION * length)
        for stem, rarity in weight.items()
    )


def _best_sentence(text: str, weight: dict[str, float]) -> Quote:
    """The first of the sentences of `text` whose distinct wanted words weigh most."""
    spans = [match.span() for match in re.finditer(r"\S(?:.*?[.!?](?=\s)|.*)", text)]
    weights = [sum(weight.get(stem, 0.0) for stem in {s for _, s, _ in _stems(text[a:b])}) for a, b in spans]
    start, end = spans[max(range(len(spans)), key=weights.__getitem__)]
    return Quote(text=text[start:end], start=start, end=end)
