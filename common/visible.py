"""Shows what a text hides: characters that are not seen, steer a terminal, or look like others."""

from __future__ import annotations

import re
import unicodedata

# Printable by their category, and yet drawn as nothing: fillers, blanks, variation selectors.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Letters of other scripts that are drawn as Latin ones; the slashes and dots below likewise.
_LOOKALIKES = frozenset("аеорсухіјѕһԁԛԝҽӏАВЕКМНОРСТУХІЈЅԚԜӀονρυΑΒΕΖΗΙΚΜΝΟΡΤΥΧϲϹօոսհցքԼՍՕɑɡɩ")
_SIGNS = frozenset("⁄∕⧸∖⧹․‚ꓸ։∶ː‐‑ǃǀ")
_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"\w+")


def visible(text: str) -> str:
    r"""`text` with what would not be seen for what it is as `\u202e`, as JSON writes it; lines stay lines.

    A letter that looks like a Latin one counts where it stands among Latin letters, or in a word that has no
    other letters: not in a text that is written in its script.
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    hidden = {sign for sign in set(text) if sign != "\n" and _is_hidden(sign)}
    disguised = {place for token in _TOKEN.finditer(text) for place in _disguised(token[0], token.start())}
    return "".join(
        _escape(sign) if sign in hidden or place in disguised else sign for place, sign in enumerate(text)
    )


def _is_hidden(sign: str) -> bool:
    if not sign.isprintable() or _BLANK.match(sign) or sign in _SIGNS:
        return True
    if sign.isascii() or unicodedata.decomposition(sign).startswith(("<super>", "<sub>", "<circle>")):
        return False
    plain = unicodedata.normalize("NFKC", sign)
    return len(plain) == 1 and plain.isascii()


def _disguised(token: str, start: int) -> list[int]:
    """The places of letters that pass for Latin ones."""
    if token.isascii():
        return []
    is_latin = any(sign.isascii() and sign.isalpha() for sign in token)
    found = []
    for word in _WORD.finditer(token):
        foreign = [sign for sign in word[0] if not sign.isascii() and sign.isalpha()]
        mixed = any(sign.isascii() and sign.isalpha() for sign in word[0])
        only = _LOOKALIKES.issuperset(foreign)
        if mixed or (only and (is_latin or len(foreign) > 2)):
            places = enumerate(word[0], start + word.start())
            found += [place for place, sign in places if sign in _LOOKALIKES]
    return found


def _escape(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
