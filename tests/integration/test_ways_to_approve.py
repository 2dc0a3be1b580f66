"""Every way to approve, and every way to be refused, in one table: a real buyer, all doors.

The worker refuses unsigned words; that of `stack` takes and marks them, as in `dev`.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

import worker
from activities.calls.interceptor import ReliableReports
from activities.delivery.open_questions import NO_LONGER_ASKED
from activities.delivery.slack import Slack
from cli.dev_server import DevServer
from common.agents.buyer import BuyerInput
from common.approval.link import ApprovalButton
from common.approval.types import ApprovalRequest, Decision, DecisionStatus, Verdict
from common.artifacts import ArtifactStore
from common.client.client import AgentClient
from common.notices.types import SlackPost
from common.settings import Settings
from testing.waiting import eventually
from tests.support.gateway.world import GatewayWorld, open_world
from tests.support.patience import patient
from tests.support.slack.checks import texts
from tests.support.slack.server import Fault, SlackServer
from tests.support.slack.world import PEOPLE, delivery_of, run, write_people

__all__ = ["patient"]

pytestmark = pytest.mark.usefixtures("patient")
APPROVERS = ["approver", "member"]
STALE = "0" * 64
NOTHING: list[tuple[str, str, bool]] = []


class Market:
    """Buyers that ask, people who decide, and all the doors they may come through."""

    def __init__(self, world: GatewayWorld, slack: SlackServer, stack: Settings) -> None:
        self.world, self.slack, self.stack = world, slack, stack
        self._slack = Slack.build(world.settings, ArtifactStore.of(world.settings))
        self.asked: dict[tuple[Way, str], Question] = {}

    async def start(self, *, stack: bool = False, owner: str = "owner", **more: object) -> str:
        """A buyer that asks two people for their approval."""
        settings = self.stack if stack else self.world.settings
        wanted = BuyerInput(
            symbol="BAC", quantity=Decimal(10), limit=Decimal(100), approvers=APPROVERS, quorum=2, **more
        )
        agents = AgentClient(self.world.desk.client, settings, self.world.desk.signer)
        return await agents.start("buyer", wanted, owner=owner)

    async def ask(self, *, stack: bool = False, **more: object) -> Question:
        """What such a buyer asks, as it stands in Slack."""
        id = await self.start(stack=stack, **more)
        view = await self.world.until(id, lambda view: bool(view.requests) or not view.running)
        if view.requests:
            request = view.requests[0]
            delivery = delivery_of(id, request, "C0GENERAL", kind="buyer")
            with suppress_over(expires="expires_after" in more):
                post = await run(self._slack.slack_post, delivery, client=self.world.desk.client)
                return Question(self, id, request, post)
        # A slow machine: it expired before anybody could look.
        return await self.ask(stack=stack, expires_after=8 * more["expires_after"])


@contextmanager
def suppress_over(*, expires: bool) -> Iterator[None]:
    """Let a question be over that expires; where it does not, nothing may end it."""
    try:
        yield
    except ApplicationError as error:
        if not expires or error.type != NO_LONGER_ASKED:
            raise


@dataclass
class Question:
    """What a buyer asks; `stale` has everybody answer another plan than the one that is asked about."""

    market: Market
    id: str
    request: ApprovalRequest
    post: SlackPost
    stale: bool = False

    @property
    def digest(self) -> str:
        return STALE if self.stale else self.request.digest

    async def counted(self) -> list[tuple[str, str, bool]]:
        """Whose word counted, through what, and whether it was signed."""
        return [
            (each.decision.by, each.decision.through, each.signed)
            for each in (await self.market.world.view(self.id)).decisions
            if each.status is DecisionStatus.COUNTED
        ]


async def by_cli(question: Question, who: str) -> str:
    ran = await question.market.world.desk.run(
        "approve", question.id, "--as", who, "--digest", question.digest
    )
    return f"{ran.code}: {ran.err}"


async def by_http(question: Question, who: str) -> str:
    world = question.market.world
    answer = await world.http.post(
        f"/agents/{question.id}/decisions",
        json={"verdict": "approve", "digest": question.digest},
        headers=world.as_(who),
    )
    return f"{answer.status_code}: {answer.text}"


async def by_link(question: Question, who: str) -> str:
    world = question.market.world
    # A link is known by its digest and its end, so that the same person gets the same one twice.
    until = question.request.expires_at or question.request.asked_at + timedelta(days=1)
    link = world.link(question.id, question.request, who, digest=question.digest, expires_at=until)
    page = await world.http.get(link)
    guard = re.search(r'name="form" value="([^"]+)"', page.text)
    if not guard:
        return f"{page.status_code}: {page.text}"
    answer = await world.http.post(link, data={"form": guard[1], "verdict": "approve"})
    return f"{answer.status_code}: {answer.text}"


async def by_slack(question: Question, who: str) -> str:
    return await press(question, who, times=1)


async def by_slack_replay(question: Question, who: str) -> str:
    """The very request once more, within five minutes."""
    return await press(question, who, times=2)


async def press(question: Question, who: str, times: int) -> str:
    world, slack = question.market.world, question.market.slack
    payload = slack.pressed(question.post.channel, question.post.ts, "approve", PEOPLE[who]["slack"])
    if question.stale:
        expires_at = datetime.now(UTC) + timedelta(days=1)
        button = ApprovalButton(
            agent=question.id, request_id=question.request.id, digest=STALE, expires_at=expires_at
        )
        payload["actions"][0]["value"] = button.token(world.desk.signer)
    request = slack.signed(payload)
    statuses = [(await world.http.post("/slack/actions", **request)).status_code for _ in range(times)]
    return f"{statuses[-1]}: {await slack.heard(payload)}"


async def by_web_ui(question: Question, who: str) -> str:
    """What Temporal's Web UI and `temporal workflow signal` do: no door, no signature."""
    world = question.market.world
    id = uuid.uuid4().hex
    decision = Decision(
        id=id, request_id=question.request.id, digest=question.digest, verdict=Verdict.APPROVE, by=who
    )
    try:
        await world.desk.client.get_workflow_handle(question.id).signal("decide", decision)
    except RPCError as error:
        return str(error)
    record = await world.agents.outcome(question.id, id, timedelta(seconds=30))
    assert record
    return f"{record.status.value}: {record.reason}"


Way = Callable[[Question, str], Awaitable[str]]
STRANGER = "stranger is not among those who may decide"
OTHER_PLAN = "is for plan 000000000000"
AGAIN = "approver has already said yes; 1 of 2 approvals"


def yes(through: str, *, signed: bool = True) -> list[tuple[str, str, bool]]:
    return [("approver", through, signed)]


# way, case, what the one who decides is told, whose word counts then
TABLE: list[tuple[Way, str, str, list[tuple[str, str, bool]]]] = [
    (by_cli, "right", "^0: .*counted", yes("cli")),
    (by_cli, "wrong person", f"^4: .*{STRANGER}", NOTHING),
    (by_cli, "stale", "^4: .*plan 000000000000|^4: .*no open request", NOTHING),
    (by_cli, "twice", f"^4: .*{AGAIN}", yes("cli")),
    (by_cli, "expired", "^4: .*nothing to decide", NOTHING),
    (by_http, "right", '^202: .*"counted"', yes("http")),
    (by_http, "wrong person", "^404: .*not yours to see", NOTHING),
    (by_http, "stale", "^409: ", NOTHING),
    (by_http, "twice", f"^409: .*{AGAIN}", yes("http")),
    (by_http, "expired", "^404: .*not yours to see", NOTHING),
    (by_link, "right", "^200: .*Your decision counts", yes("email")),
    (by_link, "wrong person", f"^422: .*{STRANGER}", NOTHING),
    (by_link, "stale", "^200: .*not asked any more", NOTHING),
    (by_link, "twice", "^200: .*Your decision was already received", yes("email")),
    (by_link, "expired", "^200: .*How it ended: approval-1: expired", NOTHING),
    (by_slack, "right", "^200: Your approval counts", yes("slack")),
    (by_slack, "wrong person", f"^200: .*{STRANGER}", NOTHING),
    (by_slack, "stale", f"^200: .*{OTHER_PLAN}", NOTHING),
    (by_slack, "twice", f"^200: .*{AGAIN}", yes("slack")),
    (by_slack, "expired", "^200: .*this button expired", NOTHING),
    (by_slack_replay, "right", "^409: ", yes("slack")),
    (by_slack_replay, "wrong person", "^409: ", NOTHING),
    (by_slack_replay, "stale", "^409: ", NOTHING),
    (by_slack_replay, "expired", "^409: ", NOTHING),
    (by_web_ui, "right", "^refused: unsigned", NOTHING),
    (by_web_ui, "wrong person", "^refused: unsigned", NOTHING),
    (by_web_ui, "stale", "^refused: unsigned", NOTHING),
    (by_web_ui, "twice", "^refused: unsigned", NOTHING),
    (by_web_ui, "expired", "already completed", NOTHING),
    (by_web_ui, "right in the stack", "^counted", yes("ui", signed=False)),
    (by_web_ui, "wrong person in the stack", f"^refused: {STRANGER}", NOTHING),
    (by_web_ui, "stale in the stack", f"^refused: .*{OTHER_PLAN}", NOTHING),
    (by_web_ui, "twice in the stack", f"^refused: {AGAIN}", yes("ui", signed=False)),
]


EXPIRED = [(way, case) for way, case, _, _ in TABLE if case == "expired"]


@pytest.fixture(scope="module")
async def market(server: DevServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Market]:
    """Slack, a gateway, a worker that refuses unsigned words, and one that takes them."""
    folder = tmp_path_factory.mktemp("ways")
    async with (
        SlackServer() as slack,
        open_world(server, folder, works=False, slack=slack.settings()) as world,
        AsyncExitStack() as workers,
    ):
        write_people(
            world.settings, {"owner": "told", "events": ["asked"], "ways": ["slack", "slack:C0GENERAL"]}
        )
        queue = f"{world.settings.task_queue}-stack"
        stack = world.settings.but(task_queue=queue, unsigned="accept")
        for settings in (world.settings, stack):
            client = world.desk.client
            objects = worker.activity_objects(settings)
            built = worker.build(client, settings, reports=ReliableReports(client), objects=objects)
            await workers.enter_async_context(built)
        market = Market(world, slack, stack)
        expired = await market.ask(expires_after=timedelta(seconds=6))
        rows = [(way, case) for way, case, _, _ in TABLE if case != "expired"]
        asked = await asyncio.gather(*(market.ask(stack="in the stack" in case) for _, case in rows))
        market.asked = {**dict.fromkeys(EXPIRED, expired), **dict(zip(rows, asked, strict=True))}
        yield market


@pytest.mark.parametrize(
    ("way", "case", "told", "counts"), TABLE, ids=[f"{way.__name__}-{case}" for way, case, _, _ in TABLE]
)
async def test_what_becomes_of_it(
    market: Market, way: Way, case: str, told: str, counts: list[tuple[str, str, bool]]
) -> None:
    """Through this door, in this case: what is said, and what counts."""
    question = market.asked[way, case]
    question.stale = case.startswith("stale")
    if case == "expired":
        await market.world.until(question.id, lambda view: not view.running)
    who = "stranger" if case.startswith("wrong person") else "approver"
    if case.startswith("twice"):
        await way(question, who)
    said = await way(question, who)
    assert re.search(told, said, re.DOTALL), said
    assert await question.counted() == counts
    view = await market.world.view(question.id)
    assert view.running == (case != "expired")
    assert all(each.decision.signature or way is by_web_ui for each in view.decisions)


async def test_two_ways_make_a_quorum(market: Market) -> None:
    """One by Slack, one by a link; then the buyer acts on an order that Slack showed as what it is."""
    question = await market.ask()
    message = list(texts(market.slack.message(question.post.channel, question.post.ts)))
    for shown in ("*What*", "BAC", "*How many*", "10", "*At most, each*", "100"):
        assert shown in message
    await by_slack(question, "approver")
    assert (await market.world.view(question.id)).running
    await by_link(question, "member")
    view = await market.world.until(question.id, lambda view: not view.running)
    assert view.result["outcome"] == "bought"
    assert await question.counted() == [("approver", "slack", True), ("member", "email", True)]


async def test_an_unsigned_word_is_marked_wherever_it_is_shown(market: Market) -> None:
    """In the stack it counts, and the notebook, `show` and the page say that nobody signed it."""
    question = await market.ask(stack=True)
    await by_web_ui(question, "approver")
    world = market.world
    shown = (await world.desk.run("show", question.id)).out
    assert re.search(r"approver.*unsigned", shown)
    page = await world.http.get(world.link(question.id, question.request, "member"))
    assert "(unsigned)" in page.text
    entries = [each.text for each in (await world.view(question.id)).notebook]
    assert any("approver" in text and "unsigned" in text for text in entries)


async def test_a_question_finds_its_people_and_its_messages_hear_the_answer(market: Market) -> None:
    """By routes and couriers alone: a channel and two people, one of them after Slack asked to wait."""
    slack, world = market.slack, market.world
    before = {id: len(channel.messages) for id, channel in slack.channels.items()}

    async def messages() -> dict[str, dict[str, Any]]:
        new = {id: each.messages[before.get(id, 0) :] for id, each in slack.channels.items()}
        assert all(len(each) <= 1 for each in new.values()), new
        return {id: each[0] for id, each in new.items() if each}

    async def three() -> dict[str, dict[str, Any]]:
        found = await messages()
        return found if len(found) == 3 else {}

    with slack.failing("chat.postMessage", Fault(429, {"Retry-After": "1"}, "ratelimited")):
        id = await market.start(owner="told")
        posted = await eventually(three)
    assert set(posted) == {"C0GENERAL", "D0ANN", "D0BOB"}
    for channel, who in (("C0GENERAL", "approver"), ("D0BOB", "member")):
        payload = slack.pressed(channel, posted[channel]["ts"], "approve", PEOPLE[who]["slack"])
        assert (await slack.send(world.address, payload)).status_code == 200
    await world.until(id, lambda view: not view.running)

    async def updated() -> bool:
        return all("actions" not in kinds(each) for each in (await messages()).values())

    await eventually(updated)
    for message in (await messages()).values():
        assert any("approved" in text and "member" in text for text in texts(message))


def kinds(message: dict[str, Any]) -> list[str]:
    return [block["type"] for block in message["blocks"]]
