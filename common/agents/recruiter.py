"""The recruiter's input, the plans that people approve, and its result."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from common.agents.agent import ThinkerInput
from common.agents.asking import AskingInput
from common.agents.fields import Count, LocalPath, Span
from common.agents.needs import Needs, Place
from common.approval.stakes import Stakes
from common.artifacts import ArtifactRef
from common.error_message import ErrorMessage
from common.grammar import EARLIEST, LATEST
from common.mail import Letter
from common.shown import Shown

MAX_CANDIDATES = 1_000
# For all profiles in the input together, because every history holds the input; longer ones go into files.
MAX_PROFILE_CHARACTERS = 600_000


def _one_line(text: str) -> str:
    """Text for a header or a heading.

    Raises:
        ValueError: it is empty, or holds more than one line.
    """
    text = text.strip()
    if not text or not text.isprintable():
        raise ValueError("it has to be one line of text")
    return text


OneLine = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
# Stricter than the mail standards: no quotes, no comments, nothing that could end a header or name two
# people.
Address = Annotated[
    str,
    Field(max_length=254, pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"),
    ErrorMessage("must be an e-mail address such as ann@example.com"),
]
CandidateId = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"),
    ErrorMessage("must be at most 64 of letters, digits, '_', '.' and '-', the first a letter or digit"),
]


class Role(BaseModel, frozen=True):
    """The position to fill."""

    title: OneLine
    description: str = Field("", max_length=20_000)
    must_have: tuple[OneLine, ...] = Field((), max_length=30)
    nice_to_have: tuple[OneLine, ...] = Field((), max_length=30)


class Candidate(BaseModel, frozen=True):
    """Somebody to rank and write to. `profile` is text; `file` is a path below the folder `profiles`."""

    id: CandidateId
    name: OneLine
    email: Address
    profile: str = Field("", max_length=100_000)
    file: str = Field("", max_length=1_000)


class Slot(BaseModel, frozen=True):
    """A time for an interview. Without an offset, `start` and `end` are local times in `zone`.

    `zone` is an IANA name such as Europe/Berlin, in which times are shown. `interviewer` is an e-mail
    address, `place` a room or the address of a call.
    """

    start: AwareDatetime
    end: AwareDatetime
    zone: str = Field("", max_length=60)
    interviewer: Address
    place: str = Field("", max_length=300)

    @model_validator(mode="before")
    @classmethod
    def _in_zone(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        zone = _zone(str(values["zone"])) if values.get("zone") else None
        return values | {name: _moment(values[name], zone) for name in ("start", "end") if name in values}

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if not EARLIEST <= self.start <= LATEST:
            raise ValueError(f"give a time between {EARLIEST.year} and {LATEST.year}")
        if not timedelta(0) < self.end - self.start <= timedelta(days=1):
            raise ValueError("a slot ends after it starts, within a day")
        if not self.place.isprintable():
            raise ValueError("place has to be one line of text")
        return self

    @property
    def in_words(self) -> str:
        """Such as `Tuesday, 1 December 2026, 10:00-10:45 (Europe/Berlin)`."""
        zone = _zone(self.zone) if self.zone else self.start.tzinfo
        start, end = self.start.astimezone(zone), self.end.astimezone(zone)
        until = f"{end:%H:%M}" if start.date() == end.date() else f"{end.day} {end:%B, %H:%M}"
        return f"{start:%A}, {start.day} {start:%B %Y, %H:%M}-{until} ({self.zone or f'{start:%Z}'})"


_WRITTEN = TypeAdapter(datetime)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"zone: {name!r} is no IANA time zone such as Europe/Berlin") from None


def _moment(value: object, zone: ZoneInfo | None) -> object:
    """Parse a text as a time, in `zone` if it has no offset; return anything else as it is.

    It has to return a time, not a text: input over HTTP is validated strictly, and a text would be refused.
    """
    try:
        moment = _WRITTEN.validate_python(value) if isinstance(value, str) and "-" in value else value
    except ValidationError:
        return value
    if zone is None or not isinstance(moment, datetime) or moment.tzinfo is not None:
        return moment
    aware = moment.replace(tzinfo=zone)
    if aware.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise ValueError(f"{moment:%Y-%m-%d %H:%M} does not exist in {zone.key}: clocks go forward then")
    return _WRITTEN.validate_python(aware.isoformat())


class RecruiterInput(AskingInput, ThinkerInput):
    """What `start recruiter` takes."""

    role: Role = Field(description='{"title": …, "description": …, "must_have": […], "nice_to_have": […]}')
    candidates: tuple[Candidate, ...] = Field(
        min_length=1,
        max_length=MAX_CANDIDATES,
        description='[{"id": …, "name": …, "email": …, "profile": text, or "file": name in profiles}]',
    )
    profiles: LocalPath | None = Field(None, description="folder of the candidates' files")
    questions: tuple[OneLine, ...] = Field((), max_length=20, description="what to ask each candidate")
    slots: tuple[Slot, ...] = Field(
        (),
        max_length=200,
        description='times for interviews: [{"start": "2026-12-01T10:00", "end": …, "zone": "Europe/Berlin", '
        '"interviewer": e-mail address, "place": …}]',
    )
    calendar: LocalPath | None = Field(
        None,
        description="iCalendar file of busy times, or a folder of them; a file named after an "
        "interviewer's address counts for that interviewer alone",
    )
    answer_within: Span = Field(
        timedelta(hours=48), description="how long to wait for an answer before the follow-up, and after it"
    )
    contact: Count | None = Field(
        None, ge=1, le=MAX_CANDIDATES, description="write to this many, the best; if empty, to all"
    )
    sender: OneLine = Field("The recruiting team", description="who the letters are from, in words")

    @property
    def subject(self) -> str:
        """What the agent is about, in a few words."""
        return f"Recruiting: {self.role.title}"

    @property
    def needs(self) -> Needs:
        """What must be available before people are asked: mail both ways, profiles, calendar."""
        places = [Place(field="profiles", path=self.profiles)] if self.profiles else []
        if self.calendar:
            places.append(Place(field="calendar", path=self.calendar, folder=False))
        return Needs(mail=True, answers=True, places=tuple(places))

    @property
    def stakes(self) -> Stakes:
        """The most that the agent could do, for the operator's policy to judge."""
        recipients = tuple(each.email for each in self.candidates)
        return super().stakes.model_copy(update={"recipients": recipients})

    @property
    def named_files(self) -> Iterator[tuple[str, str]]:
        """Every path in the worker's file system that it names, including the candidates' files."""
        yield from super().named_files
        for each in self.candidates:
            if each.file and self.profiles:
                yield f"candidates, {each.id}", os.path.join(self.profiles, each.file)

    @cached_property
    def people(self) -> dict[str, Candidate]:
        """The candidates by id."""
        return {each.id: each for each in self.candidates}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for what, values in (
            ("id", [each.id for each in self.candidates]),
            ("email", [each.email.lower() for each in self.candidates]),
        ):
            [(value, count)] = Counter(values).most_common(1)
            if count > 1:
                raise ValueError(f"candidates: {count} have the {what} {value}")
        if any(each.file for each in self.candidates) and self.profiles is None:
            raise ValueError("candidates: a file needs the folder it is in, in profiles")
        if sum(len(each.profile) for each in self.candidates) > MAX_PROFILE_CHARACTERS:
            raise ValueError(
                f"candidates: over {MAX_PROFILE_CHARACTERS:,} characters of profiles in all; put them into "
                "files, and name their folder in profiles"
            )
        return self


class Sample(BaseModel, frozen=True):
    """One candidate's letters in full."""

    candidate: Annotated[str, Shown(heading=True)]
    to: str
    subject: str
    text: Annotated[str, Shown("Letter", form="text")]
    follow_up: Annotated[str, Shown("If no answer comes", form="text")]


class OutreachPlan(BaseModel, frozen=True):
    """What people approve before anybody is written to: exactly these letters to these people.

    Attributes:
        role: the title.
        count: number of candidates written to; each gets one follow-up if no answer comes.
        letters: every letter with its recipient, stored.
        opening: how every first letter begins, in the words of `model`.
        sample: the first few letters in full.
        recipients: the first fifty, `id <address>`, in the order of the ranking.
        slots: number of times that may be proposed to those who say yes; `proposal` shows how.
        leave_out: ids of candidates not to write to after all; may be edited.
        model: who wrote the opening; `offline` is a fixed text.
    """

    role: Annotated[str, Shown("Position")]
    count: Annotated[int, Shown("Candidates written to")]
    letters: Annotated[ArtifactRef, Shown("All letters, as they are signed", file="letters.json")]
    opening: Annotated[str, Shown("How each letter begins", form="text")] = Field(
        "", exclude_if=lambda opening: not opening
    )
    sample: Annotated[tuple[Sample, ...], Shown("The first letters in full", order=2)]
    recipients: Annotated[tuple[str, ...], Shown("Who is written to")]
    slots: Annotated[int, Shown("Times that may be proposed")]
    proposal: Annotated[str, Shown("How times are proposed", form="text", order=2)]
    answer_within: Annotated[timedelta, Shown("How long it waits for an answer")]
    leave_out: Annotated[tuple[str, ...], Shown("Left out after all")] = Field((), max_length=MAX_CANDIDATES)
    model: Annotated[str, Shown("Language model", internal=True)]

    @property
    def stakes(self) -> Stakes:
        """The recipients that are named here; all letters are checked when they are sent."""
        named = (each.removesuffix(">").partition(" <") for each in self.recipients)
        return Stakes(recipients=tuple(address for id, _, address in named if id not in self.leave_out))


class Invitation(BaseModel, frozen=True):
    """One invitation: the index of the slot, the time in words, and the letter."""

    candidate: Annotated[str, Shown(heading=True)]
    slot: Annotated[int, Shown(internal=True)]
    when: str
    letter: Letter


class InvitationPlan(BaseModel, frozen=True):
    """What people approve before anybody is invited. `leave_out`: ids not to invite; may be edited."""

    role: Annotated[str, Shown("Position")]
    invitations: tuple[Invitation, ...]
    leave_out: Annotated[tuple[str, ...], Shown("Not invited after all")] = Field(
        (), max_length=MAX_CANDIDATES
    )

    @property
    def stakes(self) -> Stakes:
        """Who is invited."""
        invited = (each.letter.to for each in self.invitations if each.candidate not in self.leave_out)
        return Stakes(recipients=tuple(invited))


class ReplyPlan(BaseModel, frozen=True):
    """What people approve as a reply: `text`, which may be edited, answers what the candidate `wrote`.

    `wrote` is untrusted. `read_as` is how a language model understood it, which decides nothing. `model`
    wrote the draft; `offline` is a fixed text.
    """

    candidate: str
    to: str
    wrote: Annotated[str, Shown("What the candidate wrote", form="text")]
    read_as: Annotated[str, Shown("What a language model took it for")] = Field(
        "", exclude_if=lambda read_as: not read_as
    )
    subject: str
    text: Annotated[str, Shown("The answer", form="text")] = Field(min_length=1, max_length=8_000)
    in_reply_to: Annotated[str, Shown(internal=True)] = ""
    number: Annotated[int, Shown(internal=True)] = 1
    model: Annotated[str, Shown("Language model", internal=True)]

    @property
    def stakes(self) -> Stakes:
        """Who is answered."""
        return Stakes(recipients=(self.to,))


class RecruitingOutcome(StrEnum):
    """How the recruiter ended."""

    DONE = "done"
    NOT_APPROVED = "not_approved"


class RecruiterResult(BaseModel, frozen=True):
    """The result: `counts` of candidates by how they ended, `letters` by what became of them.

    `report` has the paths `markdown` and `html`.
    """

    outcome: RecruitingOutcome
    role: Annotated[str, Shown("Position")]
    candidates: int
    counts: Annotated[dict[str, int], Shown("How they ended")]
    letters: dict[str, int]
    report: Annotated[dict[str, str], Shown("The report", form="file", order=-1)]
    model: Annotated[str, Shown("Written by")]
    decision: Annotated[str, Shown("What people decided")] = ""
