"""The activities of language models: `think`, and `grant_budget`."""

from __future__ import annotations

from decimal import Decimal

from temporalio import activity

from activities.llm.records import Budget, Grant, Granted, Spending, Think, Thought
from activities.llm.runner import Caller, ModelRunner
from common.approval.floors import least
from common.approval.signing import POLICY_REFUSED, Authority
from common.errors import permanent


class ModelActivities:
    """Sends agents' requests to language models, and raises budgets on a human's approval."""

    def __init__(self, runner: ModelRunner, authority: Authority) -> None:
        self._runner = runner
        self._authority = authority

    @activity.defn(name="think")
    def think(self, think: Think) -> Thought:
        """Make one request to a language model.

        Raises:
            ApplicationError: as `ModelRunner.think`, and `BudgetRefused`: a budget is spent, and the
                operator's policy lets nobody raise it.
        """
        kind = activity.info().workflow_type or ""
        tokens, usd = self._authority.floors.own_budget(kind, think.owner)
        # Cap the agent's own budget: it was set by the person the policy restricts.
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
        """What all grants together may add to an owner's daily budget, which many agents share."""
        rule, limits = (
            self._authority.floors.rule(activity.info().workflow_type or "", owner),
            self._runner.limits,
        )
        return (
            None if rule.owner_tokens is None else rule.owner_tokens - (limits.owner_tokens or 0),
            None if rule.owner_usd is None else rule.owner_usd - (limits.owner_usd or 0),
        )

    def _bounded(self, spent: Spending, kind: str, owner: str) -> Spending:
        """`spent`, with the highest limits that the operator's policy allows."""
        rule = self._authority.floors.rule(kind, owner)
        whose = _whose(spent.scope)
        tokens, usd = getattr(rule, f"{whose}_tokens"), getattr(rule, f"{whose}_usd")
        bounded = spent.model_copy(update={"most_tokens": tokens, "most_usd": usd})
        plan = bounded.plan_to_double()
        if not plan.tokens and not plan.usd:
            raise permanent(
                "BudgetRefused",
                f"the budget {spent.scope} is spent, and the operator's policy allows no more",
            )
        return bounded


def _whose(scope: str) -> str:
    """Whose budget a scope is: `agent` or `owner`."""
    return scope.partition(":")[0]


def caller() -> Caller:
    """The caller, from within an activity.

    The key includes the run id, because activity ids repeat after continue-as-new.
    """
    info = activity.info()
    key = f"{info.workflow_id}/{info.workflow_run_id}/{info.activity_id}"
    return Caller(agent=info.workflow_id or "", key=key, attempt=info.attempt)
