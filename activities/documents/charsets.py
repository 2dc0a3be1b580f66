"""Decodes text by the WHATWG Encoding Standard; if no character set is declared, detects it."""

from __future__ import annotations

import codecs
import re
import tomllib
from pathlib import Path

# Only these: Python's codecs also include compression, escapes and ciphers.
_LABELS: dict[str, str] = tomllib.loads(Path(__file__).with_name("charsets.toml").read_text("utf-8"))
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_COMMENT = re.compile(rb"<!--.*?(?:-->|$)", re.DOTALL)
_META = re.compile(rb"<meta[\s/]([^>]{0,500})", re.IGNORECASE)
_ATTRIBUTE = re.compile(rb"""([^\s/=>"']{1,40})\s*(?:=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']*)))?""")
_CONTENT = re.compile(rb"""charset\s*=\s*["']?\s*([^\s;"']{1,40})""", re.IGNORECASE)
_XML = re.compile(rb"""^\s{0,20}<\?xml[^>]{0,200}?encoding\s*=\s*["']\s*([A-Za-z0-9_:.-]{1,40})""")
# A declaration must be near the beginning; this is more than the standard demands.
_HEAD = 4096
_SAMPLE = 200_000


def decode(data: bytes, *, label: str | None = None, markup: bool = False) -> str:
    """``data`` as text.

    A byte order mark decides, then ``label``, then what the markup declares; invalid bytes become
    U+FFFD. If nothing is declared, it is UTF-8 if nearly all bytes are valid, else what a detector finds,
    else windows-1252. Never fails.

    Args:
        data: the bytes.
        label: the label in the sender's header; unknown ones are ignored.
        markup: look for a declaration in the text.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    declared = _CODECS.get((label or "").strip(" \t\n\f\r\"'").lower())
    if declared is None and markup:
        declared = _declared(_COMMENT.sub(b"", data[:_HEAD]))
    if declared is not None:
        return "\ufffd" if declared == "replacement" else data.decode(declared, "replace")
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    if not bad or sum(not char.isascii() for char in text) > 5 * bad:
        return text
    return data.decode(_detected(data), "replace")


def _declared(head: bytes) -> str | None:
    """The codec of the first declaration that names a known one."""
    names = [found[1] for found in [_XML.search(head)] if found]
    for tag in _META.findall(head):
        attributes: dict[bytes, bytes] = {}
        for name, *values in _ATTRIBUTE.findall(tag):
            attributes.setdefault(name.lower(), b"".join(values))
        if b"charset" in attributes:
            names.append(attributes[b"charset"].strip())
        elif attributes.get(b"http-equiv", b"").lower() == b"content-type":
            names += _CONTENT.findall(attributes.get(b"content", b""))[:1]
    codecs_named = (_CODECS.get(name.decode("ascii", "replace").lower()) for name in names)
    codec = next((each for each in codecs_named if each is not None), None)
    # The declaration was readable as ASCII, so the text is not UTF-16, whatever it declares.
    return "utf-8" if codec and codec.startswith("utf-16") else codec


def _detected(data: bytes) -> str:
    # Imported late: its tables load slowly, and few pages need them.
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE]).best()
    name = codecs.lookup(best.encoding if best else "cp1252").name
    # Newer editions of a character set that the web knows by its older name.
    name = {"euc_jis_2004": "euc_jp", "euc_jisx0213": "euc_jp"}.get(name, name)
    return name if name in _LABELS else _CODECS.get(name.replace("_", "-"), "cp1252")
