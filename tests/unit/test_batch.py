"""The rules of a batch, without Temporal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from common.agents.batch import ItemPage, Listing, Work, item_agent_id
from common.agents.batch_state import BatchState, PageReport
from common.artifacts import ArtifactRef
from common.names import check_agent_id

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
REF = ArtifactRef(sha256="0" * 64, size=1)


def state(*counts: int, at_once: int = 10) -> BatchState:
    found = BatchState(source="s", id="b", run="r", work=Work(), at_once=at_once, active_since=NOW)
    found.add(Listing(pages=tuple(ItemPage(items=REF, count=count) for count in counts)))
    return found


def test_a_report_that_is_late_or_comes_twice_changes_nothing() -> None:
    """Counts are those of the newest report, also once the page has ended."""
    batch = state(10, 10)
    batch.begin(10, NOW)
    newer = PageReport(number=1, serial=2, waiting=0, in_flight=2, done=8)
    last = PageReport(number=1, serial=3, waiting=0, done=9, quarantined=1, results=REF)
    older = PageReport(number=1, serial=1, waiting=5, in_flight=2, done=3)
    for report in (newer, older, newer):
        batch.take(report, NOW)
        assert (batch.ended, batch.free) == (8, 8)
    for report in (last, last, newer, older):
        batch.take(report, NOW)
        status = batch.status(NOW, "p")
        assert (status.items, status.done, status.quarantined, status.waiting) == (20, 9, 1, 10)
    assert not batch.is_done


@given(st.data())
def test_the_widths_of_all_open_pages_never_come_to_more_than_that_of_the_batch(data: st.DataObject) -> None:
    """However pages report: what may be in flight in them together is at most `at_once`."""
    batch = state(*data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=5)), at_once=4)
    in_flight, left, serial = dict[int, int](), dict[int, int](), 0
    while not batch.is_done:
        # As the agent does: another width for the page that begins, or the next page.
        page = batch.beginning
        if page is not None:
            page.width = batch.free
        elif batch.waiting and batch.free:
            page = batch.begin(batch.free, NOW)
            in_flight[page.report.number], left[page.report.number] = 0, page.page.count
        number = data.draw(st.sampled_from(sorted(batch.open)))
        width = batch.open[number].width
        begun = max(0, min(left[number], width - in_flight[number]))
        left[number], in_flight[number] = left[number] - begun, in_flight[number] + begun
        assert sum(in_flight.values()) <= 4
        in_flight[number] -= data.draw(st.integers(min(1, in_flight[number]), in_flight[number]))
        serial += 1
        over = not left[number] and not in_flight[number]
        done = batch.open[number].page.count - left[number] - in_flight[number]
        report = PageReport(
            number=number,
            serial=serial,
            waiting=left[number],
            in_flight=in_flight[number],
            done=done,
            results=REF if over else None,
        )
        batch.take(report, NOW)
    assert batch.counts().done == batch.counts().items


def test_pace_and_end_count_no_paused_time() -> None:
    """Sixty items in an hour of work, whatever the pause between; nothing is promised while it lasts."""
    batch = state(240)
    batch.begin(10, NOW)
    batch.take(PageReport(number=1, serial=1, waiting=240), NOW)
    batch.pause(True, NOW + timedelta(minutes=30))
    assert batch.status(NOW + timedelta(days=2), "p").eta is None
    batch.pause(False, NOW + timedelta(days=3))
    then = NOW + timedelta(days=3, minutes=30)
    batch.take(PageReport(number=1, serial=2, waiting=180, done=60), then)
    status = batch.status(then, "p")
    assert status.pace == 60
    assert status.eta == then + timedelta(hours=3)


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=100))
def test_every_key_gives_an_id_that_an_agent_may_have_and_no_two_the_same(one: str, other: str) -> None:
    """Whatever stands in a file."""
    ids = {item_agent_id("batch-1", key) for key in (one, other)}
    assert len(ids) == len({one, other})
    for id in ids:
        assert check_agent_id(id) == id
    assert check_agent_id(item_agent_id("p" * 200, one))
