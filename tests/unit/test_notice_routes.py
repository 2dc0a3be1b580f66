"""Who is told what, by which way."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common.approval.groups import Directory
from common.approval.types import ApprovalPolicy, ApprovalRequest, Decision, Verdict, Vote
from common.notices.people import NoticesFile, approvers_in_slack, notices_file
from common.notices.routes import Routes
from common.notices.types import Destination, Notice, NoticeEvent, agent_of, courier_id, masked
from common.settings import Settings, SettingsError

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
PEOPLE = {
    "ann": {"email": "ann@example.com", "slack": "U0ANN"},
    "bob": {"email": "bob@example.com", "webhook": "https://example.com/bob"},
    "owner-1": {"email": "owner@example.com"},
}
ANN, BOB, OWNER = (
    Destination(way="email", address=f"{name}@example.com", person=who)
    for name, who in (("ann", "ann"), ("bob", "bob"), ("owner", "owner-1"))
)
OPS = Destination(way="slack", address="#ops")


def settings_with(folder: Path, file: Any, **more: str) -> Settings:
    folder.mkdir(exist_ok=True)
    (folder / "notices.json").write_text(file if isinstance(file, str) else json.dumps(file))
    (folder / "groups.json").write_text('{"treasury": ["ann", "bob"]}')
    ways = {
        "HIBERNAUT_WEBHOOK_SECRETS": SECRET,
        "HIBERNAUT_SLACK_BOT_TOKEN": "xoxb-1",
        "HIBERNAUT_SMTP": "smtp://localhost:25",
        "HIBERNAUT_MAIL_FROM": "agents@example.com",
    }
    return Settings.read({"HIBERNAUT_DATA_DIR": str(folder), **ways, **more})


def request(*approvers: str, votes: tuple[str, ...] = (), requester: str = "owner-1") -> ApprovalRequest:
    decisions = [
        Decision(id=who, request_id="r-1", digest="d", verdict=Verdict.APPROVE, by=who) for who in votes
    ]
    return ApprovalRequest(
        id="r-1",
        question="Buy?",
        plan={},
        digest="d",
        policy=ApprovalPolicy(approvers=approvers),
        requester=requester,
        asked_at=NOW,
        votes=tuple(Vote(decision=each) for each in decisions),
    )


def notice(event: NoticeEvent = NoticeEvent.ASKED, **changes: Any) -> Notice:
    asked = request("@treasury") if event is NoticeEvent.ASKED else None
    fields = {"agent": "buyer-1", "kind": "buyer", "owner": "owner-1", "request": asked, **changes}
    return Notice(id="n", event=event, text="x", **fields)


@pytest.mark.parametrize(
    ("routes", "told", "places", "terminal"),
    [
        ([], notice(), (), True),
        ([{"ways": ["email"]}], notice(), (ANN, BOB), False),
        ([{"ways": ["email"]}], notice(NoticeEvent.FINISHED), (OWNER,), False),
        ([{"ways": ["email"]}], notice(request=request("ann", "bob", votes=("ann",))), (BOB,), False),
        ([{"ways": ["email"]}], notice(request=request("ann", "owner-1")), (ANN,), False),
        ([{"ways": ["slack:#ops", "terminal"]}], notice(), (OPS,), True),
        ([{"ways": ["email", "email:ann@example.com"]}], notice(), (ANN, BOB), False),
        ([{"ways": []}], notice(), (), False),
        ([{"agent": "other", "ways": []}, {"ways": ["email"]}], notice(), (ANN, BOB), False),
        ([{"kind": "buyer", "owner": "owner-1", "ways": []}, {"ways": ["email"]}], notice(), (), False),
        ([{"events": ["failed"], "ways": ["slack:#ops"]}], notice(NoticeEvent.FAILED), (OPS,), False),
        ([{"events": ["failed"], "ways": ["slack:#ops"]}], notice(NoticeEvent.STUCK), (), True),
        # A way that reaches one of two: the other is named on the terminal.
        ([{"ways": ["slack"]}], notice(), (Destination(way="slack", address="U0ANN", person="ann"),), True),
        ([{"ways": ["email"]}], notice(NoticeEvent.FAILED, owner="nobody"), (), True),
    ],
)
def test_the_first_route_that_fits_says_the_ways(
    tmp_path: Path, routes: list[Any], told: Notice, places: tuple[Destination, ...], terminal: bool
) -> None:
    """Approvers hear what they may decide, the owner all else; whoever is not reached is named."""
    outlets = Routes.load(settings_with(tmp_path, {"people": PEOPLE, "routes": routes})).outlets(told)
    assert (outlets.places, outlets.terminal) == (places, terminal)
    assert bool(outlets.gap) == (terminal and bool(routes) and routes[0]["ways"] in (["slack"], ["email"]))


def test_the_file_may_change_and_break_and_be_mended(tmp_path: Path) -> None:
    """It is read again when it has changed; while it is broken the error names the file and the place."""
    settings = settings_with(tmp_path, {"routes": [{"ways": ["slack:#ops"]}]})
    routes = Routes.load(settings)
    assert routes.outlets(notice()).places == (OPS,)
    (tmp_path / "notices.json").write_text('{"routes": [{"ways": ["pigeon"]}]}  ')
    with pytest.raises(SettingsError, match=r"notices\.json is not .*routes\.0\.ways\.0"):
        routes.outlets(notice())
    (tmp_path / "notices.json").unlink()
    assert routes.outlets(notice()).terminal


@pytest.mark.parametrize(
    ("file", "more", "words"),
    [
        ("not JSON", {}, "is not a JSON object"),
        (
            {"routes": [{"ways": ["webhook:https://example.com/x"]}]},
            {"HIBERNAUT_WEBHOOK_SECRETS": ""},
            "SECRETS",
        ),
        ({"routes": [{"ways": ["email"]}]}, {"HIBERNAUT_SMTP": ""}, "HIBERNAUT_SMTP"),
        ({"routes": [{"ways": ["webhook:ftp://example.com/x"]}]}, {}, "ways"),
        ({"people": {"ann": {"phone": "1"}}}, {}, "phone"),
        ({}, {"HIBERNAUT_NOTICES": "/nowhere/notices.json"}, "there is no such file"),
    ],
)
def test_what_cannot_be_used_is_said_at_start(
    tmp_path: Path, file: Any, more: dict[str, str], words: str
) -> None:
    """One line that names the setting."""
    with pytest.raises(SettingsError, match=words) as caught:
        Routes.load(settings_with(tmp_path, file, **more))
    assert "HIBERNAUT_" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("secret", ["x", "whsec_", "whsec_AAAA", "whsec_%%%%", f"{SECRET},whsec_AAAA"])
def test_a_weak_or_odd_webhook_secret_is_refused(secret: str) -> None:
    """24 bytes at least, in base64."""
    with pytest.raises(SettingsError, match="HIBERNAUT_WEBHOOK_SECRETS"):
        Settings.read({"HIBERNAUT_WEBHOOK_SECRETS": secret})


def test_a_slack_user_is_one_person_or_a_stranger(tmp_path: Path) -> None:
    """Two who claim the same user are nobody."""
    people = {**PEOPLE, "eve": {"slack": "U0EVE"}, "mallory": {"slack": "U0EVE"}}
    approver_of = approvers_in_slack(settings_with(tmp_path, {"people": people}))
    assert [approver_of(user) for user in ("U0ANN", "U0EVE", "U0WHO")] == ["ann", None, None]


def test_a_crowd_is_bounded(tmp_path: Path) -> None:
    """A notice goes to a hundred places at most, and says how many it left out."""
    people = {f"p{number}": {"email": f"p{number}@example.com"} for number in range(150)}
    settings = settings_with(tmp_path, {"people": people, "routes": [{"ways": ["email"]}]})
    outlets = Routes(notices_file(settings), Directory(tmp_path / "none.json")).outlets(
        notice(request=request(*people))
    )
    assert (len(outlets.places), outlets.terminal) == (100, True)
    assert outlets.gap.startswith("50 of 150 places")


def test_the_page_of_notices_shows_a_file_that_can_be_used_and_every_event() -> None:
    """What people copy from there works."""
    page = (Path(__file__).parents[2] / "docs" / "notices.md").read_text()
    example = NoticesFile.model_validate_json(page.split("```json\n")[1].split("```")[0])
    assert len(example.routes) == 4
    assert [event for event in NoticeEvent if f"`{event}`" not in page.split("## Routes")[0]] == []


def test_a_courier_names_its_agent_and_a_log_no_whole_address() -> None:
    """Also where the agent's id has slashes; what is secret in an address stays out."""
    assert agent_of(courier_id("team/buyer-1/0123456789ab/7")) == "team/buyer-1"
    assert masked("email", "ann@example.com") == "a…@example.com"
    assert masked("webhook", "https://hooks.example.com/secret/path?token=1") == "hooks.example.com"
