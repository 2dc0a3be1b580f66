"""The word that allows a plan is checked again where it is carried out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.auditor.fix.apply import FixApplier
from activities.auditor.records import ApplyRequest
from common.agents.auditor import FixPlan
from common.approval.signing import Signer
from common.approval.types import Authorization, Decision, Verdict
from common.key_ring import KeyRing
from tests.support.auditor.fix_world import AGENT, FLAWED, NOW, RING, World, authority, authorized


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def traces(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """What any write, rename or change of mode would show in."""
    seen = {path: path.lstat() for path in folder.rglob("*")}
    return {path: (each.st_ino, each.st_mtime_ns, each.st_ctime_ns) for path, each in seen.items()}


def reworded(plan: FixPlan, change: Callable[[Decision], Decision], **policy: object) -> Authorization:
    word = authorized(plan)
    [vote] = word.votes
    vote = vote.model_copy(update={"decision": change(vote.decision)})
    return word.model_copy(update={"votes": (vote,), "policy": word.policy.model_copy(update=policy)})


def tampered(plan: FixPlan) -> Authorization:
    # Bob may decide, so it is the signature that tells.
    return reworded(plan, lambda decision: decision.model_copy(update={"by": "bob"}), approvers=("bob",))


def unsigned(plan: FixPlan) -> Authorization:
    return reworded(plan, lambda decision: decision.model_copy(update={"signature": None}))


def forged(plan: FixPlan) -> Authorization:
    return reworded(plan, lambda decision: Signer(KeyRing.of({"test": bytes(32)})).sign(decision, AGENT, NOW))


def for_another_agent(plan: FixPlan) -> Authorization:
    return reworded(plan, lambda decision: RING.sign(decision, "another", NOW))


def expired(plan: FixPlan) -> Authorization:
    return reworded(plan, lambda decision: RING.sign(decision, AGENT, datetime(2020, 1, 1, tzinfo=UTC)))


def for_another_plan(plan: FixPlan) -> Authorization:
    return authorized(plan.model_copy(update={"fixes": 99}))


def with_the_plan_exchanged(plan: FixPlan) -> Authorization:
    word = for_another_plan(plan)
    return word.model_copy(update={"votes": (word.votes[0].model_copy(update={"replaced": {"fixes": 99}}),)})


def with_the_key_of_another_action(plan: FixPlan) -> Authorization:
    return authorized(plan).model_copy(update={"key": f"{AGENT}:apply:{'0' * 64}"})


@pytest.mark.parametrize(
    "word",
    [
        lambda plan: None,
        unsigned,
        tampered,
        forged,
        for_another_agent,
        expired,
        for_another_plan,
        with_the_plan_exchanged,
        lambda plan: authorized(plan, verdict=Verdict.REJECT),
        with_the_key_of_another_action,
        lambda plan: authorized(plan, {"skip": ["a.py"]}),  # the plan given has no such edit
        lambda plan: authorized(plan, {"skip": 7}),
        lambda plan: authorized(plan.model_copy(update={"root": "/"}), {"root": plan.root}),
    ],
)
def test_without_a_good_word_for_this_very_plan_nothing_is_touched(
    world: World, word: Callable[[FixPlan], Authorization | None]
) -> None:
    """No file, no folder, no journal; and no retry mends it."""
    world.write("a.py")
    plan = world.plan()
    before = traces(world.folder)
    with pytest.raises(ApplicationError) as caught:
        world.apply(plan, word(plan))
    assert (caught.value.type, caught.value.non_retryable) == ("NotAuthorized", True)
    assert traces(world.folder) == before


def test_an_approval_does_not_cover_more_than_it_showed(world: World) -> None:
    """A plan that was changed after the approval is another plan."""
    world.write("a.py")
    world.write("b.py")
    shown = world.plan().model_copy(update={"skip": ["b.py"]})
    with pytest.raises(ApplicationError, match="for another plan"):
        world.apply(shown.model_copy(update={"skip": []}), authorized(shown))
    assert world.content() == {"a.py": FLAWED, "b.py": FLAWED}


def test_unsigned_words_count_where_the_settings_say_so(world: World) -> None:
    """The embedded stack takes them."""
    world.write("a.py")
    plan = world.plan()
    applier = FixApplier(world.store, authority(Signer(KeyRing.of({})), accept_unsigned=True), world.objects)
    request = ApplyRequest(plan=plan, authorization=unsigned(plan))
    assert ActivityEnvironment().run(applier.apply_fixes, request).written == 1
