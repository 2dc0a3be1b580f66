"""`starter.py logs`: records of one agent with their tracebacks, what is added, and how long logs get."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.children import shorten
from cli.logs import Tail, lines_of, matching, wanted_lines

TEXT = """\
worker ready
asked: buyer-1: Buy? (may decide: ann)
2026-11-30 00:18:27,461 WARNING worker: Failed activation on workflow buyer with ID buyer-1 and run ID r-1
Traceback (most recent call last):
  File "buyer.py", line 65, in run
AttributeError: 'Buyer' object has no attribute 'memroy'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "core.py", line 1, in run
RuntimeError: in short, no
asked: buyer-10: Sell?
\x1b[2m2026-11-30T00:18:28.1Z\x1b[0m WARN core: Failing run_id=r-1
{"time": "2026-11-30T00:18:29.000+00:00", "level": "warning", "message": "slow", "agent": "buyer-1"}
{"time": "2026-11-30T00:18:30.000+00:00", "level": "warning", "message": "slow", "agent": "x.buyer-1"}
"""


def texts(*names: str) -> list[str]:
    return [each.text for each in wanted_lines("worker-1", TEXT.splitlines(), matching(names))]


def test_what_is_about_an_agent_is_found_with_its_traceback() -> None:
    """By its id and its runs' ids; not what is about one whose id only begins or ends so."""
    lines = TEXT.splitlines()
    assert texts("buyer-1") == [lines[1], *lines[2:12], lines[14]]
    assert texts("buyer-1", "r-1") == [
        *lines[1:12],
        "2026-11-30T00:18:28.1Z WARN core: Failing run_id=r-1",
        lines[14],
    ]
    assert texts("buyer-10") == ["asked: buyer-10: Sell?"]
    assert len(texts()) == len(lines)


@pytest.mark.parametrize("said", ["of buyer-1.", "(buyer-1)", "'buyer-1'", "buyer-1"])
def test_an_id_may_end_a_sentence(said: str) -> None:
    """And stand in quotes."""
    assert matching(["buyer-1"])(said)


def test_lines_are_followed_through_a_cut(tmp_path: Path) -> None:
    """Only whole lines; what was put aside is there once, and the writer goes on."""
    log = tmp_path / "worker-1.log"
    tail, every = Tail({}), matching([])
    with log.open("ab", buffering=0) as writer:
        writer.write(b"one\ntw")
        assert [each.text for each in tail.read(log, every)] == ["one"]
        assert tail.read(log, every) == []
        writer.write(b"o\n")
        assert [each.text for each in tail.read(log, every)] == ["two"]
        shorten(log, most=100)
        assert log.read_text() == "one\ntwo\n"
        shorten(log, most=5)
        writer.write(b"three\n")
        assert [each.text for each in tail.read(log, every)] == ["three"]
    assert (log.read_text(), (tmp_path / "worker-1.old.log").read_text()) == ("three\n", "one\ntwo\n")
    assert [each.log for each in lines_of(tmp_path / "worker-1.old.log", every)] == ["worker-1.old"] * 2
