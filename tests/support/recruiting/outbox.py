"""An outbox in a SQLite file, which outlives every process: one row for each letter sent."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from common.mail import Letter, Sent, SentStatus

_SCHEMA = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY, key TEXT, agent TEXT, thread TEXT, receiver TEXT, subject TEXT, text TEXT,
    calendar TEXT, in_reply_to TEXT
);
CREATE INDEX IF NOT EXISTS letters_by_key ON letters (key);
CREATE TABLE IF NOT EXISTS refusing (receiver TEXT PRIMARY KEY, status TEXT);
CREATE TABLE IF NOT EXISTS held (kind TEXT PRIMARY KEY, most INTEGER);
"""
KINDS = ("first", "follow_up", "proposal", "reply", "invitation")
LOOK_AGAIN = 0.05


@dataclass(frozen=True)
class Delivered:
    """A letter that was sent."""

    key: str
    agent: str
    thread: str
    to: str
    subject: str
    text: str
    calendar: str
    in_reply_to: str

    @property
    def kind(self) -> str:
        """The kind of letter: first, follow_up, proposal, reply, invitation."""
        return _kind(self.key)


class LedgerOutbox:
    """Sends by writing a row. Unlike a mail server, it finds a letter already sent under the same key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lose = 0
        self.away = False
        self.tried = 0
        with closing(self._open()) as ledger:
            ledger.executescript(_SCHEMA)

    async def send(self, letter: Letter, exclusive_key: str = "") -> Sent:
        """Write a row unless the key has one; then the sender may be killed before it gets the result.

        `exclusive_key` is ignored; only real mail uses it.
        """
        if self.away:
            self.tried += 1
            raise ConnectionRefusedError("the mail server is away")
        while (written := self._write(letter)) is None:
            await asyncio.sleep(LOOK_AGAIN)
        sent, goes_out = written
        while goes_out and self._is_held(letter):
            await asyncio.sleep(LOOK_AGAIN)
        if goes_out and self.lose:
            self.lose -= 1
            raise ConnectionResetError("the connection broke")
        return sent

    async def find(self, letter: Letter) -> Sent | None:
        """The result of the letter if it was sent."""
        with closing(self._open()) as ledger:
            return _found(ledger, letter)

    def refuse(self, to: str, status: SentStatus = SentStatus.REFUSED) -> None:
        """From now on mail to this address ends with this status."""
        with closing(self._open()) as ledger, ledger:
            ledger.execute("INSERT OR REPLACE INTO refusing VALUES (?, ?)", (to, status))

    def hold(self, kind: str, most: int) -> None:
        """Until `release`, `most` letters of this kind are sent, but without a result; the others wait."""
        with closing(self._open()) as ledger, ledger:
            ledger.execute("INSERT INTO held VALUES (?, ?)", (kind, most))

    def release(self) -> None:
        """Release all held letters."""
        with closing(self._open()) as ledger, ledger:
            ledger.execute("DELETE FROM held")

    def letters(self, kind: str = "", agent: str = "") -> list[Delivered]:
        """The letters sent, in order; of one kind or agent if given."""
        with closing(self._open()) as ledger:
            rows = ledger.execute(
                "SELECT key, agent, thread, receiver, subject, text, calendar, in_reply_to FROM letters "
                "ORDER BY number"
            ).fetchall()
        found = [Delivered(*row) for row in rows]
        return [each for each in found if kind in ("", each.kind) and agent in ("", each.agent)]

    def _write(self, letter: Letter) -> tuple[Sent, bool] | None:
        """The result, and whether the letter was sent just now; None if it has to wait."""
        with closing(self._open()) as ledger, ledger:
            ledger.execute("BEGIN IMMEDIATE")
            found = _found(ledger, letter)
            if found is not None:
                return found, False
            row = ledger.execute("SELECT status FROM refusing WHERE receiver = ?", (letter.to,)).fetchone()
            if row is not None and row[0] == SentStatus.REFUSED:
                return Sent(status=SentStatus.REFUSED, message_id="", reason="550 no such user"), False
            most = _most(ledger, letter)
            keys = ledger.execute("SELECT key FROM letters").fetchall() if most is not None else []
            if most is not None and sum(_kind(key) == _kind(letter.key) for (key,) in keys) >= most:
                return None
            ledger.execute(
                "INSERT INTO letters (key, agent, thread, receiver, subject, text, calendar, in_reply_to) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(letter.key, letter.agent, letter.thread, letter.to),
                    *(letter.subject, letter.text, letter.calendar, letter.in_reply_to),
                ),
            )
        id = f"<{letter.key}@test>"
        if row is not None:
            return Sent(status=SentStatus(row[0]), message_id=id, reason="no answer"), True
        return Sent(status=SentStatus.SENT, message_id=id), True

    def _is_held(self, letter: Letter) -> bool:
        with closing(self._open()) as ledger:
            return _most(ledger, letter) is not None

    def _open(self) -> sqlite3.Connection:
        ledger = sqlite3.connect(self.path, timeout=30)
        ledger.execute("PRAGMA journal_mode=WAL")
        # The operating system keeps what a killed process wrote; power failures are not tested.
        ledger.execute("PRAGMA synchronous=OFF")
        return ledger


def _found(ledger: sqlite3.Connection, letter: Letter) -> Sent | None:
    row = ledger.execute("SELECT 1 FROM letters WHERE key = ?", (letter.key,)).fetchone()
    return Sent(status=SentStatus.SENT, message_id=f"<{letter.key}@test>") if row else None


def _most(ledger: sqlite3.Connection, letter: Letter) -> int | None:
    """How many letters of its kind may be sent while that kind is held; None if it is not held."""
    row = ledger.execute("SELECT most FROM held WHERE kind = ?", (_kind(letter.key),)).fetchone()
    return None if row is None else int(row[0])


def _kind(key: str) -> str:
    return next(part for part in key.split(":") if part in KINDS)
