"""Renders a draft as text, Markdown, HTML, DOCX and PDF, deterministically."""

from __future__ import annotations

import io
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

from tests.support.contracts.drafts import Draft, draft
from tests.support.docx import docx, levels, num, p, r
from tests.support.pdfs import written


def as_text(contract: Draft) -> bytes:
    """Numbered sections, lines of 78 characters."""
    lines = [contract.title.upper(), ""]
    for number, heading, paragraphs in _numbered(contract):
        lines += [f"{number}. {heading.upper()}", ""]
        for place, text in enumerate(paragraphs, 1):
            lines += [*textwrap.wrap(f"{number}.{place} {text}", 78), ""]
    return "\n".join(lines).encode()


def as_markdown(contract: Draft) -> bytes:
    """Headings with numbers."""
    lines = [f"# {contract.title}", ""]
    for number, heading, paragraphs in _numbered(contract):
        lines += [f"## {number}. {heading}", ""]
        for place, text in enumerate(paragraphs, 1):
            lines += [f"{number}.{place} {text}", ""]
    return "\n".join(lines).encode()


def as_html(contract: Draft) -> bytes:
    """Nested lists, numbered by the browser."""
    body = "".join(
        f"<li><b>{escape(heading)}</b>" + "".join(f"<p>{escape(text)}</p>" for text in paragraphs) + "</li>"
        for _, heading, paragraphs in _numbered(contract)
    )
    title = escape(contract.title)
    return (
        f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><ol>{body}</ol>"
    ).encode()


def as_docx(contract: Draft) -> bytes:
    """Automatic numbers at two levels, and the draft's tracked change, if it has one."""
    list_xml = levels(
        ("decimal", "%1.", '<w:pStyle w:val="H1"/>'), ("decimal", "%1.%2", '<w:pStyle w:val="C2"/>')
    )
    body = p(r(escape(contract.title)), style="Title")
    for number, heading, paragraphs in _numbered(contract):
        body += p(r(escape(heading), "<w:b/>"), num=(1, 0))
        for text in paragraphs:
            runs = [r(escape(text))]
            if contract.tracked and contract.tracked[0] == number:
                _, old, new = contract.tracked
                before, _, after = text.partition(old)
                runs = [
                    r(escape(before)),
                    f'<w:del w:id="1" w:author="x"><w:r><w:delText>{old}</w:delText></w:r></w:del>',
                    f'<w:ins w:id="2" w:author="x">{r(new)}</w:ins>',
                    r(escape(after)),
                ]
            body += p(*runs, num=(1, 1))
    return docx(body, numbering=list_xml + num(1))


def as_pdf(contract: Draft) -> bytes:
    """Pages of 48 lines of Helvetica, with the title as a running header."""
    lines: list[str] = []
    for number, heading, paragraphs in _numbered(contract):
        lines += ["", f"{number}. {heading}"]
        for place, text in enumerate(paragraphs, 1):
            lines += textwrap.wrap(f"{number}.{place} {text}", 88)
    pages = [lines[at : at + 48] for at in range(0, len(lines), 48)]
    return _pdf([[contract.title, "", *page] for page in pages])


def _numbered(contract: Draft) -> Iterator[tuple[int, str, list[str]]]:
    for number, (heading, paragraphs) in enumerate(contract.sections, 1):
        yield number, heading, paragraphs


def _pdf(pages: list[list[str]]) -> bytes:
    """A PDF of lines of text; typographic quotes become plain ones."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    kids = []
    for lines in pages:
        said = "".join(f"({_escaped(line)}) Tj T*\n" for line in lines)
        content = f"BT /F1 11 Tf 14 TL 60 760 Td\n{said}ET".encode("cp1252", "replace")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (
        b" ".join(b"%d 0 R" % kid for kid in kids),
        len(kids),
    )
    return written(objects)


def _escaped(line: str) -> str:
    for sign in ("\\", "(", ")"):
        line = line.replace(sign, "\\" + sign)
    return line.replace("“", '"').replace("”", '"').replace("’", "'")


FORMATS: dict[str, Callable[[Draft], bytes]] = {
    ".docx": as_docx,
    ".pdf": as_pdf,
    ".txt": as_text,
    ".html": as_html,
    ".md": as_markdown,
}


def write_contracts(
    folder: Path,
    count: int,
    *,
    hostile: bool = False,
    length: int = 1,
    formats: tuple[str, ...] = tuple(FORMATS),
) -> dict[str, Draft]:
    """Write contracts of all formats in folders of twenty; with `hostile`, also some unreadable ones."""
    made: dict[str, Draft] = {}
    for number in range(count):
        contract = draft(number, length=length)
        suffix = formats[number % len(formats)]
        if suffix == ".docx" and number % 2 == 0:
            place = [heading for heading, _ in contract.sections].index("Term") + 1
            contract.tracked = (place, "effective date", "date of signature")
            contract.flaws.add("contract.unsettled-change")
        name = f"{number // 20:03}/contract-{number:04}{suffix}"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FORMATS[suffix](contract))
        made[name] = contract
    if hostile:
        for name, data in unreadable().items():
            (folder / name).write_bytes(data)
    return made


def unreadable() -> dict[str, bytes]:
    """Documents that get set aside, each for a different reason."""
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"<a>" + b" " * 60_000_000 + b"</a>")
    return {
        "old.doc": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000),
        "bomb.docx": bomb.getvalue(),
        "broken.docx": b"PK\x03\x04 not a document at all",
        "empty.txt": b"",
        "picture.pdf": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }
