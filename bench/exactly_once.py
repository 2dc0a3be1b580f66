"""Whether each approval becomes exactly one order, whatever is killed, stopped, lost or said twice meanwhile.

Real buyers on a real server, with workers in their own processes. Workers are killed and suspended, the
server goes down, the broker loses requests and answers, every decision arrives three times, prices move. When
all agents have ended, the broker's book is compared with what was approved. The last line of the output is
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import uuid
from collections import Counter
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.trading.paper_faults import Faults
from bench.harness import add_common_options, end_with, measured, own_cluster, own_server
from bench.peers.buyers import SharedMarket, fleet_of
from bench.peers.fleet import Fleet, Member
from bench.peers.market import ALL, CUT_OFF
from bench.peers.side import throttled
from bench.peers.verdict import AgentOutcome, Role, attempts_over_one, compare
from cli.cluster.cluster import Cluster
from cli.dev_server import DevServer
from common.agents.buyer import BuyerInput, BuyerResult, OnDrift
from common.agents.states import RunStatus
from common.approval.floors import write_alone
from common.approval.signing import Signer
from common.approval.types import Decision, Verdict
from common.client.client import AgentClient
from common.client.filters import AgentFilter
from common.client.rows import InboxRow
from common.settings import Settings
from common.temporal.connect import connect
from workflows.buyer import ORDER, SETTLED

PRICE, DRIFTED, LIMIT = Decimal(10), Decimal("10.5"), Decimal(11)
WANDER = Decimal("0.04")  # up and down; the tolerance is 0.1
TENTH = (Role.REJECTED, Role.DRIFTED, Role.RACED, Role.CANCELLED)
APPROVERS = ["ann", "bob"]
KILL_EVERY = (2.0, 6.0)
OUTAGE_SECONDS = (10.0, 30.0)
# An agent gives up on what a suspended worker was about to send; longer if its next calls wait for that
# worker, too.
SUSPEND_SECONDS = (ORDER.start_to_close + SETTLED).total_seconds()
LONGEST_STOP = 300.0
# How long a resumed worker has to send the order it was about to send.
GRACE_SECONDS = 5.0


class Agent:
    """One buyer: its role, its symbol, and when it is decided."""

    def __init__(self, number: int, role: Role, chance: random.Random, span: float) -> None:
        self.id = f"once-{number:04}"
        self.symbol = f"S{number:04}"
        self.role = role
        self.due = chance.uniform(0, span)
        self.input = BuyerInput(
            symbol=self.symbol,
            quantity=Decimal(chance.randint(1, 4)),
            limit=LIMIT,
            approvers=APPROVERS,
            quorum=chance.choice((1, 1, 2)),
            # A drifted one that asked again would have another plan and key: its first order must not arrive
            # after all.
            on_drift=OnDrift.STOP
            if role is Role.DRIFTED
            else chance.choice(list(OnDrift))
            if role is Role.RACED
            else OnDrift.ASK_AGAIN,
            patience=timedelta(seconds=30),
        )
        self.decided: set[str] = set()


class Chaos:
    """One run on one server."""

    def __init__(self, options: argparse.Namespace, server: DevServer | Cluster, settings: Settings) -> None:
        self._options = options
        self._server = server
        self._settings = settings
        self._chance = random.Random(options.seed)  # noqa: S311 - it has to repeat
        faults = Faults(
            lost_acknowledgements=0.3, lost_requests=0.1, duplicates=0.1, slowness=1, seed=options.seed
        )
        self._market = SharedMarket(settings.data_dir / "market", faults, liquidity=Decimal(1))
        self._market.folder.mkdir(parents=True)
        self._prices = {ALL: PRICE}
        write_alone(settings)
        self._signer = Signer.load(settings, create=True)
        self._count = Counter[str]()
        self._up = asyncio.Event()
        self._up.set()
        span = max(options.kills * sum(KILL_EVERY) / 2, 20.0)
        self._span = span
        roles = [role for role in TENTH for _ in range(max(1, options.agents // 10))]
        roles += [Role.APPROVED] * (options.agents - len(roles))
        self._agents = {
            agent.id: agent
            for agent in (Agent(number, role, self._chance, span) for number, role in enumerate(roles))
        }
        self._fleet: Fleet
        self._client: Client
        self._agent_client: AgentClient

    async def run(self) -> dict[str, Any]:
        """Start everything, run the faults, wait for all agents to end; return the report."""
        began = perf_counter()
        self._post()
        self._client = await connect(self._settings)
        self._agent_client = AgentClient(self._client, self._settings, self._signer)
        size, address = self._options.workers, self._server.address
        self._fleet = fleet_of(self._market, self._settings, address, size)
        keeping = asyncio.create_task(self._fleet.keep_up())
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(each()) for each in (self._wander, self._answer)]
                await self._start_agents()
                async with asyncio.TaskGroup() as violence:
                    violence.create_task(self._kills())
                    violence.create_task(self._outages())
                    violence.create_task(self._pauses())
                await self._all_ended()
                for task in background:
                    task.cancel()
            return await self._report(perf_counter() - began)
        finally:
            keeping.cancel()
            await self._fleet.end()

    async def _start_agents(self) -> None:
        async def start(id: str) -> None:
            await self._agent_client.start("buyer", self._agents[id].input, id=id, owner="owner-1")

        await throttled(list(self._agents), start)
        self._tell(f"{len(self._agents)} agents started")

    async def _answer(self) -> None:
        """Decide each open request once its time has come."""
        began = perf_counter()
        async with asyncio.TaskGroup() as group:
            while True:
                for row in await self._agent_client.inbox():
                    agent = self._agents[row.id]
                    if row.request_id in agent.decided:
                        continue
                    agent.decided.add(row.request_id)
                    wait = max(agent.due - (perf_counter() - began), self._chance.uniform(0, 1))
                    group.create_task(self._decide(agent, row, wait))
                await asyncio.sleep(0.5)

    async def _decide(self, agent: Agent, row: InboxRow, wait: float) -> None:
        await asyncio.sleep(wait)
        first = len(agent.decided) == 1
        if agent.role is Role.DRIFTED:
            self._move(agent.symbol)
        verdict = Verdict.REJECT if agent.role is Role.REJECTED else Verdict.APPROVE
        handle = self._client.get_workflow_handle(agent.id)
        for by in APPROVERS[: agent.input.quorum]:
            once, again = self._decision(row, verdict, by), self._decision(row, verdict, by)
            for decision in (once, once, again):
                await _unless_ended(handle.signal("decide", decision))
        if agent.role is Role.RACED and first:
            await asyncio.sleep(self._chance.uniform(0, 2))
            self._move(agent.symbol)
        if agent.role is Role.CANCELLED and first:
            await asyncio.sleep(self._chance.uniform(0, 3))
            await _unless_ended(handle.cancel())

    def _decision(self, row: InboxRow, verdict: Verdict, by: str) -> Decision:
        now = datetime.now(UTC)
        decision = Decision(
            id=str(uuid.uuid4()),
            request_id=row.request_id,
            digest=row.digest,
            verdict=verdict,
            by=by,
            through="cli",
            at=now,
        )
        return self._signer.sign(decision, row.id, now)

    async def _wander(self) -> None:
        """Keep prices moving, but within the tolerance of whatever was seen."""
        while True:
            self._prices[ALL] = PRICE + WANDER * Decimal(self._chance.randint(-100, 100)) / 100
            self._post()
            await asyncio.sleep(0.5)

    def _move(self, symbol: str) -> None:
        self._prices[symbol] = DRIFTED
        self._post()

    def _post(self) -> None:
        self._market.board.write(self._prices)

    async def _kills(self) -> None:
        while self._count["kills"] < self._options.kills:
            await asyncio.sleep(self._chance.uniform(*KILL_EVERY))
            member = await self._someone()
            in_flight = await self._fleet.kill(member)
            self._count["kills"] += 1
            self._count["kills_in_flight"] += bool(in_flight)
            self._tell(
                f"kill {self._count['kills']}" + (f", orders in flight: {in_flight}" * bool(in_flight))
            )

    async def _outages(self) -> None:
        for number in range(self._options.outages):
            share = self._span / self._options.outages
            await asyncio.sleep(self._chance.uniform(0.2, 0.6) * share)
            self._up.clear()
            part = self._server.killable_parts[number % len(self._server.killable_parts)]
            async with self._server.outage(part):
                seconds = self._chance.uniform(*OUTAGE_SECONDS)
                self._tell(f"outage {number + 1}: {part} is away for {seconds:.0f} s")
                await asyncio.sleep(seconds)
            self._up.set()
            self._count["outages"] += 1

    async def _pauses(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._options.pauses):
                await asyncio.sleep(self._chance.uniform(2, 6))
                member = await self._someone(sending=True)
                in_flight = await self._fleet.stop(member)
                self._count["pauses"] += 1
                self._count["pauses_in_flight"] += bool(in_flight)
                self._tell(f"pause {self._count['pauses']}, orders in flight: {in_flight}")
                # The worst case: the agent will decide differently while the worker still means to send.
                raced = [agent for agent in self._raced() if agent.symbol in in_flight]
                for agent in raced:
                    self._move(agent.symbol)
                group.create_task(self._go_on(member, raced))

    async def _go_on(self, member: Member, raced: Sequence[Agent]) -> None:
        """Resume a suspended worker once the agents it meant to send for have given that up."""
        deadline = perf_counter() + LONGEST_STOP
        await asyncio.sleep(SUSPEND_SECONDS)
        while raced and perf_counter() < deadline:
            if all([await self._went_on(agent) for agent in raced]):
                self._count["outlived"] += 1
                break
            await asyncio.sleep(2)
        self._tell(f"goes on; agents that have decided otherwise: {[agent.symbol for agent in raced]}")
        await self._fleet.go_on(member, GRACE_SECONDS)

    async def _went_on(self, agent: Agent) -> bool:
        """Whether an agent has ended or asked again."""
        ending = await self._agent_client.ending(agent.id, wait=False)
        return len(agent.decided) > 1 or ending.status is not RunStatus.RUNNING

    async def _someone(self, sending: bool = False) -> Member:
        """A running worker; with `sending`, one with a raced agent's order in flight, if one comes soon."""
        deadline = perf_counter() + self._span / 4
        raced = {agent.symbol for agent in self._raced()}
        while True:
            await self._up.wait()
            ready = [each for each in self._fleet.members if each.ready]
            if sending and perf_counter() < deadline:
                ready = [each for each in ready if each.journal.in_flight() & raced]
            if ready:
                return self._chance.choice(ready)
            await asyncio.sleep(0.02)

    def _raced(self) -> list[Agent]:
        return [agent for agent in self._agents.values() if agent.role is Role.RACED]

    async def _all_ended(self) -> None:
        while left := await self._agent_client.list_agents(
            AgentFilter(status=RunStatus.RUNNING), len(self._agents)
        ):
            self._tell(f"{len(left)} agents still run")
            await asyncio.sleep(5)

    async def _report(self, seconds: float) -> dict[str, Any]:
        endings = await throttled(list(self._agents), lambda id: self._agent_client.ending(id, wait=False))
        ended = []
        for agent, ending in zip(self._agents.values(), endings, strict=True):
            result = BuyerResult.model_validate(ending.result) if ending.result else None
            ended.append(
                AgentOutcome(agent.symbol, agent.role, agent.input.quantity, LIMIT, ending.status, result)
            )
        broker = self._market.broker()
        journals = [journal.lines() for journal in self._fleet.journals]
        outcomes = Counter(attempt.outcome for attempt in broker.attempts())
        roles = Counter(agent.role.value for agent in self._agents.values())
        return {
            "agents": len(self._agents),
            **compare(ended, broker.orders()),
            "attempts_over_one": attempts_over_one(broker.orders(), journals),
            "unheard": sum(count for outcome, count in outcomes.items() if outcome.endswith("unheard")),
            "lost_requests": outcomes["request lost"],
            "came_too_late": sum(outcome == "TooLateError" for lines in journals for *_, outcome in lines),
            "cut_off": sum(outcome == CUT_OFF for lines in journals for *_, outcome in lines),
            **{role.value: roles[role] for role in Role},
            **{name: self._count[name] for name in ("kills", "kills_in_flight", "outages")},
            **{name: self._count[name] for name in ("pauses", "pauses_in_flight", "outlived")},
            "seed": self._options.seed,
            "seconds": round(seconds, 1),
        }

    def _tell(self, text: str) -> None:
        if not self._options.json:
            print(text, file=sys.stderr, flush=True)


async def _unless_ended(said: Awaitable[Any]) -> None:
    """Await a message to an agent, which may have ended after an earlier one."""
    try:
        await said
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


MUST_BE_ZERO = (
    *("duplicated", "missing", "forbidden_orders", "open_orders", "beyond", "contradicted", "failed"),
)


def holds(report: dict[str, Any]) -> bool:
    """Whether the run succeeded; it must also have shown that failure was possible."""
    return not any(report[name] for name in MUST_BE_ZERO) and report["attempts_over_one"] > 0


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything in `folder`, within the time limit."""
    own = own_cluster if options.cluster else own_server
    async with own(folder, options.limit) as (server, settings):
        return await Chaos(options, server, settings).run()


def main() -> int:
    """Parse the options, run, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=200, help="buyers, each with a symbol of its own")
    parser.add_argument("--kills", type=int, default=40, help="workers killed at random moments")
    parser.add_argument("--outages", type=int, default=2, help="times the server is taken away")
    parser.add_argument("--pauses", type=int, default=2, help="workers stopped past every time-out")
    parser.add_argument("--workers", type=int, default=4, help="worker processes")
    parser.add_argument("--cluster", action="store_true", help="on PostgreSQL, each part away by turns")
    add_common_options(parser, limit=1800)
    options = parser.parse_args()
    if options.agents < len(Role) or options.workers < 1 or options.pauses >= options.workers:
        parser.error(f"give {len(Role)} or more agents, and more workers than pauses")
    report = measured(lambda folder: bench(options, folder), options.limit, f", seed {options.seed}")
    print(json.dumps(report))
    return 0 if holds(report) else 1


if __name__ == "__main__":
    end_with(main)
