"""A program of its own: a PDF or a big page on standard input, its text as JSON on standard output.

``extract.py`` starts it; nothing imports it. A PDF of a few kilobytes can ask for gigabytes or run forever,
and a page of a million line breaks takes hours. So this is not the worker's process, and the kernel limits
memory, CPU time and clock time before the first byte is read.

Arguments: `pdf` or `html`, bytes of memory, seconds of CPU, seconds on the clock, characters of text, pages.
"""

from __future__ import annotations

import io
import json
import re
import resource
import signal
import sys


def limit(memory: int, cpu: int, wall: int) -> None:
    """Have the kernel end this process when it exceeds a limit."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # If the worker that started this has died, nobody else would end it.
    signal.alarm(wall)


def html(data: bytes) -> dict[str, object]:
    """The main text of a page in UTF-8; empty where none stands out."""
    import trafilatura

    text = trafilatura.extract(data.decode(), include_comments=False, include_tables=True, deduplicate=False)
    return {"text": text or ""}


def mended(data: bytes) -> bytes:
    """A PDF with an end, where it is missing: the reader then looks for the objects itself."""
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
        reader = PdfReader(io.BytesIO(mended(data)))
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
        # A damaged file makes the reader raise anything.
        return {"error": f"it is damaged: {type(error).__name__}"}
    cut = length > characters or b"xref" not in data
    return {"title": title, "text": "\n\n".join(parts)[:characters], "cut": cut}


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:]
    memory, cpu, wall, characters, pages = map(int, numbers)
    limit(memory, cpu, wall)
    document = sys.stdin.buffer.read()
    json.dump(html(document) if kind == "html" else pdf(document, characters, pages), sys.stdout)
