"""The gateway's rules without a server: events, limits, plans and edits, counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from temporalio.service import RPCError, RPCStatusCode

from common.agents.agent import NotebookEntry
from common.agents.kinds import KINDS
from common.agents.recruiter import RecruiterInput
from common.agents.states import RunStatus
from common.approval.diff_view import DIFF_LINES
from common.approval.plan_parts import Changes, File
from common.approval.plan_view import RenderContext, show_plan
from common.approval.types import ApprovalPolicy, ApprovalRequest, Verdict
from common.approval.values import plain, ref_of
from common.artifacts import ArtifactStore
from common.client.errors import AgentClientError, NothingToDecideError, one_open_request
from common.client.view import AgentView
from common.object_store import FolderStore
from gateway.decision_form import FormError, edit_fields, read_decision
from gateway.events import Cursor, is_over, new_events
from gateway.limits import Buckets, StreamSlots
from gateway.metrics import Metrics
from gateway.problems import Problem, problem_of
from gateway.routes.starts import read_input

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def view(lines: int, *, dropped: int = 0, state: str = "working", live: bool = True) -> AgentView:
    entries = [
        NotebookEntry(at=NOW, node="n", text=str(number))
        for number in range(dropped + 1, dropped + lines + 1)
    ]
    return AgentView(
        id="a", run_id="r", kind="k", owner="o", status=RunStatus.RUNNING, state=state, node="n",
        waiting_for=None, wake_at=None, started_at=NOW, closed_at=None, live=live,
        notebook=entries if live else [], dropped=dropped if live else 0,
    )  # fmt: skip


SAMPLE = Path(__file__).parents[1] / "samples" / "recruiting" / "candidates.json"


def recruiting(**slot: Any) -> RecruiterInput:
    """The sample as it is sent over HTTP, its one slot changed."""
    body = json.loads(SAMPLE.read_text()) | {"profiles": "/srv/profiles"}
    body["slots"] = [body["slots"][0] | slot]
    return RecruiterInput.model_validate(read_input(KINDS["recruiter"], json.dumps(body).encode()))


def test_a_recruiter_with_slots_can_be_started_over_http() -> None:
    """In the forms that the command line takes: on the clock of a zone, or with an offset."""
    zoned = recruiting().slots[0]
    offset = recruiting(start="2099-12-01T09:00:00Z", end="2099-12-01T10:45:00+01:00", zone="").slots[0]
    assert zoned.start == offset.start == datetime(2099, 12, 1, 9, tzinfo=UTC)
    assert zoned.end == offset.end
    assert zoned.in_words == "Tuesday, 1 December 2099, 10:00-10:45 (Europe/Berlin)"
    again = RecruiterInput.model_validate_json(recruiting().model_dump_json())
    assert again.slots == recruiting().slots


@pytest.mark.parametrize(
    "slot",
    [
        {"start": 4099755600},
        {"start": "4099755600"},
        {"start": True},
        {"start": "soon"},
        {"start": "2099-12-01T10:00", "zone": ""},
        {"start": "9999-12-31T23:59:59-14:00", "end": "9999-12-31T23:59:59-14:00", "zone": ""},
        {"start": "2099-03-29T02:30", "end": "2099-03-29T03:30"},
        {"zone": "Nowhere/City"},
        {"zone": 7},
    ],
)
def test_a_slot_that_says_no_clear_time_is_refused_by_its_place(slot: dict[str, Any]) -> None:
    """With 422 and one line."""
    with pytest.raises(RequestValidationError) as caught:
        recruiting(**slot)
    problem = problem_of(caught.value)
    assert problem.status_code == 422
    assert problem.detail.startswith("slots.0")


def read(events: list[bytes]) -> list[tuple[str, str, Any]]:
    fields = [dict(line.split(": ", 1) for line in event.decode().strip().split("\n")) for event in events]
    return [(each["id"], each["event"], json.loads(each["data"])) for each in fields]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 2),
            st.sampled_from(["working", "sleeping"]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_a_reader_that_comes_back_anywhere_misses_and_repeats_nothing(
    steps: list[tuple[int, int, str, bool, bool]],
) -> None:
    """However lines are written and dropped, workers go away, and readers are cut off between events."""
    written = dropped = 0
    cursor, got, missed = Cursor(), [], 0
    for more, gone, state, live, cut in steps:
        written += more
        dropped = min(written, dropped + gone)
        now = view(written - dropped, dropped=dropped, state=state, live=live)
        events = read(new_events(now, cursor)[0])
        if cut and events:
            events = events[: len(events) // 2 + 1]
        for id, kind, data in events:
            parsed = Cursor.parse(id)
            assert parsed is not None
            cursor = parsed
            if kind == "note":
                got.append(data["number"])
            missed += data["lines"] if kind == "gap" else 0
    end = view(written - dropped, dropped=dropped)
    for _, kind, data in read(new_events(end, cursor)[0]):
        if kind == "note":
            got.append(data["number"])
        missed += data["lines"] if kind == "gap" else 0
    assert got == sorted(set(got))
    assert len(got) + missed == written
    assert new_events(end, new_events(end, cursor)[1])[0] == []


def test_a_stream_is_over_once_everything_was_told() -> None:
    """Not while no worker answers, for then the last lines are yet to come."""
    closed = view(1).model_copy(update={"status": RunStatus.COMPLETED})
    assert is_over(closed)
    assert not is_over(closed.model_copy(update={"live": False}))
    assert not is_over(view(1))


@pytest.mark.parametrize("text", ["", "x", "1", "-", "1-xyz", "9999999999-", "1-0\n", "١-"])
def test_what_is_no_id_of_an_event_is_told_from_one(text: str) -> None:
    """A reader with a foreign id hears so, and is not given everything again unasked."""
    assert Cursor.parse(text) is None
    assert Cursor.parse("12-ab") == Cursor(12, "ab")


def test_a_bucket_lets_through_its_rate() -> None:
    """Three seconds' worth at once, then so many a second; others' buckets are theirs."""
    now = 0.0
    buckets = Buckets(2, lambda: now)
    for _ in range(6):
        buckets.take("ann")
    with pytest.raises(Problem) as refused:
        buckets.take("ann")
    assert refused.value.status_code == 429
    assert refused.value.headers == {"Retry-After": "1"}
    buckets.take("bob")
    now = 0.5
    buckets.take("ann")
    with pytest.raises(Problem):
        buckets.take("ann")


def test_a_place_is_free_again_when_its_stream_ends() -> None:
    """So many a person, so many for all, however streams end."""
    places = StreamSlots(1, 2)
    with places.one("ann"):
        with pytest.raises(Problem), places.one("ann"):
            pass
        with places.one("bob"), pytest.raises(Problem), places.one("cat"):
            pass
        assert places.taken == 1
    with pytest.raises(RuntimeError), places.one("ann"):
        raise RuntimeError
    assert places.taken == 0


def asked(plan: dict[str, Any], *editable: str) -> ApprovalRequest:
    return ApprovalRequest(
        id="r-1", question="Go?", plan=plan, digest="d" * 64, requester="o", asked_at=NOW,
        policy=ApprovalPolicy(approvers=("ann",), editable=editable),
    )  # fmt: skip


PLAN = {"skip": ["a", "b"], "price": 1.5, "note": "x", "live": True, "legs": [{"n": 1}], "hidden": 1}
FIELDS = ("skip", "price", "note", "live", "legs", "gone")


def test_a_form_that_was_not_touched_changes_nothing() -> None:
    """Whatever the browser makes of line ends; only what the policy names and the plan has is a field."""
    request = asked(PLAN, *FIELDS)
    fields = edit_fields(request)
    assert [each.name for each in fields] == ["skip", "price", "note", "live", "legs"]
    form = {f"edit.{each.name}": each.value.replace("\n", "\r\n") for each in fields}
    assert read_decision({**form, "verdict": "approve"}, request).edits == {}


def test_edits_have_the_types_of_the_plan() -> None:
    """A list stays a list, a number a number; a field that may not be edited is not read at all."""
    form = {
        "verdict": "revise", "edit.skip": "c\r\n\r\n d ", "edit.price": "2", "edit.note": "y",
        "edit.live": "no", "edit.legs": "[]", "edit.hidden": "9",
    }  # fmt: skip
    decision = read_decision(form, asked(PLAN, *FIELDS))
    assert decision.verdict is Verdict.REVISE
    assert decision.edits == {"skip": ["c", "d"], "price": 2, "note": "y", "live": False, "legs": []}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "Press one of the buttons"),
        ({"verdict": "reject"}, "why not"),
        ({"verdict": "revise"}, "Nothing was changed"),
        ({"verdict": "approve", "edit.note": "y"}, "pressed plain"),
        ({"verdict": "revise", "edit.price": "much"}, "not a number"),
        ({"verdict": "revise", "edit.price": "true"}, "not a number"),
        ({"verdict": "revise", "edit.price": "NaN"}, "not a number"),
        ({"verdict": "revise", "edit.legs": "["}, "not JSON"),
        ({"verdict": "approve", "note": "x" * 4001}, "too long"),
    ],
)
def test_what_says_two_things_or_nothing_is_asked_again(form: dict[str, str], words: str) -> None:
    """In words for the person who filled it in."""
    with pytest.raises(FormError, match=words):
        read_decision(form, asked(PLAN, *FIELDS))


def test_a_diff_is_fetched_cut_and_told_apart(tmp_path: Path) -> None:
    """A line's kind by how it begins; what is left out is counted; what is not there is said."""
    store = ArtifactStore(FolderStore(tmp_path))
    lines = ["--- a/x", "+++ b/x", "@@ -1 +1 @@", "-old", "+new", " same"] + [" more"] * DIFF_LINES
    ref = store.put("\n".join(lines).encode()).model_dump()
    shown = show_plan({"diff": ref, "listing": ref, "files": 1}, None, RenderContext(store)).items
    assert [each.name for each in shown] == ["files", "listing", "diff"]
    assert isinstance(shown[1].part, File)
    changes = shown[2].part
    assert isinstance(changes, Changes)
    assert changes.file is not None
    assert [each.kind for each in changes.diff.lines[:6]] == [
        "file",
        "file",
        "hunk",
        "removed",
        "added",
        "same",
    ]
    assert changes.diff.left_out == 6
    [missing] = show_plan({"diff": {"sha256": "0" * 64, "size": 1}}, None, RenderContext(store)).items
    assert isinstance(missing.part, Changes)
    assert "not in the object store" in missing.part.diff.missing
    for hostile in ("../" * 20 + "etc/passwd", "0" * 63 + "/", "0" * 65):
        assert ref_of({"sha256": hostile, "size": 1}) is None


def test_small_values_are_words() -> None:
    """Nothing is `none`, thousands are grouped, a year is not, a digest is its beginning."""
    assert [plain(each) for each in (None, [], True, 12_345, 2026, "d" * 64)] == [
        "none", "none", "yes", "12,345", "2026", "d" * 12,
    ]  # fmt: skip


def test_the_counts_are_prometheus_text() -> None:
    """Buckets add up, what is over the last bound is in +Inf, and no client can invent a label."""
    metrics = Metrics(lambda: 3)
    for seconds in (0.001, 0.2, 60):
        metrics.count("GET", "/agents/{id}", 200, seconds)
    metrics.count("BREW", "none", 405, 0.001)
    text = metrics.text().decode()
    assert 'bucket{le="0.005",route="/agents/{id}"} 1.0' in text
    assert 'bucket{le="10.0",route="/agents/{id}"} 2.0' in text
    assert 'bucket{le="+Inf",route="/agents/{id}"} 3.0' in text
    assert "hibernaut_http_streams 3.0" in text
    assert 'hibernaut_http_requests_total{method="GET",route="/agents/{id}",status="200"} 3.0' in text
    assert 'method="other"' in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text


TWO = [("approval-1", "a" * 64), ("approval-2", "a" * 64)]


def test_two_questions_about_one_plan_are_told_apart_by_their_request() -> None:
    """The digest is the same then, and the error says what to name."""
    for request in TWO:
        assert one_open_request("x", TWO, "aa", request[0]) == request
        assert one_open_request("x", TWO, "", request[0]) == request
    with pytest.raises(AgentClientError, match="--request approval-1"):
        one_open_request("x", TWO, "aa")
    for digest, request_id in (("b", "approval-1"), ("", "approval-3")):
        with pytest.raises(NothingToDecideError, match=f"called {request_id}"):
            one_open_request("x", TWO, digest, request_id)


@pytest.mark.parametrize(
    "answer",
    [
        "invalid query: invalid search attribute: AgentOwner",
        "Namespace default has no mapping defined for search attribute AgentOwner",
    ],
)
def test_a_cluster_without_the_search_attributes_is_not_set_up(answer: str) -> None:
    """Both answers are what a server gives; an unknown name that is not ours is the caller's."""
    problem = problem_of(RPCError(answer, RPCStatusCode.INVALID_ARGUMENT, b""))
    assert problem.status_code == 503
    assert "starter.py setup" in problem.detail
    other = answer.replace("AgentOwner", "Elsewhere")
    assert problem_of(RPCError(other, RPCStatusCode.INVALID_ARGUMENT, b"")).status_code == 422


def test_a_call_that_temporal_refuses_for_another_reason_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The answer says that the log says why."""
    problem = problem_of(RPCError("no such namespace", RPCStatusCode.NOT_FOUND, b""))
    assert problem.status_code == 500
    assert "NOT_FOUND: no such namespace" in caplog.text
