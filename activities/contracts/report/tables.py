"""The findings as CSV and XLSX, one per row, without anything that a spreadsheet would execute."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import datetime

import xlsxwriter

from activities.contracts.report.facts import ContractSource, Row, place
from activities.contracts.results import clause_title
from activities.html.render import visible
from common.agents.contracts import Severity, Verdict

FINDINGS = (
    *(
        "contract",
        "verdict",
        "clause",
        "finding",
        "severity",
        "needs",
        "says",
        "quote",
        "where",
        "number",
        "page",
    ),
    *("character", "found by", "decision"),
)
CONTRACTS = (
    "contract",
    "title",
    "kind",
    "verdict",
    *(each.value for each in Severity),
    "accepted",
    "pages",
    "worst finding",
)
# Prefixes that make a spreadsheet take a cell for a formula, even after white space that it trims.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_MAX_CELL = 32_000
_MAX_ROWS = 1_000_000

_EPOCH = datetime(2000, 1, 1)

Cell = str | int


def harmless(cell: Cell) -> Cell:
    """A cell that a spreadsheet shows as it is, and does not compute, open or reorder."""
    if isinstance(cell, int):
        return cell
    text = visible(cell)[:_MAX_CELL]
    return f"'{text}" if text.lstrip(" \u00a0\u3000").startswith(_FORMULA) else text


def finding_rows(source: ContractSource) -> Iterator[tuple[Cell, ...]]:
    """One row per finding; a contract without findings and one that could not be read get one row each."""
    for contract in source.each():
        row = contract.row
        if not contract.decided:
            yield (row.name, row.verdict.value, *[""] * (len(FINDINGS) - 2))
        for each in contract.decided:
            finding, at = each.finding, each.finding.at
            yield (
                row.name,
                row.verdict.value,
                clause_title(finding.clause, source.titles),
                finding.title,
                finding.severity.value,
                finding.verdict.value,
                finding.said,
                finding.quote,
                place(at),
                at.number if at else "",
                (at.page or "") if at else "",
                at.start if at else "",
                finding.by,
                each.words,
            )
    for name, reason in sorted(source.results.set_aside.items()):
        yield (name, "not read", "", reason, *[""] * (len(FINDINGS) - 4))


def contract_rows(rows: Iterable[Row]) -> Iterator[tuple[Cell, ...]]:
    """One row per contract."""
    for row in rows:
        counts = (row.counts.get(each, 0) for each in Severity)
        yield (
            row.name,
            row.title,
            row.category,
            row.verdict.value,
            *counts,
            row.accepted,
            row.pages or "",
            row.top,
        )


def as_csv(source: ContractSource) -> Iterator[bytes]:
    """The findings as CSV in UTF-8, with a byte order mark, which spreadsheets need to recognise it."""
    yield b"\xef\xbb\xbf"
    yield _line(FINDINGS)
    for cells in finding_rows(source):
        yield _line(cells)


def _line(cells: Iterable[Cell]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow([harmless(cell) for cell in cells])
    return out.getvalue().encode("utf-8", "replace")


def as_xlsx(source: ContractSource, rows: Iterable[Row]) -> bytes:
    """Two sheets: the contracts, worst first, and the findings. Text is never converted to other types."""
    out = io.BytesIO()
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(out, options) as book:
        # A fixed date, so that the same audits give the same bytes.
        book.set_properties({"created": _EPOCH})
        head = book.add_format({"bold": True, "bottom": 1})
        wrap = book.add_format({"text_wrap": True, "valign": "top"})
        colours = {
            Verdict.NOT_ACCEPTABLE.value: book.add_format({"bg_color": "#F7D9D6", "valign": "top"}),
            Verdict.NEEDS_HUMAN.value: book.add_format({"bg_color": "#FBEBCB", "valign": "top"}),
            Verdict.OK.value: book.add_format({"bg_color": "#DDF0DF", "valign": "top"}),
        }
        for name, heads, body, widths in (
            ("Contracts", CONTRACTS, contract_rows(rows), (44, 44, 26, 16, 8, 9, 8, 10, 8, 70)),
            (
                "Findings",
                FINDINGS,
                finding_rows(source),
                (44, 16, 24, 40, 10, 16, 50, 70, 34, 10, 8, 11, 16, 40),
            ),
        ):
            sheet = book.add_worksheet(name)
            sheet.freeze_panes(1, 1)
            for column, width in enumerate(widths):
                sheet.set_column(column, column, width)
            for column, title in enumerate(heads):
                sheet.write_string(0, column, title.capitalize(), head)
            last = 0
            for last, cells in enumerate(body, 1):
                if last > _MAX_ROWS:
                    break
                for column, cell in enumerate(map(harmless, cells)):
                    if isinstance(cell, int):
                        sheet.write_number(last, column, cell, wrap)
                    else:
                        sheet.write_string(last, column, cell, colours.get(cell, wrap))
            sheet.autofilter(0, 0, last, len(heads) - 1)
    return out.getvalue()
