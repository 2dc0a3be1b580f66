"""The operator's policy: no start, approval, edit or budget gets under it, whichever way it comes in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.auditor.fix.apply import FixApplier
from activities.auditor.fix.plan import FixPlanner
from activities.auditor.records import ApplyRequest
from activities.decisions import DecisionChecks, EnvelopeCheck
from activities.delivery.notices import Notices
from activities.llm.activities import ModelActivities
from activities.llm.ledger import Ledger
from activities.llm.records import Grant, Spending
from activities.llm.runner import ModelRunner
from activities.recruiting.letters import LetterBook, WrittenLetter
from activities.recruiting.records import LetterKind, Outgoing, SendOutreach, SendReply
from activities.recruiting.sending import LetterActivities
from activities.research.publishing import Publisher, PublishReport
from activities.trading.orders import Orders, PlaceOrder
from cli.doctor import _policy
from common.agents.auditor import AuditInput
from common.agents.budget import BudgetPlan
from common.agents.buyer import BuyerInput, BuyPlan, Quote, TimeInForce
from common.agents.kinds import KINDS
from common.agents.recruiter import OutreachPlan, RecruiterInput, ReplyPlan
from common.agents.researcher import PublishPlan, ResearcherInput
from common.approval.floors import ALONE, Floors, Policy, PolicyRefusedError, Rule
from common.approval.groups import Directory
from common.approval.signing import Authority, Signer
from common.approval.stakes import Stakes, stakes_of
from common.approval.types import ApprovalPolicy, ApprovalRequest, Authorization, Decision, Verdict, Vote
from common.artifacts import ArtifactRef, ArtifactStore
from common.client.errors import StartRefusedError
from common.digest import digest
from common.key_ring import KeyRing
from common.notices.types import Notice, NoticeEvent, Told
from common.object_store import FolderStore
from common.settings import Settings, SettingsError
from gateway.problems import problem_of
from tests.support.auditor.fix_world import World
from tests.support.floors import action, floors

SIGNER = Signer(KeyRing.of({"test": bytes(range(32))}))
NOW = datetime.now(UTC)
REF = ArtifactRef(sha256="0" * 64, size=1)
OUTSIDE: dict[str, Any] = {"requester": "never"}  # what holds outside `dev` where nothing is written


class Errand(BaseModel):
    """A plan with nothing at stake."""

    x: int = 1


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    file = tmp_path / "groups.json"
    file.write_text('{"treasury": ["ann", "bob", "cat"], "traders": ["tom"], "big": ["ann", "bea"]}')
    return file


def buy(quantity: int = 10, limit: int = 100) -> BuyPlan:
    return BuyPlan(
        symbol="AAA",
        quantity=Decimal(quantity),
        limit=Decimal(limit),
        quote=Quote(symbol="AAA", price=Decimal(10), at=NOW, source="test"),
        tolerance=Decimal("0.01"),
        time_in_force=TimeInForce.DAY,
        case="",
        documents="",
        model="offline",
    )


def reply(to: str) -> ReplyPlan:
    return ReplyPlan(candidate="c", to=to, wrote="?", subject="Re", text="Yes.", model="offline")


def report(target: str) -> PublishPlan:
    plain = {"topic": "t", "opening": "", "claims": 0, "sources": (), "unread": (), "model": "offline"}
    return PublishPlan(**plain, target=target, markdown=REF, html=REF)


def more(tokens: int, scope: str = "agent:a", limit: int | None = 100) -> BudgetPlan:
    return BudgetPlan(
        tokens=tokens,
        usd=Decimal(0),
        scope=scope,
        spent_tokens=100,
        spent_usd=Decimal(0),
        tokens_limit=limit,
        usd_limit=None,
    )


def approved(
    plan: BaseModel, *people: str, requester: str = "tom", agent: str = "a", **policy: Any
) -> Authorization:
    """What these people approved, all in order under a policy of the requester's own making."""
    lax = {
        "approvers": people or ("ann",),
        "requester_may_approve": True,
        "editable": ("quantity", "limit", "tokens"),
    }
    votes = tuple(
        Vote(
            decision=SIGNER.sign(
                Decision(id=who, request_id="r", digest=digest(plan), verdict=Verdict.APPROVE, by=who),
                agent,
                NOW,
            )
        )
        for who in people or ("ann",)
    )
    return Authorization(
        votes=votes,
        policy=ApprovalPolicy(**{**lax, **policy}),
        requester=requester,
        key=f"{agent}:node:{digest(plan)}",
    )


def authority(floors: Floors, groups: Path) -> Authority:
    return Authority(SIGNER, Directory(groups), floors, accept_unsigned=False)


# Rule, who approved it, the plan, and what is said; None where it is allowed.
ACTS: list[tuple[dict[str, Any], tuple[str, ...], BaseModel, str | None]] = [
    (OUTSIDE, ("tom",), Errand(), "tom is who the agent works for"),
    (OUTSIDE, ("ann",), Errand(), None),
    ({"requester": "allowed"}, ("tom",), Errand(), None),
    ({"quorum": 2}, ("ann",), Errand(), "1 of 2 approvals"),
    ({"quorum": 2, "requester": "allowed"}, ("ann", "tom"), Errand(), None),
    ({"quorum": 2}, ("ann", "tom"), Errand(), "tom is who the agent works for"),
    ({"approvers": ["@treasury"]}, ("eve",), Errand(), "eve is not among those"),
    ({"approvers": ["@treasury"]}, ("Ann",), Errand(), "Ann is not among those"),
    ({"approvers": ["@treasury"]}, ("bob",), Errand(), None),
    ({"approvers": ["@treasury"], "quorum": 2}, ("ann", "bob"), Errand(), None),
    ({"approvers": ["@treasury"], "quorum": 2}, ("ann", "eve"), Errand(), "eve is not among those"),
    ({"start": "never"}, ("ann",), Errand(), "lets tom start no"),
    ({"largest_order": 999}, ("ann",), buy(10, 100), "no order over 999, and this one is 1000"),
    ({"largest_order": 1000}, ("ann",), buy(10, 100), None),
    (OUTSIDE, ("ann",), buy(1, 1), "no order over 0"),
    ({"largest_order": "any"}, ("ann",), buy(10**6, 10**6), None),
    ({"recipients": ["example.com"]}, ("ann",), reply("c@gmail.test"), "nothing be sent to gmail.test"),
    ({"recipients": ["example.com"]}, ("ann",), reply("c@example.com.evil.test"), "example.com.evil.test"),
    ({"recipients": ["example.com"]}, ("ann",), reply("c@EXAMPLE.com"), None),
    (OUTSIDE, ("ann",), reply("c@example.com"), "recipients: nowhere"),
    (OUTSIDE, ("ann",), report("https://evil.test/up"), "nothing be sent to evil.test"),
    (OUTSIDE, ("ann",), report("/srv/reports"), None),
    ({"recipients": ["wiki.test"]}, ("ann",), report("https://wiki.test:8443/x/"), None),
    ({"recipients": ["wiki.test"]}, ("ann",), report("https://wiki.test@evil.test/"), "evil.test"),
    ({"recipients": ["wiki.test"]}, ("ann",), report("https://[::1"), "nothing be sent to https://[::1"),
    ({"agent_tokens": 150}, ("ann",), more(100), "no budget over 150"),
    ({"agent_tokens": 200}, ("ann",), more(100), None),
    ({"owner_tokens": 150}, ("ann",), more(100, "owner:tom:2026-01-01"), "no budget over 150"),
    ({"agent_tokens": 150}, ("ann",), more(100, "owner:tom:2026-01-01"), None),
]


@pytest.mark.parametrize(("rule", "people", "plan", "told"), ACTS)
def test_what_is_under_a_floor_is_refused_where_it_is_acted_on(
    rule: dict[str, Any], people: tuple[str, ...], plan: BaseModel, told: str | None, groups: Path
) -> None:
    """Whatever policy the agent itself was started with: one that suits its requester authorizes nothing."""
    keeper = authority(floors(rule, groups=groups), groups)
    given = approved(plan, *people)
    if told is None:
        assert keeper.authorize(given, plan, action("a")) is given
        return
    with pytest.raises(ApplicationError) as refused:
        keeper.authorize(given, plan, action("a"))
    assert (refused.value.type, refused.value.non_retryable) == ("PolicyRefused", True)
    assert told in refused.value.message


async def _order(keeper: Authority, folder: Path) -> None:
    plan = buy()
    orders = Orders(None, keeper)  # type: ignore[arg-type]
    request = PlaceOrder(plan=plan, limit_price=plan.limit, authorization=approved(plan, "tom"))
    await environment("buyer").run(orders.place_order, request)


async def _apply(keeper: Authority, folder: Path) -> None:
    world = World(folder)
    plan = world.planned({"a.py": (b"import os\n", b"\n")})
    request = ApplyRequest(plan=plan, authorization=approved(plan, "tom"))
    environment("code-auditor").run(
        FixApplier(world.store, keeper, FolderStore(folder / "journals")).apply_fixes, request
    )


async def _publish(keeper: Authority, folder: Path) -> None:
    plan = report(str(folder))
    publisher = Publisher(ArtifactStore(FolderStore(folder)), keeper, None, None, folder)  # type: ignore[arg-type]
    request = PublishReport(plan=plan, authorization=approved(plan, "tom"))
    await environment("link-researcher").run(publisher.publish_report, request)


async def _answer(keeper: Authority, folder: Path) -> None:
    plan = reply("c@example.com")
    letters = LetterActivities(ArtifactStore(FolderStore(folder)), keeper, None)  # type: ignore[arg-type]
    request = SendReply(plan=plan, chain="c", authorization=approved(plan, "tom"))
    await environment("recruiter").run(letters.send_reply, request)


async def _grant(keeper: Authority, folder: Path) -> None:
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder)})
    runner = ModelRunner(settings, ArtifactStore(FolderStore(folder)))
    plan = more(100)
    request = Grant(plan=plan, authorization=approved(plan, "tom"))
    environment("buyer").run(ModelActivities(runner, keeper).grant_budget, request)


def environment(kind: str) -> ActivityEnvironment:
    found = ActivityEnvironment()
    found.info = action("a", kind)
    return found


@pytest.mark.parametrize("act", [_order, _apply, _publish, _answer, _grant])
async def test_every_destructive_activity_asks_the_policy_before_anything_else(
    act: Callable[[Authority, Path], Any], tmp_path: Path, groups: Path
) -> None:
    """A forged start can choose its approvers; broker, tree, target, outbox and ledger stay alone."""
    with pytest.raises(ApplicationError) as refused:
        await act(authority(floors(OUTSIDE), groups), tmp_path)
    assert refused.value.type == "PolicyRefused"


async def test_each_letter_is_judged_by_where_it_really_goes(tmp_path: Path, groups: Path) -> None:
    """A plan names its first fifty recipients only; the letters themselves lie in a file."""
    written = WrittenLetter(to="c@gmail.test", name="C", subject="s", first="f", follow_up="u")
    book = LetterBook(
        sender="s", title="t", answer_within=timedelta(days=1), letters={"c": written}, slots=()
    )
    store = ArtifactStore(FolderStore(tmp_path))
    plan = OutreachPlan(
        role="t",
        count=1,
        letters=store.put(book.model_dump_json().encode()),
        sample=(),
        recipients=(),
        slots=0,
        proposal="",
        answer_within=timedelta(days=1),
        model="offline",
    )
    letters = LetterActivities(
        store,
        authority(floors({"recipients": ["example.com"]}), groups),
        None,  # type: ignore[arg-type]
    )
    first = (Outgoing(candidate="c", kind=LetterKind.FIRST),)
    request = SendOutreach(plan=plan, letters=first, chain="c", authorization=approved(plan, "ann"))
    with pytest.raises(ApplicationError, match="nothing be sent to gmail") as refused:
        await environment("recruiter").run(letters.send_outreach, request)
    assert refused.value.type == "PolicyRefused"


def test_an_agent_that_works_for_nobody_cannot_have_its_requester_kept_out(groups: Path) -> None:
    """Our entry points always say for whom; where requesters may approve, it makes no difference."""
    plan, nobody = Errand(), approved(Errand(), "ann", requester="")
    with pytest.raises(ApplicationError, match="asks for whom the agent works") as refused:
        authority(floors(OUTSIDE), groups).authorize(nobody, plan, action("a"))
    assert refused.value.type == "PolicyRefused"
    assert authority(floors(), groups).authorize(nobody, plan, action("a")) is nobody


def test_the_first_rule_that_fits_kind_and_owner_counts(groups: Path) -> None:
    """Names are compared exactly; nobody in particular is in no group."""
    found = floors(
        {"kind": "buyer", "owners": ["@traders"], "largest_order": 1},
        {"kind": "buyer", "owners": ["zoe"], "largest_order": 2},
        {"kind": "buyer", "largest_order": 3},
        groups=groups,
    )
    for owner, largest in (("tom", 1), ("Tom", 3), ("zoe", 2), ("", 3), ("@traders", 3)):
        assert found.rule("buyer", owner).largest_order == largest
    assert found.rule("recruiter", "tom").largest_order == 0


@pytest.mark.parametrize(
    ("rule", "own", "raised"),
    [
        ({"requester": "allowed"}, {"approvers": ("tom",)}, {}),
        ({"quorum": 2}, {"approvers": ("ann", "bob")}, {"quorum": 2}),
        ({"quorum": 2}, {"approvers": ("ann", "bob", "cat"), "quorum": 3}, {}),
        ({"approvers": ["@treasury"]}, {"approvers": ("eve",)}, {"approvers": ("@treasury",)}),
        # The requester may choose among them, as long as enough are left.
        ({"approvers": ["@treasury"]}, {"approvers": ("ann",)}, {}),
        (
            {"approvers": ["@treasury"], "quorum": 2},
            {"approvers": ("ann", "eve")},
            {"approvers": ("@treasury",), "quorum": 2},
        ),
        (
            {"approvers": ["@treasury"]},
            {"approvers": ("ann",), "escalate_to": ("eve",)},
            {"escalate_to": ("@treasury",)},
        ),
        # Too few: nobody decides, and `too_few_approvers` says why.
        ({"quorum": 2}, {"approvers": ("ann",)}, {"approvers": (), "quorum": 2}),
        (
            {"approvers": ["ann", "bob"]},
            {"approvers": ("ann", "eve", "kim"), "quorum": 3},
            {"approvers": ()},
        ),
        ({"quorum": 2}, {"approvers": ("ann",), "escalate_to": ("bob",)}, {"quorum": 2}),
        # Whom the agent works for is no second approver.
        (
            {"approvers": ["ann", "tom"], "requester": "never"},
            {"approvers": ("tom",)},
            {"approvers": ("ann", "tom")},
        ),
    ],
)
def test_what_an_agent_asks_for_is_raised_to_the_floor_and_never_lowered(
    rule: dict[str, Any], own: dict[str, Any], raised: dict[str, Any], groups: Path
) -> None:
    """So the right people are asked at once, and raising it twice changes nothing."""
    found = floors({"requester": "allowed", **rule}, groups=groups)
    alone = rule.get("requester") != "never"
    policy = ApprovalPolicy(**own, requester_may_approve=True)
    after = found.raised(policy, "buyer", "tom")
    assert after == policy.model_copy(update={**raised, "requester_may_approve": alone})
    assert found.raised(after, "buyer", "tom") == after
    assert ApprovalPolicy.model_validate_json(after.model_dump_json()) == after, "an agent can read it"


async def test_a_decision_is_judged_by_the_policy_of_that_moment(groups: Path) -> None:
    """An edit over a limit is refused with the reason, and a no always counts."""
    keeper = authority(floors({"approvers": ["@treasury"], "largest_order": 500}, groups=groups), groups)
    checks = DecisionChecks(keeper)

    async def check(stakes: Stakes, verdict: Verdict = Verdict.APPROVE) -> Any:
        said = Decision(id="1", request_id="r", digest="d", verdict=verdict, by="ann", edits={})
        asked = EnvelopeCheck(
            agent="a",
            decision=SIGNER.sign(said, "a", NOW),
            requester="tom",
            policy=ApprovalPolicy(approvers=("tom",), requester_may_approve=True),
            stakes=stakes,
        )
        return await environment("buyer").run(checks.check_envelope, asked)

    found = await check(stakes_of(buy(1, 1)))
    assert (found.flaw, found.policy.approvers) == (None, ("@treasury",))
    assert not found.policy.requester_may_approve
    assert "no order over 500" in (await check(stakes_of(buy(10, 100)))).flaw
    assert (await check(stakes_of(buy(10, 100)), Verdict.REJECT)).flaw is None


async def test_a_question_goes_to_those_who_may_decide_it_under_the_policy(groups: Path) -> None:
    """What people read says who may decide, and the agent hears it, or why nobody can."""
    request = ApprovalRequest(
        id="r",
        question="Buy?",
        plan={},
        digest="d",
        policy=ApprovalPolicy(approvers=("tom",), requester_may_approve=True),
        requester="tom",
        asked_at=NOW,
    )
    fields = {"id": "1", "agent": "a", "kind": "buyer", "owner": "tom", "event": NoticeEvent.ASKED}
    notice = Notice(**fields, text=request.told("asked"), request=request)

    async def ask(*rules: dict[str, Any]) -> Any:
        given = floors(*rules, groups=groups)
        return await environment("buyer").run(Notices(floors=given).notify, notice)

    assert await ask() == Told(elsewhere=False).tells_of(request, "tom")
    assert (await ask()).request("tom") == request.model_copy(update={"origin": "d"})
    told = await ask({"approvers": ["@treasury"], "quorum": 2})
    asked = request.under(told.policy)
    assert asked.floor == "the operator's policy asks for 2 approvals of: @treasury, but never tom"
    assert (told.elsewhere, told.gap) == (False, "")
    assert "may decide: @treasury" in asked.told("asked")
    assert asked.under(None) == request
    notice = notice.model_copy(update={"stakes": Stakes(order=Decimal(7))})
    told = await ask({"requester": "allowed", "largest_order": 5})
    assert (told.policy, told.elsewhere) == (None, False)
    assert "allows no order over 5" in request.warned(told.gap).warned(told.gap).evidence[0]
    notice = notice.model_copy(update={"stakes": Stakes()})
    told = await ask(OUTSIDE)
    assert "asks for an approval by others than tom, and too few of those named may" in told.gap


PEOPLE = [{"id": "c", "name": "C", "email": "c@gmail.test"}]
# Kind, input, rule, and what whoever starts it reads; None where it starts.
STARTS: list[tuple[str, dict[str, Any], dict[str, Any], str | None]] = [
    ("buyer", {}, {"start": "never"}, "lets tom start no buyer"),
    ("buyer", {}, {"largest_order": 999}, "no order over 999"),
    ("buyer", {}, {"largest_order": 1000}, "an approval by others than tom, and too few"),
    ("buyer", {"approvers": ["ann"]}, {"largest_order": 1000}, None),
    ("buyer", {"approvers": ["tom"]}, {"largest_order": "any"}, "others than tom"),
    ("buyer", {"approvers": ["ann"]}, {"largest_order": "any", "quorum": 2}, "asks for 2 approvals"),
    ("buyer", {}, {"largest_order": "any", "quorum": 2, "approvers": ["@treasury"]}, None),
    ("buyer", {"approvers": ["ann"], "budget_tokens": 3_000_000}, {"largest_order": "any"}, "budget_tokens"),
    ("buyer", {"approvers": ["ann"], "budget_tokens": 2_000_000}, {"largest_order": "any"}, None),
    (
        "buyer",
        {"budget_tokens": 3_000_000},
        {"largest_order": "any", "requester": "allowed"},
        None,
    ),
    (
        "buyer",
        {"budget_usd": 50},
        {"largest_order": "any", "requester": "allowed", "agent_usd": 20},
        "no budget over 20",
    ),
    ("recruiter", {"approvers": ["ann"]}, {"recipients": ["example.com"]}, "sent to gmail.test"),
    ("recruiter", {"approvers": ["ann"]}, {"recipients": ["gmail.test"]}, None),
    ("link-researcher", {"approvers": ["ann"], "publish": "https://evil.test/"}, {}, "sent to evil.test"),
    ("link-researcher", {"approvers": ["ann"]}, {}, None),
    ("code-auditor", {}, {}, None),
    ("code-auditor", {"apply": True}, {}, "others than tom"),
    ("code-auditor", {"apply": True, "approvers": ["ann"], "verify": "make"}, {}, "runs_project_code"),
    ("code-auditor", {"apply": True, "approvers": ["ann"]}, {}, None),
]
PLAIN: dict[str, dict[str, Any]] = {
    "buyer": {"symbol": "AAA", "quantity": 10, "limit": 100},
    "recruiter": {"role": {"title": "Keeper"}, "candidates": PEOPLE},
    "link-researcher": {"topic": "tides"},
    "code-auditor": {"path": "/x"},
}


@pytest.mark.parametrize(("kind", "input", "rule", "told"), STARTS)
def test_a_start_that_could_only_be_refused_later_is_refused_in_a_line(
    kind: str, input: dict[str, Any], rule: dict[str, Any], told: str | None, groups: Path
) -> None:
    """It says what to do; over HTTP it is a 403."""
    given = KINDS[kind].input.model_validate({**PLAIN[kind], **input})
    assert isinstance(given, BuyerInput | RecruiterInput | ResearcherInput | AuditInput)
    found = floors({"kind": kind, **rule}, groups=groups, budgets=Settings.read({}).language_models)
    if told is None:
        found.check_start(kind, "tom", given)
        return
    with pytest.raises(PolicyRefusedError) as refused:
        found.check_start(kind, "tom", given)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    problem = problem_of(StartRefusedError(str(refused.value)))
    assert (problem.status_code, problem.detail) == (403, str(refused.value))


def test_a_budget_of_ones_own_making_binds_only_below_the_settings(groups: Path) -> None:
    """Also where the start went past our entry points: what an agent may spend is capped when it thinks."""
    budgets = Settings.read({"HIBERNAUT_AGENT_USD": "5"}).language_models
    for rule, most in (
        (OUTSIDE, (2_000_000, Decimal(5))),
        ({"requester": "allowed"}, (None, None)),
        ({"requester": "allowed", "agent_tokens": 9}, (9, None)),
        ({"agent_tokens": 9, "agent_usd": 7}, (9, Decimal(5))),
    ):
        assert floors(rule, budgets=budgets).own_budget("buyer", "tom") == most


def test_raises_of_a_shared_budget_come_to_no_more_than_the_policy_allows(tmp_path: Path) -> None:
    """Many agents of one owner ask for the same day at once; a retry of one raise counts once."""
    ledger, scope, most = Ledger(tmp_path / "ledger"), "owner:tom:2026-01-01", (150, None)
    assert ledger.grant("one", scope, 100, Decimal(0), most)
    assert ledger.grant("one", scope, 100, Decimal(0), most)
    assert not ledger.grant("two", scope, 100, Decimal(0), most)
    assert ledger.grant("three", scope, 50, Decimal(0), most)
    spent = Spending(scope=scope, tokens=9, usd=Decimal(0), tokens_limit=100, usd_limit=None, most_tokens=130)
    assert spent.plan_to_double().tokens == 30


def test_without_a_file_careful_defaults_hold_and_a_broken_one_lets_nothing_through(tmp_path: Path) -> None:
    """It is watched; what cannot be read is named with what it should look like, and `doctor` says so."""
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    keeper = Authority(SIGNER, Directory(tmp_path / "none"), Floors.load(settings), accept_unsigned=False)
    plan, file = Errand(), tmp_path / "policy.json"
    assert keeper.authorize(approved(plan, "ann"), plan, action("a"))
    with pytest.raises(ApplicationError, match="tom is who the agent works for"):
        keeper.authorize(approved(plan, "tom"), plan, action("a"))
    assert "nobody approves their own plans" in _policy(settings).text
    broken = (
        "{",
        "[]",
        '{"rules": [{"quorom": 2}]}',
        '{"rules": [{"quorum": 0}]}',
        '{"rules": [{"quorum": 2, "approvers": ["ann", "ann"]}]}',
        '{"rules": [{"quorum": "1_0"}]}',
        '{"rules": [{"kind": "byer"}]}',
        '{"rules": [{"approvers": ["@"]}]}',
        '{"rules": [{"largest_order": "NaN"}]}',
        '{"rules": [{"recipients": ["*"]}]}',
        '{"rules": [{"requester": "sometimes"}]}',
    )
    for number, text in enumerate(broken):
        file.write_text(text)
        os.utime(file, ns=(number, number))
        with pytest.raises(SettingsError, match="is not a JSON object"):
            keeper.authorize(approved(plan, "ann"), plan, action("a"))
    with pytest.raises(SettingsError):
        Authority.load(settings)
    assert (_policy(settings).health, "\n" in _policy(settings).text) == ("mend", False)
    file.write_text('{"rules": [{"requester": "allowed", "approvers": ["@nosuch"]}]}')
    assert "nobody is in @nosuch" in _policy(settings).text
    file.write_text('{"rules": [{"requester": "allowed"}]}')
    os.utime(file, ns=(99, 99))
    assert keeper.authorize(approved(plan, "tom"), plan, action("a"))


def test_a_named_policy_that_is_gone_is_no_policy_to_go_by(tmp_path: Path) -> None:
    """Its floors may have been stricter than the defaults."""
    file = tmp_path / "floors.json"
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path), "HIBERNAUT_POLICY": str(file)})
    with pytest.raises(SettingsError, match="there is no such file"):
        Floors.load(settings)
    file.write_text("{}")
    found = Floors.load(settings)
    found.check()
    file.unlink()
    with pytest.raises(SettingsError, match="there is no such file"):
        found.check()


@pytest.mark.parametrize("verify", ["", "touch {mark}"])
def test_code_of_a_project_is_not_run_where_the_policy_forbids_it(tmp_path: Path, verify: str) -> None:
    """Neither by importing nor by `verify`, however it was started; the plan says so, and keeps imports."""
    world, mark = World(tmp_path), tmp_path / "mark"
    world.write("a.py", f"import os\nimport sys\nx = f'abc'\nopen({str(mark)!r}, 'w')\n".encode())
    for rule, runs in ((OUTSIDE, False), ({"runs_project_code": "allowed"}, True)):
        plan = world.plan(planner=FixPlanner(world.store, floors(rule)), verify=verify.format(mark=mark))
        assert mark.exists() == runs
        said = " ".join(plan.proof)
        assert ("The operator's policy forbids running the project's code" in said) == (not runs)
        if not runs:
            assert all("F401" not in fix.rules for fix in world.listing(plan).values())
            assert plan.files == 1


def test_the_policies_of_the_page_are_policies() -> None:
    """The last is what `dev` writes."""
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    written = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(written) == 2
    assert [len(Policy.model_validate_json(each).rules) for each in written] == [5, 1]
    assert written[-1] == ALONE
    rows = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))))
    assert rows == set(Rule.model_fields)


def test_a_rule_is_read_back_as_it_was_written() -> None:
    """Limits of money are no floats."""
    rule = floors({"largest_order": "0.1", "agent_usd": 3}).rule("buyer", "tom")
    assert (rule.largest_order, rule.agent_usd) == (Decimal("0.1"), 3)
    with pytest.raises(ValidationError):
        floors({"largest_order": -1})
    assert json.loads(rule.model_dump_json())["requester"] == "never"
