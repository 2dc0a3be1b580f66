"""Reads untrusted documents such as contracts with their structure: text, Markdown, HTML, PDF and DOCX."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from activities.documents.extract import MAX_BYTES, ReadingLimits, charset_of
from activities.documents.structure import StructuredDocument, UnreadableError
from activities.fork_server import ForkServer
from activities.isolated_call import LimitsExceededError, ProcessLimits

# Loads the parsers once. A process reads several documents: forking costs as much as reading a short one.
_SERVER = ForkServer("activities.documents.reader_entry", calls=25)

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"RIFF")
_HEAD = 4096
_KINDS = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    # Files that claim one of these may be plain text.
    "application/msword": "text",
    "application/rtf": "text",
}


def read_structured(
    data: bytes,
    media_type: str,
    limits: ReadingLimits | None = None,
    heartbeat: Callable[[], None] = lambda: None,
) -> StructuredDocument:
    """The structure of a document. Blocks; the work is done in a separate process with limits.

    Args:
        data: the document, at most 20 MB.
        media_type: what it claims to be (`STRUCTURED_TYPES`); its first bytes decide. Parameters after a
            semicolon are read for `charset`.
        limits: of that process.
        heartbeat: called every second; whatever it raises ends the reading.

    Raises:
        UnreadableError: it cannot be read; `code` says why.
    """
    limits = limits or ReadingLimits()
    argument = argument_for(data, media_type, limits.pages)
    own = ProcessLimits(limits.memory, limits.cpu_seconds, limits.seconds)
    try:
        answer = _SERVER.run("structure", data, argument, own, heartbeat)
    except LimitsExceededError as error:
        raise UnreadableError("bomb", f"reading it went over its limits: {error}") from None
    return document_of(answer, argument)


def argument_for(data: bytes, media_type: str, pages: int = ReadingLimits().pages) -> dict[str, Any]:
    """The argument for `reader_entry.structure`; `media_type` is only what `data` claims to be.

    Raises:
        UnreadableError: nothing reads it.
    """
    claimed, _, parameters = media_type.partition(";")
    return {
        "kind": _kind(data, claimed.strip().lower()),
        "media_type": "application/xhtml+xml" if "xhtml" in claimed else "text/html",
        "charset": charset_of(parameters),
        "pages": pages,
    }


def document_of(answer: bytes, argument: dict[str, Any]) -> StructuredDocument:
    """The document in what `reader_entry.structure` returned for `argument`.

    Raises:
        UnreadableError: it could not be read, or holds no text.
    """
    if answer.startswith(b'{"code"'):
        failed = json.loads(answer)
        raise UnreadableError(failed["code"], failed["error"])
    found = StructuredDocument.model_validate_json(answer)
    if not found.text:
        raise UnreadableError("empty", "it holds no text")
    if argument["kind"] == "markdown":
        found = found.model_copy(update={"media_type": "text/markdown"})
    return found


def _kind(data: bytes, claimed: str) -> str:
    """Which reader a document needs, by its first bytes and then by what it claims to be."""
    if len(data) > MAX_BYTES:
        raise UnreadableError("too_large", f"{len(data)} bytes; at most {MAX_BYTES} are read")
    head = data[:_HEAD]
    if not data.strip():
        raise UnreadableError("empty", "the file is empty")
    if data.startswith(_OLE):
        if _ENCRYPTED_OFFICE in data:
            raise UnreadableError("encrypted", "the Office file is encrypted")
        raise UnreadableError("legacy", "it is in the format of Office before 2007; save it as DOCX or PDF")
    if head.lstrip().startswith(b"{\\rtf"):
        raise UnreadableError("legacy", "it is RTF; save it as DOCX or PDF")
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        if b"application/vnd.oasis.opendocument" in head[:200]:
            raise UnreadableError("unsupported", "it is an OpenDocument file; save it as DOCX or PDF")
        return "docx"
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if data.startswith(_PICTURES):
        raise UnreadableError("scanned", "it is a picture; text recognition comes first")
    small = head.removeprefix(_MARKS[2]).lstrip().lower()
    if b"<w:worddocument" in small or b"<pkg:package" in small or small.startswith(b"mime-version:"):
        raise UnreadableError("legacy", "it is in an old format of Office; save it as DOCX or PDF")
    if not data.startswith(_MARKS) and _is_binary(head):
        if claimed in _KINDS and claimed != "application/msword":
            raise UnreadableError("unsupported", "it is no text")
        raise UnreadableError("broken", "it is damaged, or not what its name says")
    if small.startswith((b"<!doctype html", b"<html")) or (small.startswith(b"<?xml") and b"<html" in small):
        return "html"
    if claimed in _KINDS:
        return _KINDS[claimed]
    if claimed == "application/pdf" or "officedocument" in claimed or "ms-word" in claimed:
        raise UnreadableError("broken", "it is damaged, or not what its name says")
    raise UnreadableError("unsupported", f"nothing reads {claimed[:80] or 'a document without a type'}")


def _is_binary(head: bytes) -> bool:
    control = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head)
    return b"\0" in head or control * 20 > len(head)
