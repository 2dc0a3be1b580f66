"""What a candidate's mail says: one of a few things, by rules or by a language model.

Whatever a mail tries, it comes to a `MailReading` and nothing else; `candidacy.py` decides what follows from
that. Where the rules are not sure the mail is `unclear`, and a person looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from activities.llm.offline import OfflineAnalyst
from activities.llm.outputs import OutputType
from activities.llm.records import Material, Structured, Think
from activities.recruiting.candidacy import MailReading, Says
from activities.recruiting.letters import HOLDING, OPENING
from common.agents.recruiter import Role, Slot
from common.mail import IncomingMail, MailKind

MAIL, OFFERED, ROLE = "mail", "offered", "role"
READING, WORDS, DRAFT = "candidate_reading", "letter_opening", "reply_draft"
MAX_READ = 4_000


class ShortWords(BaseModel, frozen=True):
    """A few sentences for a letter: plain text without addresses of any kind."""

    text: str = Field(min_length=1, max_length=800)


def reading_of(mail: IncomingMail, offered: Sequence[Slot], address: str) -> MailReading | Think:
    """What `mail` says where its kind or sender decides alone; else what to ask a model about its text."""
    if mail.kind is MailKind.BOUNCE:
        return MailReading(says=Says.BOUNCE)
    if mail.kind is MailKind.OUT_OF_OFFICE:
        return MailReading(says=Says.OUT_OF_OFFICE, back_at=mail.back_at)
    if not mail.text.strip() or address.lower() not in mail.sender.lower():
        # From another address: the candidate, or anyone who was shown the letter.
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
            "is 0 in all cases but slot, and back_at is null."
        ),
        material=(Material(id=MAIL, text=mail.text[:MAX_READ]), Material(id=OFFERED, text=slots or "none")),
        want=Structured(type=READING),
        max_output_tokens=300,
    )


def opening_of(role: Role) -> Think:
    """The request for the opening of the first letters."""
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
    """The request for the draft of a reply; a person reads it before it goes out."""
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


def read_by_rules(text: str, offered: Sequence[str]) -> MailReading:
    """What `text` says, by rules.

    Args:
        text: a mail, without what it quotes.
        offered: the times proposed, each like `1. Tuesday, 1 December 2026, 10:00-10:45 (Europe/Berlin)`.
    """
    words = _plain(text)
    clauses = [each for each in re.split(r"[.;!\n]|,(?! thank)|\bbut\b|\bhowever\b", words) if each.strip()]
    says_no = any(_NO.search(each) for each in clauses)
    says_yes = any(_YES.search(each) and not _NOT.search(each) for each in clauses)
    other_time = any(_OTHER_TIME.search(each) for each in clauses)
    places = _places(clauses, offered)
    asks = any(_is_question(each) for each in re.findall(r"[^.!?\n]*\?", words))
    if other_time and not says_no and not places:
        return MailReading(says=Says.OTHER_TIME)
    if says_no:
        return MailReading(says=Says.UNCLEAR if says_yes or places else Says.NO)
    if asks:
        return MailReading(says=Says.QUESTION)
    if other_time:
        return MailReading(says=Says.UNCLEAR)
    if len(places) == 1:
        return MailReading(says=Says.SLOT, slot=places[0])
    if len(places) > 1 or (offered and _ANY.search(words)):
        # Any of them: the first of those named, or of all.
        refused = any(_NOT.search(each) for each in clauses)
        return (
            MailReading(says=Says.UNCLEAR)
            if refused
            else MailReading(says=Says.SLOT, slot=(places or [1])[0])
        )
    return MailReading(says=Says.YES if says_yes and not _CONDITION.search(words) else Says.UNCLEAR)


def _plain(text: str) -> str:
    return text.replace("’", "'").lower()


_NOT = re.compile(
    r"\b(?:not|no longer|never|cannot|unable|neither|none|nor|without|unless|unsure|undecided|maybe"
    r"|perhaps|if)\b|n't\b"
)
_NO = re.compile(
    r"^\W*(?:no|nope|nein|non)\W*$|^\W*no,? (?:thanks?|thank you)|\bno,? (?:thanks|thank you)\b"
    r"|\b(?:not|no longer|n't|never) (?:be |really |currently |at all |feel )?(?:interested|looking"
    r"|available for this|want to (?:go on|proceed|continue)"
    r"|pursue|going to (?:apply|pursue)|wish to|a (?:good )?(?:fit|match)|for me|like to (?:go on"
    r"|proceed|continue))"
    r"|\bno interest\b|\bkein interesse\b|\b(?:lost|losing) interest\b"
    r"|\b(?:i|i'd|i'll|i'm|to|must|would|will|have to|going to|like to|want to|politely"
    r"|respectfully)\b[^?]{0,40}\b(?:decline|withdraw(?:ing)?|pass(?: on this)?$|step back|opt out"
    r"|bow out)\b"
    r"|\bwithdraw(?:ing|n)? (?:my|from)\b|\bdeclin(?:e|ing) (?:the|this|your)\b"
    r"|\b(?:accepted|taken|signed|found|started)\b[^?]{0,30}\b(?:another|other|different|new)\b[^?]{0,20}\b(?:offer|job|position|role|company|opportunity)\b"
    r"|\b(?:remove|delete|take) me\b|\bunsubscribe\b|\b(?:stop|do not|don't) (?:writing|contact\w*"
    r"|write|mail\w*|email\w*)(?: to)? ?(?:me)?\b"
    r"|\b(?:happy|staying|stay) (?:where|with my current|in my current|at my current)\b"
)
_YES = re.compile(
    r"^\W*(?:yes|yep|yeah|yup|ja|oui|sure|ok|okay|absolutely|definitely|certainly|agreed|gladly|perfect|great)\b"
    r"|\b(?:am|i'm|be|very|really|certainly|definitely|still|highly|quite|indeed|and) interested\b"
    r"|^\W*interested\b"
    r"|\bthat (?:interests me|works|suits me)\b|\binterests me\b|\bsounds (?:great|good|interesting"
    r"|like a plan|perfect|exciting|lovely)\b"
    r"|\b(?:happy|glad|keen|pleased|delighted|eager|excited|love|like) to (?:talk|chat|meet|hear"
    r"|learn|go on|discuss|take|have|join|apply|speak|proceed|continue|know|explore|come)\b"
    r"|\blook(?:ing)? forward\b|\bcount me in\b|\blet's (?:talk|do it|meet|go|do that)\b"
    r"|\bworks (?:for me|well|fine)\b|\bsee you\b"
    r"|\bi confirm\b|\bplease (?:go ahead|do|proceed)\b|\bmit interesse\b|\bthank(?:s"
    r"| you) for the invitation\b"
)
_CONDITION = re.compile(
    r"\b(?:unless|only if|depend(?:s|ing)|provided|as long as|under (?:the|one) condition|not (?:at"
    r"|for) (?:this|that|less))\b"
)
_OTHER_TIME = re.compile(
    r"\b(?:another|different|other|later|earlier|alternative|new) (?:time|date|day|slot|week|times"
    r"|dates|days|slots|option|options|appointment)s?\b"
    r"|\bnone (?:of (?:these|them|those|the)|of your|fit|suit|work)|\bneither\b[^?]{0,30}\b(?:work|suit|fit)"
    r"|\b(?:reschedul|postpon|move (?:it|the|our))\w*|\b(?:do not|don't|doesn't|does not|won't"
    r"|can't|cannot|not) (?:work|suit|fit|make (?:it|any|that|those|these|either))\b"
    r"|\bnot (?:available|free) (?:at|on|then|that|those|these|in|this|next|any)\b|\b(?:next"
    r"|following) week\b|\bonly (?:after|from|in|on|available)\b"
    r"|\b(?:can|could|would) (?:we|you|it be)\b[^?]{0,60}\b(?:instead|monday|tuesday|wednesday"
    r"|thursday|friday|week|tomorrow|morning|afternoon|evening)\b"
    r"|\b(?:mondays|tuesdays|wednesdays|thursdays|fridays|mornings|afternoons|evenings) (?:are|work"
    r"|would|only)\b"
)
_ANY = re.compile(
    r"\b(?:any|either|all|each|every one|whichever|both)\b[^.?\n]{0,30}\b(?:works?|fine|suits?|ok"
    r"|okay|good|them|these|times|you)\b"
)
_PLEASANTRY = re.compile(
    r"^\W*(?:how are you|how's it going|hope you(?: are|'re) well|okay|ok|right)\b[^?]{0,20}\?$"
)
_ORDINALS = (("first", "1st"), ("second", "2nd"), ("third", "3rd"))


def _is_question(sentence: str) -> bool:
    return not _PLEASANTRY.search(sentence.strip())


def _places(clauses: Sequence[str], offered: Sequence[str]) -> list[int]:
    """The numbers of the times that the clauses accept, in their order."""
    found: list[int] = []
    for clause in clauses:
        if not _NOT.search(clause):
            found += [number for number in _named(clause, offered) if number not in found]
    return found


def _named(clause: str, offered: Sequence[str]) -> list[int]:
    # A number counts only where it can mean nothing else: “2”, “number 2”, “option 2”.
    numbers = re.findall(
        r"(?:\b(?:number|no\.?|nr\.?|option|slot|time|date|choice|variant|proposal)s? ?#?|#"
        r"|^\W*(?:the )?)([1-9])\b(?!\d*[:.]\d)(?=\W*$|\W+(?:works?|is|would|suits?|please|fits?|for me"
        r"|then|and|or|\W))",
        clause,
    )
    found = [int(each) for each in numbers if int(each) <= len(offered)]
    for number, names in enumerate(_ORDINALS[: len(offered)], 1):
        if re.search(
            rf"\b(?:the )?(?:{'|'.join(names)})\b(?: (?:one|slot|time|option|date|works|is|suits|would))",
            clause,
        ):
            found.append(number)
    matching = [number for number, each in enumerate(offered, 1) if _tells(clause, each)]
    if len(matching) == 1:
        found.append(matching[0])
    return list(dict.fromkeys(found))


def _tells(clause: str, offered: str) -> bool:
    """Whether a clause names this time: weekday, date or hour, and none that differs."""
    match = re.match(r"\d+\. (\w+), (\d+) (\w+) \d+, (\d+):(\d+)", offered.lower())
    if match is None:
        return False
    weekday, day, month, hour, minute = match.groups()
    days = re.findall(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b", clause)
    dates = re.findall(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\.? (?:of )?({month[:3]}\w*)\b", clause)
    dates += [(d, m) for m, d in re.findall(rf"\b({month[:3]}\w*) (\d{{1,2}})(?:st|nd|rd|th)?\b", clause)]
    hours = re.findall(r"\b(\d{1,2})(?:[:.h](\d{2}))? ?(am|pm|o'clock|h\b)?", clause)
    times = [_clock(*each) for each in hours if each[1] or each[2]]
    told = [weekday in days] if days else []
    told += [any(int(d) == int(day) for d, _ in dates)] if dates else []
    told += [(int(hour), int(minute)) in times] if times else []
    return bool(told) and all(told)


def _clock(hour: str, minute: str, half: str) -> tuple[int, int]:
    shifted = int(hour) % 12 + (12 if half == "pm" else 0) if half in ("am", "pm") else int(hour)
    return shifted, int(minute or 0)


def _offline_reading(analyst: OfflineAnalyst, think: Think) -> MailReading:
    material = {each.id: each.text for each in think.material}
    offered = [line for line in material.get(OFFERED, "").split("\n") if re.match(r"\d+\. ", line)]
    return read_by_rules(material.get(MAIL, ""), offered)


def _flaw_in_reading(reading: MailReading, think: Think) -> str | None:
    material = {each.id: each.text for each in think.material}
    count = len(re.findall(r"^\d+\. ", material.get(OFFERED, ""), re.MULTILINE))
    if reading.says in (Says.BOUNCE, Says.OUT_OF_OFFICE) or reading.back_at is not None:
        return "it has come from a person: say yes, no, slot, other_time, question or unclear"
    if (reading.says is Says.SLOT) != (0 < reading.slot <= count):
        return f"slot is the number of one of the {count} times offered, and 0 unless it says slot"
    return None


_ADDRESS = re.compile(r"https?:|www\.|\S@\S|\b[\w-]+\.(?:com|org|net|io|ai|de|co|info|biz)\b", re.IGNORECASE)


def _flaw_in_words(words: ShortWords, think: Think) -> str | None:
    if _ADDRESS.search(words.text):
        return "no addresses of any kind"
    return None if words.text.replace("\n", " ").isprintable() else "plain text only"


def _offline_opening(analyst: OfflineAnalyst, think: Think) -> ShortWords:
    return ShortWords(text=OPENING.format(title=think.material[0].source))


OUTPUTS: Mapping[str, OutputType] = {
    READING: OutputType(MailReading, _flaw_in_reading, _offline_reading),
    WORDS: OutputType(ShortWords, _flaw_in_words, _offline_opening),
    DRAFT: OutputType(ShortWords, _flaw_in_words, lambda analyst, think: ShortWords(text=HOLDING)),
}
"""The output types that the recruiter asks for, to be registered with the model runner."""
