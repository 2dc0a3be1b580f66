"""What people see is what is there: nothing hidden, nothing reordered, nothing imitated."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import StreamingResponse

from common.approval.diff_view import DIFF_LINES, MASK, MAX_CHANGED, view_of
from common.approval.types import ApprovalPolicy, ApprovalRequest
from common.approval.values import plain
from common.artifacts import ArtifactStore
from common.notices.types import Notice, NoticeEvent
from common.object_store import FolderStore
from common.visible_text import one_line, visible
from gateway.file_responses import open_ref
from gateway.pages import page
from gateway.problems import Problem
from gateway.request_view import RequestView
from gateway.services import Gateway

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOSTILE = [
    ("pay\u202egnihton", r"pay\u202egnihton"),
    ("a\u200bb\ufeffc\u00add", r"a\u200bb\ufeffc\xadd"),
    ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
    ("x\u2028y\x85z\x0c", r"x\u2028y\x85z\x0c"),
    ("\u0430pp.py", r"\u0430pp.py"),
    ("src/\u0441\u043e\u0441\u043e.py", r"src/\u0441\u043e\u0441\u043e.py"),
    ("\u039flympus", r"\u039flympus"),
    ("\uff41dmin", r"\uff41dmin"),
    ("\U0001d41apple.com", r"\U0001d41apple.com"),
    ("good.com\u2215evil.com", r"good.com\u2215evil.com"),
    ("a\u3164b", r"a\u3164b"),
    ("lone \ud800 surrogate", r"lone \ud800 surrogate"),
    ("\u13aadmin g\ua4f3\ua4f3gle paypa\u2cd1", r"\u13aadmin g\ua4f3\ua4f3gle paypa\u2cd1"),
    ("\u1d00dmin \u03f2onfig.py", r"\u1d00dmin \u03f2onfig.py"),
    ("\u0627dmin.py", r"\u0627dmin.py"),
    ("good.com\u2236443/a\u2571b", r"good.com\u2236443/a\u2571b"),
    ("set\u2010up.py \u2011\u2011force", r"set\u2010up.py \u2011\u2011force"),
    ("10\u2800 o\u0338k \ufffc", r"10\u2800 o\u0338k \ufffc"),
    ("\u0440\u0430\u0443", r"\u0440\u0430\u0443"),
]
ORDINARY = [
    "Привет, мир!", "src/документ.md", "Ελλάδα και α-helix", "日本語のtext、（例）",
    "naïve café, 1½ m², 5µm, kΩ", "שלום עולם", "مرحبا", "l’été : « oui\u00a0»", "ﬁne", "Teil Ⅴ", "a\tb\nc",
    "the well\u2011known e\u2010mail", "5 ℓ", "утренняя роса", "שלום Linux", "x² − 1", "10 °C",
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_what_hides_or_imitates_is_spelled_out(text: str, shown: str) -> None:
    """Bidirectional marks, zero widths, escapes, other line breaks, homoglyphs, look-alike signs."""
    assert visible(text) == shown
    assert plain({text: [text]}) == f"{shown}: {shown}"


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_of_any_script_stays(text: str) -> None:
    """Also a word of another script in a path."""
    assert visible(text) == text


@given(st.text())
def test_nothing_hidden_is_left(text: str) -> None:
    """Of what has no look of its own only line feeds and tabs; shown twice, it is the same."""
    shown = visible(text, spaces=True)
    for char in shown:
        assert char in "\n\t" or unicodedata.category(char)[0] not in "CZ" or char == " ", ascii(char)
    assert visible(shown, spaces=True) == shown


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    """For every program that splits lines in its own way."""
    assert len(one_line(text).splitlines()) <= 1
    assert one_line("a") == "a"


def test_words_of_others_forge_no_line_of_a_notice() -> None:
    """A topic cannot bring lines of its own into a mail, such as a link to decide."""
    forged = "Publish?\n\nSee it whole and decide here:\r\nhttps://evil.example/approve/x\u2028y"
    request = ApprovalRequest(
        id="r", question=forged, plan={}, digest="d", evidence=(forged,), policy=ApprovalPolicy(),
        requester="o", asked_at=NOW,
    )  # fmt: skip
    notice = Notice(id="n", agent="a", kind="k", owner="o", event=NoticeEvent.ASKED, text=forged)
    for text in (request.question, request.evidence[0], notice.text):
        assert text == "Publish? See it whole and decide here: https://evil.example/approve/x y"


def kinds(text: str) -> list[tuple[str, str]]:
    return [(line.kind, line.text) for line in view_of(text).lines]


def test_a_diff_has_the_lines_that_patch_would_see() -> None:
    """Other line breaks are part of a line; what was removed from a file is no name of a file."""
    hunk = " a\u2028-b\x0c+c\n--- gone\n+++ new\r\n+tail\u00a0\n\\ No newline\n"
    text = f"--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@\n{hunk}--- a/y\n"
    assert kinds(text) == [
        ("file", "--- a/x"),
        ("file", "+++ b/x"),
        ("hunk", "@@ -1,2 +1,3 @@"),
        ("same", r" a\u2028-b\x0c+c"),
        ("removed", "--- gone"),
        ("added", r"+++ new\r"),
        ("added", r"+tail\xa0"),
        ("same", r"\ No newline"),
        ("file", "--- a/y"),
    ]


@settings(deadline=None)  # the first diff loads the library that finds secrets
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_a_change_in_a_long_line_is_in_view(before: int, after: int) -> None:
    """Wherever it is; and how much is left out around it stands there."""
    old, new = "a" * before + "X" + "b" * after, "a" * before + "YY" + "b" * after
    diff = view_of(f"@@ -1 +1 @@\n-{old}\n+{new}\n")
    removed, added = (line.text for line in diff.lines[1:])
    assert "X" in removed
    assert "YY" in added
    assert len(added) < 500
    assert diff.shortened == (len(old) > 399 or len(new) > 399)


def test_what_is_cut_or_left_out_says_so() -> None:
    """An added line without a counterpart is a change as a whole, and shown as far as a page can."""
    diff = view_of("@@ -0,0 +1 @@\n+" + "z" * (MAX_CHANGED + 1000) + "END\n")
    assert diff.lines[1].text == "+" + "z" * MAX_CHANGED + "[… 1,003 characters …]"
    assert diff.shortened
    whole = view_of(f"@@ -1,{DIFF_LINES} +1,{DIFF_LINES} @@\n" + " x\n" * DIFF_LINES)
    assert (len(whole.lines), whole.left_out, whole.shortened) == (DIFF_LINES, 1, False)


def test_a_diff_shows_no_secret() -> None:
    """Not where it is found, nor where a long one is repeated; private keys as a whole; words stay words."""
    key = "-----BEGIN RSA PRIVATE KEY-----\n MIIEow\n -----END RSA PRIVATE KEY-----"
    diff = view_of(
        f'@@ -1,6 +1,3 @@\n-password = "hunter2secretX"\n-print("hunter2secretX")\n {key}\n'
        '-token = "test"\n+password = ask()\n+def test_it(): test()\n'
    )
    texts = [line.text for line in diff.lines]
    assert not any("hunter2secretX" in text or "MIIEow" in text for text in texts)
    assert [line.kind for line in diff.lines][1:3] == ["removed", "removed"]
    assert f'-password = "{MASK}"' in texts
    assert "+def test_it(): test()" in texts
    assert diff.shortened


async def test_a_page_shows_what_is_there_and_its_form_sends_back_what_was_there(tmp_path: Path) -> None:
    """A plan's hidden characters are spelled out to read, and exact in the fields that come back."""
    note = "ok\u202e\u200b"
    request = ApprovalRequest(
        id="r-1", question="Go\u202e?", plan={"note": note, "f\u0430st": "\u0430pp.py"}, digest="d" * 64,
        evidence=("seen\x1b[2J",), policy=ApprovalPolicy(approvers=("ann",), editable=("note",)),
        requester="o", asked_at=NOW,
    )  # fmt: skip
    view = await RequestView.of(request, "none", ArtifactStore(FolderStore(tmp_path)), "/approve/x")
    answer = page(
        Request({"type": "http", "path": "/approve/x", "headers": []}), "approve.html",
        asked=view, view={"id": "a", "kind": "k"}, link={"approver": "ann"}, action="/", guard="g", used=None,
    )  # fmt: skip
    text = bytes(answer.body).decode()
    [field] = [part for part in text.split("<") if part.startswith("input") and 'name="edit.note"' in part]
    assert f'value="{note}"' in field
    rest = text.replace(field, "")
    assert not set("\u202e\u200b\u0430\x1b") & set(rest)
    for shown in (r"Go\u202e?", r"ok\u202e\u200b", r"\u0430pp.py", r"F\u0430st", r"seen\x1b[2J"):
        assert shown in rest


async def test_the_whole_diff_is_offered_as_it_is(tmp_path: Path) -> None:
    """Byte for byte, what is cut, masked or not Unicode on the page too; gone, it is a 404."""
    store = ArtifactStore(FolderStore(tmp_path))
    data = b'@@ -1 +1 @@\n-password = "hunter2secretX"\r\n+\xff\n'
    ref, parts = store.put(data), cast("Gateway", SimpleNamespace(artifacts=store))
    plan = {"parts": [{"diff": ref.model_dump()}]}
    shown = await open_ref(parts, plan, ref.sha256, "changes.diff", save=False)
    assert isinstance(shown, StreamingResponse)
    assert [part async for part in shown.body_iterator] == [data]
    assert shown.headers["content-type"] == "text/plain; charset=utf-8"
    assert shown.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    saved = await open_ref(parts, plan, ref.sha256, "changes.diff", save=True)
    assert saved.headers["content-disposition"].startswith("attachment")
    for nothing in ({}, {"diff": {"sha256": "0" * 64, "size": 1}}):
        for digest in (ref.sha256, "0" * 64):
            with pytest.raises(Problem) as refused:
                await open_ref(parts, nothing, digest, "changes.diff", save=False)
            assert refused.value.status_code == 404
