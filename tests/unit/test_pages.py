"""The rules behind the dashboard's pages: the start form, the timeline to scale, the search form."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import Request

from common.agents.agent import NotebookEntry
from common.agents.kinds import KINDS
from common.agents.recruiter import RecruiterInput, Role
from common.agents.states import AgentState, RunStatus
from common.client.view import AgentView
from common.roots import PathRefusedError
from gateway.overview import span_of
from gateway.pages import ago, error_page
from gateway.problems import Problem, no_such_agent
from gateway.routes.search_page import _command, _filter
from gateway.routes.starts import read_input
from gateway.start_form import empty_form, form_like, given_form, read_values
from gateway.timeline import drawing_of, stretches

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BUY = {"symbol": "ACME", "quantity": "5", "limit": "10.5", "when": "within-limit", "wait_for": "P10D"}
INPUTS: dict[str, dict[str, Any]] = {
    "code-auditor": {"path": "/srv/shop", "apply": True, "approvers": ["ann", "@board"], "quorum": 2},
    "buyer": {**BUY, "tolerance": "2%", "budget_usd": "1.5", "documents": "/srv/papers"},
    "link-researcher": {"topic": "durable execution", "sites": ["https://docs.example.org"], "links": 3},
    "market-analyst": {"index": "^GSPC", "for": "P2D", "rules": ["above 5000", "fall 3% in 1d alert"]},
    "recruiter": {
        "role": {"title": "Analyst", "must_have": ["SQL"]},
        "candidates": [{"id": "c1", "name": "C One", "email": "c1@example.org", "profile": "two\nlines"}],
        "questions": ["When?"],
    },
    "contract-auditor": {"folder": "/srv/contracts", "decide": False},
    "contract-reader": {"file": "/srv/contract.docx"},
    "batch": {"kind": "buyer", "items": "/srv/items.jsonl", "at_once": 7},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_form_filled_in_with_an_input_gives_that_input(name: str) -> None:
    """Of every kind: durations, lists, choices, ticks and JSON; what is left empty has its default."""
    kind = KINDS[name]
    input = read_input(kind, to_json(INPUTS[name]))
    filled = form_like(kind, input)
    sent = {each.name: each.text.replace("\n", "\r\n") for each in filled.fields}
    assert read_input(kind, to_json(read_values(kind, sent))) == input
    required = {each.name.partition(".")[0] for each in filled.fields if each.central}
    least = {each.name: each.text for each in empty_form(kind).fields if not each.central}
    least |= {name: text for name, text in sent.items() if name.partition(".")[0] in required}
    smallest = read_input(kind, to_json({each: INPUTS[name][each] for each in required}))
    assert read_input(kind, to_json(read_values(kind, least))) == smallest


def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost() -> None:
    """Lines are numbered, a path that is refused names its field, and what is no field's fault is on top."""
    kind = KINDS["market-analyst"]
    sent = {"index": "^GSPC", "every": "soon", "rules": "above 5000\nwhatever", "quorum": "many"}
    with pytest.raises(RequestValidationError) as caught:
        read_input(kind, to_json(read_values(kind, sent)))
    form = given_form(kind, sent, caught.value)
    wrong = {each.name: each for each in form.fields if each.problems}
    assert set(wrong) == {"every", "rules", "quorum"}
    assert wrong["rules"].problems[0].startswith("line 2: ")
    assert {name: each.text for name, each in wrong.items()} == {name: sent[name] for name in wrong}
    assert all(unfolded for _, unfolded, _ in form.groups)

    refused = given_form(
        KINDS["code-auditor"], {"path": "/etc"}, PathRefusedError("path: '/etc' is not there.")
    )
    assert [each.problems for each in refused.fields if each.name == "path"] == [["'/etc' is not there."]]
    policy = given_form(kind, sent, ValueError("a quorum of 2 cannot come from 1 people"))
    assert policy.problem == "a quorum of 2 cannot come from 1 people"
    with pytest.raises(RequestValidationError) as no_json:
        read_values(KINDS["recruiter"], {"role.title": "Keeper", "candidates": "[{"})
    assert [each["loc"] for each in no_json.value.errors()] == [("candidates",)]


def test_candidates_come_as_a_table_from_a_spreadsheet() -> None:
    """Cells may hold line breaks and the delimiter; what is wrong names its row, or the columns there are."""
    kind = KINDS["recruiter"]
    role = {"role.title": "Keeper of tides", "role.must_have": "rowing\r\nknots"}
    for table in (
        "ID\tName\tEmail\tProfile\r\n"
        'c1\tBell, Ann\tann@example.com\t"Rows.\r\nKnots."\r\n\r\nc2\tBo\tbo@example.com\t',
        'id;name;email;profile\nc1;Bell, Ann;ann@example.com;"Rows.\nKnots."\nc2;Bo;bo@example.com;',
        'id,name,email,profile\nc1,"Bell, Ann",ann@example.com,"Rows.\nKnots."\nc2,Bo,bo@example.com',
    ):
        input = read_input(kind, to_json(read_values(kind, {**role, "candidates": table})))
        assert isinstance(input, RecruiterInput)
        assert input.role == Role(title="Keeper of tides", must_have=("rowing", "knots"))
        assert [each.model_dump(exclude_defaults=True) for each in input.candidates] == [
            {"id": "c1", "name": "Bell, Ann", "email": "ann@example.com", "profile": "Rows.\nKnots."},
            {"id": "c2", "name": "Bo", "email": "bo@example.com"},
        ]
    for table, wrong in (
        ("id,name,email\nc1,Ann,nowhere", "row 1: email: must be an e-mail address such as"),
        ("id,name,phone\nc1,Ann,1", "the first line names the columns, which are: id, name, email"),
        ("c1,Ann,ann@example.com", "the first line names the columns, which are: id, name, email"),
        ("id,id\n1,2", "the first line names the columns"),
        ("id,name,email\nc1,Ann,ann@example.com,x", "row 1: 4 cells for 3 columns"),
        ('id,name,email\nc1,"Ann,x', "not a table: "),
        ("[{", "not JSON: "),
    ):
        with pytest.raises(RequestValidationError) as caught:
            read_input(kind, to_json(read_values(kind, {**role, "candidates": table})))
        form = given_form(kind, {**role, "candidates": table}, caught.value)
        [field] = [each for each in form.fields if each.problems]
        assert field.name == "candidates"
        assert field.problems[0].startswith(wrong)
        assert field.text == table
    with pytest.raises(RequestValidationError) as caught:
        read_input(kind, to_json(read_values(kind, {})))
    empty = {each.name: each.problems for each in given_form(kind, {}, caught.value).fields if each.problems}
    assert set(empty) == {"role.title", "candidates"}


def test_a_timeline_tells_work_sleep_people_trouble_and_pauses_apart() -> None:
    """Each with its node and its length; the last stretch lasts until now, and what it is the state says."""
    lines = [
        (0, "read", "entered"),
        (1, "read", "done"),
        (1, "rest", "entered"),
        (25, "rest", "woke: time"),
        (25, "rest", "done"),
        (25, "approval", "asks: Buy it?"),
        (26, "approval", "reminder 1 of 3: Buy it?"),
        (27, "approval", "approval-1: approved by ann"),
        (27, "act", "entered"),
        (28, "act", "stuck: order has not got through"),
        (30, "act", "no longer stuck: order ended"),
        (31, "act", "paused"),
        (32, "act", "resumed"),
        (33, "wait", "entered"),
        (34, "wait", "stuck at wait: no mail server"),
        (35, "wait", "no longer stuck: nothing is missing any more"),
    ]
    notebook = [
        NotebookEntry(
            at=NOW + timedelta(hours=hour),
            node=node,
            text=text,
            facts={"request": "approval-1"} if node == "approval" else {},
        )
        for hour, node, text in lines
    ]
    view = AgentView(
        id="a", run_id="r", kind="buyer", owner="o", status=RunStatus.RUNNING, state="sleeping", node="wait",
        waiting_for="time", wake_at=None, started_at=NOW, closed_at=None, notebook=notebook,
    )  # fmt: skip
    now = NOW + timedelta(hours=40)
    told = [
        (each.node, each.kind, (each.end - each.begin) // timedelta(hours=1)) for each in stretches(view, now)
    ]
    assert told == [
        ("read", "work", 1), ("rest", "sleep", 24), ("approval", "people", 2), ("act", "work", 1),
        ("act", "stuck", 2), ("act", "work", 1), ("act", "paused", 1), ("act", "work", 1),
        ("wait", "work", 1), ("wait", "stuck", 1), ("wait", "sleep", 5),
    ]  # fmt: skip
    drawing = drawing_of(view, now, ZoneInfo("UTC"))
    assert drawing is not None
    [sleep] = dict(drawing.lanes)["rest"]
    assert (sleep.x, sleep.width) == (2.5, 60.0)
    assert [tick.words for tick in drawing.ticks] == ["00:00", "12:00", "00:00"]
    # On a clock elsewhere midnight is another moment, and days are of 25 hours where it is put back.
    for zone, later, ticks in (
        ("Europe/Vienna", timedelta(0), ["24 23:00", "25 11:00", "25 23:00"]),
        ("Asia/Kolkata", timedelta(0), ["24 18:30", "25 06:30", "25 18:30"]),
        ("America/New_York", timedelta(days=-24), ["31 16:00", "01 04:00", "01 17:00"]),
    ):
        entries = [each.model_copy(update={"at": each.at + later}) for each in view.notebook]
        drawn = drawing_of(view.model_copy(update={"notebook": entries}), now + later, ZoneInfo(zone))
        assert drawn is not None
        assert {tick.words for tick in drawn.ticks} == {"00:00", "12:00"}
        assert [f"{tick.at:%d %H:%M}" for tick in drawn.ticks] == ticks
    assert drawing_of(view.model_copy(update={"notebook": []}), now, ZoneInfo("UTC")) is None
    # At the edge there is no room for one more time beside another.
    short = now.replace(minute=0, second=0, microsecond=0)
    entries = [NotebookEntry(at=short + timedelta(seconds=0.5), node="read", text="entered")]
    drawn = drawing_of(
        view.model_copy(update={"notebook": entries, "closed_at": short + timedelta(seconds=5.1)}),
        now,
        ZoneInfo("UTC"),
    )
    assert drawn is not None
    assert [tick.words[-2:] for tick in drawn.ticks] == ["01", "02", "03", "04", ""]


@pytest.mark.parametrize(
    ("path", "method", "error", "heading", "told"),
    [
        (
            "/approve/x",
            "GET",
            Problem(HTTPStatus.NOT_FOUND, "Expired."),
            "This link does not work",
            "the inbox",
        ),
        ("/answer/x", "GET", Problem(HTTPStatus.NOT_FOUND, "Expired."), "This link does not work", "by mail"),
        ("/ui/x", "GET", no_such_agent(), "There is no such page", "Back to the inbox"),
        (
            "/ui/x",
            "POST",
            Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "Say why."),
            "Something is missing or wrong",
            "Nothing was done.",
        ),
    ],
)
def test_an_error_says_what_happened_and_where_to_go(
    path: str, method: str, error: Exception, heading: str, told: str
) -> None:
    """In words of people; candidates do not learn whose software it is."""
    request = Request({"type": "http", "method": method, "path": path, "headers": []})
    text = bytes(error_page(request, error).body).decode()
    assert f"<h1>{heading}</h1>" in text
    assert told in text
    assert ("Nothing was done." in text) == (method == "POST")
    assert ('<img src="/static/icon.svg"' in text) == (path != "/answer/x")


def test_how_long_ago_is_told_as_exactly_as_anybody_cares() -> None:
    """Seconds count within the first minute only."""
    spans = [
        timedelta(seconds=0.4),
        timedelta(seconds=9),
        timedelta(seconds=98),
        timedelta(hours=3, minutes=5),
    ]
    assert [ago(NOW - span, NOW) for span in spans] == ["just now", "9 s ago", "1 min ago", "3 h 5 min ago"]


def test_a_day_of_a_zone_lasts_from_midnight_to_midnight_there() -> None:
    """Also where clocks are put forward or back on it."""
    lengths = {
        (zone, day): (span_of(date.fromisoformat(day), ZoneInfo(zone)))
        for zone, day in (
            ("UTC", "2026-03-29"), ("Europe/Vienna", "2026-03-29"), ("Europe/Vienna", "2026-10-25"),
            ("Pacific/Kiritimati", "2026-12-01"),
        )
    }  # fmt: skip
    in_utc = {
        key: (f"{begin.astimezone(UTC):%d %H}", (end.astimezone(UTC) - begin.astimezone(UTC)).seconds // 3600)
        for key, (begin, end) in lengths.items()
    }
    assert list(in_utc.values()) == [("29 00", 0), ("28 23", 23), ("24 22", 1), ("30 10", 0)]


def test_the_search_form_asks_what_find_does() -> None:
    """A state or a status from one list; what is no time is refused; the command says the same."""
    stuck = _filter({"stuck": "true", "node": "Login", "since": "yesterday", "zone": "Europe/Vienna"})
    assert stuck.stuck
    assert stuck.since is not None
    assert stuck.since.tzinfo is not None
    assert _filter({"is": "sleeping"}).state is AgentState.SLEEPING
    assert _filter({"is": "failed"}).status is RunStatus.FAILED
    with pytest.raises(ValidationError, match="say yesterday"):
        _filter({"since": "some day"})
    command = _command({"text": "two words", "stuck": "true", "is": "failed", "where": "archived"})
    assert command == "starter.py find --text 'two words' --stuck --status failed --archived"
