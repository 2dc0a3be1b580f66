"""What is in every history is written in short, read back whole, and read as it was written before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic_core import to_json

from common.approval.signing import Signer
from common.approval.types import (
    WITH_FIELD_NAMES,
    ApprovalPolicy,
    ApprovalRequest,
    Authorization,
    Decision,
    Vote,
)
from common.digest import digest
from common.key_ring import KeyRing
from common.notices.types import Told

PLAN = digest({"what": "buy"})
NOW = datetime(2026, 12, 1, 9, 30, 15, 123456, tzinfo=UTC)
SIGNER = Signer(KeyRing.of({"k": b"1" * 32}))


def vote(agent: str = "a", replaced: dict[str, Any] | None = None, **more: Any) -> Vote:
    """Ann's, signed for the agent; unsigned where that is empty."""
    given = {
        "id": "d1",
        "request_id": "approval-1",
        "digest": PLAN,
        "verdict": "approve",
        "by": "ann",
        "at": NOW,
    }
    decision = Decision.model_validate({**given, **more})
    return Vote(decision=SIGNER.sign(decision, agent, NOW) if agent else decision, replaced=replaced or {})


def authorization(*votes: Vote, key: str = f"a:act:{PLAN}") -> Authorization:
    """What the destructive activity is handed with these votes."""
    return Authorization(votes=votes, policy=ApprovalPolicy(approvers=("ann",)), requester="bob", key=key)


@pytest.mark.parametrize(
    "given",
    [
        authorization(vote()),
        authorization(vote(note="fine", through="cli")),
        authorization(vote(verdict="revise", edits={"x": 2}, digest="0" * 64), vote(), key=f"a:act:{PLAN}"),
        authorization(vote(verdict="revise", edits={"x": 2}, digest="f" * 64, replaced={"x": 1})),
        authorization(vote(agent="", at=None)),
        authorization(vote(), key=f"a-fork-1:act:{PLAN}"),
        authorization(vote(agent="a:b"), key=f"a:b:act:{PLAN}"),
        authorization(vote(digest="of no plan"), key="a:act:of no plan"),
        authorization(key=f"a:act:{PLAN}"),
    ],
)
def test_an_authorization_is_read_back_whole(given: Authorization) -> None:
    """Signatures cover every field of a decision, so none may be lost or change."""
    assert Authorization.model_validate_json(to_json(given)) == given
    with_names = given.model_dump_json(exclude_defaults=True, context=WITH_FIELD_NAMES)
    assert Authorization.model_validate_json(with_names) == given
    assert len(to_json(given)) < len(with_names) or not given.votes


def test_the_id_of_an_action_is_of_what_sleepers_have_from_before() -> None:
    """A replay of an agent that acted would pass another argument otherwise."""
    written = authorization(vote(agent="")).model_dump_json(exclude_defaults=True, context=WITH_FIELD_NAMES)
    assert written == (
        f'{{"votes":[{{"decision":{{"id":"d1","request_id":"approval-1","digest":"{PLAN}","verdict":"approve",'
        '"by":"ann","at":"2026-12-01T09:30:15.123456Z"}}],"policy":{"approvers":["ann"]},'
        '"requester":"bob","key":"a:act:"}'
    )


@pytest.mark.parametrize("broken", [7, "x", [[]], [["d1"]], [[None] * 8]])
def test_votes_that_are_none_are_refused(broken: Any) -> None:
    """Whatever stands in their place."""
    with pytest.raises(ValueError, match="votes"):
        Authorization.model_validate({"votes": broken, "policy": {}, "requester": "bob", "key": "a:act:"})


def test_a_question_is_all_that_is_written_of_it_where_nobody_else_was_told() -> None:
    """What more there is to say brings the names back; without them it says that there is more."""
    request = ApprovalRequest(
        id="approval-1",
        question="Buy?",
        plan={"what": "buy"},
        digest=PLAN,
        origin=PLAN,
        policy=ApprovalPolicy(approvers=("ann",)),
        requester="bob",
        asked_at=NOW,
    )
    for told in (Told(elsewhere=False), Told(elsewhere=False, gap="nobody may"), Told(courier="notice:1")):
        asked = told.tells_of(request, "bob")
        assert (b'"asked"' in to_json(asked)) == (told != Told(elsewhere=False))
        assert Told.model_validate_json(to_json(asked)) == asked
        assert asked.request("bob") == request
    before = {"elsewhere": False, "asked": Told().tells_of(request, "bob").asked}
    assert Told.model_validate(before).request("bob") == request
