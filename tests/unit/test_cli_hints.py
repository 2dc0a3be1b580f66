"""Commands that the CLI tells people to run can be pasted as they stand."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.deciders import decider_lookup
from cli.format import approval_lines
from cli.output import say
from common.approval.types import ApprovalPolicy, ApprovalRequest, Decision, Verdict, Vote
from common.hints import command
from common.settings import Settings

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def request(*approvers: str, plan: dict[str, object] | None = None, **changes: object) -> ApprovalRequest:
    return ApprovalRequest.model_validate(
        {
            "id": "ask-1",
            "question": "Buy?",
            "plan": plan or {},
            "digest": "d" * 64,
            "policy": ApprovalPolicy(approvers=approvers),
            "requester": "me",
            "asked_at": NOW,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("typed", "called"),
    [
        (["python", "starter.py", "list"], "python starter.py"),
        (["/a b/python", "starter.py", "list"], "'/a b/python' starter.py"),
        (["/v/bin/python", "/v/bin/hibernaut", "list"], "/v/bin/hibernaut"),
        (["python", "-c", "…"], "starter.py"),
    ],
)
def test_a_command_is_called_as_the_user_called_this_one(
    typed: list[str], called: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the same Python and path, and an odd id is quoted."""
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setattr(sys, "argv", typed[1:])
    say(f"look with {command('show', 'a; rm $x & b')}.")
    said = capsys.readouterr().err
    assert said == f"look with `{called} show 'a; rm $x & b'`.\n"


@pytest.mark.parametrize(
    ("approvers", "who"),
    [
        (("me", "ann"), "ann"),
        (("ann", "me"), "ann"),
        (("@board",), "cleo"),
        (("bob", "dan d"), "dan d"),
        ((), ""),
    ],
)
def test_as_names_who_may_decide(approvers: tuple[str, ...], who: str, tmp_path: Path) -> None:
    """Neither whom the agent works for nor who has voted; nobody is named where the user may."""
    (tmp_path / "groups.json").write_text(json.dumps({"board": ["me", "cleo"]}))
    vote = Vote(
        decision=Decision(
            id="1",
            request_id="ask-1",
            digest="d" * 64,
            verdict=Verdict.APPROVE,
            by="bob",
            through="cli",
            at=NOW,
        ),
        at=NOW,
    )
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_USER": "me"})
    asked = request(*approvers, votes=(vote,))
    assert decider_lookup(settings)(asked) == who
    theirs = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_USER": who or "x"})
    assert decider_lookup(theirs)(asked) == ""
    *_, yes, no = approval_lines("a b", "buyer", asked, decider_of=decider_lookup(settings))
    words = shlex.split(yes.removeprefix("answer: "))
    assert words == ["starter.py", "approve", "a b", *(["--as", who] if who else []), "--digest", "d" * 12]
    assert shlex.split(no)[2] == "reject"


def test_a_text_of_several_lines_is_read_as_such() -> None:
    """It is a block of its own; what only looks like a line break stays."""
    lines = approval_lines("a", "buyer", request(plan={"letter": 'Dear Ann,\n"x": 1', "path": "c:\\new"}))
    assert lines[1:5] == ["Letter:", "  Dear Ann,", '  "x": 1', "Path: c:\\new"]
