"""The text of documents from outside."""

from __future__ import annotations

import codecs
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from activities.documents import extract
from activities.documents.charsets import _CODECS, decode
from activities.documents.extract import ExtractError, Link, ReadingLimits, links_of, text_of
from tests.support.documents import ARTICLE, pdf
from tests.support.docx import docx, levels, num, p


def test_the_main_text_comes_without_menus_adverts_and_footers() -> None:
    """What is around an article is no part of its text."""
    found = text_of(ARTICLE.encode(), "text/html")
    assert found.title == "Tide tables"
    assert "sum of many waves" in found.text
    assert "what no table knows" in found.text
    for noise in ("About us", "rubber boots", "12:31:07", "stolen"):
        assert noise not in found.text
    assert not found.cut


def test_a_page_without_a_main_text_gives_its_plain_text() -> None:
    """A short page is read whole, with blocks on lines of their own and no script."""
    page = b"<title>Fee</title><body><div>Fee</div><b>12</b> EUR<script>x()</script><style>y</style>"
    found = text_of(page, "text/html")
    assert found.title == "Fee"
    assert found.text.split() == ["Fee", "12", "EUR"]


@pytest.mark.parametrize(
    ("data", "said", "wanted"),
    [
        ("naïve café".encode(), "utf-8", "naïve café"),
        ("naïve café".encode("latin-1"), "ISO-8859-1", "naïve café"),
        ("“naïve”".encode("cp1252"), "iso-8859-1", "“naïve”"),
        ("naïve café".encode(), None, "naïve café"),
        ("\ufeffnaïve".encode(), "iso-8859-1", "naïve"),
        ("\ufeffnaïve".encode("utf-16-le"), None, "naïve"),
        ("\ufeffnaïve".encode("utf-16-be"), "utf-8", "naïve"),
        (b'<meta charset="koi8-r">' + "привет".encode("koi8-r"), None, "привет"),
        (
            b'<meta http-equiv="Content-Type" content="text/html; charset=shift_jis">'
            + "日本語".encode("shift_jis"),
            None,
            "日本語",
        ),
        (b'<?xml version="1.0" encoding="EUC-JP"?>' + "日本語".encode("euc_jp"), None, "日本語"),
        (b'<meta charset="utf-16">' + "naïve".encode(), None, "naïve"),
        ("naïve café".encode(), "no-such-set", "naïve café"),
        (
            "Съешь же ещё этих мягких французских булок, да выпей чаю. ".encode("cp1251") * 20,
            None,
            "французских",
        ),
        ("日本語の文章です。".encode("euc_jp"), "utf-8", None),
    ],
)
def test_the_character_set_is_found(data: bytes, said: str | None, wanted: str | None) -> None:
    """Byte order mark, header, markup, UTF-8, detector: in this order, and a wrong claim does no harm."""
    text = decode(data, label=said, markup=True)
    assert text
    if wanted:
        assert wanted in text
        assert "\ufffd" not in text


@pytest.mark.parametrize(
    "name", ["zlib", "hex", "rot13", "unicode_escape", "punycode", "utf-7", "idna", "a\0b"]
)
def test_a_codec_that_is_no_character_set_of_the_web_is_passed_over(name: str) -> None:
    """A header cannot make the worker unpack or execute anything."""
    bomb = zlib.compress(b"0" * 1000)
    assert decode(b"plain +AGE-", label=name) == "plain +AGE-"
    assert "0000" not in decode(bomb, label=name)


def test_plain_text_and_markdown_keep_their_lines() -> None:
    """Line ends become one kind, NUL goes, and a Markdown heading is the title."""
    assert text_of(b"one\r\ntwo\rthree\0\n\n\n\n four ", "text/plain; charset=us-ascii").text == (
        "one\ntwo\nthree\n\n four"
    )
    found = text_of("# Der Überblick #\n\ntext".encode(), "Text/Markdown")
    assert (found.title, found.text) == ("Der Überblick", "# Der Überblick #\n\ntext")


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "", "text/css"])
def test_other_types_are_refused_by_name(kind: str) -> None:
    """What is no document is not guessed at."""
    with pytest.raises(ExtractError, match="no text is read from"):
        text_of(b"x", kind)


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many bytes are refused, too much text is cut and says so."""
    monkeypatch.setattr(extract, "MAX_CHARACTERS", 10)
    found = text_of(b"0123456789abc", "text/plain")
    assert (found.text, found.cut) == ("0123456789", True)
    monkeypatch.setattr(extract, "MAX_HTML_BYTES", 100)
    with pytest.raises(ExtractError, match="of HTML"):
        text_of(ARTICLE.encode(), "text/html")
    monkeypatch.setattr(extract, "MAX_BYTES", 12)
    with pytest.raises(ExtractError, match="at most 12"):
        text_of(b"0123456789abc", "text/plain")


@pytest.mark.parametrize(
    "html",
    [
        b"",
        b"<",
        b"\0\0\0",
        b"<!doctype html>",
        b"<html></html>",
        b"\xff\xfe",
        b"<p>" + bytes(range(256)),
        b"<div>" * 50_000 + b"deep" + b"</div>" * 50_000,
        b"<table><tr><td>" * 3_000,
        b"<?xml version='1.0' encoding='utf-8'?><html><body><p>xhtml</p></body></html>",
        b"<!ENTITY a 'b'><p>&a;&#0;&#xd800;&#1114112;</p>",
    ],
)
def test_no_html_trips_the_reader(html: bytes) -> None:
    """Whatever stands there, the result is text that can be stored."""
    found = text_of(html, "text/html")
    found.text.encode()
    assert "\0" not in found.text


def test_a_pdf_is_read() -> None:
    """Title and text of a PDF."""
    found = text_of(pdf("The tenant pays 900 EUR"), "application/pdf")
    assert (found.title, found.text, found.cut) == ("A lease", "The tenant pays 900 EUR", False)


def test_a_docx_is_read() -> None:
    """Title and text of a DOCX, with its numbers; what is none says so."""
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    made = docx(
        p("Lease", style="Title") + p("Rent", num=(1, 0)),
        numbering=levels(("decimal", "%1.", "")) + num(1),
        styles='<w:style w:type="paragraph" w:styleId="Title"><w:name w:val="Title"/></w:style>',
    )
    found = text_of(made, word)
    assert (found.title, found.text) == ("Lease", "Lease\n\n1. Rent")
    with pytest.raises(ExtractError, match="before 2007"):
        text_of(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), word)


def test_pypdf_is_never_in_the_worker() -> None:
    """Reading a PDF leaves its reader out of this process."""
    code = (
        "import sys\n"
        "from activities.documents.extract import text_of\n"
        "from tests.support.documents import pdf\n"
        "assert 'lease' in text_of(pdf('a lease'), 'application/pdf').text\n"
        "print([name for name in sys.modules if name.startswith('pypdf')])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("activities.documents.extract", ("lxml", "trafilatura", "charset_normalizer")),
        ("activities.safe_files", ("temporalio", "pydantic")),
    ],
)
def test_importing_the_reader_is_light(module: str, heavy: tuple[str, ...]) -> None:
    """Workflow files import its types, and a process reads one document: each loads only what it needs."""
    code = f"import sys\nimport {module}\nprint([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "PDF"),
        (b"%PDF-1.7 nonsense", "PDF"),
        (pdf("x")[:300], "PDF"),
        (pdf(""), "no text"),
        (b"\x7fELF" + b"\0" * 100, "PDF"),
    ],
)
def test_a_damaged_pdf_says_so(data: bytes, reason: str) -> None:
    """Each ends in one clear error, never in a traceback or an empty text."""
    with pytest.raises(ExtractError, match=reason):
        text_of(data, "application/pdf")


def twice_compressed(size: int) -> bytes:
    """So many zeros, of which this process never holds more than a million."""
    first = zlib.compressobj(9)
    pieces = [first.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)]
    return zlib.compress(b"".join(pieces) + first.flush(), 9)


@pytest.mark.parametrize(
    ("filters", "stream", "reason"),
    [
        (
            b"/Filter [/FlateDecode /FlateDecode]",
            lambda: twice_compressed(400_000_000),
            "decompressing|memory",
        ),
        (b"", lambda: b"q " * 3_000_000 + b"BT (x) Tj ET", "memory"),
    ],
    ids=["bomb", "operators"],
)
def test_a_pdf_that_asks_for_too_much_memory_is_ended(
    filters: bytes, stream: Callable[[], bytes], reason: str
) -> None:
    """What unpacks to gigabytes ends at the limit, and the worker goes on."""
    made = pdf("", filters=filters, stream=stream())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ExtractError, match=reason):
        text_of(made, "application/pdf", limits=ReadingLimits(memory=200_000_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes of the worker's"


def test_a_pdf_that_takes_too_long_is_killed() -> None:
    """CPU time and time on the clock are limited, each by itself."""
    forever = pdf("", stream=b"BT /F1 12 Tf (x) Tj ET " * 600_000)
    began = time.process_time()
    with pytest.raises(ExtractError, match=r"signal (9|24)"):
        text_of(forever, "application/pdf", limits=ReadingLimits(cpu_seconds=1, seconds=60))
    with pytest.raises(ExtractError, match=r"over 1 s|signal 14"):
        text_of(forever, "application/pdf", limits=ReadingLimits(cpu_seconds=60, seconds=1))
    assert time.process_time() - began < 5, "the worker did the work itself"


def test_a_page_made_to_take_hours_gives_its_plain_text() -> None:
    """A big page's main text is found in a process with limits; past them the plain text serves."""
    began = time.process_time()
    found = text_of(b"<p>word" + b"<br>" * 1_000_000, "text/html", limits=ReadingLimits(cpu_seconds=1))
    assert found.text == "word"
    assert time.process_time() - began < 10, "the worker did the work itself"
    big = ARTICLE.replace("</article>", "<p>The end is far from here. </p>" * 10_000 + "</article>")
    found = text_of(big.encode(), "text/html")
    assert "sum of many waves" in found.text
    assert "rubber boots" not in found.text


@pytest.mark.parametrize("kind", ["text/plain", "text/markdown", "text/html"])
@pytest.mark.parametrize("unit", [b" ", b"\t\n", b"# ", b"#", b"<", b"&", b"\r", b"</"])
def test_no_repetition_takes_more_than_its_length(kind: str, unit: bytes) -> None:
    """Megabytes of one thing are read in seconds of CPU: no pattern goes back over them."""
    began = time.process_time()
    text_of(b"# x" + unit * (3_000_000 // len(unit)) + b"x", kind, limits=ReadingLimits(cpu_seconds=2))
    assert time.process_time() - began < 10


def test_links_are_absolute_once_each_and_of_the_web() -> None:
    """Relative ones are joined to the page's base; fragments, other schemes and nofollow are left out."""
    page = """<base href="/docs/"><a href="a.html#top">First  <b>page</b></a><a href="/docs/a.html">again</a>
    <a href="//other.example/x?q=1">x</a><a href="javascript:alert(1)">no</a><a href="mailto:a@b.c">no</a>
    <a href="http://[broken">no</a><a href="">no</a><a rel="nofollow" href="n">no</a><a name="n">no</a>
    <area href="b" title="map">"""
    assert links_of(page, "https://site.example/index.html") == [
        Link(url="https://site.example/docs/a.html", text="First page"),
        Link(url="https://other.example/x?q=1", text="x"),
        Link(url="https://site.example/docs/b", text="map"),
    ]
    assert links_of(b"", "https://site.example/") == []


def test_links_are_bounded() -> None:
    """A page of a million links gives the first 5,000."""
    page = "".join(f'<a href="/{number}">x</a>' for number in range(6000))
    assert len(links_of(page, "https://site.example/")) == 5000


@pytest.mark.parametrize(
    ("data", "said", "wanted"),
    [
        (
            b"<meta charset=utf-8>" + "château".encode() + b" \x80 " + "façade".encode(),
            None,
            "château \ufffd façade",
        ),
        ("château ".encode() * 9 + b"\x80", None, "château " * 9 + "\ufffd"),
        (b"<meta charset=utf-8>" + "été".encode("cp1252"), "iso-8859-1", "été"),
        ("été".encode("cp1252"), "utf-8", "\ufffdt\ufffd"),
        (b"<!-- <meta charset=koi8-r> --><meta charset=utf-8>" + "été".encode(), None, "été"),
        (b"<meta name=charset content=koi8-r><meta charset='UTF-8'>" + "été".encode(), None, "été"),
        (
            b"<META content='text/html;charset=latin1' HTTP-EQUIV=content-type>" + "été".encode("cp1252"),
            None,
            "été",
        ),
        (b"<meta charset=nonsense><meta charset=utf8>" + "été".encode(), None, "été"),
        ("日本語".encode("euc_jp"), "X-EUC-JP", "日本語"),
        ("日本語".encode("shift_jis"), "Windows-31J", "日本語"),
        ("한국어".encode("cp949"), "ks_c_5601-1987", "한국어"),
        ("中文".encode("gbk"), "gb_2312-80", "中文"),
        ("“Smart”".encode("cp1252"), "l1", "“Smart”"),
        ("שלום".encode("iso8859-8"), "logical", "שלום"),
        ("Ünal".encode("cp1254"), "csisolatin5", "Ünal"),
        (b"plain", "hz-gb-2312", "\ufffd"),
        ("日本語の文章です。これは例文です。".encode("euc_jp") * 20, None, "日本語の文章"),
    ],
)
def test_what_is_declared_decides_and_bad_bytes_are_marked(
    data: bytes, said: str | None, wanted: str
) -> None:
    """One stray byte garbles no page; the header goes before the markup; labels are the standard's."""
    assert wanted in decode(data, label=said, markup=True)


def test_every_label_of_the_standard_is_known() -> None:
    """And nothing else: 227 labels, each read by a codec there is."""
    assert len(_CODECS) == 227
    assert all(codecs.lookup(codec) for codec in _CODECS.values() if codec != "replacement")


def test_a_pdf_without_its_end_is_read_as_far_as_it_goes() -> None:
    """Without `startxref`, and cut off before the table of objects; the latter says that it was cut."""
    whole = pdf("Tides and moons")
    for end, cut in ((b"startxref", False), (b"trailer", False), (b"xref", True)):
        found = text_of(whole[: whole.index(end)], "application/pdf")
        assert (found.text, found.cut) == ("Tides and moons", cut)
