"""Classifies a candidate's mail, by rules or with a language model.

Whatever a mail contains, the only result is a `MailReading`; `candidacy.py` decides what follows from it. If
the rules are not sure, the mail is `unclear`, and a person reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from activities.llm.offline import OfflineAnalyst
from activities.llm.outputs import OutputType
from activities.llm.records import Material, Structured, Think
from activities.recruiting.answers import ACCEPTS, REFUSES, Asked, read_by_rules
from activities.recruiting.candidacy import Candidacy, JudgedReading, MailReading, Says
from activities.recruiting.letters import HOLDING, OPENING
from common.agents.recruiter import Role, Slot
from common.mail import IncomingMail, MailKind

MAIL, OFFERED, ASKED, ROLE = "mail", "offered", "asked", "role"
READING, WORDS, DRAFT = "candidate_reading", "letter_opening", "reply_draft"
MAX_READ = 4_000


class ShortWords(BaseModel, frozen=True):
    """A few sentences for a letter: plain text without addresses of any kind."""

    text: str = Field(min_length=1, max_length=800)


def asked_last(candidacy: Candidacy, questions: Sequence[str]) -> Asked:
    """What a candidate's next mail answers."""
    if candidacy.person_asked:
        return Asked.PERSON
    letter_has_them = candidacy.proposals == 0 and not candidacy.followed_up
    may_be_denied = any(not _OPEN_QUESTION.match(question) for question in questions)
    return Asked.QUESTIONS if letter_has_them and may_be_denied else Asked.INTEREST


def reading_of(
    mail: IncomingMail, offered: Sequence[Slot], address: str, asked: Asked = Asked.INTEREST
) -> MailReading | Think:
    """The reading, if the kind or sender of `mail` decides it; else the request to a model about its text."""
    if mail.kind is MailKind.BOUNCE:
        return MailReading(says=Says.BOUNCE)
    if mail.kind is MailKind.OUT_OF_OFFICE:
        return MailReading(says=Says.OUT_OF_OFFICE, back_at=mail.back_at)
    if not mail.text.strip() or address.lower() != mail.sender.lower():
        # Mail from another address may be by the candidate, or by anyone who has seen the letter.
        return MailReading(says=Says.UNCLEAR)
    slots = "\n".join(f"{number}. {each.in_words}" for number, each in enumerate(offered, 1))
    return Think(
        instruction=(
            f"A job candidate answered our letter, see the material {MAIL!r}. Say what it comes to. yes: "
            "interested, or agrees. no: not interested, withdraws. slot: takes one of the times in the "
            "material "
            f"{OFFERED!r}, whose number goes into slot. other_time: wants another time. question: asks "
            "something. unclear: anything else, more than one of these, or anything you are not sure of. "
            "slot "
            "is 0 in all cases but slot, and back_at is null. What our letter asked is in the material "
            f"{ASKED!r}; a bare yes or no to anything else is unclear."
        ),
        material=(
            Material(id=MAIL, text=mail.text[:MAX_READ]),
            Material(id=OFFERED, text=slots or "none"),
            Material(id=ASKED, text=asked),
        ),
        want=Structured(type=READING),
        max_output_tokens=300,
    )


def opening_of(role: Role) -> Think:
    """The request to a model for the opening of the first letters."""
    return Think(
        instruction=(
            f"Write the opening of a letter to job candidates, after the greeting: two friendly sentences "
            f"that say "
            f"what position is to be filled and why it is worth a look, from the material {ROLE!r} alone. "
            "No greeting, no ending, no address, no promise about pay."
        ),
        material=(Material(id=ROLE, source=role.title, text=f"{role.title}\n{role.description}"),),
        want=Structured(type=WORDS),
        max_output_tokens=500,
    )


def draft_of(role: Role, wrote: str) -> Think:
    """The request to a model for the draft of a reply; a person reads it before it is sent."""
    return Think(
        instruction=(
            f"A job candidate wrote to us, see the material {MAIL!r}. Draft the reply, without greeting and "
            f"ending: "
            f"at most four sentences, with facts from the material {ROLE!r} alone; what stands not there, "
            f"say "
            "that we will find out."
        ),
        material=(
            Material(id=MAIL, text=wrote),
            Material(id=ROLE, source=role.title, text=f"{role.title}\n{role.description}"),
        ),
        want=Structured(type=DRAFT),
        max_output_tokens=500,
    )


def _mail_times_asked(think: Think) -> tuple[str, list[str], Asked]:
    material = {each.id: each.text for each in think.material}
    times = [line for line in material.get(OFFERED, "").split("\n") if re.match(r"\d+\. ", line)]
    # Material may have been cut because it was too long; if so, assume the case that lets rules decide least.
    asked = next((each for each in Asked if each == material.get(ASKED)), Asked.PERSON)
    return material.get(MAIL, ""), times, asked


def _offline_reading(analyst: OfflineAnalyst, think: Think) -> MailReading:
    return read_by_rules(*_mail_times_asked(think))


def _flaw_in_reading(reading: MailReading, think: Think) -> str | None:
    _, offered, _ = _mail_times_asked(think)
    if reading.says in (Says.BOUNCE, Says.OUT_OF_OFFICE) or reading.back_at is not None:
        return "it has come from a person: say yes, no, slot, other_time, question or unclear"
    if (reading.says is Says.SLOT) != (0 < reading.slot <= len(offered)):
        return f"slot is the number of one of the {len(offered)} times offered, and 0 unless it says slot"
    return None


def _check_against_rules(reading: MailReading, think: Think) -> JudgedReading:
    """The part of a language model's reading that counts; all of it goes to the person who reads the mail."""
    text, offered, asked = _mail_times_asked(think)
    ruled, words = read_by_rules(text, offered, asked), text.replace("’", "'").lower()
    against = {Says.YES: REFUSES, Says.SLOT: REFUSES, Says.NO: ACCEPTS}.get(reading.says)
    certain = ruled.says not in (Says.UNCLEAR, Says.QUESTION)
    # A yes, a slot or a no is not accepted if the rules or words in the mail contradict it; nor, in answer to
    # a person's own words, if the rules are not certain either.
    contradicted = against and (ruled != reading if certain else against.search(words))
    unfounded = asked is Asked.PERSON and not certain and against is not None
    says = Says.UNCLEAR if contradicted or unfounded else reading.says
    read_as = f"{reading.says} {reading.slot or ''}".strip()
    return JudgedReading(says=says, slot=reading.slot if says is Says.SLOT else 0, read_as=read_as)


# A question that a bare no cannot answer.
_OPEN_QUESTION = re.compile(r"\W*(?:when|where|what|which|how|who|why|please|tell|describe)\b", re.IGNORECASE)
_ADDRESS = re.compile(r"https?:|www\.|\S@\S|\b[\w-]+\.(?:com|org|net|io|ai|de|co|info|biz)\b", re.IGNORECASE)


def _flaw_in_words(words: ShortWords, think: Think) -> str | None:
    if _ADDRESS.search(words.text):
        return "no addresses of any kind"
    return None if words.text.replace("\n", " ").isprintable() else "plain text only"


def _offline_opening(analyst: OfflineAnalyst, think: Think) -> ShortWords:
    return ShortWords(text=OPENING.format(title=think.material[0].source))


OUTPUTS: Mapping[str, OutputType] = {
    READING: OutputType(MailReading, _flaw_in_reading, _offline_reading, _check_against_rules),
    WORDS: OutputType(ShortWords, _flaw_in_words, _offline_opening),
    DRAFT: OutputType(ShortWords, _flaw_in_words, lambda analyst, think: ShortWords(text=HOLDING)),
}
"""The output types that the recruiter asks for, to be registered with the model runner."""
