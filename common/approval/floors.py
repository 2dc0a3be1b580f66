"""The operator's policy: minimums that no requester, approver or signal can lower. Its file may change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, Field, JsonValue, model_validator

from common.agents.agent import AgentInput
from common.agents.asking import AskingInput
from common.agents.fields import Amount
from common.agents.kinds import check_kind
from common.approval.groups import Directory
from common.approval.stakes import Stakes
from common.approval.types import GROUP, ApprovalPolicy, ApprovalRequest, too_few
from common.error_message import ErrorMessage
from common.files import write_atomically
from common.grammar import PLAIN_NUMBER
from common.names import check_approver
from common.settings import Settings, SettingsError
from common.settings.models import ModelSettings
from common.watched_file import WatchedFile, file_of

EXAMPLE = (
    'a JSON object such as {"rules": [{"kind": "buyer", "approvers": ["@treasury"], "quorum": 2, '
    '"largest_order": 5000}]}'
)
# How refusals end, wherever they are read.
WHERE = "the policy file (HIBERNAUT_POLICY, docs/policy.md)"
UNREADABLE = "the operator's policy cannot be read: no decision counts until it is fixed"


Number = TypeVar("Number", int, Decimal)
Allowed = Literal["allowed", "never"]
Name = Annotated[str, AfterValidator(check_approver)]
Domain = Annotated[
    str,
    Field(max_length=253, pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$"),
    ErrorMessage("must be a domain such as example.com, in small letters"),
]
Tokens = Annotated[int, Field(gt=0, le=10**15), PLAIN_NUMBER]


class Rule(BaseModel, frozen=True, extra="forbid"):
    """The floors for agents of a kind and of some owners. What is left out has a safe default.

    Attributes:
        kind: the agents' kind; if not given, every kind.
        owners: people and `@groups` that the agents work for; if not given, everybody.
        start: whether they may start such agents.
        approvers: people and `@groups`; if given, nobody else may decide.
        quorum: how many different people have to approve at least.
        requester: whether the person the agent works for may approve, too.
        recipients: domains that mail and reports may go to, or `any`.
        largest_order: quantity times limit, in the currency of the quotes, or `any`.
        agent_tokens, agent_usd: the most that an agent's budget may ever reach; if not given, no limit.
        owner_tokens, owner_usd: likewise, for all agents of an owner in a day.
        runs_project_code: whether the auditor may run an audited project's code to prove its fixes.
    """

    kind: Annotated[str, AfterValidator(check_kind)] | None = None
    owners: frozenset[Name] | None = None
    start: Allowed = "allowed"
    approvers: tuple[Name, ...] = ()
    quorum: Annotated[int, Field(ge=1, le=20), PLAIN_NUMBER] = 1
    requester: Allowed = "never"
    recipients: frozenset[Domain] | Literal["any"] = frozenset()
    largest_order: Amount | Literal["any"] = Decimal(0)
    agent_tokens: Tokens | None = None
    agent_usd: Amount | None = None
    owner_tokens: Tokens | None = None
    owner_usd: Amount | None = None
    runs_project_code: Allowed = "never"

    @model_validator(mode="after")
    def _can_be_fulfilled(self) -> Self:
        if self.approvers and (few := too_few(self.approvers, self.quorum)):
            raise ValueError(few)
        return self

    @property
    def shown(self) -> dict[str, JsonValue]:
        """What the rule asks for, as JSON."""
        shown = self.model_dump(mode="json", exclude={"kind", "owners"})
        return shown | {"recipients": "any" if self.recipients == "any" else sorted(self.recipients)}

    @property
    def in_words(self) -> str:
        """What the rule asks for, in one line."""
        if self.start == "never":
            return "may not be started"
        alone = (
            "the owner may approve" if self.requester == "allowed" else "people other than the owner approve"
        )
        who = f" ({', '.join(self.approvers)})" if self.approvers else ""
        count = f", {self.quorum} at least" if self.quorum > 1 else ""
        sends = "anybody" if self.recipients == "any" else ", ".join(sorted(self.recipients)) or "nobody"
        most = self.largest_order
        orders = (
            "orders without a limit" if most == "any" else f"orders up to {most:f}" if most else "no order"
        )
        limits = [
            f"{what.replace('_', ' ')} up to {value:f}"
            for what in ("agent_tokens", "agent_usd", "owner_tokens", "owner_usd")
            if (value := getattr(self, what)) is not None
        ]
        code = "may run" if self.runs_project_code == "allowed" else "may not run"
        return "; ".join(
            [
                f"{alone}{who}{count}",
                f"may send to {sends}",
                f"may place {orders}",
                *limits,
                f"{code} project code",
            ]
        )


class Policy(BaseModel, frozen=True, extra="forbid"):
    """The content of the policy file. The first rule that matches counts; if none does, the defaults do."""

    rules: tuple[Rule, ...] = ()


# What `dev` writes if there is no policy, so that people can see and change it.
ALONE = (
    '{"rules": [{"requester": "allowed", "recipients": "any", "largest_order": "any", '
    '"runs_project_code": "allowed"}]}\n'
)


class PolicyRefusedError(Exception):
    """The operator's policy does not allow it; the message is one line that says what to do."""


class Floors:
    """The floors that hold now, for each kind and owner.

    Args:
        policy: returns what the file says now.
        directory: who is in which group.
        budgets: what an agent may spend without anybody's approval.
        changed_at: returns when the file was last written; None if there is none.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        directory: Directory,
        budgets: ModelSettings | None = None,
        changed_at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._policy, self._directory, self._budgets = policy, directory, budgets
        self.changed_at = changed_at

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """The floors of ``HIBERNAUT_POLICY``, else of ``policy.json`` in the data folder.

        Raises:
            SettingsError: the named file is missing.
        """
        file = file_of("HIBERNAUT_POLICY", settings.policy, policy_file(settings))
        # If the named file disappears, its floors are unknown: nothing may be done until it is back.
        watched = WatchedFile(
            "HIBERNAUT_POLICY",
            file,
            Policy.model_validate_json,
            Policy(),
            EXAMPLE,
            required=bool(settings.policy),
        )
        directory = Directory.load(settings)
        return cls(watched.content, directory, settings.language_models, lambda: watched.changed_at)

    def check(self) -> Policy:
        """The current policy.

        Raises:
            SettingsError: the file cannot be read; nothing destructive may be done meanwhile.
        """
        return self._policy()

    def rule(self, kind: str, owner: str) -> Rule:
        """The rule for agents of this kind that work for ``owner``; raises as ``check`` does."""
        names = {owner, *(GROUP + group for group in self._directory.groups_of(owner))}
        if owner.startswith(GROUP):  # no person has such a name, whatever a start says
            names = set()
        for rule in self.check().rules:
            if rule.kind in (None, kind) and (rule.owners is None or rule.owners & names):
                return rule
        return Rule()

    def raised(self, policy: ApprovalPolicy, kind: str, owner: str) -> ApprovalPolicy:
        """``policy`` with everything that is below the floor raised to it; raises as ``check`` does."""
        rule = self.rule(kind, owner)
        alone = policy.requester_may_approve and rule.requester == "allowed"
        quorum = max(policy.quorum, rule.quorum)
        approvers, escalate_to = policy.approvers, policy.escalate_to
        if rule.approvers:
            # The requester may choose among the operator's approvers, as long as enough are left.
            approvers, escalate_to = self._among(rule, approvers), self._among(rule, escalate_to)
            if len(self._people(approvers, "" if alone else owner)) < quorum:
                approvers = rule.approvers
            if policy.escalate_to and not escalate_to:
                escalate_to = rule.approvers
        if too_few((*approvers, *escalate_to), quorum):
            approvers = ()  # nobody decides until more are named: `too_few_approvers` says so
        return policy.model_copy(
            update={
                "approvers": approvers,
                "escalate_to": escalate_to,
                "quorum": quorum,
                "requester_may_approve": alone,
            }
        )

    def as_judged_now(self, request: ApprovalRequest, kind: str) -> ApprovalRequest:
        """An open request of such an agent, as a decision made now would be judged."""
        owner, own = request.requester, request.own_policy or request.policy
        try:
            policy = self.raised(own, kind, owner)
            gap = self.too_few_approvers(policy, kind, owner) or ""
        except SettingsError:
            return request.warned(UNREADABLE)
        outdated = (UNREADABLE, _too_few_in_words(request.policy, kind, owner))
        evidence = tuple(line for line in request.evidence if line not in outdated)
        return request.model_copy(update={"evidence": evidence}).under(policy).warned(gap)

    def too_few_approvers(self, policy: ApprovalPolicy, kind: str, owner: str) -> str | None:
        """Why nobody could ever approve under ``policy``, and what to do; None if enough people can."""
        barred = "" if policy.requester_may_approve else owner
        enough = len(self._people((*policy.approvers, *policy.escalate_to), barred)) >= policy.quorum
        return None if enough else _too_few_in_words(policy, kind, owner)

    def flaw(self, stakes: Stakes, kind: str, owner: str) -> str | None:
        """What in ``stakes`` the policy does not allow such an agent, in words; None if nothing."""
        rule = self.rule(kind, owner)
        if rule.start == "never":
            return f"the operator's policy lets {owner or 'nobody'} start no {kind}"
        if rule.requester == "never" and not owner:
            return "the operator's policy asks for whom the agent works, and its start does not say"
        flaw = self._flaw(stakes, rule)
        return flaw and f"the operator's policy {flaw}; see {WHERE}"

    def check_start(self, kind: str, owner: str, input: AgentInput) -> None:
        """Refuse at the start what would be refused later.

        Raises:
            PolicyRefusedError: ``owner`` may not start such an agent.
            SettingsError: as ``check``.
        """
        flaw = self.flaw(input.stakes, kind, owner) or self._flaw_in_budget(input.stakes, kind, owner)
        if flaw is None and isinstance(input, AskingInput) and input.asks:
            flaw = self.too_few_approvers(self.raised(input.policy(owner), kind, owner), kind, owner)
        if flaw:
            raise PolicyRefusedError(f"{flaw}.")

    def own_budget(self, kind: str, owner: str) -> tuple[int | None, Decimal | None]:
        """The most tokens and dollars that an agent may spend before anybody approves more.

        An owner who may not approve alone cannot give more at the start than the settings do, either.
        """
        rule = self.rule(kind, owner)
        own = self._budgets if rule.requester == "never" else None
        return (
            least(rule.agent_tokens, own.agent_tokens if own else None),
            least(rule.agent_usd, own.agent_usd if own else None),
        )

    def _flaw_in_budget(self, stakes: Stakes, kind: str, owner: str) -> str | None:
        tokens, usd = self.own_budget(kind, owner)
        for name, value, limit in (
            ("budget_tokens", stakes.agent_tokens, tokens),
            ("budget_usd", stakes.agent_usd, usd),
        ):
            if limit is not None and value > limit:
                return (
                    f"{name}: {value} is over {limit}, and the operator's policy does not let {owner} "
                    f"raise budgets alone; leave it out, and the agent asks once that is spent"
                )
        return None

    @staticmethod
    def _flaw(stakes: Stakes, rule: Rule) -> str | None:
        if rule.largest_order != "any" and stakes.order > rule.largest_order:
            return f"allows no order over {rule.largest_order}, and this one is {stakes.order:f}"
        for what in ("agent_tokens", "agent_usd", "owner_tokens", "owner_usd"):
            value, limit = getattr(stakes, what), getattr(rule, what)
            if limit is not None and value > limit:
                return f"allows no budget over {limit} ({what}), and this would make it {value}"
        if stakes.runs_project_code and rule.runs_project_code == "never":
            return "does not let the project's code be run (runs_project_code)"
        if rule.recipients != "any":
            foreign = sorted({_domain(each) for each in stakes.recipients} - rule.recipients)
            if foreign:
                allowed = ", ".join(sorted(rule.recipients)) or "nowhere"
                named = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if foreign[3:] else "")
                return f"lets nothing be sent to {named} (recipients: {allowed})"
        return None

    def _people(self, named: Sequence[str], barred: str) -> list[str]:
        return [who for who in self._directory.people(named) if who and who != barred]

    def _among(self, rule: Rule, named: Iterable[str]) -> tuple[str, ...]:
        people = set(self._directory.people(rule.approvers))
        return tuple(each for each in named if each in rule.approvers or each in people)


def policy_file(settings: Settings) -> Path:
    """The policy file, if no setting names another."""
    return settings.data_dir / "policy.json"


def write_alone(settings: Settings) -> None:
    """Write the policy for one person at one machine, if there is none."""
    if not settings.policy and not policy_file(settings).exists():
        write_atomically(policy_file(settings), ALONE.encode())


def least(one: Number | None, other: Number | None) -> Number | None:
    """The smaller of two limits; None is no limit."""
    return other if one is None else one if other is None else min(one, other)


def _domain(recipient: str) -> str:
    return recipient.rpartition("@")[2].lower()


def _too_few_in_words(policy: ApprovalPolicy, kind: str, owner: str) -> str:
    needed = "an approval" if policy.quorum == 1 else f"{policy.quorum} approvals"
    others = f" by others than {owner}" if owner and not policy.requester_may_approve else ""
    return (
        f"the operator's policy asks for {needed}{others}, and too few of those named may give one: name "
        f"more in `approvers`, or have `approvers` or `requester` of {kind} set in {WHERE}"
    )
