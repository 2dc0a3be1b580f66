"""The offline analyst, the default. It is not a language model, and its texts say so.

It ranks texts by the words they share with the instruction, and quotes them word for word. Apart from fixed
phrases it writes nothing of its own. The same request always gives the same reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from activities.llm.records import (
    OFFLINE,
    Material,
    ModelReply,
    ModelRequest,
    Option,
    Quote,
    RankedItem,
    SourceQuote,
)
from activities.llm.sentences import (
    STOP_WORDS,
    bm25,
    count_stems,
    is_near,
    is_readable,
    lines_and_sentences,
    prose,
    rarity,
    stems,
    wanted_words,
    weak_match,
)

EXTRACTIVE = "Extractive summary by the offline analyst, no language model: every sentence is a quote."
WEAK = "Weak match: "
NOTHING_FOUND = "The offline analyst found no readable sentence in the material."
SENTENCES = 8


class OfflineAnalyst:
    """Ranks by Okapi BM25 over word stems, and extracts sentences. Costs no tokens."""

    def rank(self, request: ModelRequest) -> ModelReply:
        """Rank items by shared words; quote from each the sentence that shares the most."""
        wanted = wanted_words(request.instruction)
        texts = [(item, count_stems(item.text)) for item in request.items]
        weight = _weights(wanted, [counts for _, counts in texts])
        usual = sum(counts.total() for _, counts in texts) / max(len(texts), 1)
        scored = sorted(
            ((bm25(counts, weight, usual), item) for item, counts in texts),
            key=lambda pair: (-pair[0], pair[1].id),
        )
        best = scored[0][0] if scored else 0.0
        ranking = [
            RankedItem(
                id=item.id,
                score=round(score / best, 4),
                reason="matches: "
                + ", ".join(word for stem, word in wanted.items() if stem in count_stems(item.text)),
                quote=best_sentence(item.text, weight),
            )
            for score, item in scored[: request.keep]
            if score > 0
        ]
        return ModelReply(model=OFFLINE, ranking=ranking)

    def extract(self, topic: str, material: Sequence[Material], keep: int = SENTENCES) -> list[SourceQuote]:
        """The `keep` sentences that say most about `topic`, without near duplicates, in reading order.

        If no sentence shares a word with `topic`, those that have the most in common with the others.
        """
        found = [
            _Sentence(number, each, start, end, count_stems(each.text[start:end]))
            for number, each in enumerate(material)
            for start, end in prose(each.text)
            if is_readable(each.text[start:end])
        ]
        counts = [sentence.counts for sentence in found]
        usual = sum(each.total() for each in counts) / max(len(counts), 1)
        weight = _weights(wanted_words(topic), counts)
        if not any(stem in each for stem in weight for each in counts):
            weight = _common(counts)
        scored = [(bm25(each.counts, weight, usual), each) for each in found]
        chosen: list[_Sentence] = []
        for score, sentence in sorted(scored, key=lambda pair: (-pair[0], pair[1].number, pair[1].start)):
            if len(chosen) == keep or score <= 0:
                break
            if not any(is_near(sentence.meaning, other.meaning) for other in chosen):
                chosen.append(sentence)
        return [each.quote() for each in sorted(chosen, key=lambda each: (each.number, each.start))]

    def summarise(self, topic: str, material: Sequence[Material]) -> tuple[str, list[SourceQuote]]:
        """The quotes of `extract`, as Markdown by source with a warning about a weak match, and as a list."""
        quotes = self.extract(topic, material)
        if not quotes:
            return NOTHING_FOUND, []
        weak = weak_match(topic, [each.text for each in quotes])
        lines = [EXTRACTIVE, *([f"{WEAK}{weak}."] if weak else [])]
        shown = ""
        for quote in quotes:
            if quote.material != shown:
                shown = quote.material
                lines += ["", _one_line(quote.source or quote.material)]
            lines.append(f"- “{_one_line(quote.text)}” [{_one_line(shown)}:{quote.start}-{quote.end}]")
        return "\n".join(lines), quotes

    def choose(self, instruction: str, material: Sequence[Material], options: Sequence[Option]) -> str:
        """The id of the option that shares the most words with the instruction; if none does, the first.

        The material breaks ties.
        """
        texts = [count_stems(f"{option.id} {option.text}") for option in options]
        usual = sum(each.total() for each in texts) / len(texts)
        scores = []
        for asked in (instruction, " ".join(each.text for each in material)):
            weight = _weights(wanted_words(asked), texts)
            scores.append([bm25(counts, weight, usual) for counts in texts])
        best = max(range(len(options)), key=lambda i: (scores[0][i], scores[1][i], -i))
        return options[best].id


def weakness(text: str) -> str:
    """The warning about a weak match in a text from `summarise`; empty if there is none."""
    found = [line for line in text.splitlines()[:2] if line.startswith(WEAK)]
    return found[0].removeprefix(WEAK).rstrip(".") if found else ""


def best_sentence(text: str, weight: dict[str, float]) -> Quote:
    """The sentence of `text` whose distinct wanted words have the highest total weight; ties: the first."""
    spans = lines_and_sentences(text) or [(0, len(text))]
    weights = [sum(weight.get(stem, 0.0) for stem in {s for _, s, _ in stems(text[a:b])}) for a, b in spans]
    start, end = spans[max(range(len(spans)), key=weights.__getitem__)]
    return Quote(text=text[start:end], start=start, end=end)


@dataclass(frozen=True)
class _Sentence:
    number: int
    material: Material
    start: int
    end: int
    counts: Counter[str]

    @property
    def meaning(self) -> frozenset[str]:
        return frozenset(self.counts) - STOP_WORDS

    def quote(self) -> SourceQuote:
        text = self.material.text[self.start : self.end]
        return SourceQuote(
            text=text,
            start=self.start,
            end=self.end,
            material=self.material.id,
            source=self.material.source,
        )


def _weights(wanted: dict[str, str], texts: Sequence[Counter[str]]) -> dict[str, float]:
    return {stem: rarity(sum(stem in counts for counts in texts), len(texts)) for stem in wanted}


def _common(texts: Sequence[Counter[str]]) -> dict[str, float]:
    """Weights for the stems that occur in the most texts."""
    holders = Counter(stem for counts in texts for stem in counts if stem not in STOP_WORDS)
    return {stem: count / len(texts) for stem, count in holders.most_common(30)}


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
