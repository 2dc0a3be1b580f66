"""How a batch is drawn, which of its questions are alike, and what may be added to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.mail.notice_words import notice_words
from cli.batch import MAX_SIGNAL_BYTES, parts_of, read_items
from cli.batch_questions import require_alike, without
from cli.format import show_lines
from cli.format_batch import WIDTH, bar, bar_parts
from cli.output import CommandError
from common.agents.batch import (
    MAX_MORE,
    BatchItem,
    BatchStatus,
    InFlight,
    Quarantined,
    as_lines,
    item_agent_id,
)
from common.agents.states import RunStatus
from common.approval.signing import Signer
from common.artifacts import ArtifactRef
from common.client.batch_questions import AskedItem, is_item, shape_of
from common.client.batches import percent
from common.client.inbox import group_similar
from common.client.rows import InboxRow
from common.client.view import AgentView
from common.key_ring import KeyRing
from common.notices.types import Delivery, Notice, NoticeEvent
from gateway.batch_view import Bar
from gateway.events import Cursor, new_events

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
COUNT = st.integers(0, 10_000)


def status(
    done: int = 0, quarantined: int = 0, in_flight: int = 0, waiting: int = 0, **more: object
) -> BatchStatus:
    items = done + quarantined + in_flight + waiting
    counts = {"done": done, "quarantined": quarantined, "in_flight": in_flight, "waiting": waiting}
    return BatchStatus.model_validate(
        {"id": "b", "items": items, **counts, "duplicates": 0, "at_once": 20, **more}
    )


def row(id: str, **changes: object) -> InboxRow:
    return InboxRow.model_validate(
        {
            "id": id,
            "run_id": id,
            "kind": "k",
            "owner": "o",
            "status": RunStatus.RUNNING,
            "state": "awaiting_approval",
            "node": "ask",
            "waiting_for": "",
            "wake_at": None,
            "started_at": NOW,
            "closed_at": None,
            "batch_id": "b",
            "item_of": "a",
            "approvers": ["ann"],
            "request_id": "ask-1",
            "digest": "0" * 64,
            **changes,
        }
    )


@given(COUNT, COUNT, COUNT, COUNT)
def test_a_bar_is_as_wide_as_it_is_and_says_all_only_of_all(
    done: int, quarantined: int, in_flight: int, waiting: int
) -> None:
    """One that is set aside among ten thousand shows; 100 % is when nothing is left."""
    batch = status(done, quarantined, in_flight, waiting)
    if not batch.items:
        assert (bar(batch), percent(batch)) == ("no items", "")
        return
    parts = bar_parts(batch)
    assert sum(parts) == WIDTH
    assert min(parts) >= 0
    assert [bool(part) for part in parts[:3]] == [bool(each) for each in (done, quarantined, in_flight)]
    assert waiting or not parts[3]
    assert (percent(batch) == "100 %") == (not in_flight + waiting)
    drawn = Bar.of(batch).segments
    assert sum(each.width for each in drawn) == pytest.approx(100 * (1 - waiting / batch.items), abs=0.02)


def test_a_batch_is_shown_with_who_is_in_flight_and_what_was_set_aside() -> None:
    """Whatever its keys and reasons hold is one printable line each."""
    batch = status(
        5, 30, 1, 4, kind="k", asking=2, pace=12.5, eta=NOW,
        stuck=[InFlight(key="slow\x1b[2J", since=NOW - timedelta(days=2), agent="a.slow")],
        set_aside=[Quarantined(key="bad\u202e", reason="it is\nbroken")],
    )  # fmt: skip
    view = AgentView.model_validate({**row("a", item_of="").model_dump(), "live": True, "batch": batch})
    shown = show_lines(view)
    assert "items        5 of 40 done, 30 quarantined, 1 in flight, 4 waiting" in shown
    assert "pace         12.5 an hour, done about 2026-11-23 12:00 UTC" in shown
    assert "questions    2 wait for an answer: starter.py inbox --batch b" in shown
    assert r"  slow\u001b[2J  since 2026-11-21 12:00 UTC  a.slow" in shown
    assert "quarantined, the last 1 of 30" in shown
    assert r"  bad\u202e  it is broken" in shown
    assert all(line.isprintable() for line in shown)


def test_progress_is_an_event_and_hundreds_of_references_are_not() -> None:
    """A reader hears of each change of the counts, once."""
    ref = ArtifactRef(sha256="0" * 64, size=1)
    view = AgentView.model_validate(
        {**row("a").model_dump(), "live": True, "batch": status(1, waiting=3, results=[ref])}
    )
    [event], cursor = new_events(view, Cursor())
    assert b'"done":1' in event
    assert b"sha256" not in event
    assert new_events(view, cursor)[0] == []
    further = view.model_copy(update={"batch": status(2, waiting=2)})
    assert len(new_events(further, cursor)[0]) == 1


def test_what_agents_of_a_batch_ask_alike_is_one_row() -> None:
    """Of one batch, kind and node, and the same people; whatever is no item of a batch stays by itself."""
    rows = [
        row("a.1"),
        row("a.2", request_id="ask-2"),
        row("a.3", request_id="pay-1"),
        row("a.4", approvers=["bob"]),
        row("a.5", kind="other"),
        row("c.1", batch_id="c", item_of="c"),
        row("alone", item_of=""),
        row("alone", item_of="", request_id="ask-2"),
        row("a.6", digest="", request_id="…"),
        row("a.7"),
    ]
    assert [(each.id, each.count) for each in group_similar(rows)] == [
        ("a.1", 3), ("a.3", 1), ("a.4", 1), ("a.5", 1), ("c.1", 1), ("alone", 1), ("alone", 1), ("a.6", 1),
    ]  # fmt: skip


def test_questions_are_alike_that_differ_in_their_plans_alone() -> None:
    """Numbers, the item's name and what the plan says are left out of the comparison; no other word is."""
    one = shape_of(
        "Pay 1,200.50 EUR to Ann Lee for k-1?", {"to": "Ann Lee", "lines": [{"cur": "EUR"}]}, "k-1"
    )
    two = shape_of("Pay 7 USD to Bob for k-2?", {"to": "Bob", "lines": [{"cur": "USD"}]}, "k-2")
    assert one == two == "Pay … … to … for …?"
    assert shape_of("Is it in print?", {"at": "in"}) == "Is it … print?"
    assert shape_of("Do not pay 7 USD to Bob for k-2?", {"to": "Bob", "cur": "USD"}, "k-2") != two


def test_an_item_is_named_by_its_key_or_its_agents_id() -> None:
    """Also where the key cannot stand in an id as it is."""
    id = item_agent_id("a", "two/2")
    assert is_item(id, "a", "two/2")
    assert is_item(id, "a", id)
    assert is_item("a.one", "a", "one")
    assert not is_item("a.one", "a", "two/2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no item in it"),
        ("{", "line 1: not JSON"),
        ('{"id": "a"}\n[1]', "line 2: give a JSON object with an id"),
        ('{"id": true}', "line 1: give a JSON object with an id"),
        ('{"id": ""}', "line 1: id: String should have at least 1 character"),
        ('{"id": "a", "say": "%s"}' % ("x" * MAX_SIGNAL_BYTES), "bytes are too many"),
    ],
)
def test_a_file_of_items_with_a_bad_line_adds_nothing(tmp_path: Path, text: str, words: str) -> None:
    """One line says which it is."""
    file = tmp_path / "items.jsonl"
    file.write_text(text)
    with pytest.raises(CommandError, match=words) as raised:
        read_items(str(file))
    assert "\n" not in str(raised.value)


@given(st.lists(st.integers(1, 60_000), max_size=250))
def test_items_go_out_in_signals_that_an_agent_takes(sizes: list[int]) -> None:
    """In order, each once, within the limits of number and bytes."""
    items = [BatchItem(key=str(number), argument={"x": "y" * size}) for number, size in enumerate(sizes)]
    parts = list(parts_of(items))
    assert [item for part in parts for item in part] == items
    assert all(0 < len(part) <= MAX_MORE for part in parts)
    assert all(len(as_lines(part)) <= MAX_SIGNAL_BYTES for part in parts)


def test_the_notice_of_a_batch_leads_to_its_questions() -> None:
    """And that of anything else to the agent's page; a mail about a batch holds no link that decides."""
    of = {"id": "n", "agent": "a b", "kind": "batch", "owner": "o", "text": "4 questions wait"}
    asked = Notice(**of, event=NoticeEvent.ASKED, people=("ann",))
    assert asked.page("https://x.test") == "https://x.test/ui/batches/a%20b"
    assert Notice(**of, event=NoticeEvent.STUCK).page("https://x.test") == "https://x.test/ui/agents/a%20b"
    mail = notice_words(
        Delivery(notice=asked, way="email", address="ann@example.com", person="ann"),
        "https://x.test", Signer(KeyRing.of({"k": b"1" * 32})), NOW,
    )  # fmt: skip
    assert "https://x.test/ui/batches/a%20b" in mail.text
    assert "https://x.test/ui/batches/a%20b" in mail.html
    assert "/approve/" not in mail.text + mail.html


def test_what_is_left_out_is_asked_and_what_is_decided_is_alike() -> None:
    """A name that fits nothing and questions that differ are told, before anything is sent."""
    asked = [
        AskedItem(
            id=f"a.{key}", key=key, item_of="a", request_id="ask-1", digest="0" * 64, kind="k", node="ask",
            group=group, question=f"{group}?", plan={},
        )
        for key, group in (("one", "pay"), ("two", "pay"), ("three", "tell"))
    ]  # fmt: skip
    assert [each.key for each in without(asked, "one, a.three", "b")] == ["two"]
    with pytest.raises(CommandError, match="--leave-out four: nothing is asked about such an item"):
        without(asked, "one,four", "b")
    require_alike(asked[:2], "b")
    with pytest.raises(CommandError, match=r"--group pay: 2 like 'pay\?'; --group tell: 1 like 'tell\?'"):
        require_alike(asked, "b")
