"""Finds the phrases of a playbook in a text, in time linear in the text's length.

A phrase is words in order. `a|b` stands for either word, `word*` for every word with that prefix (of three
letters or more), and `...` for up to eight words of the same sentence. With `=` before it, a phrase must be
the whole heading. `#` is the figure that a rule is about. There are no regular expressions, so that no
playbook can make a search run forever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_WORDS = 12
FIGURE = "#"
GAP = 8
_STEM = 3

# A number with its separators is one word. What follows an apostrophe within a word is dropped later.
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?|\w")
_SENTENCE_END = re.compile(r"[.;?!][\"”’)\]]?\s|\n\s*\n")
# Abbreviations whose full stop does not end a sentence.
_SHORT = frozenset(
    [
        "inc",
        "ltd",
        "co",
        "corp",
        "llc",
        "no",
        "nos",
        "art",
        "sec",
        "mr",
        "mrs",
        "ms",
        "dr",
        "st",
        "vs",
        "e.g",
        "i.e",
        "cf",
        "etc",
        "u.s",
    ]
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text in its plain form, its offsets, and the number of its sentence, from 0."""

    plain: str
    start: int
    end: int
    sentence: int


def words_of(text: str) -> list[Word]:
    """The words of a text in order."""
    found: list[Word] = []
    sentence, last = 0, 0
    for match in _WORD.finditer(text):
        start, end = match.span()
        if found and _SENTENCE_END.search(text, last, start) and found[-1].plain not in _SHORT:
            sentence += 1
        plain = match[0].lower().replace("’", "'")
        found.append(Word(plain.partition("'")[0], start, end, sentence))
        last = end
    return found


def sentence_span(words: Sequence[Word], at: int, text: str) -> tuple[int, int]:
    """Where the sentence that contains word number `at` begins and ends in `text`."""
    number = words[at].sentence
    first = last = at
    while first and words[first - 1].sentence == number:
        first -= 1
    while last + 1 < len(words) and words[last + 1].sentence == number:
        last += 1
    end = words[last + 1].start if last + 1 < len(words) else len(text)
    return words[first].start, words[first].start + len(text[words[first].start : end].rstrip())


def with_figures(words: Sequence[Word], figures: Iterable[tuple[int, int]]) -> list[Word]:
    """The words, with each figure (given by its first and last word) replaced by the single word `#`."""
    found: list[Word] = []
    at = 0
    for first, last in sorted(figures):
        if first >= at:
            found += words[at:first]
            found.append(Word(FIGURE, words[first].start, words[last].end, words[first].sentence))
            at = last + 1
    return [*found, *words[at:]]


class PhraseError(ValueError):
    """A text that is not a valid phrase; the message says why."""


@dataclass(frozen=True)
class Phrase:
    """A parsed phrase: for each place the words that may stand there; an empty tuple is a gap."""

    text: str
    places: tuple[tuple[str, ...], ...]
    whole: bool = False

    @classmethod
    def read(cls, text: str) -> Phrase:
        """Parse a phrase.

        Raises:
            PhraseError: it is not valid.
        """
        whole = text.startswith("=")
        parts = text.removeprefix("=").lower().replace("…", "...").split()
        if not parts or len(parts) > MAX_WORDS:
            raise PhraseError(f"a phrase has 1 to {MAX_WORDS} words")
        if "..." in (parts[0], parts[-1]):
            raise PhraseError("a phrase begins and ends with a word")
        places = tuple(() if part == "..." else _alternatives(part) for part in parts)
        return cls(text, places, whole)

    def ends(self, words: Sequence[Word], first: int) -> int:
        """The number of the word after the phrase, if it begins at word `first`; 0 if it does not."""
        at, sentence = first, words[first].sentence
        gap = False
        for place in self.places:
            if not place:
                gap = True
                continue
            last = min(at + GAP, len(words) - 1) if gap else at
            while at <= last and not (at < len(words) and _fits(words[at].plain, place)):
                at += 1
            if at > last or words[at].sentence != sentence:
                return 0
            at, gap = at + 1, False
        return at


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase that was found: its number among those looked for, and its first and last word."""

    phrase: int
    first: int
    last: int


class Phrases:
    """Searches for many phrases at once."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        self._phrases = tuple(phrases)
        self._by_word: dict[str, list[int]] = {}
        self._by_stem: dict[str, list[int]] = {}
        for number, phrase in enumerate(self._phrases):
            for word in phrase.places[0]:
                index = self._by_stem if word.endswith("*") else self._by_word
                index.setdefault(word[:_STEM] if word.endswith("*") else word, []).append(number)

    def find(self, words: Sequence[Word]) -> Iterator[Found]:
        """Every occurrence of one of the phrases, in order."""
        for at, word in enumerate(words):
            for number in (*self._by_word.get(word.plain, ()), *self._by_stem.get(word.plain[:_STEM], ())):
                phrase = self._phrases[number]
                end = phrase.ends(words, at)
                if end and not (phrase.whole and (at or end < len(words))):
                    yield Found(number, at, end - 1)

    def found_in(self, words: Sequence[Word]) -> Found | None:
        """The first occurrence of one of the phrases."""
        return next(self.find(words), None)

    def __bool__(self) -> bool:
        return bool(self._phrases)


def _alternatives(part: str) -> tuple[str, ...]:
    words = tuple(word for word in part.split("|") if word)
    for word in words:
        stem = word.removesuffix("*")
        if not stem.isalnum() and word != FIGURE:
            raise PhraseError(
                f"{part[:40]!r}: a phrase has words of letters and digits, `a|b`, `word*` and `...`"
            )
        if word.endswith("*") and len(stem) < _STEM:
            raise PhraseError(f"{part[:40]!r}: at least {_STEM} letters stand before `*`")
    if not words:
        raise PhraseError(f"{part[:40]!r} has no word")
    return words


def _fits(word: str, place: tuple[str, ...]) -> bool:
    return any(word.startswith(each[:-1]) if each.endswith("*") else word == each for each in place)
