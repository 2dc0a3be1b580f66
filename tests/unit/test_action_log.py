"""The log of what agents did: after a restore nothing is done twice that people have not been told of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.approval.action_log import ActionLog, ForgottenActError
from common.approval.types import ApprovalPolicy, Authorization, Decision, Verdict, Vote
from common.object_store import FolderStore

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Log(ActionLog):
    """A log whose time is set."""

    def __init__(self, folder: Path) -> None:
        self.now = NOON
        super().__init__(FolderStore(folder), lambda: self.now)

    def acts(self, minutes: int, plan: str, decision: str, agent: str = "buyer-1", node: str = "buy") -> None:
        self.now = NOON + timedelta(minutes=minutes)
        made = Decision(
            id=decision, request_id="approval-1", digest="d", verdict=Verdict.APPROVE, by="ann", at=self.now
        )
        self.record_or_refuse(
            Authorization(
                key=f"{agent}:{node}:{plan}",
                policy=ApprovalPolicy(approvers=("ann",)),
                votes=(Vote(decision=made),),
                requester="boss",
            ),
            agent,
        )

    def restored(self, minutes: int, to: int) -> None:
        self.now = NOON + timedelta(minutes=minutes)
        self.note_restore(NOON + timedelta(minutes=to))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_without_a_restore_an_agent_acts_as_often_as_people_decide(log: Log) -> None:
    """Also twice under one key, as a second attempt does."""
    for minutes, plan in enumerate(("a", "a", "b", "c")):
        log.acts(minutes, plan, f"decision-{plan}")


def test_what_was_forgotten_is_told_before_another_plan_is_done(log: Log) -> None:
    """The first approval after the restore does not suffice, at any attempt; that of people who know does."""
    log.acts(5, "a", "one")
    log.restored(30, to=0)
    for minutes in (40, 41):
        with pytest.raises(
            ForgottenActError, match=r"acted in buy at 2026-03-02 12:05 UTC by decision of ann"
        ):
            log.acts(minutes, "b", "two")
    log.acts(50, "c", "three")
    log.acts(60, "d", "four")


def test_the_same_plan_is_done_again_under_its_key(log: Log) -> None:
    """By which the target finds what was done."""
    log.acts(5, "a", "one")
    log.restored(30, to=0)
    log.acts(40, "a", "two")


def test_what_the_restored_server_knows_is_nothing_to_tell(log: Log) -> None:
    """Acts of before the copy, of after the restore, and of other agents."""
    log.acts(-5, "a", "one")
    log.acts(5, "a", "other", agent="buyer-2")
    log.restored(30, to=0)
    log.acts(40, "b", "two")
    log.acts(50, "c", "three")


def test_what_was_done_since_a_time_can_be_listed(log: Log) -> None:
    """By all agents, in order; what people were told of it is not among it."""
    log.acts(-5, "a", "one")
    log.acts(8, "b", "two", agent="buyer-2", node="offer")
    log.acts(5, "a", "three", agent="a/b")
    log.restored(30, to=0)
    with pytest.raises(ForgottenActError):
        log.acts(40, "b", "four", agent="a/b")
    assert [(act.agent, act.node, act.by) for act in log.since(NOON)] == [
        ("a/b", "buy", ("ann",)),
        ("buyer-2", "offer", ("ann",)),
    ]


def test_a_second_restore_forgets_anew(log: Log) -> None:
    """What was done between both is told, too."""
    log.restored(30, to=0)
    log.acts(40, "a", "one")
    log.restored(60, to=35)
    with pytest.raises(ForgottenActError, match="12:40"):
        log.acts(70, "b", "two")
    log.acts(80, "c", "three")


def test_an_act_is_noted_before_it_is_done(log: Log, tmp_path: Path) -> None:
    """Where it cannot be noted it must not be done."""
    log.acts(5, "a", "one")
    assert len(log.objects_of(["buyer-1", "buyer-2"])) == 1
    (tmp_path / "acts").rename(tmp_path / "gone")
    (tmp_path / "acts").write_text("no folder")
    with pytest.raises(Exception, match=r"acts"):
        log.acts(6, "b", "two")
