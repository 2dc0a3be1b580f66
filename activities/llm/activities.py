"""The activities of language models: think, and raise a budget."""

from __future__ import annotations

from decimal import Decimal

from temporalio import activity

from activities.llm.records import Budget, Grant, Granted, Spending, Think, Thought
from activities.llm.runner import Caller, ModelRunner
from common.approval.floors import least
from common.approval.signing import POLICY_REFUSED, Authority
from common.errors import permanent


class ModelActivities:
    """Thinks for agents, and raises budgets on a human's approval."""

    def __init__(self, runner: ModelRunner, authority: Authority) -> None:
        self._runner = runner
        self._authority = authority

    @activity.defn(name="think")
    def think(self, think: Think) -> Thought:
        """One request to a language model; see `ModelRunner.think` for what it raises.

        Raises:
            ApplicationError: also `BudgetRefused`: a budget is spent that the operator's policy lets nobody
                raise.
        """
        kind = activity.info().workflow_type or ""
        tokens, usd = self._authority.floors.own_budget(kind, think.owner)
        # Whatever the agent was started with: that came from the one it binds.
        budget = Budget(tokens=least(think.budget.tokens, tokens), usd=least(think.budget.usd, usd))
        thought = self._runner.think(think.model_copy(update={"budget": budget}), caller())
        if thought.stopped is None:
            return thought
        return Thought(stopped=self._bounded(thought.stopped, kind, think.owner))

    @activity.defn(name="grant_budget")
    def grant_budget(self, grant: Grant) -> Granted:
        """Raise a budget, once per approval.

        Raises:
            ApplicationError: type `NotAuthorized` or `PolicyRefused`; nothing was raised.
        """
        plan = grant.plan
        authorization = self._authority.authorize(grant.authorization, plan, activity.info())
        key = authorization.key
        most = self._most_for_owners(authorization.requester) if _whose(plan.scope) == "owner" else None
        if not self._runner.ledger.grant(key, plan.scope, plan.tokens, plan.usd, most or (None, None)):
            raise permanent(
                POLICY_REFUSED, f"the operator's policy allows {plan.scope} no more: others were granted some"
            )
        return Granted(key=key, tokens=plan.tokens, usd=plan.usd)

    def _most_for_owners(self, owner: str) -> tuple[int | None, Decimal | None]:
        """What may be granted on top of an owner's budget of a day, in all: many agents ask for that one."""
        rule, limits = (
            self._authority.floors.rule(activity.info().workflow_type or "", owner),
            self._runner.limits,
        )
        return (
            None if rule.owner_tokens is None else rule.owner_tokens - (limits.owner_tokens or 0),
            None if rule.owner_usd is None else rule.owner_usd - (limits.owner_usd or 0),
        )

    def _bounded(self, spent: Spending, kind: str, owner: str) -> Spending:
        """What is spent, with what its limits may come to at most."""
        rule = self._authority.floors.rule(kind, owner)
        whose = _whose(spent.scope)
        tokens, usd = getattr(rule, f"{whose}_tokens"), getattr(rule, f"{whose}_usd")
        bounded = spent.model_copy(update={"most_tokens": tokens, "most_usd": usd})
        plan = bounded.raise_by_as_much()
        if not plan.tokens and not plan.usd:
            raise permanent(
                "BudgetRefused",
                f"the budget {spent.scope} is spent, and the operator's policy allows no more",
            )
        return bounded


def _whose(scope: str) -> str:
    """`agent` or `owner`, whose budget it is."""
    return scope.partition(":")[0]


def caller() -> Caller:
    """The caller, from within an activity.

    The key holds the run's id, as activity ids repeat after continue-as-new.
    """
    info = activity.info()
    key = f"{info.workflow_id}/{info.workflow_run_id}/{info.activity_id}"
    return Caller(agent=info.workflow_id or "", key=key, attempt=info.attempt)
