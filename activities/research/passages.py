"""Finds what pages say about a topic, by rules: ranks links, finds passages and quotes. Pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from activities.llm.sentences import (
    COMMON_WORDS,
    STOP_WORDS,
    count_stems,
    is_near,
    is_readable,
    prose,
    scorer,
    wanted_words,
)
from activities.research.records import Claim
from common.agents.researcher import SavedLink

QUOTES = 12
_FULL_WORDS = 14
# How much of a page a language model is shown; about six thousand tokens.
EXCERPT_CHARACTERS = 24_000
_JUDGED_CHARACTERS = 200_000
# A page with a smaller share of sentences is an index, or something else that can hardly be quoted.
LEAST_PROSE = 0.2
_BULLET = re.compile(r"(?:[-*•–]\s+)+(?=\S)")
_NO_PAGE = re.compile(
    r"\.(zip|gz|bz2|xz|tgz|tar|whl|exe|png|jpe?g|gif|svg|ico|webp|css|js|json|xml|mp[34]|woff2?|epub)$", re.I
)


def ranked_links(topic: str, links: Sequence[SavedLink], keep: int) -> list[SavedLink]:
    """The `keep` best links for `topic` by BM25 over their words and paths; ties keep their order.

    Links that share no word with the topic come last; links to files without text are left out.
    """
    pages = [link for link in links if not _NO_PAGE.search(urlsplit(link.url).path)]
    texts = [count_stems(f"{link.text} {unquote(urlsplit(link.url).path)}") for link in pages]
    score = scorer(topic, texts)
    order = sorted(range(len(pages)), key=lambda place: (-score(texts[place]), place))
    chosen: dict[str, SavedLink] = {}
    for place in order:
        chosen.setdefault(_same_page(pages[place].url), pages[place])
    return list(chosen.values())[:keep]


def by_relevance(topic: str, texts: Sequence[str]) -> list[int]:
    """The indices of `texts`, most relevant to `topic` first, by BM25 over their beginnings."""
    counts = [count_stems(text[:_JUDGED_CHARACTERS]) for text in texts]
    score = scorer(topic, counts)
    return sorted(range(len(texts)), key=lambda place: (-score(counts[place]), place))


def best_quotes(topic: str, text: str, *, lines: bool, keep: int = QUOTES) -> list[Claim]:
    """The `keep` sentences of `text` that say most about `topic`, best first, without near duplicates.

    Args:
        topic: in words.
        text: the page's text.
        lines: whether each line is a separate block, as in the text of an HTML page.
        keep: the most to return.
    """
    sentences = [_Sentence.of(text, span) for span in spans(text, lines=lines)]
    sentences = [each for each in sentences if _is_whole(each.text)]
    score = scorer(topic, [each.counts for each in sentences])
    # BM25 favours very short sentences, which say little.
    scored = [(score(each.counts) * min(each.counts.total() / _FULL_WORDS, 1), each) for each in sentences]
    scored.sort(key=lambda pair: (-pair[0], pair[1].start))
    chosen: list[tuple[float, _Sentence]] = []
    for value, sentence in scored:
        if len(chosen) == keep or value <= 0:
            break
        if not any(is_near(sentence.meaning, other.meaning) for _, other in chosen):
            chosen.append((value, sentence))
    return [
        Claim(says="", quote=each.text, start=each.start, end=each.end, score=round(value, 4))
        for value, each in chosen
    ]


def reads_like_index(text: str, *, lines: bool) -> bool:
    """Whether `text` has hardly any sentences, as on pages that list others."""
    prosaic = (end - start for start, end in spans(text, lines=lines) if is_readable(text[start:end]))
    return sum(prosaic) < len(text) * LEAST_PROSE


def excerpt(topic: str, text: str, limit: int = EXCERPT_CHARACTERS) -> str:
    """The passages of `text` most relevant to the topic, in reading order; all of it if it is short."""
    if len(text) <= limit:
        return text
    blocks = [match.span() for match in re.finditer(r"\S.{0,2000}", text)]
    counts = [count_stems(text[start:end]) for start, end in blocks]
    score = scorer(topic, counts)
    left, chosen = limit, set[int]()
    for place in sorted(range(len(blocks)), key=lambda place: (-score(counts[place]), place)):
        start, end = blocks[place]
        if end - start + 2 <= left:
            left -= end - start + 2
            chosen.add(place)
    return "\n\n".join(text[slice(*blocks[place])] for place in sorted(chosen))


def spans(text: str, *, lines: bool) -> Iterator[tuple[int, int]]:
    """The spans of the sentences in `text`, without leading bullets."""
    for block in re.finditer(r"[^\n]+" if lines else r"(?s).+", text):
        for start, end in prose(block[0]):
            bullet = _BULLET.match(block[0], start, end)
            yield block.start() + (bullet.end() if bullet else start), block.start() + end


def shared_terms(topic: str, pages: Sequence[Sequence[str]], keep: int) -> list[str]:
    """Words shared by quotes of two or more pages: the topic's own first, then those on the most pages."""
    asked = wanted_words(topic)
    on_pages: Counter[str] = Counter()
    in_quotes: Counter[str] = Counter()
    words: dict[str, Counter[str]] = {}
    for quotes in pages:
        seen = set[str]()
        for quote in quotes:
            meant = {stem: word for stem, word in wanted_words(quote).items() if _is_term(stem)}
            in_quotes.update(meant.keys())
            seen |= meant.keys()
            for stem, word in meant.items():
                words.setdefault(stem, Counter())[word] += 1
        on_pages.update(seen)
    shared = [stem for stem, count in on_pages.items() if count >= 2]
    shared.sort(key=lambda stem: (stem not in asked, -on_pages[stem], -in_quotes[stem], stem))
    return [words[stem].most_common(1)[0][0] for stem in shared[:keep]]


def are_relevant(topic: str, quotes: Sequence[str]) -> list[bool]:
    """Which of `quotes` (of all pages) score at least a fifth of the best one on `topic`."""
    counts = [count_stems(quote) for quote in quotes]
    score = scorer(topic, counts)
    scores = [score(each) for each in counts]
    return [each > 0 and each >= max(scores) / 5 for each in scores]


def holds(text: str, word: str) -> bool:
    """Whether `text` contains `word`, in singular or plural."""
    return bool(count_stems(text).keys() & count_stems(word).keys())


def near(one: str, other: str) -> bool:
    """Whether two quotes say nearly the same thing."""
    return is_near(_meaning(count_stems(one)), _meaning(count_stems(other)))


@dataclass(frozen=True)
class _Sentence:
    text: str
    start: int
    end: int
    counts: Counter[str]

    @classmethod
    def of(cls, text: str, span: tuple[int, int]) -> _Sentence:
        start, end = span
        return cls(text[start:end], start, end, count_stems(text[start:end]))

    @property
    def meaning(self) -> frozenset[str]:
        return _meaning(self.counts)


def _meaning(counts: Counter[str]) -> frozenset[str]:
    return frozenset(counts) - STOP_WORDS


def _is_whole(sentence: str) -> bool:
    """Whether it reads like a complete sentence, not like the rest of one split by markup."""
    first = next((char for char in sentence if char.isalpha()), "")
    return is_readable(sentence) and not first.islower() and len(sentence) <= 600


def _is_term(stem: str) -> bool:
    return len(stem) > 3 and not stem.isdecimal() and stem not in COMMON_WORDS


def _same_page(url: str) -> str:
    """The address without scheme, `index.html` and query, to identify a page of a site."""
    parts = urlsplit(url)
    return parts.netloc + re.sub(r"/index\.\w{2,5}$", "/", parts.path or "/")
