"""What the rules take of answers in many words and forms, and what they leave to a person."""

from __future__ import annotations

import pytest

from activities.recruiting.answers import Asked, read_by_rules
from activities.recruiting.candidacy import Candidacy, JudgedReading, MailReading, Says
from activities.recruiting.understanding import OUTPUTS, asked_last, reading_of
from common.agents.recruiter import Slot
from tests.support.recruiting.stage import mail

OFFERED = (
    "1. Tuesday, 1 December 2026, 10:00-10:45 (Europe/Berlin)",
    "2. Wednesday, 2 December 2026, 14:00-14:45 (Europe/Berlin)",
    "3. Thursday, 3 December 2026, 09:30-10:15 (Europe/Berlin)",
)
SURE = {
    "I am not\ninterested": "no",
    "I'm not really interested in this position.": "no",
    "Thanks but no thanks": "no",
    "Thank you for your message. Unfortunately I am not interested.\n\nBest regards\nAnn Smith": "no",
    "Hi Tom,\n\nthanks for reaching out! Yes, I am very interested in the role.\n\nKind regards,\nAnn": "yes",
    "Yes\n1. No\n2. In May": "yes",
    "I am in.": "yes",
    "Ja, gerne!": "yes",
    "Nein danke": "no",
    "Kein Interesse": "no",
    "Leider nein": "no",
    "No longer interested": "no",
    "no interest": "no",
    "I withdraw my application": "no",
    "I will pass on this one": "no",
    "I'd be happy to talk": "yes",
    "I'd like to decline": "no",
    "I'd like to apply": "yes",
    "Sure": "yes",
    "Dear all,\nNo.\nRegards\nBob": "no",
    "Hi Ann, no thanks": "no",
    "Hi Ann, yes": "yes",
    "I am happy to talk": "yes",
    "I'm glad to hear more": "yes",
    "unsubscribe": "no",
    "Please do not contact me again": "no",
    "it is not for me": "no",
    "This is not for me.": "no",
    "I’m interested": "yes",
    "ＹＥＳ": "yes",
    "No thank you for your offer": "no",
    "nope, sorry": "no",
    "It interests me very much": "yes",
    "I have already found a new job": "no",
    "I have started a new job": "no",
    "please remove me from your list": "no",
    "Please go ahead": "yes",
    "please do": "yes",
    "Agreed": "yes",
    "Yes, I can start on 1 June 2027 and expect about 60k": "yes",
}
# Refusals without a negation, exceptions, conditions, contradictions, courtesy, irony, our own words.
DOUBTFUL = (
    "1. No",
    "1. No\n2. Yes",
    "Yes, but not now",
    "I would be interested, had I not just signed elsewhere",
    "I have just signed with someone else, thank you.",
    "That ship has sailed.",
    "I'll leave it to others.",
    "I could not be less interested",
    "I'm not uninterested",
    "I can't say no to that!",
    "No problem, count me in",
    "No objections from my side.",
    "Interested? Me? Never.",
    "yes and no",
    "Yes... not.",
    "Sounds interesting, but I think I'll stay put.",
    "Thank you so much for thinking of me!",
    "Thanks!",
    "Ok",
    "Great",
    "It was a pleasure reading your letter, and I wish you all the best in your search.",
    "Good luck with your search!",
    "I am in Berlin",
    "I'm in two minds",
    "I am interested in other roles",
    "I am interested in the salary",
    "I am interested in a different position",
    "A short yes is enough for us to go on. If it is not for you, a short no helps us just as much.",
    "Yes\n\nA short yes is enough for us to go on",
    "I used to be interested",
    "I was interested",
    "I would be interested if it were remote",
    "Interested, provided it's remote",
    "Je ne suis pas intéressé",
    "Ich habe kein Interesse",
    "Please withdraw my application.",
    "I pass",
    "Let me think about it",
    "Call me maybe",
    "Yes, I have accepted another offer.",
    "Sorry, yes I am interested",
    "I'd be happy to decline",
    "Would love to!",
    "I have no interest in not applying",
    "sure, why not",
    "Sure.\nNot.",
    "Hello No Thanks,",
    "Yes\nBest regards\nNot Interested",
    "Hello Yes",
    "I am happy where I am, but let's talk",
    "Please do not hesitate to contact me",
    "I don't want to miss this, I'm interested",
    "I do not want to continue my current job",
    "It's not for me to decide",
    "I am definitely not not interested",
    "y e s",
    "👍",
    "Yes 👍",
    "Yes :)",
    "Yes! ;-)",
    "I am looking forward to hearing from you",
    "No, thank you for the offer though.",
    "Not at the moment, maybe later",
    "Maybe yes",
    "Yes, maybe",
    "Yes, I am interested\nin other roles",
    "I am interested. Not.",
    "It does not interest me",
    "I'd love to, but I can't",
    "I have found a new job for my wife",
    "I started a new job",
    "please do not",
    "I agree to be removed",
    "I can start in May",
    "I can't start before May, but no",
    "But yes",
)
SURE_OF_TIMES = {
    "Wednesday at 14:00": 2,
    "Wednesday, 2pm works for me": 2,
    "Tuesday or Wednesday": 1,
    "Wednesday or Tuesday": 2,
    "2\n\nThanks!\nAnn": 2,
    "2.\nThanks": 2,
    "2. Wednesday, 2 December 2026, 14:00-14:45 (Europe/Berlin)": 2,
    "Wednesday, 2 December 2026, 14:00-14:45 (Europe/Berlin) suits me": 2,
    "1, 2 and 3 work for me": 1,
    "Number 1 please": 1,
    "The second one, please": 2,
    "2 December": 2,
    "December 2": 2,
    "2nd of December works": 2,
    "the first one": 1,
    "2 pm": 2,
    "10am works": 1,
    "10:00": 1,
    "9.30": 3,
    "9:30 on Thursday": 3,
    "Either works": 1,
    "any time works for me": 1,
    "Yes, the third slot works for me. See you then!": 3,
    "see you on Tuesday": "yes",
    "See you Wednesday": "yes",
    "Thursday is fine": 3,
    "Thursday would be fine": 3,
    "Could we do Friday instead?": "other_time",
    "none of these work for me, sorry": "other_time",
    "Another time please": "other_time",
    "Yes, Tuesday works": 1,
    "Yes. Tuesday.": 1,
    "Slot 2 - thank you for the invitation!": 2,
    "10:00-10:45": 1,
    "Tuesday 10:00 - 10:45": 1,
    "Wednesday from 14:00": 2,
    "from 14:00": 2,
    "1 December 2026": 1,
    "option 2 or 3": 2,
}
DOUBTFUL_OF_TIMES = (
    "Both work for me",
    "no 2",
    "any day but Wednesday",
    "Any of them except the second",
    "All but 2",
    "Wednesday doesn't work",
    "Wednesday at 10:00",
    "\n".join(OFFERED),
    "2\n\n" + "\n".join(OFFERED),
    "No.",
    "No thanks",
    "nope",
    "1. No",
    "2. Yes",
    "1 works, 2 doesn't",
    "I prefer the second",
    "12",
    "4",
    "0",
    "1st",
    "first of December",
    "10",
    "at 10",
    "Thursday 3 December 2027",
    "Wednesday 1 December",
    "Tuesday at 2pm",
    "not Tuesday",
    "Tuesday, not Wednesday",
    "Tuesday. I mean Wednesday",
    "Tuesday? No, Wednesday",
    "all fine",
    "whichever suits you",
    "Any works except Tuesday",
    "I have 2 kids",
    "Thursday is bad",
    "Thursday is not fine",
    "Thursday would be tight",
    "My number is 2",
    "2 is too early",
    "2 is good, 3 is better",
    "1 or 2, but not 3",
    "Could we do Friday?",
    "None of these times suit me, but 2 works",
    "No, Tuesday",
    "slot two",
    "Tuesday afternoon",
    "Tuesday morning",
    "Tuesday at 10:00 (New York time)",
    "10:00 EST",
    "10:00 to 11:00",
    "after 14:00",
    "1.12.",
    "1/12",
    "2/3",
    "2-3",
    "2 and a half",
    "Option 2.\n\nKind regards\nAnn Smith\n+49 170 1234567",
    "2 (two)",
)


@pytest.mark.parametrize(("text", "says"), SURE.items())
def test_what_is_beyond_doubt_is_taken(text: str, says: str) -> None:
    """Wrapped lines, greetings, closings, numbered answers beside it."""
    assert read_by_rules(text, []) == MailReading(says=Says(says))


@pytest.mark.parametrize("text", DOUBTFUL)
def test_what_may_mean_something_else_is_for_a_person(text: str) -> None:
    """Nobody's candidacy ends, and nobody is invited, by a guess."""
    assert read_by_rules(text, []).says in (Says.UNCLEAR, Says.QUESTION)


@pytest.mark.parametrize(("text", "want"), SURE_OF_TIMES.items())
def test_a_time_that_is_named_beyond_doubt_is_taken(text: str, want: int | str) -> None:
    """By its number, its place, its weekday, date or hour, none of which contradicts another."""
    reading = read_by_rules(text, OFFERED)
    assert (reading.slot or reading.says) == want


@pytest.mark.parametrize("text", DOUBTFUL_OF_TIMES)
def test_a_time_that_is_not_named_clearly_is_for_a_person(text: str) -> None:
    """Exceptions, other hours, our own list quoted back, a bare no."""
    assert read_by_rules(text, OFFERED).says in (Says.UNCLEAR, Says.QUESTION)


@pytest.mark.parametrize("word", ["hardly", "except", "unless", "later", "flibber", "7"])
def test_one_word_more_that_the_rules_do_not_know_leaves_the_answer_to_a_person(word: str) -> None:
    """Wherever it stands, what was sure is not taken for its opposite."""
    opposite = {Says.YES: Says.NO, Says.NO: Says.YES}
    for texts, offered in ((SURE, ()), (SURE_OF_TIMES, OFFERED)):
        for text in texts:
            sure = read_by_rules(text, offered)
            words = text.split(" ")
            for place in range(len(words) + 1):
                reading = read_by_rules(" ".join([*words[:place], word, *words[place:]]), offered)
                assert reading.says is not opposite.get(sure.says)
                if word == "flibber":
                    assert reading.says in (Says.UNCLEAR, Says.QUESTION) or "\n1. " in text


@pytest.mark.parametrize(
    ("text", "answer", "believed"),
    [
        ("I am not interested", {"says": "yes"}, False),
        ("I have just signed with another company", {"says": "yes"}, False),
        ("I will have to decline I fear", {"says": "slot", "slot": 1}, False),
        ("Yes, I'm interested", {"says": "no"}, False),
        ("I am really interested, but the salary is too low", {"says": "no"}, False),
        ("Not for me, thanks, but my brother is very interested", {"says": "no"}, False),
        ("The salary is too low for me", {"says": "no"}, True),
        ("It would be an honour", {"says": "yes"}, True),
        ("Tuesday it shall be", {"says": "slot", "slot": 1}, True),
        ("I am not interested", {"says": "no"}, True),
        ("I am not interested", {"says": "unclear"}, True),
    ],
)
def test_a_language_model_is_not_believed_against_the_words(
    text: str, answer: dict[str, object], believed: bool
) -> None:
    """A refusal or an acceptance that the rules or the signs of the opposite contradict is for a person."""
    slot = Slot.model_validate(
        {"start": "2026-12-01T10:00Z", "end": "2026-12-01T11:00Z", "interviewer": "ann@example.com"}
    )
    asked = reading_of(mail("c1", text), [slot], "c1@example.com")
    output = OUTPUTS["candidate_reading"]
    assert not isinstance(asked, MailReading)
    assert output.check is not None
    assert output.narrow is not None
    reading = output.type.model_validate(answer)
    assert output.check(reading, asked) is None
    judged = JudgedReading.model_validate(output.narrow(reading, asked))
    assert (judged.says == answer["says"]) == believed
    assert judged.says == answer["says"] or judged.says is Says.UNCLEAR
    assert judged.read_as.startswith(str(answer["says"])), "a person sees it beside the text"


@pytest.mark.parametrize("letter", [Asked.PERSON, Asked.QUESTIONS, Asked.INTEREST])
@pytest.mark.parametrize(
    ("text", "sure_of"),
    [
        ("No", {Asked.INTEREST}),
        ("no, thank you", {Asked.INTEREST}),
        ("Nein, danke", {Asked.INTEREST}),
        ("Sorry, no.", {Asked.INTEREST}),
        ("Yes", {Asked.INTEREST, Asked.QUESTIONS}),
        ("Sounds good", {Asked.INTEREST, Asked.QUESTIONS}),
        ("I am not interested", {Asked.INTEREST, Asked.QUESTIONS}),
        ("That's not for me", {Asked.INTEREST, Asked.QUESTIONS}),
        ("I'll pass on this one", {Asked.INTEREST, Asked.QUESTIONS}),
        ("Then yes, I'm interested.", set(Asked)),
        ("I have to withdraw, sorry.", set(Asked)),
        ("No, I have accepted another job", set(Asked)),
        ("I am not interested in the position", set(Asked)),
    ],
)
def test_a_bare_answer_counts_only_where_its_question_is_ours(
    text: str, sure_of: set[Asked], letter: Asked
) -> None:
    """After a person's own words, or where our questions may be denied as well, it is for a person."""
    reading = read_by_rules(text, [], letter)
    assert (reading.says in (Says.YES, Says.NO)) == (letter in sure_of)


@pytest.mark.parametrize("text", ["2", "the first one", "any of them works", "Tuesday works", "another day"])
def test_after_a_persons_words_no_time_is_taken(text: str) -> None:
    """The person may have named other times, and nobody here knows."""
    assert read_by_rules(text, OFFERED).says in (Says.SLOT, Says.OTHER_TIME)
    assert read_by_rules(text, OFFERED, Asked.PERSON).says is Says.UNCLEAR


@pytest.mark.parametrize(
    ("candidacy", "questions", "asked"),
    [
        (Candidacy(), ["When could you start?"], Asked.INTEREST),
        (Candidacy(), ["When could you start?", "Do you have a licence?"], Asked.QUESTIONS),
        (Candidacy(followed_up=True), ["Do you have a licence?"], Asked.INTEREST),
        (Candidacy(proposals=1), ["Do you have a licence?"], Asked.INTEREST),
        (Candidacy(person_asked=True, followed_up=True), [], Asked.PERSON),
    ],
)
def test_what_was_asked_last(candidacy: Candidacy, questions: list[str], asked: Asked) -> None:
    """By our letters, their questions, or a person."""
    assert asked_last(candidacy, questions) is asked


def test_a_mail_too_long_to_be_a_plain_answer_goes_to_a_person() -> None:
    """However it begins; and however it is made to take long, it does not."""
    assert read_by_rules("Yes, I am interested." + " " * 100_000 + "!", []).says is Says.UNCLEAR
