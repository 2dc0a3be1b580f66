"""Tables for people: aligned, folded where the terminal is narrow, and complete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import table
from cli.format import ROW_COLUMNS, row_cells
from cli.table import folded, measured
from common.agents.states import RunStatus
from common.client.rows import AgentRow

TEXT = st.text(alphabet="ab 漢é\u0301", max_size=30)


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> list[str]:
    """A table of which nothing is left out."""
    lines, left_out = table.table_lines(columns, rows, width)
    assert not left_out
    return lines


def test_columns_are_aligned_under_their_names() -> None:
    """Two columns of space between them, none at the end of a line."""
    rows = [["agent-1", "", "Buy?"], ["a", "漢字", "Sell it?"]]
    assert table_lines(["ID", "OWNER", "QUESTION"], rows, 80) == [
        "ID       OWNER  QUESTION",
        "agent-1         Buy?",
        "a        漢字   Sell it?",
    ]


def test_what_does_not_fit_is_folded_at_a_space() -> None:
    """The widest column gives way; the others stay whole."""
    assert table_lines(["ID", "QUESTION"], [["agent-1", "Buy ten of it now?"]], 18) == [
        "ID       QUESTION",
        "agent-1  Buy ten",
        "         of it",
        "         now?",
    ]


LONG = "audit-of-the-harbour-office-0001"


def test_an_id_and_a_state_stay_in_one_piece() -> None:
    """Lesser columns go, empty ones unsaid, and the id is whole even where it is wider than all there is."""
    columns = ["ID", "KIND", "OWNER", "STATE", "WAITS FOR", "CLOSED"]
    row = [LONG, "code-auditor", "ann", "awaiting_approval", "an approval until noon", ""]
    lines, left_out = table.table_lines(columns, [row], 80)
    assert left_out == ["OWNER", "KIND"]
    assert lines[1] == f"{LONG}  awaiting_approval  an approval until noon"
    lines, left_out = table.table_lines(columns, [row], 20)
    assert left_out == ["OWNER", "KIND"]
    assert lines[1] == f"{LONG}  awaiting_approval  an"


@pytest.mark.parametrize(
    ("width", "left_out"), [(120, []), (90, ["OWNER", "STARTED"]), (60, ["OWNER", "STARTED", "ABOUT"])]
)
def test_what_an_agent_is_about_stands_last_where_there_is_room(width: int, left_out: list[str]) -> None:
    """Owner and times go before it; it goes before kind and node, and takes nothing from id and state."""
    row = AgentRow(
        id="shop-1", run_id="r", kind="code-auditor", owner="ann", status=RunStatus.RUNNING, state="stuck",
        node="scan", waiting_for="", wake_at=None, started_at=datetime(2026, 11, 30, tzinfo=UTC),
        closed_at=None, subject="Audit of the harbour office",
    )  # fmt: skip
    lines, missing = table.table_lines(ROW_COLUMNS, [row_cells(row)], width)
    assert missing == left_out
    assert lines[1].startswith("shop-1  code-auditor")
    assert " ".join(lines[1:]).count("Audit of the") == ("ABOUT" not in left_out)
    assert lines[0].endswith("ABOUT") == ("ABOUT" not in left_out)


def test_nothing_in_a_cell_steers_the_terminal() -> None:
    """Control characters are spelled out before anything is measured."""
    assert table_lines(["A"], [["x\x1b[31m\ny"]], 80) == ["A", "x\\u001b[31m y"]


@given(text=TEXT, width=st.integers(1, 12))
def test_folding_loses_no_sign_and_keeps_to_the_width(text: str, width: int) -> None:
    """But for a sign of two columns where there is only one; and spaces, at which lines break."""
    lines = folded(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(measured(line) <= max(width, 2) for line in lines)


@pytest.mark.parametrize("count", [0, 3])
@given(width=st.integers(3 * table.MIN_WIDTH + 4, 60), cell=TEXT)
def test_a_table_is_never_wider_than_it_may_be(count: int, width: int, cell: str) -> None:
    """Whatever stands in it."""
    lines = table_lines(["ONE", "TWO", "THREE"], [[cell, cell * 2, cell * 3]] * count, width)
    assert all(measured(line) <= width + 1 for line in lines)
