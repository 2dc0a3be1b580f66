"""The state an agent had when it entered a node, from a replay of its history.

A replay repeats every step with its result from history, and acts on nothing. The state is what the agent
would have carried over to a fresh history at that moment. If the agent had an answer that its memory may not
reflect yet, it is the state in which it asked, because an agent that goes on from there asks again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.runtime import Runtime
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from common.agents.agent import AgentInput, Carried
from workflows.core.agent import Agent
from workflows.replayer import ATTEMPTS, DEADLOCK, failure_message, replayer, silent_runtime


@dataclass
class Entry:
    """An agent at the moment when it entered a node.

    `has_begun`: it had called an activity, told people or completed a wait, so without a memory it could not
    go on from here. `length`: the length of its history then.
    """

    at: datetime
    input: AgentInput
    state: Carried
    has_begun: bool
    length: int


class NotReplayedError(Exception):
    """A history does not match today's code; the message is the replayer's."""


@dataclass
class Entries:
    """Counts the nodes that runs entered, and keeps the agent as it entered one of them.

    Attributes:
        node: the node at whose entry the agent is kept.
        nth: keep the nth entry, counted over all runs, instead of the latest.
        counts: how often each node was entered.
        kept: the agent at that entry, once seen.
    """

    node: str
    nth: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    kept: Entry | None = None
    _runtime: Runtime = field(default_factory=silent_runtime)
    _asking: dict[asyncio.Task[Any] | None, tuple[str, Carried]] = field(default_factory=dict)

    async def replay(self, kind: type, history: WorkflowHistory, data_converter: DataConverter) -> None:
        """Replay one run; with `nth`, replay the runs oldest first.

        Args:
            kind: the agent's class.
            history: the run's history.
            data_converter: one that writes nothing, because a replay stores large payloads.

        Raises:
            NotReplayedError: up to the node, today's code does not do what the history says.
        """
        before, counts = self.kept, self.counts.copy()
        replays = replayer([kind], data_converter, watching=[_Watching(self)], runtime=self._runtime)

        async def failure_of(history: WorkflowHistory) -> Exception | None:
            for _ in range(ATTEMPTS):
                self.kept, self.counts = before, counts.copy()
                result = await replays.replay_workflow(history, raise_on_replay_failure=False)
                if DEADLOCK not in str(result.replay_failure):
                    break
            return result.replay_failure

        failure = await failure_of(history)
        if failure and self.kept and self.kept is not before:
            # Today's code may differ after the node, but up to there it must do the same.
            until = WorkflowHistory(history.workflow_id, history.events[: self.kept.length])
            failure = await failure_of(until)
        if failure:
            raise NotReplayedError(failure_message(failure)) from failure

    def enter(self, agent: Agent[Any, Any], name: str) -> None:
        """Record that the agent enters a node."""
        self.counts[name] += 1
        if name == self.node and self.nth in (None, self.counts[name]):
            task = asyncio.current_task()
            question, asking = self._asking.get(task, ("", None))
            # Answers this task was given that the agent's memory may not reflect yet.
            given = [answer for of, answer in agent._approvals._answers._given if of is task]
            fresh = any(answer.request.question == question for answer in given)
            state = asking if asking and fresh else _state_now(agent)
            length = workflow.info().get_current_history_length()
            self.kept = Entry(workflow.now(), agent.input, state, agent._calls.has_begun, length)

    def ask(self, agent: Agent[Any, Any], question: str) -> None:
        """Record that the agent asks people."""
        self._asking[asyncio.current_task()] = question, _state_now(agent)


def _state_now(agent: Agent[Any, Any]) -> Carried:
    return agent._carried.with_memory(agent.memory).model_copy(deep=True)


class _Watching(Interceptor):
    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        entries = self._entries

        class Watched(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                agent: Agent[Any, Any] = workflow.instance()
                enter, asked = agent.node, agent.ask

                def node(name: str) -> AbstractContextManager[None]:
                    entries.enter(agent, name)
                    return enter(name)

                async def ask(question: str, *arguments: Any, **more: Any) -> Any:
                    entries.ask(agent, question)
                    return await asked(question, *arguments, **more)

                vars(agent).update(node=node, ask=ask)
                return await super().execute_workflow(input)

        return Watched
