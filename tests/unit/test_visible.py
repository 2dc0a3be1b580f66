"""What people decide on is shown for what it is: nothing hides in it or passes for something else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.agents import decide
from cli.format import show_lines
from cli.output import CommandError, clean, print_document
from common.approval.types import ApprovalPolicy, ApprovalRequest, Verdict
from common.artifacts import ArtifactRef, ArtifactStore
from common.client.view import AgentView
from common.digest import digest_bytes
from common.settings import Settings
from common.visible_text import escaped


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb\u200b\ufeff\u00ad", r"a\u202eb\u200b\ufeff\u00ad"),
        ("\x1b[31m\x07\x9b\x7f\x00", r"\u001b[31m\u0007\u009b\u007f\u0000"),
        ("a\u2028b\u0085c\x0cd", r"a\u2028b\u0085c\u000cd"),
        ("x\u3164y\u2800z\ufe0f\u034f", r"x\u3164y\u2800z\ufe0f\u034f"),
        ("a\u00a0b\u2003c", r"a\u00a0b\u2003c"),
        ("р\u0430ypal", r"\u0440\u0430ypal"),
        ("соре.py", r"\u0441\u043e\u0440\u0435.py"),
        ("а.py", r"\u0430.py"),
        ("Οpen", r"\u039fpen"),
        ("𝐚dmin ａ", r"\ud835\udc1admin \uff41"),
        ("etc\u2215passwd", r"etc\u2215passwd"),
        ("\ud800", r"\ud800"),
        ("a\tb\ufffc", r"a\u0009b\ufffc"),
        ("роса", r"\u0440\u043e\u0441\u0430"),
    ],
)
def test_what_hides_or_passes_for_something_else_is_spelled_out(text: str, shown: str) -> None:
    """Marks of direction, zero widths, controls, line ends, fillers, odd spaces, letters of other scripts."""
    assert escaped(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "plain\nlines",
        "naïve café – “x” …",
        "Привет, а это файл.py",
        "web-сайт, IT-специалист",
        "утренняя роса",
        "α-helix, kΩ, µm, Δt, m²",
        "dışı",
        "日本語 한국어 हिन्दी עברית",
        "Ελλάδα, ο νόμος",
    ],
)
def test_text_in_any_script_stays_as_it_is(text: str) -> None:
    """Whoever writes Russian or Greek reads Russian or Greek."""
    assert escaped(text) == text


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_json_stays_exact_and_no_text_steers_a_terminal(text: str, value: dict[str, str]) -> None:
    """Escaped as JSON does it, so that a program reads what there was."""
    assert clean(text).isprintable()
    exact = json.dumps(value, ensure_ascii=False)
    assert json.loads(escaped(exact)) == value
    assert escaped(exact).isprintable()


def test_a_document_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Also with --json, which people read on terminals."""
    print_document({"path": "a\u202eb", "who": "р\u0430ypal"})
    out = capsys.readouterr().out
    assert r"a\u202eb" in out
    assert json.loads(out) == {"path": "a\u202eb", "who": "р\u0430ypal"}


def test_show_prints_the_whole_plan_and_its_diff(tmp_path: Path) -> None:
    """Whoever approves by the command that `show` prints has been shown what it says yes to."""
    data = b"--- a.py\n+++ a.py\n@@ -1 +1 @@\n-import os\n+\xe2\x80\xaeimport sys\n"
    ref = ArtifactRef(sha256=digest_bytes(data), size=len(data))
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    artifacts = ArtifactStore.of(settings)
    file = tmp_path / "artifacts" / ref.sha256[:2] / ref.sha256
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    request = ApprovalRequest(
        id="fixes-1",
        question="Fix?",
        plan={"files": list(range(500)), "diff": ref.model_dump()},
        digest="d" * 64,
        policy=ApprovalPolicy(approvers=("me",)),
        requester="me",
        asked_at=now,
    )
    view = AgentView.model_validate(
        {
            **{"id": "a-1", "run_id": "r", "kind": "code-auditor", "owner": "me", "status": "running"},
            **{"state": "working", "node": "", "waiting_for": None, "wake_at": None, "started_at": now},
            **{"closed_at": None, "requests": [request]},
        }
    )
    lines = show_lines(view, artifacts)
    assert "-import os" in lines
    assert r"+\u202eimport sys" in lines
    assert sum(line.strip().removeprefix("- ").isdecimal() for line in lines) == 500
    assert lines.index("-import os") < next(n for n, line in enumerate(lines) if line.startswith("answer:"))
    file.unlink()
    assert any(line.startswith("The diff is not") for line in show_lines(view, ArtifactStore.of(settings)))


@pytest.mark.parametrize("digest", ["", "  "])
async def test_an_empty_digest_is_an_error(digest: str) -> None:
    """Every digest begins with it, so a script whose variable was empty said yes to whatever was open."""
    settings = Settings.read({})
    with pytest.raises(CommandError, match="--digest is empty"):
        await decide(settings, "a", Verdict.APPROVE, "me", "", (), digest, as_json=False)
