"""Thinking with a language model, within a budget: when it is spent, the agent asks for more and sleeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.llm.activities import ModelActivities
from activities.llm.records import Budget, Grant, Reply, Spending, Think, Thought
from common.agents.agent import AgentInput, Carried, Cost, ThinkerInput
from common.agents.asking import AskingInput
from common.approval.types import ApprovalPolicy, OutcomeVerdict
from common.errors import permanent
from common.notices.types import NoticeEvent
from workflows.core.approval import Approvals
from workflows.core.calls import HEARTBEAT, PATIENTLY, CallPolicy, Calls
from workflows.core.display import Display, cause_of, cause_type_of, owner
from workflows.core.final_check import Action, Actions
from workflows.core.notify import Notifier

# At most three exchanges with a provider: the answer, a repair, a compaction. It heartbeats while it waits.
THINK = CallPolicy(start_to_close=timedelta(minutes=30), retry=PATIENTLY, heartbeat=HEARTBEAT, lasting=True)


@dataclass(eq=False)
class Thinking:
    """Thinks for one agent, with the model and the budget from its input, if it has them."""

    _input: AgentInput
    _carried: Carried
    _display: Display
    _calls: Calls
    _notifier: Notifier
    _approvals: Approvals
    _actions: Actions
    _asking_for: set[str] = field(default_factory=set)
    _not_set_up: set[str] = field(default_factory=set)
    _noted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        input = self._input
        # The approvers of its plans may raise the budget too, in case the operator's policy bars the owner.
        self._others = tuple(input.approvers) if isinstance(input, AskingInput) else ()
        self._model, self._budget = "", Budget()
        if isinstance(input, ThinkerInput):
            self._model = input.model
            self._budget = Budget(tokens=input.budget_tokens, usd=input.budget_usd)

    async def think(self, think: Think, policy: CallPolicy, budget_approvers: Sequence[str]) -> Reply:
        """See `Agent.think`."""
        while True:
            thought = await self._thought(think, policy)
            if thought.reply is not None:
                await self._count(thought.reply)
                return thought.reply
            assert thought.stopped is not None
            await self._ask_for_more(thought.stopped, budget_approvers)

    async def _thought(self, think: Think, policy: CallPolicy) -> Thought:
        told = "" if self._carried.model in self._not_set_up else self._carried.model
        own = think.model or self._model
        model = told or own
        update = {"model": model, "owner": owner(), "budget": self._budget}
        try:
            thought: Thought = await self._calls.call(
                ModelActivities.think, think.model_copy(update=update), policy
            )
        except ActivityError as error:
            self._carried.cost.add(_spent_on(error))
            if model == own or cause_type_of(error) != "ModelNotSetUp":
                raise
            self._not_set_up.add(model)
            self._display.note(f"cannot think with {model}, as told: {cause_of(error)}; goes on without")
            return await self._thought(think, policy)
        return thought

    async def _count(self, reply: Reply) -> None:
        self._carried.cost.add(reply.cost)
        for text in (*reply.notes, *reply.nearly_spent):
            if text not in self._noted:
                self._noted.add(text)
                self._display.note(text)
                if text in reply.nearly_spent:
                    await self._notifier.tell(NoticeEvent.BUDGET, text)

    async def _ask_for_more(self, spent: Spending, approvers: Sequence[str]) -> None:
        if spent.scope in self._asking_for:
            await workflow.wait_condition(lambda: spent.scope not in self._asking_for)
            return
        self._asking_for.add(spent.scope)
        try:
            await self._notifier.tell(NoticeEvent.BUDGET, f"the budget {spent.scope} is spent; asks for more")
            question = f"The budget {spent.scope} is spent. May it be raised by this much?"
            policy = _budget_policy(spent, approvers or (owner(), *self._others))
            plan = spent.plan_to_double()
            # Not resumable: the agent is in the middle of something and could not come back to this question.
            outcome = await self._approvals.ask(question, plan, policy, resumable=False)
            if outcome.verdict is OutcomeVerdict.REJECTED:
                raise permanent("BudgetRefused", outcome.words)
            if outcome.approved:
                await self._actions.act(
                    Action(ModelActivities.grant_budget, Grant(plan=outcome.plan), outcome)
                )
        finally:
            self._asking_for.remove(spent.scope)


def _spent_on(error: ActivityError) -> Cost:
    """What was spent on answers that could not be used."""
    details = getattr(error.cause, "details", ()) if cause_type_of(error) == "BadModelOutput" else ()
    return Cost.model_validate(details[0]) if details else Cost()


def _budget_policy(spent: Spending, approvers: Sequence[str]) -> ApprovalPolicy:
    now = workflow.now()
    # A daily budget starts anew at midnight, and then nobody needs to be asked.
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return ApprovalPolicy(
        approvers=tuple(dict.fromkeys(approvers)),
        expires_after=midnight - now if spent.scope.startswith("owner:") else None,
        requester_may_approve=True,
        editable=("tokens", "usd"),
    )


def model_in_instruction(words: str) -> str | None:
    """The model in words like `model: openai:NAME` or `model: offline`; None if they name none."""
    found = re.fullmatch(r"\s*model:\s*(offline|(?:openai|anthropic|bedrock):\S{1,100})\s*", words)
    return found[1] if found else None
