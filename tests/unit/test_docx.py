"""DOCX files: what a reader of the page sees is read, in its order, with its numbers."""

from __future__ import annotations

import io
import random
import zipfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.documents.docx import reader
from activities.documents.structure import Block, StructuredDocument, UnreadableError
from tests.support.docx import docx, levels, num, p, r, zipped

CLAUSES = levels(("decimal", "%1.", ""), ("decimal", "%1.%2", ""), ("lowerLetter", "(%3)", ""))
BREAK = "<w:r><w:lastRenderedPageBreak/></w:r>"


def read(data: bytes) -> StructuredDocument:
    found = StructuredDocument.model_validate(reader.read(data))
    for block in found.blocks:
        assert found.text[block.start :][: len(block.text)] == block.text
        for change in block.changes:
            if change.kind in ("inserted", "moved_here"):
                assert found.text[change.at :].lstrip().startswith(change.text[:20])
            else:
                assert block.start <= change.at <= block.start + len(block.text)
    return found


def texts(data: bytes) -> list[str]:
    return [block.text for block in read(data).blocks]


def numbers(data: bytes) -> list[tuple[str, str]]:
    return [(block.number, block.path) for block in read(data).blocks]


def only(data: bytes) -> Block:
    [block] = read(data).blocks
    return block


def deleted(text: str) -> str:
    return f'<w:del w:id="1"><w:r><w:delText xml:space="preserve">{text}</w:delText></w:r></w:del>'


def inserted(text: str) -> str:
    return f'<w:ins w:id="2">{r(text)}</w:ins>'


def test_tracked_changes_are_as_if_accepted_and_reported() -> None:
    """An insertion is text, a deletion is not, a move is text where it went; each is told with its place."""
    block = only(
        docx(
            p(
                "The term is ",
                deleted("one"),
                inserted("t"),
                inserted("wo"),
                " years",
                f'<w:moveFrom w:id="3">{r(" from today")}</w:moveFrom>',
                ".",
                f'<w:moveTo w:id="4">{r(" Never.")}</w:moveTo>',
            )
        )
    )
    assert block.text == "The term is two years. Never."
    assert [(change.kind, change.text, change.at) for change in block.changes] == [
        ("deleted", "one", 12),
        ("inserted", "two", 12),
        ("moved_away", "from today", 21),
        ("moved_here", "Never.", 22),
    ]


def test_an_insertion_that_was_deleted_again_is_no_text() -> None:
    """What lies in both is deleted, whichever encloses the other."""
    one = f'<w:ins w:id="1">{deleted("gone")}</w:ins>'
    two = f'<w:del w:id="2"><w:ins w:id="3">{r("lost")}</w:ins></w:del>'
    block = only(docx(p("kept ", one, two)))
    assert block.text == "kept"
    assert [(change.kind, change.text) for change in block.changes] == [("deleted", "gonelost")]


def test_a_paragraph_whose_mark_is_deleted_goes_on_in_the_next_and_does_not_count() -> None:
    """As when the change is accepted: one paragraph, one number; of a deleted one the change is told."""
    mark = "<w:rPr><w:del w:id='9'/></w:rPr>"
    data = docx(
        p("One", num=(1, 0))
        + p("Two ", num=(1, 0), properties=mark)
        + p("halves", num=(1, 0))
        + p(deleted("away"), num=(1, 0), properties=mark)
        + p("Three", num=(1, 0)),
        numbering=CLAUSES + num(1),
    )
    assert [(block.number, block.text) for block in read(data).blocks] == [
        ("1.", "One"),
        ("2.", "Two halves"),
        ("3.", "Three"),
    ]
    assert read(data).blocks[2].changes[0].text == "away"


def test_a_heading_that_runs_into_its_text_is_one_paragraph() -> None:
    """A hidden paragraph mark joins: so a heading is set for the table of contents with text behind it."""
    data = docx(
        p("Term.", num=(1, 0), properties="<w:rPr><w:vanish/><w:specVanish/></w:rPr>") + p(" It is long."),
        numbering=CLAUSES + num(1),
    )
    assert [(block.number, block.text) for block in read(data).blocks] == [("1.", "Term. It is long.")]


def test_rows_and_cells_may_be_changes() -> None:
    """A deleted row is no text, an inserted cell is."""
    row = "<w:tr><w:trPr><w:del w:id='1'/></w:trPr><w:tc>{}</w:tc></w:tr>"
    cell = "<w:tr><w:tc><w:tcPr><w:cellIns w:id='1'/></w:tcPr>{}</w:tc></w:tr>"
    gone, new = read(docx(f"<w:tbl>{row.format(p('old'))}{cell.format(p('new'))}</w:tbl>")).blocks
    assert (gone.text, gone.changes[0].text, gone.changes[0].kind) == ("", "old", "deleted")
    assert (new.text, new.changes[0].kind) == ("new", "inserted")


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("decimal", ["1", "2", "28"]),
        ("upperRoman", ["I", "II", "XXVIII"]),
        ("lowerRoman", ["i", "ii", "xxviii"]),
        ("lowerLetter", ["a", "b", "bb"]),
        ("upperLetter", ["A", "B", "BB"]),
        ("decimalZero", ["01", "02", "28"]),
        ("ordinal", ["1st", "2nd", "28th"]),
        ("cardinalText", ["One", "Two", "Twenty-eight"]),
        ("ordinalText", ["First", "Second", "Twenty-eighth"]),
        ("numberInDash", ["- 1 -", "- 2 -", "- 28 -"]),
        ("somethingNew", ["1", "2", "28"]),
        ("none", ["", "", ""]),
        ("bullet", ["", "", ""]),
    ],
)
def test_numbers_are_written_as_the_list_says(form: str, wanted: list[str]) -> None:
    """Each number format; a bullet is no number."""
    data = docx("".join(p("x", num=(1, 0)) for _ in range(28)), numbering=levels((form, "%1", "")) + num(1))
    found = [block.number for block in read(data).blocks]
    assert [found[0], found[1], found[27]] == wanted


def test_levels_count_restart_and_show_those_above_them() -> None:
    """1., 1.1, (a): each level restarts below a new one, and the path tells the whole."""
    data = docx(
        "".join(p("x", num=(1, level)) for level in (0, 1, 2, 2, 1, 2, 0, 1)), numbering=CLAUSES + num(1)
    )
    assert numbers(data) == [
        ("1.", "1"),
        ("1.1", "1.1"),
        ("(a)", "1.1(a)"),
        ("(b)", "1.1(b)"),
        ("1.2", "1.2"),
        ("(a)", "1.2(a)"),
        ("2.", "2"),
        ("2.1", "2.1"),
    ]


def test_legal_numbering_shows_roman_articles_as_figures() -> None:
    """Article I holds Section 1.1 where the level is legal, and Section I.1 where it is not."""
    article = ("upperRoman", "Article %1", "")
    for legal, wanted in (("<w:isLgl/>", "Section 1.1"), ("", "Section I.1")):
        data = docx(
            p("x", num=(1, 0)) + p("y", num=(1, 1)),
            numbering=levels(article, ("decimal", "Section %1.%2", legal)) + num(1),
        )
        assert numbers(data) == [("Article I", "I"), (wanted, wanted.removeprefix("Section "))]


@pytest.mark.parametrize(("restart", "wanted"), [("0", "(c)"), ("1", "(c)"), ("2", "(a)"), (None, "(a)")])
def test_a_level_restarts_after_the_level_it_names(restart: str | None, wanted: str) -> None:
    """Never, after the first level only, after the second, or after any above it."""
    rule = "" if restart is None else f'<w:lvlRestart w:val="{restart}"/>'
    data = docx(
        "".join(p("x", num=(1, level)) for level in (0, 1, 2, 2, 1, 2)),
        numbering=levels(("decimal", "%1.", ""), ("decimal", "%1.%2", ""), ("lowerLetter", "(%3)", rule))
        + num(1),
    )
    assert numbers(data)[-1][0] == wanted


def test_lists_of_one_abstract_list_count_on_unless_one_starts_anew() -> None:
    """`startOverride` counts from its value once, `lvlOverride` may show a level otherwise."""
    start = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>'
    look = (
        '<w:lvlOverride w:ilvl="0"><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="upperRoman"/>'
        '<w:lvlText w:val="%1)"/></w:lvl></w:lvlOverride>'
    )
    data = docx(
        "".join(p("x", num=(which, 0)) for which in (1, 2, 3, 3, 1, 4)),
        numbering=CLAUSES + num(1) + num(2) + num(3, more=start) + num(4, more=look),
    )
    assert [shown for shown, _ in numbers(data)] == ["1.", "2.", "7.", "8.", "9.", "X)"]


def test_styles_carry_numbers() -> None:
    """A heading's number comes from its style, through the one it is based on; 0 takes it away."""
    numbering = (
        '<w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/>'
        '<w:lvlText w:val="%1."/></w:lvl><w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="decimal"/>'
        '<w:pStyle w:val="H2"/><w:lvlText w:val="%1.%2"/></w:lvl></w:abstractNum>'
    )
    style = (
        '<w:style w:type="paragraph" w:styleId="{}"><w:name w:val="{}"/><w:basedOn w:val="{}"/>'
        "<w:pPr>{}</w:pPr></w:style>"
    )
    linked = '<w:numPr><w:numId w:val="1"/></w:numPr>'
    data = docx(
        p("A", style="H1")
        + p("B", style="H2")
        + p("C", style="H2own")
        + p("D", style="H2", num=(0, 0))
        + p("E", style="H1"),
        numbering=numbering + num(1),
        styles=style.format("H1", "heading 1", "", linked)
        + style.format("H2", "heading 2", "", linked)
        + style.format("H2own", "Own", "H2", ""),
    )
    assert [(block.number, block.kind, block.level) for block in read(data).blocks] == [
        ("1.", "heading", 1),
        ("1.1", "heading", 2),
        ("1.2", "heading", 2),
        ("", "heading", 2),
        ("2.", "heading", 1),
    ]


def test_a_table_of_contents_numbers_nothing() -> None:
    """Its entries are text; the clause of that number is where the heading stands."""
    data = docx(
        p("1.\tTerm\t4", style="TOC1") + p("Term", num=(1, 0)),
        numbering=CLAUSES + num(1),
        styles='<w:style w:type="paragraph" w:styleId="TOC1"><w:name w:val="toc 1"/></w:style>',
    )
    assert [(block.number, block.text) for block in read(data).blocks] == [
        ("", "1.\tTerm\t4"),
        ("1.", "Term"),
    ]


def test_a_list_may_have_its_levels_from_a_numbering_style() -> None:
    """`numStyleLink` leads to the style, that to its list."""
    linked = '<w:abstractNum w:abstractNumId="5"><w:numStyleLink w:val="Legal"/></w:abstractNum>'
    data = docx(
        p("x", num=(2, 0)) + p("y", num=(2, 1)),
        numbering=CLAUSES + linked + num(1) + num(2, 5),
        styles='<w:style w:type="numbering" w:styleId="Legal"><w:name w:val="Legal"/>'
        '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>',
    )
    assert numbers(data) == [("1.", "1"), ("1.1", "1.1")]


def test_a_list_of_its_own_below_a_clause_continues_the_clause_s_path() -> None:
    """Many contracts set (a) in a list that knows nothing of clause 12.3; typed numbers are numbers, too."""
    own = levels(("lowerLetter", "(%1)", ""), list_id=1)
    data = docx(
        p("12.3 Fees are due as follows:")
        + p("first;", num=(2, 0))
        + p("second.", num=(2, 0))
        + p("(iii) x y"),
        numbering=CLAUSES + own + num(1) + num(2, 1),
    )
    assert numbers(data) == [
        ("12.3", "12.3"),
        ("(a)", "12.3(a)"),
        ("(b)", "12.3(b)"),
        ("(iii)", "12.3(b)(iii)"),
    ]
    assert texts(data)[0] == "Fees are due as follows:"


def test_notes_headers_footers_boxes_and_comments_are_read_at_their_place_once() -> None:
    """Each follows its paragraph; headers come first, footers last, each once whatever sections show it."""
    mark = '<w:r><w:{}Reference w:id="{}"/></w:r>'
    box = "<wps:wsp><wps:txbx><w:txbxContent>{}</w:txbxContent></wps:txbx></wps:wsp>"
    old = "<w:pict><v:shape><v:textbox><w:txbxContent>{}</w:txbxContent></v:textbox></v:shape></w:pict>"
    both = (
        f'<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing>{box.format(p("boxed"))}</w:drawing>'
        f"</mc:Choice><mc:Fallback>{old.format(p('boxed'))}</mc:Fallback></mc:AlternateContent></w:r>"
    )
    section = (
        '<w:sectPr><w:headerReference w:type="default" r:id="header1"/>'
        '<w:headerReference w:type="first" r:id="header2"/>'
        '<w:footerReference w:type="default" r:id="footer1"/></w:sectPr>'
    )
    found = read(
        docx(
            p("First", mark.format("footnote", 2), both, mark.format("comment", 0), properties=section)
            + p("Second", mark.format("endnote", 5), f"<w:r>{old.format(p('old box'))}</w:r>")
            + section,
            footnotes='<w:footnote w:id="0" w:type="separator"><w:p/></w:footnote>'
            f'<w:footnote w:id="2">{p("a note")}</w:footnote>',
            endnotes=f'<w:endnote w:id="5">{p("at the end")}</w:endnote>',
            comments=f'<w:comment w:id="0" w:author="nobody">{p("why?")}</w:comment>',
            header1=p("Head"),
            header2=p("Head of a first page that no section has"),
            footer1=p("Foot"),
        )
    )
    assert [(block.kind, block.text) for block in found.blocks] == [
        ("header", "Head"),
        ("paragraph", "First"),
        ("note", "a note"),
        ("box", "boxed"),
        ("comment", "why?"),
        ("paragraph", "Second"),
        ("note", "at the end"),
        ("box", "old box"),
        ("footer", "Foot"),
    ]
    assert [block.number for block in found.blocks if block.kind == "note"] == ["1", "i"]
    assert "nobody" not in found.model_dump_json()


def test_of_alternatives_the_one_that_is_shown_is_read() -> None:
    """A branch that needs what no word processor knows is passed over for the fallback."""
    choice = (
        '<mc:AlternateContent><mc:Choice Requires="{}">{}</mc:Choice><mc:Fallback>{}</mc:Fallback>'
        "</mc:AlternateContent>"
    )
    assert texts(docx(p(choice.format("ext", r("never"), r("shown"))))) == ["shown"]
    assert texts(docx(p(choice.format("wps", r("shown"), r("never"))))) == ["shown"]
    assert texts(docx(choice.format("ext", p("never"), p("shown")))) == ["shown"]


def test_content_controls_are_read_wherever_they_stand() -> None:
    """Around blocks, runs, rows and cells."""
    sdt = "<w:sdt><w:sdtPr/><w:sdtContent>{}</w:sdtContent></w:sdt>"
    cell = f"<w:tc>{p('cell')}</w:tc>"
    row = f"<w:tr>{sdt.format(cell)}</w:tr>"
    data = docx(
        sdt.format(p("block") + sdt.format(p("inner")))
        + p("a ", sdt.format(r("run")), " b")
        + f"<w:tbl>{sdt.format(row)}<w:tr><w:tc>{sdt.format(p('in a cell'))}</w:tc></w:tr></w:tbl>"
    )
    assert texts(data) == ["block", "inner", "a run b", "cell", "in a cell"]


def test_tables_keep_rows_and_columns_through_merges_and_nesting() -> None:
    """Columns are those of the grid; a cell that continues the one above is not read again."""
    cell = "<w:tc><w:tcPr>{}</w:tcPr>{}</w:tc>"
    inner = f"<w:tbl><w:tr>{cell.format('', p('in'))}</w:tr></w:tbl>"
    data = docx(
        "<w:tbl><w:tr>"
        + cell.format('<w:gridSpan w:val="2"/>', p("wide"))
        + cell.format("", p("right") + inner)
        + "</w:tr><w:tr>"
        + cell.format('<w:vMerge w:val="restart"/>', p("tall"))
        + cell.format("", p("b"))
        + cell.format("", p("c"))
        + "</w:tr><w:tr>"
        + cell.format("<w:vMerge/>", p("hidden"))
        + cell.format("", p("e"))
        + "</w:tr></w:tbl>"
    )
    found = read(data)
    assert [(block.text, block.row, block.column) for block in found.blocks] == [
        ("wide", 1, 1),
        ("right", 1, 3),
        ("in", 2, 1),
        ("tall", 3, 1),
        ("b", 3, 2),
        ("c", 3, 3),
        ("e", 4, 2),
    ]
    assert found.text.splitlines()[0] == "wide\tright"
    assert found.remarks == ("hidden text in one place, left out",)


def field(instruction: str, result: str | None) -> str:
    mark = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'
    shown = "" if result is None else mark.format("separate") + result
    return (
        mark.format("begin")
        + f"<w:r><w:instrText>{instruction}</w:instrText></w:r>"
        + shown
        + mark.format("end")
    )


def test_fields_show_their_results() -> None:
    """Instructions are no text, nested ones either; what shows without a result is read or said."""
    nested = field("IF " + field("REF x", r("12.3")) + " = 1", r("12.4"))
    simple = f'<w:fldSimple w:instr="REF y">{r("5.1")}</w:fldSimple>'
    button = field("MACROBUTTON NoMacros [the date]", None)
    assert texts(docx(p("See ", nested, " and ", simple, " on ", button, field("XE hidden", None)))) == [
        "See 12.4 and 5.1 on [the date]"
    ]
    assert read(docx(p("a", field("LISTNUM", None)))).unread == ("a number that a field makes",)


def test_ticked_boxes_and_chosen_entries_of_a_form_are_read() -> None:
    """Old form fields show what they hold, not what they are called."""
    begin = '<w:r><w:fldChar w:fldCharType="begin"><w:ffData>{}</w:ffData></w:fldChar></w:r>'
    rest = '<w:r><w:instrText>{}</w:instrText></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r>'
    box = begin.format("<w:checkBox><w:default w:val='0'/><w:checked/></w:checkBox>") + rest.format(
        "FORMCHECKBOX"
    )
    entries = (
        "<w:ddList><w:result w:val='1'/><w:listEntry w:val='net 30'/><w:listEntry w:val='net 60'/></w:ddList>"
    )
    assert texts(docx(p(box, " yes, ", begin.format(entries) + rest.format("FORMDROPDOWN")))) == [
        "☒ yes, net 60"
    ]


def test_characters_are_as_they_are_seen() -> None:
    """Tabs, breaks, hyphens, symbols; what has no width parts no word."""
    data = docx(
        p(
            "<w:r><w:t>non</w:t><w:noBreakHyphen/><w:t>ex</w:t><w:softHyphen/><w:t>clu\u00adsive</w:t><w:tab/>"
            "<w:t>a\u200bb\u00a0c</w:t><w:br/><w:sym w:font='Wingdings' w:char='F0FE'/><w:cr/>"
            "<w:sym w:font='Symbol' w:char='F0B3'/></w:r>",
            r("þ", "<w:rFonts w:ascii='Wingdings'/>"),
            f"<w:hyperlink r:id='x'>{r(' li')}<w:smartTag>{r('nk')}</w:smartTag></w:hyperlink>",
        )
    )
    assert texts(data) == ["non-exclusive\tab c\n☑\n≥☑ link"]


def test_hidden_text_is_left_out_and_said() -> None:
    """Hidden by the run, by its style or by the paragraph's style; a run may be shown nevertheless."""
    styles = (
        '<w:style w:type="character" w:styleId="Ghost"><w:rPr><w:vanish/></w:rPr></w:style>'
        '<w:style w:type="paragraph" w:styleId="Hidden"><w:rPr><w:vanish/></w:rPr></w:style>'
    )
    data = docx(
        p("a", r("b", "<w:vanish/>"), r("c", "<w:vanish/>"), "d", r("e", '<w:rStyle w:val="Ghost"/>'))
        + p("f", r("g", '<w:vanish w:val="0"/>'), style="Hidden"),
        styles=styles,
    )
    found = read(data)
    assert "".join(block.text for block in found.blocks) == "adg"
    assert found.remarks == ("hidden text in 3 places, left out",)


def test_what_cannot_be_read_is_said() -> None:
    """Pictures, charts, embedded files and formulas are seen on the page; a reader of the text is told."""
    drawing = "<w:r><w:drawing><a:graphic><a:graphicData>{}</a:graphicData></a:graphic></w:drawing></w:r>"
    sheet = (
        "<w:r><w:object><v:shape><v:imagedata/></v:shape>"
        '<o:OLEObject ProgID="Excel.Sheet.12"/></w:object></w:r>'
    )
    found = read(
        docx(
            p(
                "x",
                drawing.format("<pic:pic/>"),
                drawing.format("<pic:pic/>"),
                drawing.format("<c:chart/>"),
                sheet,
                "<m:oMath><m:r><m:t>y</m:t></m:r></m:oMath>",
            )
            + '<w:altChunk r:id="y"/>'
            + p('<w:r><w:pict><v:shape><v:textpath string="DRAFT"/></v:shape></w:pict></w:r>')
        )
    )
    assert found.unread == (
        "2 pictures",
        "a chart",
        "an embedded spreadsheet",
        "a formula of which only the letters were read",
        "an embedded document",
    )
    assert [block.text for block in found.blocks] == ["xy", "DRAFT"]


def test_a_field_that_never_ends_hides_nothing_unsaid() -> None:
    """Text behind it is not read; that is told."""
    found = read(docx(p("a", '<w:r><w:fldChar w:fldCharType="begin"/></w:r>', "swallowed") + p("b")))
    assert found.unread == ("text in a field that does not end",)


def test_pages_are_those_of_the_last_rendering() -> None:
    """A page break that is also marked as rendered counts once; without either there are no pages."""
    forced = '<w:r><w:br w:type="page"/></w:r>'
    rendered = docx(p("a", forced) + p(BREAK, "b") + p("c", BREAK, "d") + p("e"))
    assert [block.page for block in read(rendered).blocks] == [1, 2, 2, 3]
    assert read(rendered).pages == 3
    assert [block.page for block in read(docx(p("a", forced) + p("b"))).blocks] == [1, 2]
    assert read(docx(p("a"))).pages is None


def test_the_strict_form_of_the_standard_is_read() -> None:
    """It names everything differently."""
    data = docx(p("One", num=(1, 0)), numbering=CLAUSES + num(1))
    strict = _rewritten(
        data,
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        b"http://purl.oclc.org/ooxml/wordprocessingml/main",
    )
    assert numbers(strict) == [("1.", "1")]


def _rewritten(data: bytes, old: bytes, new: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return zipped({name: archive.read(name).replace(old, new) for name in archive.namelist()})


def test_the_kind_is_that_of_the_main_part() -> None:
    """With macros or as a template it is a document; a spreadsheet is none."""
    macros = docx(p("x"), main="application/vnd.ms-word.document.macroEnabled.main+xml")
    assert read(macros).media_type == "application/vnd.ms-word.document.macroEnabled"
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    with pytest.raises(UnreadableError, match="no document of a word processor") as failed:
        read(docx(p("x"), main=sheet))
    assert failed.value.code == "unsupported"


def test_empty_and_scanned_documents_say_so() -> None:
    """Nothing at all, or pictures only."""
    picture = "<w:r><w:drawing><pic:pic/></w:drawing></w:r>"
    for body, code in ((p(""), "empty"), (p(picture), "scanned")):
        with pytest.raises(UnreadableError) as failed:
            read(docx(body))
        assert failed.value.code == code


@settings(max_examples=60, deadline=None)
@given(st.text("ab ,.(1)é\u00ad", max_size=40), st.integers(0, 2**32), st.data())
def test_a_paragraph_is_the_same_however_it_is_split(text: str, seed: int, data: Any) -> None:
    """Runs, proofing marks, bookmarks and content controls part no word and add none."""
    chance = random.Random(seed)
    whole = texts(docx(p(text) + p("end")))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    parts = [text[one:two] for one, two in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    between = ["", "<w:proofErr w:type='spellStart'/>", "<w:bookmarkStart w:id='1' w:name='x'/>", BREAK]
    runs = []
    for part in parts:
        run = r(part, chance.choice(["", "<w:b/>", "<w:lang w:val='en-GB'/>"]))
        if chance.random() < 0.3:
            run = f"<w:sdt><w:sdtContent>{run}</w:sdtContent></w:sdt>"
        runs += [run, chance.choice(between)]
    assert texts(docx(p(*[each for each in runs if each]) + p("end"))) == whole
