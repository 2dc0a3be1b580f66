"""The rules that contracts are judged by: words, figures, laws, references, and what a playbook may say."""

from __future__ import annotations

from decimal import Decimal
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.contracts import facts
from activities.contracts.audit import Auditor, verdict_of
from activities.contracts.laws import laws
from activities.contracts.phrases import Phrase, PhraseError, Phrases, sentence_span, words_of
from activities.contracts.playbook import PlaybookError, default_playbook, read_playbook
from activities.contracts.records import Audit
from activities.documents import plain
from activities.documents.structure import Block, Change, StructuredDocument
from common.agents.contracts import Severity, Verdict

AUDITOR = Auditor(default_playbook())


def document(*blocks: Block | str, **more: object) -> StructuredDocument:
    """A document of these blocks, a text being a paragraph."""
    made, at = [], 0
    for each in blocks:
        block = Block(text=each) if isinstance(each, str) else each
        made.append(block.model_copy(update={"start": at}))
        at += len(block.text) + 2
    fields = {
        "title": "",
        "media_type": "text/plain",
        "text": "\n\n".join(each.text for each in made),
        **more,
    }
    return StructuredDocument(blocks=tuple(made), **fields)


def audit(*blocks: Block | str, **more: object) -> Audit:
    return AUDITOR.audit("a.txt", "", document(*blocks, **more))


def broken(*blocks: Block | str, **more: object) -> dict[str, str]:
    """What each broken rule says of the contract."""
    return {f"{each.clause}.{each.rule}": each.said for each in audit(*blocks, **more).findings}


def matches(phrase: str, text: str) -> bool:
    return Phrases([Phrase.read(phrase)]).found_in(words_of(text)) is not None


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("governing law", "12. GOVERNING  LAW", True),
        ("governing law", "governing the law", False),
        ("shall|will not exceed", "liability will not exceed", True),
        ("indemnif*", "the Indemnification of", True),
        ("indemnif*", "an indemnity", False),
        ("terminate ... notice", "may terminate this Agreement upon thirty days' written notice", True),
        ("terminate ... notice", "may terminate. Any other written notice", False),
        ("terminate ... notice", "terminate a b c d e f g h i notice", False),
        ("supplier", "the Supplier's duty", True),
        ("=term", "Term", True),
        ("=term", "Term of Lease", False),
    ],
)
def test_a_phrase_is_words_in_order_within_a_sentence(phrase: str, text: str, found: bool) -> None:
    """Alternatives, beginnings of words, gaps of eight words, all of a heading."""
    assert matches(phrase, text) is found


@pytest.mark.parametrize("text", ["", "a " * 13, "... a", "a ...", "(a+)+", "ab*", "|"])
def test_what_is_no_phrase_is_refused(text: str) -> None:
    """Regular expressions above all."""
    with pytest.raises(PhraseError):
        Phrase.read(text)


@given(st.text(alphabet="ab .\n*|(", max_size=300))
def test_words_stand_where_they_say(text: str) -> None:
    """Of any text every word is where it is said to be, and its sentence holds it."""
    words = words_of(text)
    for at, word in enumerate(words):
        assert text[word.start : word.end].lower().startswith(word.plain)
        start, end = sentence_span(words, at, text)
        assert start <= word.start
        assert word.end <= end


def test_a_search_takes_time_in_proportion_to_the_text() -> None:
    """A text made to be searched for ever takes some ten times as long as one of a tenth."""
    phrases = Phrases([Phrase.read("a ... a ... a ... a ... a ... b")])

    def cost(count: int) -> float:
        words = words_of("a " * count)
        start = thread_time()
        assert phrases.found_in(words) is None
        return thread_time() - start

    assert cost(20_000) < 60 * max(cost(2_000), 0.001)


@pytest.mark.parametrize(
    ("text", "value", "unit", "differs"),
    [
        ("thirty (30) days", 30, "day", None),
        ("thirty (20) days", 20, "day", ("thirty", "20")),
        ("twenty-four (24) months", 24, "month", None),
        ("one hundred and twenty (120) business days", 120, "day", None),
        ("2 years", 24, "month", None),
        ("two weeks", 14, "day", None),
        ("a year", 12, "month", None),
        ("90 calendar days", 90, "day", None),
        ("ninety days", 90, "day", None),
    ],
)
def test_durations(text: str, value: int, unit: str, differs: tuple[str, str] | None) -> None:
    """In words, in figures and in both, which may disagree."""
    said = f"within {text} of it"
    [found] = facts.durations(words_of(said), said)
    assert (found.value, found.unit, found.text) == (value, unit, text)
    assert (found.disagreement and (found.disagreement.words, found.disagreement.figures)) == differs


@pytest.mark.parametrize(
    "text", ["per day", "each month of it", "one or more others", "the year of signature"]
)
def test_what_is_no_duration(text: str) -> None:
    """A unit alone says nothing."""
    assert not list(facts.durations(words_of(text), text))


@pytest.mark.parametrize(
    ("text", "value", "currency", "differs"),
    [
        ("$1,000,000", 1_000_000, "USD", False),
        ("US$ 2.5 million", 2_500_000, "USD", False),
        ("EUR 500.000,00", 500_000, "EUR", False),
        ("£10,000", 10_000, "GBP", False),
        ("5 million dollars", 5_000_000, "USD", False),
        ("five million dollars ($5,000,000)", 5_000_000, "USD", False),
        ("five million dollars ($500,000)", 500_000, "USD", True),
    ],
)
def test_amounts(text: str, value: int, currency: str, differs: bool) -> None:
    """With the signs and separators of both sides of the ocean."""
    found = list(facts.amounts(words_of(text), text))[-1]
    assert (found.value, found.currency, bool(found.disagreement)) == (Decimal(value), currency, differs)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("governed by the laws of the State of New York, without regard to conflicts", ["New York"]),
        ("governed by English law", ["England and Wales"]),
        ("the laws of England and Wales apply", ["England and Wales"]),
        ("the law of the Federal Republic of Germany", ["Germany"]),
        ("California law", ["California"]),
        ("all applicable laws of any kind", []),
        ("the laws of the Agreement", []),
    ],
)
def test_laws(text: str, places: list[str]) -> None:
    """By the usual name of a place."""
    assert [each.place for each in laws(text)] == places


def test_a_clause_is_found_by_its_heading_and_by_what_it_says() -> None:
    """Whatever the heading is, and with or without one; a quote stands where it says."""
    text = "1. Miscellaneous\n\n1.1 This Agreement shall be governed by the laws of Bermuda.\n\n"
    text += "2. Term\n\n2.1 It is two years.\n"
    read = StructuredDocument.model_validate(plain.read(text.encode()))
    found = AUDITOR.audit("a.txt", "", read)
    clauses = {each.clause: each for each in found.clauses}
    assert clauses["governing_law"].at.number == "1.1"
    assert clauses["term"].facts == ("two years",)
    [finding] = [each for each in found.findings if each.rule == "allowed"]
    assert finding.said == "law of Bermuda"
    assert finding.at is not None
    assert read.text[finding.at.start :].startswith(finding.quote)
    assert finding.quote == "This Agreement shall be governed by the laws of Bermuda."


def test_a_figure_belongs_to_the_words_around_it() -> None:
    """A year of renewal is no notice, and sixty days of notice are no renewal."""
    fine = "It shall automatically renew for successive periods of one (1) year, unless notice is given at "
    fine += "least sixty (60) days before the end."
    assert not {each for each in broken(fine) if each.startswith("auto_renewal.")}
    long = fine.replace("one (1) year", "two (2) years").replace("sixty (60)", "one hundred (100)")
    assert broken(long).keys() >= {"auto_renewal.length", "auto_renewal.notice"}


def test_what_every_contract_is_judged_by() -> None:
    """Blanks, references to nowhere, changes that nobody settled, what could not be read."""
    change = Change(kind="deleted", text="not ", at=20)
    said = broken(
        Block(text="Services", number="1.", path="1", level=1, kind="heading"),
        Block(text="Fees are [amount] as in Section 1.2 and 9.9.", number="1.1", path="1.1", level=2),
        Block(text="See Section 27.3 and Article 6 of the Regulation.", number="1.2", path="1.2", level=2),
        Block(
            text="The party shall terminate this agreement.",
            number="2.",
            path="2",
            level=1,
            changes=(change,),
        ),
        "By: ____________________",
        unread=("2 pictures",),
    )
    assert said["contract.blank"] == "“[amount]”"
    assert said["contract.reference"] == "Section 27.3"
    assert said["termination.unsettled-change"] == "deleted: “not”"
    assert said["contract.unread"] == "2 pictures"


def test_low_findings_do_not_call_a_human() -> None:
    """A contract whose findings are all low is ok."""
    [low] = [
        each for each in audit("Nothing is said.").findings if each.rule == "stated" and each.clause == "term"
    ]
    assert low.severity is Severity.LOW
    assert verdict_of([low]) is Verdict.OK
    assert verdict_of([low.model_copy(update={"verdict": Verdict.NOT_ACCEPTABLE})]) is Verdict.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("a: [", "no YAML (line "),
        ("a: &x 1\nb: *x\n", "line 2: aliases are not read"),
        ("[" * 100 + "]" * 100, "line 1: nested too deep, or too much of it"),
        ("name: x\nclauses: []\n", "clauses: Tuple should have at least 1 item"),
        ("name: x\nclauses: [{id: a, title: A, rulez: []}]", "clauses[a].rulez: unknown field"),
        ("name: x\nclauses: [{id: a, title: A, headings: ['(a+)+']}]", "clauses[a].headings[0]: '(a+)+'"),
        (
            "name: x\nclauses: [{id: a, title: A, rules: [{id: r, title: T, check: duration}]}]",
            "clauses[a].rules[r]: at_least or at_most is needed",
        ),
        (
            "name: x\nclauses: [{id: a, title: A, rules: [{id: r, title: T, check: magic}]}]",
            "clauses[a].rules[r]: check is none of present, absent",
        ),
        (
            "name: x\nclauses: [{id: a, title: A, rules: [{id: r, title: T, check: fees, at_most: soon}]}]",
            "at_most: a duration is written like 30 days or 12 months",
        ),
        ("name: x\nclauses: [{id: a, title: A}, {id: a, title: B}]", "the clause a is there twice"),
        ("!!python/object/apply:os.system ['true']", "no YAML (line 1)"),
        ("- secret words of another file", "the file: Input should be"),
    ],
)
def test_a_wrong_playbook_gives_one_line_that_says_where(yaml: str, words: str) -> None:
    """By the ids that people gave; nothing else of the file is quoted."""
    with pytest.raises(PlaybookError) as caught:
        read_playbook(yaml.encode())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_default_playbook_can_be_read_back() -> None:
    """A batch is judged by what was pinned, and that is the same."""
    playbook = default_playbook()
    assert type(playbook).model_validate_json(playbook.model_dump_json(by_alias=True)) == playbook
