"""The offline analyst: it ranks and quotes, and never says a word of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activities.llm.offline import OfflineAnalyst
from activities.llm.records import ModelItem, ModelRequest
from common.agents.agent import Cost


def ask(instruction: str, *texts: str, keep: int = 10) -> ModelRequest:
    items = [ModelItem(id=str(number), text=text) for number, text in enumerate(texts)]
    return ModelRequest(task="rank", instruction=instruction, items=items, keep=keep)


def test_the_item_that_shares_the_rarer_words_comes_first() -> None:
    """A rare word of the instruction counts for more than one that every item has."""
    texts = "shell, shell!", "a secret", "shell: quote it", "shell: no ls"
    reply = OfflineAnalyst().rank(ask("a secret in a shell script", *texts))
    assert [item.id for item in reply.ranking] == ["1", "0", "2", "3"]
    assert reply.ranking[0].score == 1
    assert reply.ranking[0].reason == "matches: secret"


def test_plurals_and_case_do_not_matter() -> None:
    """People write `Secrets` and `dependencies`, analysers `secret` and `dependency`."""
    reply = OfflineAnalyst().rank(ask("SECRETS and Dependencies!", "one secret, one dependency", "nothing"))
    assert [item.reason for item in reply.ranking] == ["matches: secrets, dependencies"]


def test_words_that_mean_nothing_rank_nothing() -> None:
    """Filler words alone move no item."""
    assert (
        OfflineAnalyst().rank(ask("please look at all of these first", "look at all of these")).ranking == []
    )


def test_the_quote_is_the_sentence_that_fits_best() -> None:
    """Quotes are verbatim, with the place they were taken from."""
    text = "It is large. The door leaks a secret here. A secret elsewhere."
    quote = OfflineAnalyst().rank(ask("door secret", text)).ranking[0].quote
    assert quote.text == "The door leaks a secret here."
    assert text[quote.start : quote.end] == quote.text


@given(st.text(max_size=80), st.lists(st.text(max_size=120), max_size=8), st.integers(1, 4))
def test_any_text_is_ranked_the_same_way_twice(wish: str, texts: list[str], keep: int) -> None:
    """Whatever comes in: the same reply twice, bounded scores, at most `keep`, quotes verbatim, no tokens."""
    request = ask(wish, *texts, keep=keep)
    reply = OfflineAnalyst().rank(request)
    assert reply == OfflineAnalyst().rank(request)
    assert len(reply.ranking) <= keep
    for item in reply.ranking:
        assert 0 <= item.score <= 1
        assert texts[int(item.id)][item.quote.start : item.quote.end] == item.quote.text
    assert (reply.model, reply.cost) == ("offline", Cost())
