"""CandidateRanking, letters, calendars and invitations of the recruiter, each by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from icalendar import Calendar
from pydantic import ValidationError

from activities.llm.offline import OfflineAnalyst
from activities.llm.records import ModelReply, ModelRequest, Quote, RankedItem
from activities.recruiting.candidacy import Candidacy, MailReading, Says
from activities.recruiting.invitations import calendar_object
from activities.recruiting.letters import book_of
from activities.recruiting.ranking import Profile, rank, weak_match
from activities.recruiting.records import (
    CandidateRanking,
    DraftInvitations,
    DraftLetters,
    InvitationDraft,
    LetterKind,
    Outgoing,
    RecruitingReportRequest,
)
from activities.recruiting.report import RecruitingReport, html, markdown
from common.agents.recruiter import Candidate, RecruiterInput, Role, Slot
from common.artifacts import ArtifactRef
from tests.support.recruiting.stage import recruiter_input

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
ROLE = Role(title="Keeper", must_have=("tide tables", "C++"), nice_to_have=("Python",))


def slot(start: str = "2026-12-01T10:00", end: str = "2026-12-01T11:00", **more: str) -> Slot:
    fields = {"start": start, "end": end, "zone": "Europe/Berlin", "interviewer": "ann@example.com", **more}
    return Slot.model_validate(fields)


def profile(number: int, text: str) -> Profile:
    return Profile(number, f"c{number}", f"Name {number}", text)


def test_who_tells_more_of_the_role_is_first_and_each_reason_is_a_quote() -> None:
    """What must be there weighs most; quotes stand in the profile where they say; their order is nothing."""
    texts = (
        "I like C and boats.",
        "I read tide tables.\nI write Python.",
        "Tide tables for ten years. C++ as well.\nNo Python.",
        "Neither C++ nor tide tables. Python!",
    )
    profiles = [profile(number, text) for number, text in enumerate(texts, 1)]
    ranked, reply = rank(ROLE, profiles, OfflineAnalyst())
    assert reply.model == "offline"
    assert [each.id for each in ranked] == ["c3", "c2", "c4", "c1"]
    assert rank(ROLE, profiles[::-1], OfflineAnalyst())[0] == ranked
    for each in ranked:
        text = texts[int(each.id[1:]) - 1]
        for reason in each.reasons:
            assert text[reason.start : reason.end] == reason.quote
    assert ranked[0].missing == ()
    assert [reason.about for reason in ranked[0].reasons] == ["tide tables", "C++"]
    assert ranked[-1].missing == ("tide tables", "C++")
    assert weak_match(ROLE, ranked) == ""
    assert weak_match(ROLE, ranked[-1:]) == "no profile meets anything that the role asks for"


@pytest.mark.parametrize(
    "text",
    ["I have no experience with\nPython", "Not yet\nPython, but Go", "Python: none", "Python: no\nGo: yes"],
)
def test_what_is_denied_across_a_line_or_a_colon_is_no_skill(text: str) -> None:
    """A mail or a PDF wraps its lines where it likes."""
    role = Role(title="x", must_have=("Python",))
    ranked, _ = rank(
        role,
        [profile(1, text), profile(2, "- not a smoker\n- Python"), profile(3, "Go: no, Python")],
        OfflineAnalyst(),
    )
    assert {each.id for each in ranked if each.musts} == {"c2", "c3"}


class Model:
    """A language model that says what it was told, and keeps what it saw."""

    def __init__(self, *ranking: RankedItem) -> None:
        self.ranking = ranking
        self.seen: ModelRequest | None = None

    def rank(self, request: ModelRequest) -> ModelReply:
        self.seen = request
        return ModelReply(model="openai:x", ranking=list(self.ranking))


def test_a_language_model_orders_the_best_and_sees_no_name_and_no_id() -> None:
    """Its quotes are kept only where they stand; whom it leaves out stays behind by the rules."""
    good = RankedItem(id="profile-2", score=1, reason="fits", quote=Quote(text="boats", start=0, end=0))
    invented = RankedItem(id="profile-1", score=0.5, reason="well", quote=Quote(text="gold", start=0, end=0))
    foreign = RankedItem(id="c9", score=0.4, reason="x", quote=Quote(text="x", start=0, end=0))
    model = Model(good, invented, foreign)
    profiles = [profile(1, "tide tables and C++"), profile(2, "I like boats"), profile(3, "tide tables")]
    ranked, reply = rank(ROLE, profiles, model)
    assert (reply.model, [each.id for each in ranked]) == ("openai:x", ["c2", "c1", "c3"])
    assert ranked[0].reasons[-1].quote == "boats"
    assert all(reason.quote != "gold" for reason in ranked[1].reasons)
    assert model.seen is not None
    assert "Name" not in model.seen.model_dump_json()
    assert '"c1"' not in model.seen.model_dump_json()


def letters() -> DraftLetters:
    return DraftLetters(
        role=ROLE,
        candidates=(Candidate(id="c1", name="Candidate Nr1", email="c1@example.com"),),
        questions=("When?", "Where?"),
        slots=(slot(), slot("2026-12-02T10:00", "2026-12-02T11:00")),
        answer_within=timedelta(hours=48),
        sender="Ann",
        opening="we look for a keeper.",
        model="offline",
    )


def test_letters_are_whole_and_only_those_of_the_book() -> None:
    """Whoever sends can compose no other."""
    book = book_of(letters())
    subject, first = book.compose(Outgoing(candidate="c1", kind=LetterKind.FIRST))
    assert subject == "Keeper"
    for words in ("Hello Candidate Nr1", "we look for a keeper.", "1. When?", "2. Where?", "Ann"):
        assert words in first
    _, proposal = book.compose(Outgoing(candidate="c1", kind=LetterKind.PROPOSAL, slots=(1, 0)))
    assert "1. Wednesday, 2 December 2026, 10:00-11:00 (Europe/Berlin)" in proposal
    assert "2 days" in proposal
    for wrong, error in (
        (Outgoing(candidate="c2", kind=LetterKind.FIRST), LookupError),
        (Outgoing(candidate="c1", kind=LetterKind.PROPOSAL, slots=(7,)), LookupError),
        (Outgoing(candidate="c1", kind=LetterKind.PROPOSAL), ValueError),
        (Outgoing(candidate="c1", kind=LetterKind.FIRST, slots=(0,)), ValueError),
    ):
        with pytest.raises(error):
            book.compose(wrong)


def test_an_invitation_is_an_icalendar_request_and_always_the_same_bytes() -> None:
    """UID stays with the candidate, SEQUENCE counts, DTSTAMP is the agent's time; a name breaks nothing."""
    person = Candidate(id="c1", name='Candidate; "Nr1", x:y', email="c1@example.com")
    drafts = [
        InvitationDraft(candidate=person, place=0, slot=slot(place="room 1;\\n x"), number=number)
        for number in (0, 1)
    ]
    request = DraftInvitations(role="Keeper", sender="Ann", now=NOW, drafts=tuple(drafts))
    texts = [calendar_object(request, draft, "agent-1", "text\nBEGIN:VALARM") for draft in drafts]
    assert texts[0] == calendar_object(request, drafts[0], "agent-1", "text\nBEGIN:VALARM")
    calendars = [Calendar.from_ical(text) for text in texts]
    events = [calendar.walk("VEVENT")[0] for calendar in calendars]
    assert [str(calendar["METHOD"]) for calendar in calendars] == ["REQUEST", "REQUEST"]
    assert events[0]["UID"] == events[1]["UID"]
    assert [int(event["SEQUENCE"]) for event in events] == [0, 1]
    assert events[0].decoded("DTSTAMP") == NOW
    assert events[0].decoded("DTSTART") == datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    assert str(events[0]["ORGANIZER"]) == "mailto:ann@example.com"
    assert str(events[0]["ATTENDEE"]) == "mailto:c1@example.com"
    assert events[0]["ATTENDEE"].params["RSVP"] == "TRUE"
    assert len(calendars[0].walk("VALARM")) == 0
    assert "\r\n" in texts[0]
    assert max(len(line.encode()) for line in texts[0].split("\r\n")) <= 75


def in_slot(start: str, end: str, zone: str = "") -> dict[str, object]:
    return {"slots": [{"start": start, "end": end, "zone": zone, "interviewer": "a@example.com"}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"candidates": []}, "at least 1"),
        ({"candidates": [{"id": "a", "name": "x", "email": "a@example.com"}] * 2}, "2 have the id a"),
        (
            {"candidates": [{"id": "a", "name": "x", "email": "a@example.com\nBcc: b@example.com"}]},
            "must be an e-mail address",
        ),
        ({"candidates": [{"id": "a", "name": "x\ny", "email": "a@example.com"}]}, "one line"),
        ({"candidates": [{"id": "a", "name": "x", "email": "a@example.com", "file": "a.md"}]}, "profiles"),
        (in_slot("2026-12-01T10:00", "2026-12-01T11:00"), "timezone"),
        (in_slot("2026-12-01T10:00", "2026-12-01T11:00", "Mars/X"), "IANA"),
        (in_slot("2026-03-29T02:30", "2026-03-29T04:00", "Europe/Berlin"), "does not exist"),
        (in_slot("2026-12-01T10:00Z", "2026-12-01T09:00Z"), "ends after"),
        ({"answer_within": 0}, "greater than 0"),
    ],
)
def test_an_input_that_cannot_be_is_refused_at_the_door(change: dict[str, object], words: str) -> None:
    """In words that say what to do."""
    fields = recruiter_input(1).model_dump(mode="json", exclude={"carried"})
    with pytest.raises(ValidationError, match=words):
        RecruiterInput.model_validate({**fields, **change})


def test_an_input_survives_its_way_through_temporal() -> None:
    """Local times become moments once."""
    fields = recruiter_input(2).model_dump(mode="json")
    fields["slots"][0] |= {"start": "2026-12-01T10:00", "end": "2026-12-01T11:00"}
    first = RecruiterInput.model_validate(fields)
    assert first.slots[0].start.utcoffset() == timedelta(hours=1)
    assert RecruiterInput.model_validate_json(first.model_dump_json()) == first


def test_the_report_escapes_what_candidates_wrote() -> None:
    """As Markdown and as a page; it counts what was taken out, and does not say what."""
    hostile = "<script>alert(1)</script> [x](http://evil.example)"
    ranked, _ = rank(ROLE, [profile(1, f"tide tables {hostile}")], OfflineAnalyst())
    candidacy = Candidacy()
    candidacy.asked(NOW, timedelta(hours=48))
    candidacy.apply(MailReading(says=Says.QUESTION), hostile, NOW, timedelta(hours=48), slots=[])
    told = tuple(each.model_copy(update={"words": "It fits"}) for each in ranked)
    ranking = CandidateRanking(role=ROLE, model="small", candidates=told, removed={"age or birth": 2})
    request = RecruitingReportRequest(
        ranking=ArtifactRef(sha256="0" * 64, size=0),
        courses={"c1": candidacy},
        slots=(),
        model="small",
        outcome="done",
        decision="approved by ann",
        now=NOW,
    )
    report = RecruitingReport(request, ranking)
    text, page = markdown(report), html(report)
    assert "[x](http" not in text
    assert "<script>" not in page.partition("</style>")[2]
    for shown in (text, page):
        assert "age or birth (2)" in shown
        assert "with a human" in shown
        assert "asked something" in shown
        assert "small says: It fits" in shown
