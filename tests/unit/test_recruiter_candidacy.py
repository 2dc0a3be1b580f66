"""Candidacies as pure rules: answers at every stage, slots shared out, absences bounded."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from activities.recruiting.candidacy import ENDS, Candidacy, MailReading, Says, Stage
from activities.recruiting.slots import LEAD, distribute_slots
from common.agents.recruiter import Slot
from tests.support.seeds import seed

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
WITHIN = timedelta(hours=48)


def slot(number: int, hours: float = 24) -> Slot:
    start = NOW + timedelta(hours=hours + number)
    return Slot(start=start, end=start + timedelta(minutes=45), interviewer="ann@example.com")


SLOTS = [slot(number) for number in range(8)]


def at(stage: Stage) -> Candidacy:
    """A candidacy that reached a stage the usual way."""
    candidacy = Candidacy()
    if stage is Stage.LISTED:
        return candidacy
    candidacy.asked(NOW, WITHIN)
    if stage in (Stage.WAITING, Stage.PROPOSED, Stage.CHOSEN, Stage.INVITED, Stage.WITHDRAWN):
        candidacy.queue()
    if stage in (Stage.PROPOSED, Stage.CHOSEN, Stage.INVITED, Stage.WITHDRAWN):
        candidacy.proposed((0, 1, 2), NOW, WITHIN)
    if stage in (Stage.CHOSEN, Stage.INVITED, Stage.WITHDRAWN):
        says(candidacy, Says.SLOT, 1)
    if stage in (Stage.INVITED, Stage.WITHDRAWN):
        candidacy.invited(SLOTS)
    if stage is Stage.WITH_HUMAN:
        candidacy.ask_human("What does it pay?")
    if stage in ENDS:
        candidacy.end(stage)
    assert candidacy.stage is stage
    return candidacy


def says(
    candidacy: Candidacy, what: Says, number: int = 0, slots: list[Slot] = SLOTS, **more: datetime
) -> str:
    return candidacy.apply(MailReading(says=what, slot=number, **more), "words", NOW, WITHIN, slots=slots)


@pytest.mark.parametrize(
    ("stage", "what", "to"),
    [
        (Stage.ASKED, Says.YES, Stage.WAITING),
        (Stage.ASKED, Says.NO, Stage.DECLINED),
        (Stage.ASKED, Says.OTHER_TIME, Stage.WAITING),
        (Stage.ASKED, Says.QUESTION, Stage.WITH_HUMAN),
        (Stage.ASKED, Says.UNCLEAR, Stage.WITH_HUMAN),
        (Stage.ASKED, Says.BOUNCE, Stage.UNREACHABLE),
        (Stage.ASKED, Says.OUT_OF_OFFICE, Stage.ASKED),
        (Stage.PROPOSED, Says.SLOT, Stage.CHOSEN),
        (Stage.PROPOSED, Says.YES, Stage.WITH_HUMAN),
        (Stage.PROPOSED, Says.NO, Stage.DECLINED),
        (Stage.PROPOSED, Says.OTHER_TIME, Stage.WAITING),
        (Stage.CHOSEN, Says.NO, Stage.DECLINED),
        (Stage.CHOSEN, Says.YES, Stage.CHOSEN),
        (Stage.CHOSEN, Says.OTHER_TIME, Stage.WAITING),
        (Stage.CHOSEN, Says.UNCLEAR, Stage.WITH_HUMAN),
        (Stage.INVITED, Says.NO, Stage.WITHDRAWN),
        (Stage.INVITED, Says.YES, Stage.INVITED),
        (Stage.INVITED, Says.OTHER_TIME, Stage.WITH_HUMAN),
        (Stage.INVITED, Says.BOUNCE, Stage.UNREACHABLE),
        (Stage.WITH_HUMAN, Says.YES, Stage.WAITING),
        (Stage.WITH_HUMAN, Says.NO, Stage.DECLINED),
        (Stage.WITH_HUMAN, Says.UNCLEAR, Stage.WITH_HUMAN),
        (Stage.SILENT, Says.YES, Stage.WAITING),
        (Stage.SILENT, Says.OUT_OF_OFFICE, Stage.SILENT),
        (Stage.DECLINED, Says.YES, Stage.DECLINED),
        (Stage.ACCEPTED, Says.NO, Stage.WITHDRAWN),
    ],
)
def test_what_an_answer_makes_of_a_stage(stage: Stage, what: Says, to: Stage) -> None:
    """The table of the state machine."""
    candidacy = at(stage)
    says(candidacy, what, 1 if what is Says.SLOT else 0)
    assert candidacy.stage is to


@pytest.mark.seeded
def test_any_sequence_of_anything_keeps_the_rules() -> None:
    """Random walks: slots held only where they may be, ends final but for the named ones, dues where due."""
    chance = random.Random(seed("COURSE_SEED"))
    for _ in range(2000):
        candidacy = at(Stage.ASKED)
        for _ in range(chance.randrange(1, 12)):
            was = candidacy.stage
            says(candidacy, chance.choice(list(Says)), chance.randrange(4))
            if candidacy.stage is Stage.WAITING and chance.random() < 0.7:
                candidacy.proposed(tuple(chance.sample(range(8), 3)), NOW, WITHIN)
            if candidacy.stage is Stage.CHOSEN and chance.random() < 0.5:
                candidacy.invited(SLOTS)
            if candidacy.stage is Stage.WITH_HUMAN and chance.random() < 0.5:
                if chance.random() < 0.5:
                    candidacy.answered(NOW, WITHIN, SLOTS)
                else:
                    candidacy.leave_to_human(SLOTS)
            if was in ENDS - {Stage.SILENT}:
                assert candidacy.stage in (was, Stage.WITHDRAWN)
            if candidacy.over:
                assert (candidacy.holds, candidacy.due) == ((), None)
            elif candidacy.stage in (Stage.ASKED, Stage.PROPOSED, Stage.CHOSEN, Stage.INVITED):
                assert candidacy.due is not None
            assert (candidacy.slot is not None) <= (
                candidacy.stage in (Stage.CHOSEN, Stage.INVITED, Stage.WITH_HUMAN, Stage.INTERVIEW)
            )
        assert Candidacy.model_validate(candidacy.model_dump(mode="json")) == candidacy


def test_an_absence_moves_the_timer_and_not_for_ever() -> None:
    """Three times, by sixty days at most."""
    candidacy = at(Stage.ASKED)
    for number in range(1, 6):
        says(candidacy, Says.OUT_OF_OFFICE, back_at=NOW + timedelta(days=10_000))
        assert candidacy.moves == min(number, 3)
    assert candidacy.due is not None
    assert candidacy.due <= NOW + timedelta(days=60) + WITHIN + timedelta(minutes=1)


def test_without_slots_a_yes_is_told() -> None:
    """Somebody has to go on by hand."""
    candidacy = at(Stage.ASKED)
    assert "no slots" in says(candidacy, Says.YES, slots=[])
    assert candidacy.stage is Stage.ACCEPTED


def test_a_withdrawal_after_the_invitation_is_told_and_frees_the_slot() -> None:
    """Its interviewer waits otherwise."""
    candidacy = at(Stage.INVITED)
    assert "interviewer" in says(candidacy, Says.NO)
    assert candidacy.holds == ()


def test_a_course_takes_few_bytes() -> None:
    """A thousand of them are carried over whole."""
    assert len(at(Stage.ASKED).model_dump_json()) < 100
    candidacy = at(Stage.ASKED)
    for _ in range(1000):
        candidacy.apply(MailReading(says=Says.UNCLEAR), "x" * 20_000, NOW, WITHIN, slots=SLOTS)
    assert len(candidacy.model_dump_json()) < 12_000


@pytest.mark.parametrize(("waiting", "slots"), list(itertools.product((1, 2, 3, 5, 9), (0, 1, 2, 3, 7))))
def test_no_slot_goes_to_two(waiting: int, slots: int) -> None:
    """And as many are served as can be; nobody waits for a slot that cannot become free."""
    courses = {f"c{number}": at(Stage.WAITING) for number in range(waiting)}
    offers = distribute_slots(courses, SLOTS[:slots], (), NOW)
    given = [place for places in offers.proposals.values() for place in places]
    assert len(given) == len(set(given)) <= slots
    assert len(offers.proposals) == min(waiting, slots)
    assert list(offers.proposals) == list(courses)[: len(offers.proposals)], "best candidates first"
    assert bool(offers.without_slot) == (slots == 0)


def test_what_is_held_busy_past_or_unwanted_is_not_proposed() -> None:
    """Only what is really free."""
    slots = [slot(0, hours=-1), slot(0, LEAD / timedelta(hours=1) / 2), slot(3), slot(4), slot(5), slot(6)]
    held, wants = at(Stage.PROPOSED), at(Stage.WAITING)
    held.offered, wants.seen = (2,), (3,)
    offers = distribute_slots({"held": held, "wants": wants}, slots, [4], NOW)
    assert offers.proposals == {"wants": (5,)}
    wants.seen = (3, 5)
    assert distribute_slots({"held": held, "wants": wants}, slots, [4], NOW).without_slot == ()
    held.end(Stage.INTERVIEW)
    wants.seen = (2, 3, 5)
    assert distribute_slots({"held": held, "wants": wants}, slots, [4], NOW).without_slot == ("wants",)
