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
"""


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
        parts = self.key.split(":")
        return next(
            part for part in parts if part in ("first", "follow_up", "proposal", "reply", "invitation")
        )


class LedgerOutbox:
    """Sends by writing a row. What is asked for again under a key is looked up, as a mail server cannot.

    Args:
        path: of the file.
        pause: seconds from when a letter has gone out to when its sender is told.
    """

    def __init__(self, path: Path, pause: float = 0.0) -> None:
        self.path = path
        self._pause = pause
        self.lose = 0
        self.away = False
        self.tried = 0
        with closing(self._open()) as ledger:
            ledger.executescript(_SCHEMA)

    async def send(self, letter: Letter, turn: str = "") -> Sent:
        """Write a row unless there is one under this key; then the sender may die before it is told.

        Turns are the mail's own matter.
        """
        if self.away:
            self.tried += 1
            raise ConnectionRefusedError("the mail server is away")
        with closing(self._open()) as ledger, ledger:
            ledger.execute("BEGIN IMMEDIATE")
            found = _found(ledger, letter)
            if found is not None:
                return found
            row = ledger.execute("SELECT status FROM refusing WHERE receiver = ?", (letter.to,)).fetchone()
            if row is not None and row[0] == SentStatus.REFUSED:
                return Sent(status=SentStatus.REFUSED, message_id="", reason="550 no such user")
            ledger.execute(
                "INSERT INTO letters (key, agent, thread, receiver, subject, text, calendar, in_reply_to) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(letter.key, letter.agent, letter.thread, letter.to),
                    *(letter.subject, letter.text, letter.calendar, letter.in_reply_to),
                ),
            )
        if self._pause:
            # Of an invitation longer: there is one, and whoever wants to kill its sender has to hit.
            await asyncio.sleep(self._pause * (30 if letter.calendar else 1))
        if self.lose:
            self.lose -= 1
            raise ConnectionResetError("the connection broke")
        if row is not None:
            return Sent(status=SentStatus(row[0]), message_id=f"<{letter.key}@test>", reason="no answer")
        return Sent(status=SentStatus.SENT, message_id=f"<{letter.key}@test>")

    async def find(self, letter: Letter) -> Sent | None:
        """Whether it went out."""
        with closing(self._open()) as ledger:
            return _found(ledger, letter)

    def refuse(self, to: str, status: SentStatus = SentStatus.REFUSED) -> None:
        """From now on mail to this address comes to that."""
        with closing(self._open()) as ledger, ledger:
            ledger.execute("INSERT OR REPLACE INTO refusing VALUES (?, ?)", (to, status))

    def letters(self, kind: str = "", agent: str = "") -> list[Delivered]:
        """What went out, in order; of one kind, or of one agent."""
        with closing(self._open()) as ledger:
            rows = ledger.execute(
                "SELECT key, agent, thread, receiver, subject, text, calendar, in_reply_to FROM letters "
                "ORDER BY number"
            ).fetchall()
        found = [Delivered(*row) for row in rows]
        return [each for each in found if kind in ("", each.kind) and agent in ("", each.agent)]

    def _open(self) -> sqlite3.Connection:
        ledger = sqlite3.connect(self.path, timeout=30)
        ledger.execute("PRAGMA journal_mode=WAL")
        # What a killed process wrote the system keeps; a power cut is no part of the tests.
        ledger.execute("PRAGMA synchronous=OFF")
        return ledger


def _found(ledger: sqlite3.Connection, letter: Letter) -> Sent | None:
    row = ledger.execute("SELECT 1 FROM letters WHERE key = ?", (letter.key,)).fetchone()
    return Sent(status=SentStatus.SENT, message_id=f"<{letter.key}@test>") if row else None
