"""The agent on LangGraph with its PostgresSaver: `python -m bench.peers.langgraph_worker SOCKET DATABASE`.

`durability="sync"` is what its documentation advises if no step may be lost. The graph is compiled once and
connections come from a pool, as in a server. Steps do not accumulate in the state, so each checkpoint holds
one. It recovers nothing by itself: the caller must ask for a thread again."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from bench.peers.effects import VALUE, Effects
from bench.peers.rpc import serve

CONNECTIONS = 20
# Raised, as its documentation advises for loops of more than 25 turns.
MAX_TURNS = 10_000


class State(TypedDict, total=False):
    """The state of a thread."""

    id: str
    steps: int
    taken: int
    text: str
    approval: dict[str, str]
    value: int
    order: str


def graph_of(effects: Effects) -> Any:
    """Steps in a loop, an approval, a validation, an action: one node each."""

    async def step(state: State) -> State:
        taken = state.get("taken", 0)
        return {"text": await effects.step(state["id"], taken), "taken": taken + 1}

    async def approval(state: State) -> State:
        return {"approval": interrupt({"question": "Buy?", "plan": {"what": "buy", "value": VALUE}})}

    async def validate(state: State) -> State:
        return {"value": VALUE}

    async def act(state: State) -> State:
        if state["value"] != VALUE:
            raise RuntimeError("the fact drifted")
        return {"order": await effects.act(state["id"])}

    def more(state: State) -> str:
        return "step" if state["taken"] < state["steps"] else "approval"

    graph = StateGraph(State)
    for name, node in (("step", step), ("approval", approval), ("validate", validate), ("act", act)):
        graph.add_node(name, node)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", more, ["step", "approval"])
    graph.add_edge("approval", "validate")
    graph.add_edge("validate", "act")
    graph.add_edge("act", END)
    return graph


class Threads:
    """Handlers of requests."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    async def start(self, id: str, steps: int) -> None:
        """Run a new thread to its interrupt; one begun earlier resumes."""
        await self._run(id, None if await self._where(id) else {"id": id, "steps": steps})

    async def wake(self, id: str, by: str) -> str:
        """Approve and run to the end; after a crash past the approval, resume from there."""
        asks = "approval" in await self._where(id)
        return str((await self._run(id, Command(resume={"by": by}) if asks else None))["order"])

    async def _where(self, id: str) -> tuple[str, ...]:
        state = await self._graph.aget_state({"configurable": {"thread_id": id}})
        return tuple(state.next) or (("done",) if state.values else ())

    async def _run(self, id: str, input: Any) -> Any:
        config = {"configurable": {"thread_id": id}, "recursion_limit": MAX_TURNS}
        return await self._graph.ainvoke(input, config, durability="sync")


async def work(socket: Path, database: str) -> None:
    """Work until SIGTERM."""
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool = AsyncConnectionPool(database, min_size=4, max_size=CONNECTIONS, kwargs=options, open=False)
    async with pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        threads = Threads(graph_of(Effects.of(os.environ)).compile(checkpointer=saver))
        await serve(socket, {"start": threads.start, "wake": threads.wake})


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
