"""The offline analyst as an analyst: it extracts, summarises and chooses, and says what it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activities.llm.offline import EXTRACTIVE, NOTHING_FOUND, OfflineAnalyst, weakness
from activities.llm.outputs import find_quote
from activities.llm.records import Material, Option
from activities.llm.sentences import is_readable, prose

RIVER = """Home | About | Contact

The river Mole rises near Rusper, e.g. in wet meadows. It flows
north for 80 kilometres to the Thames.

- Opening times
Floods of the Mole came in 1968 and again in 2013. Its valley is chalk. Call us!
"""
FLOODS = """The floods of the Mole came in 1968, and again in 2013. A flood barrier was built at Leatherhead
after the second flood. Nobody asked the ducks what they think of it."""


def material(*texts: str) -> list[Material]:
    return [Material(id=f"m{n}", source=f"http://x/{n}", text=text) for n, text in enumerate(texts)]


def test_a_summary_quotes_the_sentences_on_the_topic_in_reading_order() -> None:
    """Near duplicates come once, menus never, and each quote stands where its offsets say."""
    text, quotes = OfflineAnalyst().summarise("floods of the Mole and the barrier", material(RIVER, FLOODS))
    assert text.startswith(EXTRACTIVE)
    said = [" ".join(quote.text.split()) for quote in quotes]
    assert sum("1968" in each for each in said) == 1
    assert any("barrier was built" in each for each in said)
    assert not any("Contact" in each or "ducks" in each for each in said)
    assert [(q.material, q.start) for q in quotes] == sorted((q.material, q.start) for q in quotes)
    sources = {"m0": RIVER, "m1": FLOODS}
    for quote in quotes:
        assert sources[quote.material][quote.start : quote.end] == quote.text
        assert f"[{quote.material}:{quote.start}-{quote.end}]" in text
        assert quote.source in text


def test_a_topic_that_no_text_shares_gives_what_the_texts_have_in_common() -> None:
    """A summary without a match is of the material itself, and says so first, as where one word matches."""
    quotes = OfflineAnalyst().extract("quantum gravity", material(RIVER, FLOODS), keep=2)
    assert quotes
    assert any("Mole" in quote.text for quote in quotes)
    for topic, weak in (
        ("quantum gravity", "no quote shares a word with what was asked"),
        ("a barrier of reefs", "no quote shares more than one word with what was asked: barrier"),
        ("how to use the barrier", ""),  # one word that means something was all that was asked
        ("the flood barrier", ""),
    ):
        text, _ = OfflineAnalyst().summarise(topic, material(RIVER, FLOODS))
        assert weakness(text) == weak, topic


def test_nothing_readable_is_said_and_not_made_up() -> None:
    """A menu is no text."""
    assert OfflineAnalyst().summarise("x", material("Home | About")) == (NOTHING_FOUND, [])


def test_sentences_go_across_line_ends_and_do_not_end_at_abbreviations() -> None:
    """`e.g.` ends nothing; a blank line and a bullet do."""
    spans = [" ".join(RIVER[a:b].split()) for a, b in prose(RIVER)]
    assert "The river Mole rises near Rusper, e.g. in wet meadows." in spans
    assert "It flows north for 80 kilometres to the Thames." in spans
    assert is_readable("It flows north for 80 kilometres to the Thames.")
    assert not is_readable("Home | About | Contact")


def test_the_choice_is_the_option_that_shares_most() -> None:
    """The instruction's words decide; the material's break ties; else the first option."""
    options = [
        Option(id="buy", text="buy the ticket now"),
        Option(id="wait", text="wait for a lower price"),
    ]
    analyst = OfflineAnalyst()
    assert analyst.choose("is the price right, or should it be lower?", [], options) == "wait"
    assert analyst.choose("?", material("Tickets are sold out soon: buy!"), options) == "buy"
    assert analyst.choose("?", [], options) == "buy"


@given(st.lists(st.text(max_size=200), max_size=5), st.text(max_size=40))
def test_any_material_gives_verbatim_quotes_the_same_way_twice(texts: list[str], topic: str) -> None:
    """Whatever comes in, quotes stand where they say."""
    given_material = material(*texts)
    quotes = OfflineAnalyst().extract(topic, given_material)
    assert quotes == OfflineAnalyst().extract(topic, given_material)
    for quote in quotes:
        assert texts[int(quote.material[1:])][quote.start : quote.end] == quote.text


@given(st.text(max_size=100), st.text(min_size=1, max_size=30), st.text(max_size=100))
def test_a_quote_is_found_where_it_stands(before: str, quote: str, after: str) -> None:
    """White space apart; what is found is the text's own words."""
    text = before + quote + after
    found = find_quote(" ".join(quote.split()), material(text), "m0")
    if quote.strip():
        assert found is not None
        assert "".join(found.text.split()) == "".join(quote.split())
        assert text[found.start : found.end] == found.text
    assert find_quote(quote + "\u2603\u2603 never there", material(before + after), "m0") is None
