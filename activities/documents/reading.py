"""Reads untrusted contracts and the like: text, Markdown, HTML, PDF and DOCX, with their structure."""

from __future__ import annotations

from activities.documents.extract import ReadingLimits
from activities.documents.structure import StructuredDocument, UnreadableError


def read_structured(
    data: bytes, media_type: str, limits: ReadingLimits | None = None
) -> StructuredDocument:
    """The structure of a document. Blocks; the work is done in a process of its own with limits.

    Args:
        data: the document.
        media_type: what it claims to be (`STRUCTURED_TYPES`); its first bytes decide.
        limits: of that process.

    Raises:
        UnreadableError: it cannot be read; `code` says why.
    """
    raise UnreadableError("unsupported", f"{media_type[:80]} is not read yet")
