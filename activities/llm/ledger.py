"""The ledger of what language models cost: a call is reserved before it is sent, and settled after it.

Each attempt at a call goes `reserved` -> `sent` -> `answered`, `released` or `lost`. A process may die
between any two. What it leaves behind is counted so that spending is never underestimated:

- `reserved`: nothing was sent; a retry under the same key takes the reservation over.
- `sent`: the provider may have answered, and charged. It counts at its maximum, and as `lost` once a retry
  has found it, unless its own process settles it after all.
- `answered`: it counts what it took; a retry gets the recorded answer without another call.
- `released`: the provider refused it before working on it; it counts nothing.

A call may start while the total is below the limit, and no reservation is too small, so spending never
exceeds the limit by more than the one call that reached it.
"""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

from activities.llm.records import Spending
from common.errors import retry_after
from common.settings import ModelSettings
from common.sqlite import SharedDatabase

NANO = Decimal("1e-9")
_SOON = timedelta(seconds=5)
# People are told once per limit when this share of it is spent.
NEARLY_SPENT = Decimal("0.8")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT, attempt INTEGER, agent TEXT, owner_day TEXT, model TEXT, state TEXT, claim TEXT,
    tokens INTEGER, nano_usd INTEGER, answer TEXT, at TEXT DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (key, attempt)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS calls_by_agent ON calls (agent, state, tokens, nano_usd);
CREATE INDEX IF NOT EXISTS calls_by_owner_day ON calls (owner_day, state, tokens, nano_usd);
CREATE TABLE IF NOT EXISTS grants (key TEXT PRIMARY KEY, scope TEXT, tokens INTEGER, nano_usd INTEGER);
CREATE TABLE IF NOT EXISTS noted (scope TEXT, of TEXT, key TEXT, PRIMARY KEY (scope, of));
"""


@dataclass(frozen=True)
class Call:
    """A call to be made: who pays, and the most it can cost. `usd` is None where the price is unknown."""

    key: str
    agent: str
    owner_day: str
    model: str
    tokens: int
    usd: Decimal | None


@dataclass(frozen=True)
class BudgetLimits:
    """The most that an agent, and its owner in a day, may spend; None is no limit."""

    agent_tokens: int | None = None
    agent_usd: Decimal | None = None
    owner_tokens: int | None = None
    owner_usd: Decimal | None = None

    @classmethod
    def of(cls, settings: ModelSettings, tokens: int | None, usd: Decimal | None) -> BudgetLimits:
        """The limits of the settings, replaced by the agent's own where it has any."""
        return cls(
            settings.agent_tokens if tokens is None else tokens,
            settings.agent_usd if usd is None else usd,
            settings.owner_tokens,
            settings.owner_usd,
        )


@dataclass(frozen=True)
class Reservation:
    """A call that may be sent: the number of the attempt, and the claim that makes it ours."""

    call: Call
    attempt: int
    claim: str
    limits: BudgetLimits


@dataclass(frozen=True)
class Recorded:
    """The answer that an earlier attempt got and settled."""

    answer: str


class Ledger:
    """A SQLite file that all workers of a data folder share."""

    def __init__(self, path: Path) -> None:
        self._database = SharedDatabase(path, _SCHEMA)

    def reserve(self, call: Call, limits: BudgetLimits) -> Reservation | Recorded | Spending:
        """Reserve `call` at its maximum.

        Returns:
            The reservation, the answer already settled under its key, or the budget that is spent.
        """
        with self._database.transaction() as ledger:
            row = ledger.execute(
                "SELECT attempt, state, answer FROM calls WHERE key = ? "
                "ORDER BY state = 'answered' DESC, attempt DESC LIMIT 1",
                (call.key,),
            ).fetchone()
            attempt, state, answer = row or (0, "", "")
            if state == "answered":
                return Recorded(answer)
            claim = uuid.uuid4().hex
            if state == "reserved":
                ledger.execute(
                    "UPDATE calls SET claim = ? WHERE key = ? AND attempt = ?", (claim, call.key, attempt)
                )
                return Reservation(call, attempt, claim, limits)
            if state == "sent":
                ledger.execute(
                    "UPDATE calls SET state = 'lost' WHERE key = ? AND attempt = ?", (call.key, attempt)
                )
            for spending in _spendings(ledger, call, limits):
                if _is_spent(spending):
                    return spending
            ledger.execute(
                "INSERT INTO calls (key, attempt, agent, owner_day, model, state, claim, tokens, nano_usd) "
                "VALUES (?, ?, ?, ?, ?, 'reserved', ?, ?, ?)",
                (
                    call.key,
                    attempt + 1,
                    call.agent,
                    call.owner_day,
                    call.model,
                    claim,
                    call.tokens,
                    _nano(call.usd),
                ),
            )
            return Reservation(call, attempt + 1, claim, limits)

    def sending(self, held: Reservation) -> None:
        """Record that the call is being sent.

        Raises:
            ApplicationError: type `CallTakenOver`: another attempt has taken the reservation over.
        """
        with self._database.transaction() as ledger:
            changed = ledger.execute(
                "UPDATE calls SET state = 'sent' "
                "WHERE key = ? AND attempt = ? AND state = 'reserved' AND claim = ?",
                (held.call.key, held.attempt, held.claim),
            ).rowcount
        if not changed:
            raise retry_after("CallTakenOver", f"another attempt makes the call {held.call.key}", _SOON)

    def settle(self, held: Reservation, tokens: int, usd: Decimal | None, answer: str) -> None:
        """Record what the call took and its `answer`, whatever became of the attempt meanwhile."""
        self._end(held, "answered", tokens, _nano(usd), answer)

    def release(self, held: Reservation) -> None:
        """The provider refused the call before working on it: it cost nothing."""
        self._end(held, "released", 0, 0, "")

    def lose(self, held: Reservation) -> None:
        """The provider may have charged an unknown amount: the call counts at its maximum."""
        self._end(held, "lost", held.call.tokens, _nano(held.call.usd), "")

    def nearly_spent(self, call: Call, limits: BudgetLimits) -> list[Spending]:
        """The budgets that passed 80 % with `call`; one call (with its retries) reports each limit."""
        told = []
        with self._database.transaction() as ledger:
            for spending in _spendings(ledger, call, limits):
                if _share(spending) >= NEARLY_SPENT:
                    limit = (spending.scope, f"{spending.tokens_limit}/{spending.usd_limit}")
                    ledger.execute("INSERT OR IGNORE INTO noted VALUES (?, ?, ?)", (*limit, call.key))
                    by = ledger.execute("SELECT key FROM noted WHERE scope = ? AND of = ?", limit).fetchone()
                    told += [spending] if by == (call.key,) else []
        return told

    def grant(
        self,
        key: str,
        scope: str,
        tokens: int,
        usd: Decimal,
        most: tuple[int | None, Decimal | None] = (None, None),
    ) -> bool:
        """Raise the limits of `scope`, once per `key`; False, and nothing is, if that is over `most`.

        `most` is what all grants of the scope may come to, in tokens and in dollars.
        """
        with self._database.transaction() as ledger:
            granted_tokens, granted_nano = _granted(ledger, scope, without=key)
            usd_in_all = granted_nano * NANO + usd
            for value, limit in ((granted_tokens + tokens, most[0]), (usd_in_all, most[1])):
                if limit is not None and value > limit:
                    return False
            ledger.execute(
                "INSERT OR IGNORE INTO grants VALUES (?, ?, ?, ?)", (key, scope, tokens, _nano(usd))
            )
        return True

    def spendings(self, call: Call, limits: BudgetLimits) -> list[Spending]:
        """What currently counts against the limits of the agent and of the owner's day."""
        with self._database.transaction() as ledger:
            return _spendings(ledger, call, limits)

    def _end(self, held: Reservation, state: str, tokens: int, nano_usd: int | None, answer: str) -> None:
        with self._database.transaction() as ledger:
            ledger.execute(
                "UPDATE calls SET state = ?, tokens = ?, nano_usd = ?, answer = ? "
                "WHERE key = ? AND attempt = ?",
                (state, tokens, nano_usd, answer, held.call.key, held.attempt),
            )


def agent_scope(agent: str) -> str:
    """The scope of an agent's own budget."""
    return f"agent:{agent}"


def _spendings(ledger: sqlite3.Connection, call: Call, limits: BudgetLimits) -> list[Spending]:
    return [
        _spending(ledger, "agent", call.agent, limits.agent_tokens, limits.agent_usd),
        _spending(ledger, "owner_day", call.owner_day, limits.owner_tokens, limits.owner_usd),
    ]


def _spending(
    ledger: sqlite3.Connection, column: str, who: str, tokens_limit: int | None, usd_limit: Decimal | None
) -> Spending:
    scope = agent_scope(who) if column == "agent" else f"owner:{who}"
    # `column` is one of two names written above, never from outside.
    total = f"SELECT coalesce(sum(tokens), 0), coalesce(sum(nano_usd), 0) FROM calls WHERE {column} = ?"  # noqa: S608
    tokens, nano = ledger.execute(total, (who,)).fetchone()
    more_tokens, more_nano = _granted(ledger, scope)
    return Spending(
        scope=scope,
        tokens=tokens,
        usd=nano * NANO,
        tokens_limit=None if tokens_limit is None else tokens_limit + more_tokens,
        usd_limit=None if usd_limit is None else usd_limit + more_nano * NANO,
    )


def _granted(ledger: sqlite3.Connection, scope: str, without: str = "") -> tuple[int, int]:
    """The tokens and nanodollars that were granted to a scope, but for the grant of the key `without`."""
    tokens, nano = ledger.execute(
        "SELECT coalesce(sum(tokens), 0), coalesce(sum(nano_usd), 0) FROM grants "
        "WHERE scope = ? AND key != ?",
        (scope, without),
    ).fetchone()
    return tokens, nano


def _is_spent(spending: Spending) -> bool:
    return _share(spending) >= 1


def _share(spending: Spending) -> Decimal:
    tokens = Decimal(spending.tokens) / spending.tokens_limit if spending.tokens_limit else Decimal(0)
    return max(tokens, spending.usd / spending.usd_limit if spending.usd_limit else Decimal(0))


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else int((usd / NANO).to_integral_value(ROUND_CEILING))
