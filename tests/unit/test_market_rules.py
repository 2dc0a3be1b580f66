"""Rules and what people tell the market analyst: one strict grammar, and nothing guessed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.agents.market import MarketInput
from common.agents.market_rules import Rule, Then, When, parse_rule
from common.agents.market_words import NotUnderstoodError, Order, Told, parse_told

LEVELS = st.decimals("0.0000000001", "100000000000", places=10).filter(lambda level: level > 0)
PARTS = st.decimals("0.000001", "10", places=6).filter(lambda part: part > 0)
SPANS = st.integers(60, 10**8).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def any_rule(draw: st.DrawFn) -> Rule:
    when = draw(st.sampled_from(When))
    parts: dict[str, object] = {}
    if when in (When.ABOVE, When.BELOW):
        parts["level"] = draw(LEVELS)
    if when in (When.RISE, When.FALL, When.CHANGE, When.VOLATILITY, When.GAP):
        parts["by"] = draw(PARTS)
    if when in (When.RISE, When.FALL, When.CHANGE, When.MISSING, When.STALE):
        parts["span"] = draw(SPANS)
    if when is When.VOLATILITY:
        parts["points"] = draw(st.integers(5, 500))
    return Rule(when=when, then=draw(st.sampled_from(Then)), **parts)


@given(any_rule())
def test_a_rule_is_written_as_words_that_read_as_the_same_rule(rule: Rule) -> None:
    """It is carried and sent as words."""
    assert parse_rule(str(rule)) == rule
    assert Rule.model_validate_json(rule.model_dump_json()) == rule


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("above 5000", {"when": "above", "level": "5000"}),
        ("Level below 4500.5 ALERT", {"when": "below", "level": "4500.5", "then": "alert"}),
        ("fall 3% in 1d ask", {"when": "fall", "by": "0.03", "span": "P1D", "then": "ask"}),
        ("change 2.5 % in 90m", {"when": "change", "by": "0.025", "span": "PT90M"}),
        ("volatility above 30% over 20 points", {"when": "volatility", "by": "0.3", "points": 20}),
        ("gap 1% note", {"when": "gap", "by": "0.01"}),
        ("missing for 1h", {"when": "missing", "span": "PT1H"}),
        ("stale 1h30m", {"when": "stale", "span": "PT90M"}),
    ],
)
def test_words_and_objects_say_the_same(words: str, rule: dict[str, object]) -> None:
    """Both are taken, wherever rules are."""
    assert parse_rule(words) == Rule.model_validate(rule)


@pytest.mark.parametrize(
    "words",
    [
        *("", "5000", "above", "above five thousand", "above -5", "above 0", "above 5,000", "above 5_000"),
        *(
            "above 1e9",
            "above NaN",
            "above inf",
            "above ٥٠٠",
            "fall 3 in 1d",
            "fall 3%",
            "fall 3% in",
            "fall 0% in 1d",
        ),
        *(
            "fall 3% in 30s",
            "fall 3% in 20000d",
            "volatility 30% over 2",
            "volatility 30% over 501",
            "gap 1.5",
        ),
        *("stale", "above 5000 shout", "above 5000 alert ask", "sell 100", "above 5000 and below 6000"),
    ],
)
def test_what_is_no_rule_is_refused(words: str) -> None:
    """And never read as something near it."""
    with pytest.raises(ValidationError):
        parse_rule(words)


def test_an_input_takes_rules_as_text_as_a_list_and_as_objects() -> None:
    """Of two about the same the later one counts."""
    text = "above 5000; fall 3% in 1d alert, above 5000 ask"
    wanted = ["above 5000 ask", "fall 3% in 1d alert"]
    given = MarketInput.model_validate({"index": "^GSPC", "for": "3d", "rules": text})
    assert (list(map(str, given.rules)), given.lasts) == (wanted, timedelta(days=3))
    listed = MarketInput.model_validate(
        {"index": "SPX", "rules": [{"when": "above", "level": 5000}, "gap 1%"]}
    )
    assert list(map(str, listed.rules)) == ["above 5000", "gap 1%"]
    assert MarketInput.model_validate_json(given.model_dump_json()) == given
    with pytest.raises(ValidationError, match="at most 20"):
        MarketInput.model_validate({"index": "SPX", "rules": [f"above {level}" for level in range(1, 23)]})
    with pytest.raises(ValidationError, match="1m to 1d"):
        MarketInput.model_validate({"index": "SPX", "every": "5s"})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("for 3 days more", Told(Order.LONGER, span=timedelta(days=3))),
        ("Go on for another week.", Told(Order.LONGER, span=timedelta(days=7))),
        ("for an hour longer", Told(Order.LONGER, span=timedelta(hours=1))),
        ("for 36h more", Told(Order.LONGER, span=timedelta(hours=36))),
        ("report now", Told(Order.REPORT)),
        ("finish now", Told(Order.FINISH)),
        ("every 30m", Told(Order.EVERY, span=timedelta(minutes=30))),
        ("add above 5000 alert", Told(Order.ADD, rule=parse_rule("above 5000 alert"))),
        ("drop fall 3% in 1d", Told(Order.DROP, rule=parse_rule("fall 3% in 1d"))),
        (
            "change fall 3% in 1d to fall 4% in 1d ask",
            Told(Order.CHANGE, rule=parse_rule("fall 3% in 1d"), to=parse_rule("fall 4% in 1d ask")),
        ),
        ("add change 2% in 1d", Told(Order.ADD, rule=Rule(when=When.CHANGE, by=Decimal("0.02"), span="P1D"))),
    ],
)
def test_sentences_that_are_understood(words: str, told: Told) -> None:
    """Each does one thing."""
    assert parse_told(words) == told


@pytest.mark.parametrize(
    "words",
    [
        *(
            "",
            "hello",
            "please report soon",
            "for ever",
            "for 3 sheep",
            "for 0 days more",
            "for 99 years more",
        ),
        *(
            "add",
            "add above",
            "drop everything",
            "change above 5 to",
            "every",
            "every now and then",
            "sell all",
        ),
        *("report now and sell", "for 3 days more or less", "change the limit"),
    ],
)
def test_what_is_not_understood_says_so_and_what_would_be(words: str) -> None:
    """It never does half of it."""
    with pytest.raises(NotUnderstoodError, match="not understood: "):
        parse_told(words)
