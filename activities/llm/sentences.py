"""Words, stems and sentences, and similarity of texts. Pure functions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

# The usual values of k1 and b: how soon a repeated word stops counting, and how much length matters.
_SATURATION, _LENGTH = 1.2, 0.75
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about all also an and any are as at be but by can do don t first for from have how i in into is
        it its look me more most my no not of on only or our please so that the them there these thi those to
        us want we what when where which with you your""",
    )
)
# Common words that carry little meaning.
COMMON_WORDS = frozenset(
    re.findall(
        r"\w+",
        """been before being both could does each even ever every given however into just like made make many
        might much must need never note often other over same should since some such than their then they this
        those through under until upon use used using very were while will with within without would also only
        because between here there following example called call new one two""",
    )
)
# A full stop after these does not end a sentence.
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|etc|dr|mr|mrs|ms|no|fig|sec|st|[a-z])\.$", re.I)
_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s)")


def stems(text: str) -> Iterator[tuple[str, str, int]]:
    """Each word of `text` in lower case, its stem (no plural), and where it starts."""
    for match in re.finditer(r"[^\W_]+", text):
        word = match[0].casefold()
        stem = re.sub(r"(?<=[^s])s$", "", re.sub(r"ies$", "y", word)) if len(word) > 3 else word
        yield word, stem, match.start()


def count_stems(text: str) -> Counter[str]:
    """How often each stem occurs in `text`."""
    return Counter(stem for _, stem, _ in stems(text))


def wanted_words(instruction: str) -> dict[str, str]:
    """The words of `instruction` that carry meaning, by stem."""
    return {stem: word for word, stem, _ in stems(instruction) if stem not in STOP_WORDS}


def weak_match(words: str, texts: Sequence[str]) -> str:
    """Why `texts`, chosen for words shared with `words`, match only weakly; empty if they match well."""
    wanted = {stem: word for stem, word in wanted_words(words).items() if stem not in COMMON_WORDS}
    shared = [wanted.keys() & count_stems(text).keys() for text in texts]
    if len(wanted) < 2 or any(len(each) > 1 for each in shared):
        return ""
    common = sorted({wanted[stem] for each in shared for stem in each})
    if not common:
        return "no quote shares a word with what was asked"
    return f"no quote shares more than one word with what was asked: {', '.join(common[:3])}"


def rarity(holders: int, texts: int) -> float:
    """The weight of a stem that occurs in `holders` of `texts` texts: the rarer, the higher."""
    return math.log(1 + (texts - holders + 0.5) / (holders + 0.5))


def bm25(counts: Counter[str], weight: Mapping[str, float], usual: float) -> float:
    """Okapi BM25 of a text for the wanted stems; `usual` is the mean length of the texts, in stems."""
    length = 1 - _LENGTH + _LENGTH * counts.total() / max(usual, 1)
    return sum(
        rare * counts[stem] * (_SATURATION + 1) / (counts[stem] + _SATURATION * length)
        for stem, rare in weight.items()
    )


def scorer(words: str, texts: Sequence[Counter[str]]) -> Callable[[Counter[str]], float]:
    """A function that scores a text for `words` by BM25, weighted by each word's rarity among `texts`."""
    usual = sum(each.total() for each in texts) / max(len(texts), 1)
    wanted = wanted_words(words)
    weight = {stem: rarity(sum(stem in counts for counts in texts), len(texts)) for stem in wanted}
    return lambda counts: bm25(counts, weight, usual)


def lines_and_sentences(text: str) -> list[tuple[int, int]]:
    """The spans of the sentences of each line."""
    return [match.span() for match in re.finditer(r"\S(?:.*?[.!?](?=\s)|.*)", text)]


def prose(text: str) -> list[tuple[int, int]]:
    """The spans of sentences in prose; they may cross line ends, but not blank lines or bullets."""
    spans = []
    for block in re.finditer(r"\S(?:(?!\n\s*\n|\n\s*[-*•#|>]).)*", text, re.DOTALL):
        start = block.start()
        for end in [m.end() for m in _END.finditer(text, start, block.end())] + [block.end()]:
            piece = text[start:end]
            if end < block.end() and not _ends_here(piece, text[end : block.end()]):
                continue
            stripped = piece.strip()
            if stripped:
                begin = start + len(piece) - len(piece.lstrip())
                spans.append((begin, begin + len(stripped)))
            start = end
    return spans


def is_readable(sentence: str) -> bool:
    """Whether it reads like a sentence rather than a menu, a heading or a table."""
    words = sentence.split()
    letters = sum(char.isalpha() or char.isspace() for char in sentence)
    ended = sentence.rstrip("\"'”’)]")[-1:] in (".", "!", "?")
    return ended and 5 <= len(words) <= 70 and letters >= 0.75 * len(sentence)


def is_near(one: Set[str], other: Set[str]) -> bool:
    """Whether two sentences, as sets of stems, say nearly the same thing."""
    return bool(one and other) and len(one & other) >= 0.7 * min(len(one), len(other))


def _ends_here(piece: str, rest: str) -> bool:
    following = rest.lstrip()[:1]
    return not (following.islower() or _ABBREVIATION.search(piece))
