"""Documents with their structure: PDF, HTML, Markdown and text, and all that is made to hurt."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from activities.documents import structured_reader
from activities.documents.extract import MAX_BYTES, ReadingLimits
from activities.documents.numbers import ClauseOutline, typed_number
from activities.documents.structure import STRUCTURED_TYPES, Block, StructuredDocument, UnreadableError
from activities.documents.structured_reader import read_structured
from tests.support.docx import SPACES, docx, p, zipped
from tests.support.pdfs import pages

DOCX = STRUCTURED_TYPES[".docx"]
SMALL = ReadingLimits(memory=300_000_000, cpu_seconds=1, seconds=120)


@pytest.fixture(scope="module", autouse=True)
def _readers() -> Iterator[None]:
    """No process of the module is left."""
    yield
    structured_reader._SERVER.close()


def read(data: bytes | str, media_type: str) -> StructuredDocument:
    found = read_structured(data.encode() if isinstance(data, str) else data, media_type)
    for block in found.blocks:
        assert found.text[block.start :][: len(block.text)] == block.text
    return found


def shape(blocks: tuple[Block, ...]) -> list[tuple[str, str, str]]:
    return [(block.kind, block.number, block.text) for block in blocks]


def code_of(data: bytes, media_type: str, limits: ReadingLimits = SMALL) -> str:
    with pytest.raises(UnreadableError) as failed:
        read_structured(data, media_type, limits)
    assert "\n" not in str(failed.value)
    return failed.value.code


# Plain text


def test_plain_text_has_paragraphs_headings_and_numbers() -> None:
    """Wrapped lines are one paragraph, a divided word is whole, numbers begin clauses, form feeds pages."""
    found = read(
        """                    MASTER SERVICES AGREEMENT

This Agreement is made between the Supplier and the Customer on the date that
is set out below, and is subject to the follow-
ing terms, pursuant to Section
4.1 of the general terms, with non-
exclusive rights.

1. DEFINITIONS
1.1 "Term" means the period.
1.2 Notice. Either party may terminate on thirty (30) days' notice in writing to
the other party at its address.
(a) first;
(b) second.
ARTICLE IV

TERMINATION
12.3 Governing Law
\x0cOn a new page.
""",
        "text/plain",
    )
    assert shape(found.blocks) == [
        ("heading", "", "MASTER SERVICES AGREEMENT"),
        (
            "paragraph",
            "",
            "This Agreement is made between the Supplier and the Customer on the date that is set out below, "
            "and is subject to the following terms, pursuant to Section 4.1 of the general terms, with "
            "non-exclusive rights.",
        ),
        ("heading", "1.", "DEFINITIONS"),
        ("paragraph", "1.1", '"Term" means the period.'),
        (
            "paragraph",
            "1.2",
            "Notice. Either party may terminate on thirty (30) days' notice in writing to the other party at "
            "its address.",
        ),
        ("paragraph", "(a)", "first;"),
        ("paragraph", "(b)", "second."),
        ("heading", "ARTICLE IV", "TERMINATION"),
        ("heading", "12.3", "Governing Law"),
        ("paragraph", "", "On a new page."),
    ]
    assert [block.path for block in found.blocks[5:9]] == ["1.2(a)", "1.2(b)", "IV", "12.3"]
    assert (found.title, found.pages, found.blocks[-1].page) == ("MASTER SERVICES AGREEMENT", 2, 2)


def test_a_table_of_contents_numbers_nothing() -> None:
    """Each entry with its leaders is a paragraph of its own, and text."""
    contents = "CONTENTS\n1. Term ........ 2\n2. Fees . . . . . 3\n\n"
    found = read(f"{contents}1. Term\nIt is long.\n2. The fee is ........ EUR.\n", "text/plain")
    assert [(block.number, block.text) for block in found.blocks] == [
        ("", "CONTENTS"),
        ("", "1. Term ........ 2"),
        ("", "2. Fees . . . . . 3"),
        ("1.", "Term"),
        ("", "It is long."),
        ("2.", "The fee is ........ EUR."),
    ]


@pytest.mark.parametrize(
    ("above", "line", "begins"),
    [
        ("shall pay the fees and", "(b) the costs.", True),
        ("shall pay the fees; and", "(b) the costs.", True),
        (
            "which the Supplier shall pay to the Customer within a term of thirty",
            "(30) days after it.",
            False,
        ),
        ("which the Supplier shall pay to the Customer in the case that is set out", "(a) above.", False),
        ("which the Supplier shall pay to the Customer in the case that is set out", "13. Assignment", True),
        (
            "which the Supplier shall pay to the Customer in the case of clauses 12 and",
            "13. Those are",
            False,
        ),
        ("which the Supplier shall pay to the Customer as is said in Section", "4.2 Fees of these.", False),
    ],
)
def test_a_number_at_a_line_s_beginning_begins_a_clause_unless_the_sentence_goes_on(
    above: str, line: str, begins: bool
) -> None:
    """What stands above tells; a line that ends early ends."""
    wide = "The Supplier shall do all that is needed for what the parties have agreed"
    found = read(f"{wide}\n{wide}\n{above}\n{line}\n", "text/plain")
    assert len(found.blocks) == 1 + begins


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12.3 Term", "12.3"),
        ("12.3. Term", "12.3."),
        ("Section 4. Term", "Section 4."),
        ("SECTION 4.2 Term", "SECTION 4.2"),
        ("ARTICLE IV", "ARTICLE IV"),
        ("Article 7 – Term", "Article 7"),
        ("§ 4 Term", "§ 4"),
        ("(iv) the term", "(iv)"),
        ("a) the term", "a)"),
        ("iv. the term", "iv."),
        ("Section 4 shall survive", ""),
        ("12.5 percent", ""),
        ("30 days", ""),
        ("(30) days", "(30)"),
        ("mild. weather", ""),
        ("(including) it", ""),
        ("2024. It", ""),
        ("", ""),
    ],
)
def test_numbers_are_recognised_where_they_begin_a_clause(text: str, number: str) -> None:
    """A reference or a quantity at the beginning of a sentence is none."""
    assert typed_number(text)[0] == number


@pytest.mark.parametrize(
    ("numbers", "paths"),
    [
        (
            "1. 1.1 (a) (b) (i) (ii) (c) 1.2 (a) 2.",
            "1 1.1 1.1(a) 1.1(b) 1.1(b)(i) 1.1(b)(ii) 1.1(c) 1.2 1.2(a) 2",
        ),
        ("(a) (h) (i) (j) (k)", "(a) (h) (i) (j) (k)"),
        ("3. a. i. ii. b. 4.", "3 3.a 3.a.i 3.a.ii 3.b 4"),
        ("12.3 (a) (iii) (A) (c)", "12.3 12.3(a) 12.3(a)(iii) 12.3(a)(iii)(A) 12.3(c)"),
        ("1. 2. 5. 1.", "1 2 5 1"),
    ],
)
def test_the_full_number_of_a_clause_is_found(numbers: str, paths: str) -> None:
    """A number shows its own level; (i) after (h) is a letter, after (b) a Roman figure."""
    outline = ClauseOutline()
    assert [outline.path(number) for number in numbers.split()] == paths.split()


# HTML and Markdown


def test_a_page_is_read_as_it_is_shown() -> None:
    """Lists show their numbers, tables their cells, changes are told, hidden elements left out and said."""
    found = read(
        """<!doctype html><title>Terms</title><body><h1>Agreement</h1><script>x()</script>
        <p>The <ins>new</ins> te<b>rm</b> is <del>2</del> 3 years.<p style="display: none">no</p><p hidden>no
        <ol><li>One thing to do;<ol type=a><li>sub;<li>more</ol><li>two.</ol>
        <ol start=5 type=I reversed><li>x<li value=9>y</ol><ul><li>dot</ul>
        <table><tr><td rowspan=2>A<td>B<tr><td>C</table><img src=x>
        <p>Name: <input value="the Supplier"> <input type=checkbox checked> yes<select><option>a
        <option selected>b</select><p>ARTICLE IV – TERM<p>(a) it ends.""",
        "text/html",
    )
    assert shape(found.blocks) == [
        ("heading", "", "Agreement"),
        ("paragraph", "", "The new term is 3 years."),
        ("paragraph", "1.", "One thing to do;"),
        ("paragraph", "a.", "sub;"),
        ("paragraph", "b.", "more"),
        ("paragraph", "2.", "two."),
        ("paragraph", "V.", "x"),
        ("paragraph", "IX.", "y"),
        ("paragraph", "", "dot"),
        ("cell", "", "A"),
        ("cell", "", "B"),
        ("cell", "", "C"),
        ("paragraph", "", "Name: the Supplier ☒ yesb"),
        ("heading", "ARTICLE IV", "TERM"),
        ("paragraph", "(a)", "it ends."),
    ]
    assert [block.path for block in found.blocks[2:6]] == ["1", "1.a", "1.b", "2"]
    assert [(block.row, block.column) for block in found.blocks[9:12]] == [(1, 1), (1, 2), (2, 2)]
    assert [(change.kind, change.text) for change in found.blocks[1].changes] == [
        ("inserted", "new"),
        ("deleted", "2"),
    ]
    assert (found.title, found.unread, found.remarks) == (
        "Terms",
        ("a picture",),
        ("hidden text in 2 places, left out",),
    )


def test_markdown_is_read_as_the_page_it_makes() -> None:
    """Emphasis and links leave their words; lists show numbers."""
    found = read(
        "# Title\n\n3. one **bold**\n4. see [it](https://x.example)\n\n| a | b |\n|---|---|\n| c | ~~d~~ |\n"
        "<!-- not seen -->\n",
        "text/markdown; charset=utf-8",
    )
    assert shape(found.blocks)[:3] == [
        ("heading", "", "Title"),
        ("paragraph", "3.", "one bold"),
        ("paragraph", "4.", "see it"),
    ]
    assert [(block.text, block.row, block.column) for block in found.blocks[3:]] == [
        ("a", 1, 1),
        ("b", 1, 2),
        ("c", 2, 1),
        ("", 2, 2),
    ]
    assert found.blocks[-1].changes[0].text == "d"
    assert found.media_type == "text/markdown"
    assert "seen" not in found.text


# PDF

BODY = "The Supplier shall perform the services in a professional manner and as the parties have"


def test_a_pdf_has_pages_paragraphs_and_running_headers() -> None:
    """Lines make paragraphs, over the end of a page, too; what most pages repeat is said once."""
    # Each page ends within a sentence, which the next one ends.
    texts = [
        f"Agreement of the parties\n\n{page}. TERM\n{page}.1 {BODY}\nagreed.\n\n"
        f"{page}.2 {BODY} set out in the\n\nPage {page} of 3"
        for page in (1, 2, 3)
    ]
    texts[1] = texts[1].replace("2. TERM\n", "schedule.\n\n2. TERM\n")
    found = read(pages(*texts), "application/pdf")
    running = [(block.kind, block.text) for block in found.blocks if block.kind in ("header", "footer")]
    assert running == [("header", "Agreement of the parties"), ("footer", "Page 1 of 3")]
    body = [block for block in found.blocks if block.kind not in ("header", "footer")]
    assert [(block.number, block.page) for block in body] == [
        ("1.", 1),
        ("1.1", 1),
        ("1.2", 1),
        ("2.", 2),
        ("2.1", 2),
        ("2.2", 2),
        ("3.", 3),
        ("3.1", 3),
        ("3.2", 3),
    ]
    assert body[2].text == f"{BODY} set out in the schedule."
    assert found.pages == 3


def test_what_is_filled_in_and_noted_in_a_pdf_is_read() -> None:
    """Values of fields, ticked boxes, text and notes of reviewers; a signature and a stamp are said."""
    found = read(
        pages(
            "Name:",
            annotations=(
                "/Subtype /Widget /FT /Tx /T (name) /V (the Supplier)",
                "/Subtype /Widget /FT /Btn /T (agreed) /V /Yes /AS /Yes "
                "/AP << /N << /Yes 4 0 R /Off 4 0 R >> >>",
                "/Subtype /Widget /FT /Sig /T (signature)",
                "/Subtype /FreeText /DA (/F1 12 Tf) /Contents (written on it)",
                "/Subtype /Text /Contents (why?)",
                "/Subtype /Text /Contents (hidden) /F 2",
                "/Subtype /Stamp",
                "/Subtype /StrikeOut /QuadPoints [0 0 0 0 0 0 0 0]",
            ),
        ),
        "application/pdf",
    )
    assert shape(found.blocks)[1:] == [
        ("field", "", "the Supplier"),
        ("field", "", "☒ agreed"),
        ("annotation", "", "written on it"),
        ("comment", "", "why?"),
    ]
    assert found.unread == ("a field for a signature", "a stamp")
    assert found.remarks == ("text that a mark strikes out on page 1, read nevertheless",)


def test_scanned_pages_are_named_and_a_scanned_pdf_refused() -> None:
    """A page of a mixed document that is a picture is said; nothing but pictures is `scanned`."""
    found = read(pages("Some words", "", "More words", "", picture_on=(2,)), "application/pdf")
    assert found.unread == ("page 2 without text: scanned or drawn",)
    assert read(pages("Words", picture_on=(1,)), "application/pdf").unread == ("a picture",)
    assert code_of(pages("", "", picture_on=(1, 2)), "application/pdf") == "scanned"
    assert code_of(pages(""), "application/pdf") == "empty"


def test_more_pages_than_are_read_say_so() -> None:
    """The first ones are read."""
    found = read_structured(pages("A.", "B.", "C."), "application/pdf", ReadingLimits(pages=2))
    assert (found.text, found.pages, found.cut) == ("A.\n\nB.", 2, True)


# What it is


@pytest.mark.parametrize(
    ("data", "claimed", "code"),
    [
        (b"", "text/plain", "empty"),
        (b" \n\t ", "text/plain", "empty"),
        (b"<p></p>", "text/html", "empty"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), DOCX, "legacy"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), DOCX, "encrypted"),
        (rb"{\rtf1\ansi x}", "application/msword", "legacy"),
        (b"<?xml version='1.0'?><pkg:package>", DOCX, "legacy"),
        (b"MIME-Version: 1.0\r\n", "application/msword", "legacy"),
        (b"\x89PNG\r\n\x1a\n", "application/pdf", "scanned"),
        (b"\x7fELF" + bytes(100), DOCX, "broken"),
        (b"\x7fELF" + bytes(100), "text/plain", "unsupported"),
        (b"no PDF at all", "application/pdf", "broken"),
        (b"%PDF-1.7 nonsense", "application/pdf", "broken"),
        (b"words", "image/png", "unsupported"),
        (b"PK\x03\x04 and no more", DOCX, "broken"),
        (zipped({"a.txt": b"x"}), DOCX, "unsupported"),
        (zipped({"mimetype": b"application/vnd.oasis.opendocument.text"}), DOCX, "unsupported"),
        (docx(p("x"))[:-40], DOCX, "broken"),
        (docx(p("x"), more={"word/document.xml": b"<w:document"}), DOCX, "broken"),
        (docx(p("x"), more={"_rels/.rels": b"<Relationships/>"}), DOCX, "broken"),
    ],
)
def test_what_cannot_be_read_says_why_in_a_word(data: bytes, claimed: str, code: str) -> None:
    """By its first bytes, whatever it is called."""
    assert code_of(data, claimed) == code


def test_the_name_lies_and_the_bytes_do_not() -> None:
    """A document is read as what it is."""
    assert read(docx(p("a document")), "application/pdf").media_type == DOCX
    assert read(pages("a document"), DOCX).media_type == "application/pdf"
    assert read("<!DOCTYPE html><p>a document", "application/msword").media_type == "text/html"
    assert read("a document", "application/msword").media_type == "text/plain"
    assert read("\ufeffa document".encode("utf-16-le"), "text/plain").text == "a document"


def test_too_many_bytes_are_not_read() -> None:
    """20 MB are the most."""
    assert code_of(bytes(MAX_BYTES + 1), "text/plain") == "too_large"


def encrypted(data: bytes) -> bytes:
    """A ZIP whose entries say that they are encrypted."""
    out = bytearray(data)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := out.find(mark, at + 1)) >= 0:
            out[at + place] |= 1
    return bytes(out)


def test_encrypted_files_say_so() -> None:
    """An encrypted ZIP; a PDF that wants a password. One that only its owner may change is open."""
    assert code_of(encrypted(docx(p("x"))), DOCX) == "encrypted"
    assert code_of(_locked("a password"), "application/pdf") == "encrypted"
    assert read(_locked(""), "application/pdf").text == "open to all"


def _locked(password: str) -> bytes:
    writer = PdfWriter(PdfReader(io.BytesIO(pages("open to all"))))
    writer.encrypt(password, "of the owner", algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


# What is made to hurt


def _many_entries() -> bytes:
    return zipped({f"{number}": b"" for number in range(10_001)})


def _twice_the_same() -> bytes:
    out = io.BytesIO(docx(p("shown")))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("WORD/DOCUMENT.XML", b"other")
    return out.getvalue()


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    body = f"<w:document {SPACES}><w:body>{p('&l9;')}</w:body></w:document>"
    return docx("", more={"word/document.xml": f'<!DOCTYPE x [<!ENTITY l0 "ha">{entities}]>{body}'.encode()})


def _outside() -> bytes:
    body = f"<w:document {SPACES}><w:body>{p('&x;')}</w:body></w:document>"
    return docx(
        "", more={"word/document.xml": f'<!DOCTYPE x [<!ENTITY x SYSTEM "/etc/passwd">]>{body}'.encode()}
    )


def _empty_runs() -> bytes:
    # Numbers as word processors write them, so that it packs as badly as real ones do.
    chance = random.Random(14)
    runs = "".join(f'<w:r w:rsidR="{chance.getrandbits(32):08X}"/>' for _ in range(200_000))
    return docx(f"<w:p>{runs}</w:p>" + p("end"))


HURTFUL = {
    "a ZIP of gigabytes": (lambda: docx("", more={"word/document.xml": b" " * 70_000_000}), "bomb"),
    "a part packed 1,000 to 1": (
        lambda: docx("", more={"word/document.xml": b"<x>" + b" " * 5_000_000}),
        "bomb",
    ),
    "10,001 entries": (_many_entries, "bomb"),
    "two parts of one name": (_twice_the_same, "broken"),
    "a billion laughs": (_laughs, "bomb"),
    "an entity outside": (_outside, "bomb"),
    "XML nested 100,000 deep": (lambda: docx("<w:sdt>" * 100_000), "bomb"),
    "a page nested 50,000 deep": (lambda: b"<html>" + b"<div>" * 50_000 + b"x", "bomb"),
    "a page nested 1,900 deep": (lambda: b"<html>" + b"<font>" * 1_900 + b"x", ""),
    "a quotation nested 50,000 deep": (lambda: b">" * 50_000 + b" x", "bomb"),
    "200,000 empty runs": (_empty_runs, ""),
    "a line of dots": (lambda: b"x\n" + b". " * 2_000_000 + b"\n" + b"." * 2_000_000 + b" x", ""),
    "a line of ten megabytes": (lambda: b"<html>" + b"(a" * 5_000_000, ""),
}


@pytest.mark.parametrize("name", HURTFUL)
def test_what_is_made_to_hurt_does_no_harm(name: str) -> None:
    """It is refused with a word of ours, or read within the limits; and the next document is read."""
    make, code = HURTFUL[name]
    if code:
        assert code_of(make(), "text/markdown") == code
    else:
        assert read_structured(make(), "text/markdown").text
    assert read("still here", "text/plain").text == "still here"


def test_parsers_are_never_in_the_worker() -> None:
    """Reading leaves what parses out of this process, and what imports the types stays light."""
    code = (
        "import sys\nfrom activities.documents.structured_reader import read_structured\n"
        "assert read_structured(b'<html>words', 'text/html').text == 'words'\n"
        "print([name for name in ('lxml', 'pypdfium2', 'markdown_it') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
