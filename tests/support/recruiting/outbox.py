"""An outbox on a SQLite file, which outlives every process: a row for each time a letter went out."""

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
    """A letter that went out."""

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
        """Which letter it is: first, follow_up, proposal, reply, invitation."""
        return _kind(self.key)


class LedgerOutbox:
    """Sends by writing a row. What is asked for again under a key is looked up, as a mail server cannot."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lose = 0
        self.away = False
        self.tried = 0
        with closing(self._open()) as ledger:
            ledger.executescript(_SCHEMA)

    async def send(self, letter: Letter, exclusive_key: str = "") -> Sent:
        """Write a row unless there is one under this key; then the sender may die before it is told.

        Exclusive keys are the mail's own matter.
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
        """Whether it went out."""
        with closing(self._open()) as ledger:
            return _found(ledger, letter)

    def refuse(self, to: str, status: SentStatus = SentStatus.REFUSED) -> None:
        """From now on mail to this address comes to that."""
        with closing(self._open()) as ledger, ledger:
            ledger.execute("INSERT OR REPLACE INTO refusing VALUES (?, ?)", (to, status))

    def hold(self, kind: str, most: int) -> None:
        """Until `release`, so many letters of this kind go out, and nobody is told; the others wait."""
        with closing(self._open()) as ledger, ledger:
            ledger.execute("INSERT INTO held VALUES (?, ?)", (kind, most))

    def release(self) -> None:
        """Let what is held go on."""
        with closing(self._open()) as ledger, ledger:
            ledger.execute("DELETE FROM held")

    def letters(self, kind: str = "", agent: str = "") -> list[Delivered]:
        """What went out, in order; of one kind, or of one agent."""
        with closing(self._open()) as ledger:
            rows = ledger.execute(
                "SELECT key, agent, thread, receiver, subject, text, calendar, in_reply_to FROM letters "
                "ORDER BY number"
            ).fetchall()
        found = [Delivered(*row) for row in rows]
        return [each for each in found if kind in ("", each.kind) and agent in ("", each.agent)]

    def _write(self, letter: Letter) -> tuple[Sent, bool] | None:
        """What comes of it, and whether it has gone out just now; None where it has to wait."""
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
        # What a killed process wrote the system keeps; a power cut is no part of the tests.
        ledger.execute("PRAGMA synchronous=OFF")
        return ledger


def _found(ledger: sqlite3.Connection, letter: Letter) -> Sent | None:
    row = ledger.execute("SELECT 1 FROM letters WHERE key = ?", (letter.key,)).fetchone()
    return Sent(status=SentStatus.SENT, message_id=f"<{letter.key}@test>") if row else None


def _most(ledger: sqlite3.Connection, letter: Letter) -> int | None:
    """How many letters of its kind may go out, where that is held."""
    row = ledger.execute("SELECT most FROM held WHERE kind = ?", (_kind(letter.key),)).fetchone()
    return None if row is None else int(row[0])


def _kind(key: str) -> str:
    return next(part for part in key.split(":") if part in KINDS)
