"""The ledger of what language models cost: a call is reserved before it is sent, and settled afterwards.

Each attempt at a call goes `reserved` -> `sent` -> `answered`, `released` or `lost`. A process may die
between any two states. What it leaves behind counts so that spending is never underestimated:

- `reserved`: nothing was sent; a retry under the same key takes over the reservation.
- `sent`: the provider may have answered, and charged. Counts at its maximum. A retry that finds it marks it
  `lost`, unless the process that sent it still settles it.
- `answered`: counts what it took; a retry gets the recorded answer without another call.
- `released`: the provider refused it before working on it; counts nothing.

A call may start while the total is below the limit, and its reservation is an upper bound, so spending never
exceeds the limit by more than the one call that reached it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    String,
    Table,
    insert,
    select,
    update,
)

from activities.llm.answer_cipher import AnswerCipher
from activities.llm.records import Spending
from common.database import DatabaseLostError, SharedDatabase, database_place
from common.errors import retry_after
from common.model_calls import CALLS, LEDGER, NANO, TABLES, sum_of
from common.settings import ModelSettings, Settings
from common.temporal.codec import EncryptingCodec, load_codec

_SOON = timedelta(seconds=5)
# When this share of a limit is spent, people are notified, once per limit.
NEARLY_SPENT = Decimal("0.8")
# How long to keep trying to record a paid answer while the database is away.
_PATIENCE_SECONDS, _LOOK_AGAIN_SECONDS = 60.0, 0.5
_GRANTS = Table(
    "grants",
    TABLES,
    Column("key", String, primary_key=True),
    Column("scope", String),
    Column("tokens", BigInteger),
    Column("nano_usd", BigInteger),
)
_WARNED = Table(
    "noted",
    TABLES,
    Column("scope", String, primary_key=True),
    Column("of", String, primary_key=True),
    Column("key", String),
)


@dataclass(frozen=True)
class Call:
    """A call to be made: who pays, and the most it can cost. `usd` is None if the price is unknown."""

    key: str
    agent: str
    owner_day: str
    model: str
    tokens: int
    usd: Decimal | None


@dataclass(frozen=True)
class BudgetLimits:
    """The most that an agent may spend, and its owner per day; None is no limit."""

    agent_tokens: int | None = None
    agent_usd: Decimal | None = None
    owner_tokens: int | None = None
    owner_usd: Decimal | None = None

    @classmethod
    def of(cls, settings: ModelSettings, tokens: int | None, usd: Decimal | None) -> BudgetLimits:
        """The limits of the settings, overridden by the agent's own if it has any."""
        return cls(
            settings.agent_tokens if tokens is None else tokens,
            settings.agent_usd if usd is None else usd,
            settings.owner_tokens,
            settings.owner_usd,
        )


@dataclass(frozen=True)
class Reservation:
    """A call that may be sent: the attempt's number, and the claim token that proves it is still ours."""

    call: Call
    attempt: int
    claim: str
    limits: BudgetLimits


@dataclass(frozen=True)
class Recorded:
    """The answer that an earlier attempt received and settled."""

    answer: str


class Ledger:
    """The ledger in `database`, which all workers share.

    Each transaction locks the scopes it counts for, so changes to a scope are serialised.
    """

    def __init__(self, database: Path | URL, codec: EncryptingCodec | None = None) -> None:
        """`codec` is the payload codec; it encrypts the stored answers as well."""
        self._database = SharedDatabase(database, TABLES)
        self._answers = AnswerCipher(codec)

    @classmethod
    def of(cls, settings: Settings) -> Ledger:
        """The ledger of the settings' database."""
        return cls(database_place(settings, LEDGER), load_codec(settings))

    def reserve(self, call: Call, limits: BudgetLimits) -> Reservation | Recorded | Spending:
        """Reserve `call` at its maximum.

        Returns:
            The reservation, the answer already settled under this key, or the budget that is spent.
        """
        with self._database.transaction(*_scopes(call)) as ledger:
            attempts = ledger.execute(
                select(CALLS.c.attempt, CALLS.c.state, CALLS.c.answer)
                .where(CALLS.c.key == call.key)
                .order_by(CALLS.c.attempt)
            ).all()
            for each in attempts:
                answer = self._answers.open(each.answer, call.key) if each.state == "answered" else None
                if answer is not None:
                    return Recorded(answer)
            attempt, state, _ = attempts[-1] if attempts else (0, "", "")
            claim = uuid.uuid4().hex
            if state == "reserved":
                ledger.execute(update(CALLS).where(_is(call, attempt)).values(claim=claim))
                return Reservation(call, attempt, claim, limits)
            if state == "sent":
                ledger.execute(update(CALLS).where(_is(call, attempt)).values(state="lost"))
            for spending in _spendings(ledger, call, limits):
                if _is_spent(spending):
                    return spending
            ledger.execute(
                insert(CALLS).values(
                    key=call.key,
                    attempt=attempt + 1,
                    agent=call.agent,
                    owner_day=call.owner_day,
                    model=call.model,
                    state="reserved",
                    claim=claim,
                    tokens=call.tokens,
                    nano_usd=_nano(call.usd),
                )
            )
            return Reservation(call, attempt + 1, claim, limits)

    def mark_sent(self, held: Reservation) -> None:
        """Record that the call is being sent.

        Raises:
            ApplicationError: type `CallTakenOver`: another attempt has taken over the reservation.
        """
        with self._database.transaction(*_scopes(held.call)) as ledger:
            ours = _is(held.call, held.attempt) & (CALLS.c.claim == held.claim)
            changed = ledger.execute(
                update(CALLS).where(ours, CALLS.c.state == "reserved").values(state="sent")
            ).rowcount
        if not changed:
            raise retry_after("CallTakenOver", f"another attempt makes the call {held.call.key}", _SOON)

    def settle(self, held: Reservation, tokens: int, usd: Decimal | None, answer: str) -> None:
        """Record what the call took and its `answer`, even if another attempt has marked it lost.

        Waits up to a minute while the database is away; otherwise the answer would be paid for again.
        """
        self._end(held, "answered", tokens, _nano(usd), self._answers.seal(answer, held.call.key))

    def release(self, held: Reservation) -> None:
        """Record that the provider refused the call before working on it, so that it cost nothing."""
        self._end(held, "released", 0, 0, "")

    def mark_lost(self, held: Reservation) -> None:
        """Count the call at its maximum: the provider may have charged an unknown amount."""
        self._end(held, "lost", held.call.tokens, _nano(held.call.usd), "")

    def nearly_spent(self, call: Call, limits: BudgetLimits) -> list[Spending]:
        """The budgets that passed 80 % with `call`. Only one call and its retries report each limit."""
        told = []
        with self._database.transaction(*_scopes(call)) as ledger:
            for spending in _spendings(ledger, call, limits):
                if _share(spending) >= NEARLY_SPENT:
                    limit = {"scope": spending.scope, "of": f"{spending.tokens_limit}/{spending.usd_limit}"}
                    by = ledger.scalar(select(_WARNED.c.key).filter_by(**limit))
                    if by is None:
                        ledger.execute(insert(_WARNED).values(key=call.key, **limit))
                    told += [spending] if by in (None, call.key) else []
        return told

    def grant(
        self,
        key: str,
        scope: str,
        tokens: int,
        usd: Decimal,
        most: tuple[int | None, Decimal | None] = (None, None),
    ) -> bool:
        """Raise the limits of `scope`, once per `key`. If that exceeds `most`, do nothing and return False.

        `most` limits the sum of all grants of the scope, in tokens and in dollars.
        """
        with self._database.transaction(scope) as ledger:
            granted_tokens, granted_nano = _granted(ledger, scope, without=key)
            usd_in_all = granted_nano * NANO + usd
            for value, limit in ((granted_tokens + tokens, most[0]), (usd_in_all, most[1])):
                if limit is not None and value > limit:
                    return False
            if ledger.scalar(select(_GRANTS.c.key).where(_GRANTS.c.key == key)) is None:
                ledger.execute(
                    insert(_GRANTS).values(key=key, scope=scope, tokens=tokens, nano_usd=_nano(usd))
                )
        return True

    def spendings(self, call: Call, limits: BudgetLimits) -> list[Spending]:
        """What currently counts against the agent's limits and its owner's daily limits."""
        with self._database.transaction(*_scopes(call)) as ledger:
            return _spendings(ledger, call, limits)

    def forget(self, agents: Iterable[str]) -> None:
        """Delete the answers that these agents got; their cost still counts."""
        for agent in agents:
            with self._database.transaction(agent_scope(agent)) as ledger:
                ledger.execute(update(CALLS).where(CALLS.c.agent == agent).values(answer=""))

    def _end(self, held: Reservation, state: str, tokens: int, nano_usd: int | None, answer: str) -> None:
        ended = {"state": state, "tokens": tokens, "nano_usd": nano_usd, "answer": answer}
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                with self._database.transaction(*_scopes(held.call)) as ledger:
                    ledger.execute(update(CALLS).where(_is(held.call, held.attempt)).values(**ended))
                return
            except DatabaseLostError:
                if time.monotonic() > until:
                    raise
                time.sleep(_LOOK_AGAIN_SECONDS)


def agent_scope(agent: str) -> str:
    """The scope of an agent's own budget."""
    return f"agent:{agent}"


def _scopes(call: Call) -> tuple[str, str]:
    return agent_scope(call.agent), f"owner:{call.owner_day}"


def _is(call: Call, attempt: int) -> ColumnElement[bool]:
    """The condition that selects one attempt at a call."""
    return (CALLS.c.key == call.key) & (CALLS.c.attempt == attempt)


def _spendings(ledger: Connection, call: Call, limits: BudgetLimits) -> list[Spending]:
    agent, owner = _scopes(call)
    return [
        _spending(ledger, agent, CALLS.c.agent == call.agent, limits.agent_tokens, limits.agent_usd),
        _spending(ledger, owner, CALLS.c.owner_day == call.owner_day, limits.owner_tokens, limits.owner_usd),
    ]


def _spending(
    ledger: Connection,
    scope: str,
    calls: ColumnElement[bool],
    tokens_limit: int | None,
    usd_limit: Decimal | None,
) -> Spending:
    tokens, nano = sum_of(ledger, CALLS, calls)
    more_tokens, more_nano = _granted(ledger, scope)
    return Spending(
        scope=scope,
        tokens=tokens,
        usd=nano * NANO,
        tokens_limit=None if tokens_limit is None else tokens_limit + more_tokens,
        usd_limit=None if usd_limit is None else usd_limit + more_nano * NANO,
    )


def _granted(ledger: Connection, scope: str, without: str = "") -> tuple[int, int]:
    """The tokens and nanodollars granted to a scope, except by the grant with the key `without`."""
    return sum_of(ledger, _GRANTS, (_GRANTS.c.scope == scope) & (_GRANTS.c.key != without))


def _is_spent(spending: Spending) -> bool:
    return _share(spending) >= 1


def _share(spending: Spending) -> Decimal:
    tokens = Decimal(spending.tokens) / spending.tokens_limit if spending.tokens_limit else Decimal(0)
    return max(tokens, spending.usd / spending.usd_limit if spending.usd_limit else Decimal(0))


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else int((usd / NANO).to_integral_value(ROUND_CEILING))
