"""Reports are published on a valid word only, to the approved place, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.fetching.guard import guarded_client
from activities.research.publishing import Publisher, PublishReport, report_name
from common.agent_files import AgentFiles
from common.agents.researcher import Published, PublishPlan
from common.allowed_hosts import AllowedHosts
from common.approval.groups import Directory
from common.approval.signing import Authority, Signer
from common.approval.types import ApprovalPolicy, Authorization, Decision, Verdict, Vote
from common.artifacts import ArtifactStore
from common.digest import digest
from common.key_ring import KeyRing
from common.object_store import FolderStore
from tests.support.floors import floors
from tests.support.web import Hit, Route, WebServer, redirect

RING = Signer(KeyRing.of({"test": bytes(range(32))}))
AGENT = ActivityEnvironment().info.workflow_id or ""
HTML, MARKDOWN = b"<!doctype html><p>The tides.", b"# The tides\n"


@pytest.fixture
def desk() -> Iterator[WebServer]:
    with WebServer(host="127.0.0.3") as desk:
        yield desk


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(FolderStore(tmp_path / "artifacts"))


@pytest.fixture
def publisher(store: ArtifactStore, desk: WebServer, tmp_path: Path) -> Publisher:
    authority = Authority(RING, Directory(tmp_path / "groups.json"), floors(), accept_unsigned=False)
    return Publisher(
        store,
        authority,
        guarded_client(AllowedHosts.parse(desk.host)),
        AgentFiles(FolderStore(tmp_path / "objects")),
        tmp_path / "own",
    )


def plan_for(store: ArtifactStore, target: str | Path) -> PublishPlan:
    return PublishPlan(
        topic="Tides, & how they rise: ../../etc",
        target=str(target),
        markdown=store.put(MARKDOWN),
        html=store.put(HTML),
        opening="# The tides",
        claims=1,
        sources=(),
        unread=(),
        model="offline",
    )


def request_for(plan: PublishPlan, **changes: Any) -> PublishReport:
    decision = Decision(
        id="1", request_id="approval-1", digest=digest(plan), verdict=Verdict.APPROVE, by="ann"
    )
    vote = Vote(decision=RING.sign(decision.model_copy(update=changes), AGENT, datetime.now(UTC)))
    return PublishReport(
        plan=plan,
        authorization=Authorization(
            votes=(vote,),
            policy=ApprovalPolicy(approvers=("ann",)),
            requester="owner",
            key=f"{AGENT}:publish:{digest(plan)}",
        ),
    )


async def publish(publisher: Publisher, request: PublishReport) -> Published:
    return await ActivityEnvironment().run(publisher.publish_report, request)


async def find(publisher: Publisher, request: PublishReport) -> Published | None:
    return await ActivityEnvironment().run(publisher.find_published, request)


async def test_a_report_goes_to_a_folder_under_a_name_of_its_own(
    publisher: Publisher, store: ArtifactStore, tmp_path: Path
) -> None:
    """Both forms, whole, inside the folder whatever the topic says; looked up before and after."""
    request = request_for(plan_for(store, tmp_path / "out"))
    assert await find(publisher, request) is None
    published = await publish(publisher, request)
    assert await find(publisher, request) == published
    files = [Path(place) for place in published.places]
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    assert [file.read_bytes() for file in files] == [HTML, MARKDOWN]
    assert files[0].name.startswith("tides-how-they-rise-etc-")


async def test_a_second_attempt_finishes_the_first_and_overwrites_nothing(
    publisher: Publisher, store: ArtifactStore, tmp_path: Path
) -> None:
    """What people have edited since is theirs; what was not written yet is."""
    request = request_for(plan_for(store, tmp_path / "out"))
    html, markdown = (Path(place) for place in (await publish(publisher, request)).places)
    html.write_text("edited")
    markdown.unlink()
    assert await find(publisher, request) is None
    await publish(publisher, request)
    assert html.read_text() == "edited"
    assert markdown.read_bytes() == MARKDOWN


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request, plan: request.model_copy(update={"authorization": None}),
        lambda request, plan: request.model_copy(
            update={"plan": plan.model_copy(update={"target": f"{plan.target}-2"})}
        ),
        lambda request, plan: request_for(plan, verdict=Verdict.REJECT),
        lambda request, plan: request_for(plan, by="eve"),
        lambda request, plan: request_for(plan, by="owner"),
        lambda request, plan: request_for(plan, verdict=Verdict.REVISE, edits={"target": "/tmp/else"}),
    ],
    ids=["no word", "another target", "a no", "a stranger", "the requester", "an edit"],
)
async def test_nothing_is_published_without_a_valid_word_for_exactly_this_plan(
    publisher: Publisher, store: ArtifactStore, tmp_path: Path, desk: WebServer, spoil: Any
) -> None:
    """The destructive activity checks the approval itself."""
    for target in (str(tmp_path / "out"), desk.url("/inbox")):
        plan = plan_for(store, target)
        with pytest.raises(ApplicationError) as failure:
            await publish(publisher, spoil(request_for(plan), plan))
        assert failure.value.type == "NotAuthorized"
    assert not (tmp_path / "out").exists()
    assert desk.hits() == []


async def test_an_address_is_sent_the_report_with_its_key(
    publisher: Publisher, store: ArtifactStore, desk: WebServer
) -> None:
    """A post carries both forms and the same Idempotency-Key on each attempt."""
    desk.routes["/inbox"] = Route(status=201, headers={"Location": "/r/7"})
    request = request_for(plan_for(store, desk.url("/inbox")))
    assert (await publish(publisher, request)).places == (desk.url("/r/7"),)
    await publish(publisher, request)
    first, second = desk.hits("/inbox")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert json.loads(first.body)["markdown"] == MARKDOWN.decode()
    assert AGENT not in first.headers["idempotency-key"]


async def test_a_put_never_replaces_what_is_not_this_report(
    publisher: Publisher, store: ArtifactStore, desk: WebServer
) -> None:
    """412 with these bytes there is success; with others it is a conflict, for good."""
    request = request_for(plan_for(store, desk.url("/shelf/")))
    there = {"html": HTML, "md": MARKDOWN}

    def shelf(hit: Hit) -> Route:
        suffix = hit.path.rpartition(".")[2]
        return Route(there[suffix]) if hit.method == "GET" else Route(status=412)

    desk.default = Route(shelf)
    published = await publish(publisher, request)
    assert await find(publisher, request) == published
    there["html"] = b"something else"
    assert await find(publisher, request) is None
    with pytest.raises(ApplicationError) as failure:
        await publish(publisher, request)
    assert (failure.value.type, failure.value.non_retryable) == ("PublishConflict", True)


@pytest.mark.parametrize(
    ("route", "kind", "for_good"),
    [
        (Route(status=400), "PublishRefused", True),
        (Route(status=404), "PublishRefused", True),
        (redirect("/else"), "PublishRefused", True),
        (Route(status=409, headers={"Retry-After": "7"}), "PublishBusy", False),
        (Route(status=429, headers={"Retry-After": "7"}), "PublishBusy", False),
        (Route(status=500), "PublishFailing", False),
        (Route("x" * 100, cut=True), "PublishFailing", False),
    ],
    ids=["400", "404", "redirect", "409", "429", "500", "cut"],
)
async def test_what_a_server_answers_is_sorted(
    publisher: Publisher, store: ArtifactStore, desk: WebServer, route: Route, kind: str, for_good: bool
) -> None:
    """Refusals end it; the rest may be tried again, after the time it says; no redirect is followed."""
    desk.routes["/inbox"] = route
    with pytest.raises(ApplicationError) as failure:
        await publish(publisher, request_for(plan_for(store, desk.url("/inbox"))))
    assert (failure.value.type, failure.value.non_retryable) == (kind, for_good)
    if "Retry-After" in route.headers:
        assert failure.value.next_retry_delay is not None
        assert failure.value.next_retry_delay.total_seconds() == 7
    assert desk.paths() == ["/inbox"]


async def test_an_address_inside_is_not_reached(publisher: Publisher, store: ArtifactStore) -> None:
    """The guard stands before publishing, too."""
    with WebServer(host="127.0.0.9") as inside:
        with pytest.raises(ApplicationError) as failure:
            await publish(publisher, request_for(plan_for(store, inside.url("/inbox"))))
        assert failure.value.type == "AddressRefused"
        assert inside.hits() == []


def test_a_name_is_made_of_its_key() -> None:
    """The same key, the same name; another key, another; always a plain file name."""
    assert report_name("a", "k1") == report_name("a", "k1") != report_name("a", "k2")
    assert report_name("../\0/ü 日本", "k").startswith("u-")
    assert report_name("日本", "k").startswith("report-")
