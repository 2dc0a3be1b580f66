"""The agent on LangGraph with its PostgresSaver: `python -m bench.peers.langgraph_worker SOCKET DATABASE`.

`durability="sync"` is what its documentation advises where no step may be lost; the graph is compiled once
and the connections come from a pool, as a server has them. Steps do not gather in the state, so that each
checkpoint has one of them. It recovers nothing by itself: whoever started a thread asks for it again.
"""

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

from bench.peers.asked import serve
from bench.peers.effects import VALUE, Effects

CONNECTIONS = 20
# Its documentation has this raised where a loop takes more turns than 25.
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
    """Steps in a loop, an approval, a validation, an action: a node each."""

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
    """What others ask for."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    async def start(self, id: str, steps: int) -> None:
        """Run a new thread to its interrupt; one that was begun before goes on from there."""
        await self._run(id, None if await self._where(id) else {"id": id, "steps": steps})

    async def wake(self, id: str, by: str) -> str:
        """Approve and run to the end; where a crash came after the approval, go on from there."""
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
