"""What a fork's mark lets pass, and what it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.calls.fork_firewall import ForkFirewall, _request_digest
from activities.delivery.notices import Notices
from activities.recruiting.records import LetterKind, Outgoing, SendOutreach
from activities.trading.orders import CancelOrder
from common.agents.fork import CALLER, FORK, Fork, HeldError, hold, key_on_record
from common.agents.recruiter import OutreachPlan
from common.approval.types import ApprovalPolicy, Authorization
from common.notices.types import Notice, NoticeEvent, Told

ROOT = Path(__file__).parents[2]
HELD = Fork(of="original", run_id="run", node="approval")
ACTING = HELD.model_copy(update={"effects": True})


@pytest.fixture
def environment() -> Iterator[ActivityEnvironment]:
    """An activity of the agent `mine`."""
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_id="mine", activity_type="act")
    environment.payload_converter = pydantic_data_converter.payload_converter
    yield environment
    CALLER.set(None)


def called_by(fork: Fork | None, what: Any, environment: ActivityEnvironment) -> Any:
    def act() -> Any:
        CALLER.set(fork)
        return what()

    return environment.run(act)


def test_any_other_agent_acts_whatever_the_key(environment: ActivityEnvironment) -> None:
    """A revived one goes on with what the one before it began."""
    assert called_by(None, lambda: hold(key="another:buy:1"), environment) is None
    assert called_by(None, lambda: key_on_record("mine:buy:1"), environment) == "mine:buy:1"


def test_a_held_fork_acts_not_at_all_and_looks_at_what_its_original_did(
    environment: ActivityEnvironment,
) -> None:
    """Also where the key is its original's already."""
    with pytest.raises(HeldError) as held:
        called_by(HELD, lambda: hold(("limit_price",), key="mine:buy:1"), environment)
    assert held.value.aside == ("limit_price",)
    keys = ("mine:buy:1", "original:buy:1", "mine")
    assert [called_by(HELD, lambda key=key: key_on_record(key), environment) for key in keys] == [
        "original:buy:1",
        "original:buy:1",
        "mine",
    ]


def test_a_fork_with_effects_acts_on_what_is_its_own(environment: ActivityEnvironment) -> None:
    """What its original began it leaves alone."""
    assert called_by(ACTING, lambda: hold(key="mine:buy:1"), environment) is None
    assert called_by(ACTING, hold, environment) is None
    assert called_by(ACTING, lambda: key_on_record("mine:buy:1"), environment) == "mine:buy:1"
    with pytest.raises(ApplicationError, match="begun by original") as refused:
        called_by(ACTING, lambda: hold(key="original:buy:1"), environment)
    assert (refused.value.type, refused.value.non_retryable) == ("NotItsOwn", True)


def test_the_refusal_says_how_to_fork_with_effects() -> None:
    """As a line for a shell, whatever the node is called."""
    odd = HELD.model_copy(update={"node": "look & see"})
    assert "`starter.py fork original --at 'look & see' --effects`" in odd.refusal


async def test_a_mark_that_cannot_be_read_lets_nothing_run(environment: ActivityEnvironment) -> None:
    """Not knowing is never a pass."""
    ran = list[str]()

    class Next(ActivityInboundInterceptor):
        def __init__(self) -> None: ...

        async def execute_activity(self, input: ExecuteActivityInput) -> str:
            ran.append(str(CALLER.get()))
            return "ran"

    wall = ForkFirewall(None).intercept_activity(Next())  # type: ignore[arg-type]

    async def execute(headers: dict[str, Payload]) -> Any:
        return await wall.execute_activity(ExecuteActivityInput(hold, [], None, headers))

    assert await environment.run(execute, {}) == "ran"
    broken = pydantic_data_converter.payload_converter.to_payload({"of": "original"})
    with pytest.raises(ValueError, match="run_id"):
        await environment.run(execute, {FORK: broken})
    assert ran == ["None"]


def test_a_request_is_like_one_that_asks_for_the_same_of_another_agent() -> None:
    """Whoever's the envelopes are; another recipient, another plan or another node is another request."""
    plan = OutreachPlan.model_construct(role="cook", leave_out=())  # type: ignore[call-arg]

    def request(key: str, candidate: str = "c1", **more: Any) -> SendOutreach:
        letter = Outgoing(candidate=candidate, kind=LetterKind.FIRST)
        envelope = Authorization(votes=(), policy=ApprovalPolicy(), requester="o", key=key)
        fields = {"plan": plan, "letters": (letter,), "chain": key, "authorization": envelope, **more}
        return SendOutreach.model_construct(**fields)

    def likeness(request: Any) -> str:
        return _request_digest(request, ("mine", "original"), ("chain",))

    wanted = likeness(request("mine:send:1"))
    assert likeness(request("original:send:1")) == wanted
    assert likeness(request("another:send:1")) != wanted
    assert likeness(request("original:again:1")) != wanted
    assert likeness(request("original:send:1", candidate="c2")) != wanted
    other = plan.model_copy(update={"leave_out": ("c2",)})
    assert likeness(request("original:send:1", plan=other)) != wanted
    assert likeness(CancelOrder(key="mine:buy:1")) == likeness(CancelOrder(key="original:buy:1"))
    assert likeness(CancelOrder(key="mine:buy:1")) != likeness(CancelOrder(key="original:buy:2"))


async def test_notices_of_a_fork_say_so(
    environment: ActivityEnvironment, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its end, too, which others tell without this activity where it goes to the terminal alone."""
    notice = Notice(id="1", agent="mine", kind="buyer", owner="o", event=NoticeEvent.DRIFT, text="it moved")

    async def notify(fork: Fork | None) -> Told | None:
        CALLER.set(fork)
        return await Notices().notify(notice)

    assert await environment.run(notify, None) is None
    told = await environment.run(notify, HELD)
    assert told is not None
    assert told.elsewhere
    assert capsys.readouterr().err.splitlines() == [
        "drift: mine: it moved",
        "drift: mine: [fork of original at approval, effects held] it moved",
    ]


def test_whatever_acts_asks_for_its_authorization_and_no_agent_writes_its_mark() -> None:
    """Each activity whose request brings an authorization has it checked, or only looks up by its key."""
    for file in sorted((ROOT / "activities").rglob("*.py")):
        source = file.read_text()
        if re.search(r"\.authorization\b", source):
            assert re.search(r"\.authorize\b", source), file
    code = [*sorted((ROOT / "workflows").rglob("*.py")), *sorted((ROOT / "activities").rglob("*.py"))]
    assert [file for file in code if "upsert_memo" in file.read_text()] == []
