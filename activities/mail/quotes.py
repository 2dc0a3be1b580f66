"""Extracts what the author of an answer wrote, without quotes, quote headers and signatures."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from activities.documents.extract import body_text, tree_of

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_CHARACTERS = 16_000
# Only this many characters are examined: on hostile input the library's patterns are worse than linear.
_LOOKED_AT = 60_000
_SECONDS = 3.0
_LANGUAGES = ("en", "de", "cs", "da", "es", "fr", "it", "nl", "pl", "sv")
_ORIGINAL = re.compile(
    r"^[-_]{2,}\s?(original|urspr|message d|mensaje|mensagem|messaggio|oorspronk|weitergel|forwarded)"
    r"[^\n]{0,40}$",
    re.IGNORECASE,
)
_SENT_FROM = re.compile(
    r"^(sent from (my|outlook|mail|yahoo)|get outlook for|(gesendet|von meinem \w+ gesendet"
    r"|envoyé (de|depuis)|enviado (desde|do)|inviato da|verzonden vanaf|skickat från|sendt fra))"
    r"\b[^\n]{0,80}$",
    re.IGNORECASE,
)
# How mail programs mark quoted text.
_QUOTES = (
    "//blockquote[@type='cite' or contains(@class, 'quote') or contains(@class, 'cite')]",
    "//div[contains(@class, 'gmail_quote') or contains(@class, 'yahoo_quoted')]",
    "//div[contains(@class, 'moz-cite-prefix') or contains(@class, 'protonmail_quote')]",
)
# Everything after these elements is quoted as well.
_BEGINNINGS = (
    "//*[@id='divRplyFwdMsg' or @id='appendonsend' or @id='stopSpelling'"
    " or @id='mail-editor-reference-message-container']"
)


def own_words(text: str) -> str:
    """What the author wrote, at most 16,000 characters; the whole text if nothing would be left."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    looked_at = text[:_LOOKED_AT]
    try:
        with _at_most(_SECONDS):
            own = _without_signature(_without_quotes(looked_at))
    except TimeoutError:
        own = "\n".join(line for line in looked_at.split("\n") if not line.lstrip().startswith(">"))
    return (own.strip() or text.strip())[:MAX_CHARACTERS]


def html_words(html: str) -> str:
    """The text of an HTML mail without marked quotes, or all of it if nothing would be left."""
    tree = tree_of(html)
    if tree is None:
        return ""
    for path in _QUOTES:
        for element in tree.xpath(path):
            _drop(element)
    for element in tree.xpath(_BEGINNINGS):
        for sibling in list(element.itersiblings()):
            _drop(sibling)
        _drop(element)
    if own := body_text(tree).strip():
        return own
    whole = tree_of(html)
    return body_text(whole).strip() if whole is not None else ""


def _drop(element: _Element) -> None:
    """Remove an element but keep the text after it, which lxml counts as part of it."""
    parent = element.getparent()
    if parent is None:
        return
    previous = element.getprevious()
    if previous is None:
        parent.text = (parent.text or "") + "\n" + (element.tail or "")
    else:
        previous.tail = (previous.tail or "") + "\n" + (element.tail or "")
    parent.remove(element)


def _without_quotes(text: str) -> str:
    from mailparser_reply.parser import EmailMessage

    parts = EmailMessage(text=text, languages=list(_LANGUAGES)).read().replies
    own: list[str] = []
    for number, part in enumerate(parts):
        lines = part.full_body.split("\n")
        marked = any(line.startswith(">") for line in lines)
        if number and not marked:
            # An unmarked quote; everything after it is quoted as well.
            break
        own += [line for line in lines if not line.startswith(">")]
    return "\n".join(own)


def _without_signature(text: str) -> str:
    lines: list[str] = []
    for line in text.split("\n"):
        if line.rstrip() == "--" or _ORIGINAL.match(line.strip()):
            break
        lines.append(line)
    while lines and (not lines[-1].strip("_- \t") or _SENT_FROM.match(lines[-1].strip())):
        lines.pop()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt the block after `seconds`. Works only in the main thread, and does not nest."""

    def end(*_: object) -> None:
        raise TimeoutError

    before: Callable[..., object] | int | None = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
