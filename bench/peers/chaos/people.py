"""The bench's people: they start agents, decide, send messages and mail, and do everything twice."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from bench.peers.chaos.agents import Case
from bench.peers.chaos.outside import Outside
from common.approval.types import ApprovalRequest, Verdict
from common.client.client import AgentClient
from common.client.errors import AgentClientError, NoSuchAgentError
from common.client.rows import AgentRow, row_of
from common.mail import IncomingMail, MailKind

OWNER = "owner-1"
EVERY = 1.0
# A mail is delivered a second time within this many seconds.
AGAIN = 1.0


class People:
    """Looks after agents, and remembers what Temporal or the mailbox acknowledged, to check it later.

    Attributes:
        may_decide: nobody decides anything until it is set.
        decisions: ids of acknowledged decisions, by agent.
        receipts: ids of acknowledged messages, by agent.
        ended: rows of agents that have ended.
    """

    def __init__(
        self,
        client: Client,
        agent_client: AgentClient,
        outside: Outside,
        chance: random.Random,
        count: Counter[str],
    ) -> None:
        self.may_decide = asyncio.Event()
        self.decisions: dict[str, set[str]] = {}
        self.receipts: dict[str, set[str]] = {}
        self.ended: dict[str, AgentRow] = {}
        self._client = client
        self._agent_client = agent_client
        self._outside = outside
        self._chance = chance
        self._count = count

    async def look_after(self, case: Case) -> None:
        """Start an agent, and do what it asks until it has ended."""
        await self._patiently(
            lambda: self._agent_client.start(case.kind, case.input, id=case.id, owner=OWNER, request=case.id)
        )
        self._count["agents"] += 1
        decided: set[tuple[str, str]] = set()
        while True:
            await asyncio.sleep(EVERY * self._chance.uniform(0.7, 1.3))
            try:
                row = await self._row(case.id)
                if not row.running:
                    self.ended[case.id] = row
                    return
                await case.look_after(row, self)
                if self.may_decide.is_set():
                    for id in case.asking:
                        await self._decide_open(case, id, decided)
            except (RPCError, NoSuchAgentError):
                # Temporal is down, or an item's agent does not exist yet; people try again.
                self._count["tried_again"] += 1

    async def tell(self, id: str, text: str) -> None:
        async def told() -> None:
            self.receipts.setdefault(id, set()).add(await self._agent_client.tell(id, text))

        await self._twice(told)

    async def wake(self, id: str) -> None:
        async def woken() -> None:
            self.receipts.setdefault(id, set()).add(await self._agent_client.wake(id))

        await self._twice(woken)

    async def mail(self, agent: str, thread: str, data: bytes) -> None:
        """Deliver a mail to the mailbox, twice; without a mailbox, signal the agent as the mailbox would."""
        self._count["mails_twice"] += 1
        if self._outside.imap:
            self._outside.imap.deliver(data)
            await asyncio.sleep(self._chance.uniform(0, AGAIN))
            self._outside.imap.deliver(data)
            return
        told = _handed(thread, data)
        await self._twice(lambda: self._client.get_workflow_handle(agent).signal("mail", told))

    async def _decide_open(self, case: Case, id: str, decided: set[tuple[str, str]]) -> None:
        if (await self._row(id)).waiting_for is None:
            return
        view = await self._agent_client.view(id)
        for request in view.requests:
            if (id, request.id) not in decided:
                decided.add((id, request.id))
                await self._decide(id, case.verdict, request)
                await case.after_decision(self)

    async def _decide(self, id: str, verdict: Verdict, request: ApprovalRequest) -> None:
        decision = uuid.UUID(int=self._chance.getrandbits(128)).hex[:16]

        async def decide() -> None:
            await self._agent_client.decide(
                id,
                verdict,
                by=OWNER,
                note="decided at random",
                through="cli",
                decision_id=decision,
                request_id=request.id,
                digest=request.digest,
                known=True,
            )
            self.decisions.setdefault(id, set()).add(decision)

        await self._twice(decide)
        self._count["decisions"] += 1

    async def _twice(self, say: Callable[[], Awaitable[Any]]) -> None:
        """Send something twice; the agent may have ended before the second time."""
        await self._patiently(say)
        try:
            await say()
        except (NoSuchAgentError, RPCError):
            self._count["said_too_late"] += 1
        self._count["signals_twice"] += 1

    async def _patiently(self, say: Callable[[], Awaitable[Any]]) -> Any:
        """Retry until Temporal has acknowledged it, as people do."""
        while True:
            try:
                return await say()
            except NoSuchAgentError:
                return None
            except (RPCError, AgentClientError):
                self._count["tried_again"] += 1
                await asyncio.sleep(EVERY)

    async def _row(self, id: str) -> AgentRow:
        return row_of(await self._agent_client.describe(id))


def _handed(thread: str, data: bytes) -> IncomingMail:
    read = message_from_bytes(data, policy=policy.default)
    return IncomingMail(
        message_id=str(read["Message-ID"]),
        thread=thread,
        kind=MailKind.ANSWER,
        sender=str(read["From"]),
        subject=str(read["Subject"]),
        text=str(read.get_content()),
        received_at=datetime.now(UTC),
    )
