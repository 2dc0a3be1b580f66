"""The activities of language models: think, and raise a budget."""

from __future__ import annotations

from temporalio import activity

from activities.llm.records import Grant, Granted, Think, Thought
from activities.llm.runner import Caller, ModelRunner
from common.approval.signing import Authority


class ModelActivities:
    """Thinks for agents, and raises budgets on a human's approval."""

    def __init__(self, runner: ModelRunner, authority: Authority) -> None:
        self._runner = runner
        self._authority = authority

    @activity.defn(name="think")
    def think(self, think: Think) -> Thought:
        """One request to a language model; see `ModelRunner.think` for what it raises."""
        return self._runner.think(think, caller())

    @activity.defn(name="grant_budget")
    def grant_budget(self, grant: Grant) -> Granted:
        """Raise a budget, once per approval."""
        plan = grant.plan
        agent = activity.info().workflow_id or ""
        key = self._authority.authorize(grant.authorization, plan, agent).key
        self._runner.ledger.grant(key, plan.scope, plan.tokens, plan.usd)
        return Granted(key=key, tokens=plan.tokens, usd=plan.usd)


def caller() -> Caller:
    """The caller, from within an activity.

    The key holds the run's id, as activity ids repeat after continue-as-new.
    """
    info = activity.info()
    key = f"{info.workflow_id}/{info.workflow_run_id}/{info.activity_id}"
    return Caller(agent=info.workflow_id or "", key=key, attempt=info.attempt)
