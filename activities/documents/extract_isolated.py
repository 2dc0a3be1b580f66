"""Reads a PDF or a big page; runs in a separate process (`activities/isolated_call.py`).

A PDF of a few kilobytes can ask for gigabytes or run forever, and a page of a million line breaks takes
hours.
"""

from __future__ import annotations

import base64
import io
import re
from typing import Any


def read(argument: Any) -> dict[str, object]:
    """The text of `data` (base64), of `kind` `html` or `pdf`; of a PDF at most `characters` and `pages`."""
    data = base64.b64decode(argument["data"])
    if argument["kind"] == "html":
        return html(data)
    return pdf(data, argument["characters"], argument["pages"])


def html(data: bytes) -> dict[str, object]:
    """The main text of a page in UTF-8; empty if there is none."""
    import trafilatura

    text = trafilatura.extract(data.decode(), include_comments=False, include_tables=True, deduplicate=False)
    return {"text": text or ""}


def with_trailer(data: bytes) -> bytes:
    """The PDF, with an end added if it is missing: the reader then searches for the objects itself."""
    if b"startxref" in data[-4096:]:
        return data
    root = re.search(rb"(\d{1,9})\s+(\d{1,5})\s+obj\b[^>]{0,200}/Type\s*/Catalog\b", data)
    if b"trailer" not in data and root:
        data += b"\ntrailer << /Root %b %b R >>" % root.groups()
    return data + b"\nstartxref\n0\n%%EOF"


def pdf(data: bytes, characters: int, most_pages: int) -> dict[str, object]:
    """Title and text of a PDF, or ``error``: why there is none."""
    import logging

    from pypdf import PdfReader
    from pypdf.errors import LimitReachedError, PyPdfError

    logging.disable()
    parts: list[str] = []
    length = 0
    try:
        reader = PdfReader(io.BytesIO(with_trailer(data)))
        if reader.is_encrypted and not reader.decrypt(""):
            return {"error": "it is encrypted, and no password is known"}
        title = str(reader.metadata.title or "") if reader.metadata else ""
        for number, page in enumerate(reader.pages):
            if length >= characters or number >= most_pages:
                return {"title": title, "text": "\n\n".join(parts)[:characters], "cut": True}
            parts.append(page.extract_text())
            length += len(parts[-1]) + 2
    except (MemoryError, LimitReachedError):
        return {"error": "it asks for more memory than a PDF may have"}
    except RecursionError:
        return {"error": "it is nested too deeply"}
    except PyPdfError as error:
        return {"error": f"it cannot be read as a PDF: {type(error).__name__}"}
    except Exception as error:
        # On a damaged file the reader may raise anything.
        return {"error": f"it is damaged: {type(error).__name__}"}
    cut = length > characters or b"xref" not in data
    return {"title": title, "text": "\n\n".join(parts)[:characters], "cut": cut}
