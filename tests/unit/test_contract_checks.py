"""Each check that a playbook may make: what breaks it, and what does not."""

from __future__ import annotations

import json

import pytest

from activities.contracts.audit import Auditor, category_of
from activities.contracts.clause_rules import MAX_QUOTE
from activities.contracts.playbook import read_playbook
from activities.contracts.records import Finding
from activities.documents.structure import Block, StructuredDocument


def judged(rule: str, text: str, more: str = "") -> list[tuple[str, str]]:
    """The verdict and the words of what the rule finds in a contract of one paragraph on fees."""
    return [(each.verdict.value, each.said) for each in findings(rule, text, more)]


def findings(rule: str, text: str, more: str = "") -> list[Finding]:
    yaml = (
        "name: x\nclauses:\n  - id: fees\n    title: Fees\n    phrases: [fee|fees, pay]\n"
        f"{more}    rules:\n      - {{id: r, title: T, {rule}}}\n"
    )
    auditor = Auditor(read_playbook(yaml.encode()))
    document = StructuredDocument(title="", media_type="text/plain", text=text, blocks=(Block(text=text),))
    return [each for each in auditor.audit("a", "", document).findings if each.rule == "r"]


HUMAN = "needs a human"


@pytest.mark.parametrize(
    ("rule", "text", "said"),
    [
        ("check: present", "The fee is due.", None),
        ("check: present", "Nothing of the kind.", "not found"),
        ("check: absent", "Nothing of the kind.", None),
        ("check: absent", "The fee is due.", "found"),
        ("check: says, any: [due]", "The fee is due.", None),
        ("check: says, any: [due]", "The fee is nice.", "not said"),
        ("check: says, any: [due]", "Nothing of the kind.", None),
        ("check: says_not, any: [double]", "The fee may double.", "“double”"),
        ("check: says_not, any: [double], unless: [never]", "The fee may never double.", None),
        ("check: says_not, any: [double], unless: [never]", "It may double. The fee never does.", "“double”"),
        (
            "check: mutual, one_sided: [customer pays], both: [each party]",
            "Fees: customer pays.",
            "“customer pays”",
        ),
        (
            "check: mutual, one_sided: [customer pays], both: [each party]",
            "Fees: customer pays each party.",
            None,
        ),
        ("check: duration, at_most: 30 days", "Fees within 30 days.", None),
        (
            "check: duration, at_most: 30 days",
            "Fees within 31 days.",
            "31 days; at most 30 days is acceptable",
        ),
        ("check: duration, at_most: 1 month", "Fees within thirty (30) days.", None),
        ("check: duration, at_least: 1 year", "Fees for 365 days.", None),
        (
            "check: duration, at_least: 1 year",
            "Fees for 6 months.",
            "6 months; at least 1 year is acceptable",
        ),
        ("check: duration, at_most: 1 day, near: [late]", "Fees in 9 days. Late.", None),
        (
            "check: duration, at_most: 1 day, near: ['# late']",
            "Fees 9 days late, not 8 days.",
            "9 days; at most 1 day is acceptable",
        ),
        ("check: duration, at_most: 9 days, unsaid: true", "The fee is due.", "not said in figures"),
        ("check: amount, at_most: {USD: 100}", "A fee of $99.50.", None),
        ("check: amount, at_most: {USD: 100}", "A fee of $1,000.", "$1,000; at most 100 USD is acceptable"),
        ("check: amount, at_least: {EUR: 5}", "A fee of EUR 4.", "EUR 4; at least 5 EUR is acceptable"),
        ("check: amount, at_most: {USD: 100}", "A fee of £9.", "£9; the playbook has no limit in GBP"),
        ("check: percent, at_most: 2, near: [per month]", "Fees of 1.5% per month.", None),
        (
            "check: percent, at_most: 2, near: ['# per month']",
            "Fees of 3 percent per month.",
            "3 percent; at most 2 % is acceptable",
        ),
        ("check: fees, at_least: 6 months", "The fees paid in the twelve (12) months before.", None),
        (
            "check: fees, at_least: 6 months",
            "The fees paid in the three months before.",
            "three months of fees; at least 6 months is acceptable",
        ),
        ("check: fees, at_least: 6 months", "Fees. Notice of three months.", None),
        ("check: law, allowed: [Germany]", "Fees under German law.", None),
        ("check: law, allowed: [Germany]", "Fees under the laws of France.", "law of France"),
    ],
)
def test_a_check_finds_what_breaks_it(rule: str, text: str, said: str | None) -> None:
    """And nothing in what does not."""
    assert judged(rule, text) == ([] if said is None else [(HUMAN, said)])


def test_a_rule_says_what_becomes_of_it() -> None:
    """Not acceptable where the rule says so, or where a law is refused."""
    assert judged("check: absent, verdict: not acceptable", "A fee.") == [("not acceptable", "found")]
    assert judged("check: law, refused: [France]", "Fees under French law.") == [
        ("not acceptable", "law of France")
    ]


@pytest.mark.parametrize("rule", ["check: absent", "check: says, any: [nice]"])
def test_a_finding_about_a_whole_clause_quotes_more_than_its_heading(rule: str) -> None:
    """The heading alone would tell nothing."""
    text = "Fees\n\nThe fee is due at once."
    [found] = findings(rule, text)
    assert found.quote == text
    [found] = findings(rule, text + " It is due." * 100)
    assert found.quote.startswith(text)
    assert len(found.quote) == MAX_QUOTE


def test_hints_take_two_and_a_negative_phrase_takes_it_back() -> None:
    """One hint alone finds nothing."""
    hints = "    hints: [invoice, overdue]\n    not: [free of charge]\n"
    assert judged("check: absent", "An invoice came.", hints) == []
    assert judged("check: absent", "An overdue invoice came.", hints) == [(HUMAN, "found")]
    assert judged("check: absent", "The fee is waived: free of charge.", hints) == []


def test_a_category_is_told_by_title_and_phrases() -> None:
    """Without evidence there is none."""
    categories = [{"id": "lease", "title": "Lease", "titles": ["lease"], "phrases": ["monthly rent"]}]
    clauses = [{"id": "a", "title": "A"}]
    playbook = read_playbook(json.dumps({"name": "x", "clauses": clauses, "categories": categories}).encode())

    def category(title: str, text: str) -> str:
        document = StructuredDocument(title=title, media_type="text/plain", text=text, blocks=())
        return category_of(playbook, document)

    assert category("Lease", "Of a boat.") == "lease"
    assert category("", "The monthly rent is due.") == "lease"
    assert category("Sale", "Of a boat.") == ""
