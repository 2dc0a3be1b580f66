"""The entry point of the process that reads a document; no worker imports it, as it loads every parser."""

from __future__ import annotations

import json
import sys
from typing import Any

# Loaded here, so that no document waits for them.
import charset_normalizer  # noqa: F401
import markdown_it  # noqa: F401

from activities.documents import markup, pdf, plain
from activities.documents.charsets import decode
from activities.documents.docx import reader as docx
from activities.documents.extract import MAX_HTML_BYTES
from activities.documents.structure import UnreadableError

# The parsers limit nesting to 256 levels in XML and 2,048 in HTML; Python's default limit is too low.
_RECURSION = 8_000


def structure(data: bytes, argument: Any) -> bytes:
    """The document as JSON of `StructuredDocument`, or `code` and `error`: why it cannot be read.

    `argument` holds `kind` (docx, pdf, html, markdown, text), `media_type`, `charset` and `pages`.
    """
    sys.setrecursionlimit(_RECURSION)
    try:
        result = _read(data, argument)
    except UnreadableError as error:
        result = {"code": error.code, "error": str(error)}
    except RecursionError:
        result = {"code": "bomb", "error": "it is nested without measure"}
    except MemoryError:
        result = {"code": "bomb", "error": "it asks for more memory than a document may have"}
    except Exception as error:
        # A parser's own message could quote the document.
        result = {"code": "broken", "error": f"it is damaged ({type(error).__name__})"}
    return json.dumps(result).encode("utf-8", "replace")


def _read(data: bytes, argument: Any) -> dict[str, Any]:
    match argument["kind"]:
        case "docx":
            return docx.read(data)
        case "pdf":
            return pdf.read(data, argument["pages"])
        case "html" | "markdown" as kind:
            if kind == "markdown":
                html = plain.as_html(data, argument["charset"])
            else:
                html = decode(data, label=argument["charset"], markup=True)
            found = markup.read(html[:MAX_HTML_BYTES], argument["media_type"])
            found["cut"] = found["cut"] or len(html) > MAX_HTML_BYTES
            return found
        case _:
            return plain.read(data, argument["charset"])
