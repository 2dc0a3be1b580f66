"""The state of each letter, shared by all workers, so that no letter is sent twice.

Each fact is an immutable object: `outbox/<id>/letter`, written before anything is sent; then, for each
attempt, `<number>`, claimed by a single process before the first byte of the letter leaves; and its outcome,
`<number>.sent`, `.refused`, `.unknown`, or `.failed`, after which the next number may be claimed. If only one
of several letters may be sent, `turns/<id>` names that one.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel

from common.approval.signing import Signer
from common.digest import canonical, digest_bytes
from common.errors import permanent, retry_after
from common.mail import Sent, SentStatus
from common.object_store import ObjectMissingError, ObjectStore, StoredObject

FOLDER = "outbox/"
TURNS = "turns/"
PURPOSE = "mail"
FAILED = "failed"
ID_LENGTH, MAC_LENGTH = 16, 12
TOKEN = re.compile(rf"[a-z2-7]{{{ID_LENGTH + MAC_LENGTH}}}")
# If an attempt gets the server's answer at all, it does within this time.
SETTLE_TIME = timedelta(minutes=7)


class LetterRecord(BaseModel, frozen=True):
    """A letter, without its text. `to` and `content` are digests; without an `agent` it is a notice.

    `mac` signs the other fields, and its beginning is part of the letter's addresses.
    """

    id: str
    agent: str
    thread: str
    to: str
    content: str
    domain: str
    at: AwareDatetime
    key_id: str = ""
    mac: str = ""

    @property
    def token(self) -> str:
        """What identifies the letter in its addresses: 28 letters and digits that nobody else can forge."""
        mac = base64.b32encode(bytes.fromhex(self.mac)).decode().lower()
        return self.id + mac[:MAC_LENGTH]

    @property
    def message_id(self) -> str:
        """The letter's Message-ID, the same at every attempt."""
        return f"<{self.token}@{self.domain}>"

    def reply_address(self, mailbox: str) -> str:
        """Where answers to the letter go: an address of `mailbox` that identifies the letter."""
        local, _, domain = mailbox.rpartition("@")
        return f"{local}+{self.token}@{domain}"

    def signed_bytes(self) -> bytes:
        """The bytes that `mac` signs."""
        return canonical(self.model_copy(update={"key_id": "", "mac": ""}))


@dataclass(frozen=True)
class LetterState:
    """The state of a letter: its outcome, or else the number of the next attempt."""

    sent: Sent | None
    number: int


class Outbox:
    """The records of letters. Its methods block, and raise `StoreUnavailableError` if the store is away."""

    def __init__(
        self,
        store: ObjectStore,
        signer: Signer,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        settle_time: timedelta = SETTLE_TIME,
    ) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._settle_time = settle_time

    def enter(self, key: str, *, agent: str, thread: str, to: str, content: str, domain: str) -> LetterRecord:
        """Record that a letter is to be sent; return its record, which may be from an earlier attempt.

        Raises:
            ApplicationError: type `LetterConflict`: a different letter has the same key.
            SettingsError: there is no key to sign with.
        """
        record = LetterRecord(
            id=letter_id(key),
            agent=agent,
            thread=thread,
            to=address_digest(to),
            content=content,
            domain=domain,
            at=self._clock(),
        )
        stands = self._get(record.id)
        if stands is None:
            key_id, mac = self._signer.mac(PURPOSE, record.signed_bytes())
            record = record.model_copy(update={"key_id": key_id, "mac": mac})
            if self._store.put(_place(record.id), record.model_dump_json().encode(), if_absent=True):
                return record
            stands = self._get(record.id) or record
        if (stands.content, stands.to) != (record.content, record.to):
            raise permanent("LetterConflict", f"another letter was already sent under the key {key[:200]!r}")
        return stands

    def state(self, id: str, message_id: str) -> LetterState:
        """The state of a letter.

        Raises:
            ApplicationError: type `MailBusy`: an attempt may be in progress; the wait outlasts it.
        """
        prefix = f"{FOLDER}{id}/"
        found = {each.key.removeprefix(prefix): each for each in self._store.list(prefix)}
        for name in found:
            status = name.rpartition(".")[2]
            if status in list(SentStatus):
                reason = self._store.get(prefix + name).decode()
                return LetterState(Sent(status=SentStatus(status), message_id=message_id, reason=reason), 0)
        number = max((int(name) for name in found if name.isdecimal()), default=0)
        if number == 0 or f"{_name(number)}.{FAILED}" in found:
            return LetterState(None, number + 1)
        left = found[_name(number)].written_at + self._settle_time - self._clock()
        if left > timedelta():
            # A wrong clock could make it days.
            left = min(left, self._settle_time)
            raise retry_after("MailBusy", "an attempt to send this letter may be under way", left)
        reason = "the worker that sent it died before it heard the server's answer"
        return LetterState(Sent(status=SentStatus.UNKNOWN, message_id=message_id, reason=reason), 0)

    def outcome_of_other(self, exclusive_key: str, record: LetterRecord) -> Sent | None:
        """The outcome of another letter with the same key, unless that one was certainly not sent.

        None if there is no such letter: this one then claims the key.

        Raises:
            ApplicationError: type `MailBusy`: an attempt to send the other letter may be in progress.
        """
        place, own = f"{TURNS}{letter_id(exclusive_key)}", record.id.encode()
        if self._store.put(place, own, if_absent=True):
            return None
        other = self._get(self._store.get(place).decode())
        if other and other.id != record.id:
            sent = self.state(other.id, other.message_id).sent
            if sent and sent.status is not SentStatus.REFUSED:
                return sent
            self._store.put(place, own)
        return None

    def claim(self, id: str, number: int) -> bool:
        """Claim an attempt; True for exactly one of the processes that try."""
        return self._store.put(f"{FOLDER}{id}/{_name(number)}", b"", if_absent=True)

    def settle(self, id: str, number: int, status: SentStatus | str, reason: str = "") -> None:
        """Record the outcome of a claimed attempt: a status, or `FAILED` if it was certainly not sent."""
        self._store.put(f"{FOLDER}{id}/{_name(number)}.{status}", reason.encode(), if_absent=True)

    def find(self, token: str) -> LetterRecord | None:
        """The letter that a token identifies; None if the token is not ours. Case is ignored."""
        token = token.lower()
        if not TOKEN.fullmatch(token):
            return None
        record = self._get(token[:ID_LENGTH])
        if record is None or record.token != token:
            return None
        signed = self._signer.is_mac(PURPOSE, record.signed_bytes(), record.key_id, record.mac)
        return record if signed else None

    def counts(self) -> dict[str, int]:
        """The number of letters by outcome; `open` for those without one yet."""
        states: dict[str, str] = {}
        for each in self._store.list(FOLDER):
            id, _, name = each.key.removeprefix(FOLDER).partition("/")
            status = name.rpartition(".")[2]
            states[id] = status if status in list(SentStatus) else states.get(id, "open")
        return {status: list(states.values()).count(status) for status in (*SentStatus, "open")}

    def _get(self, id: str) -> LetterRecord | None:
        try:
            return LetterRecord.model_validate_json(self._store.get(_place(id)))
        except ObjectMissingError:
            return None


def objects_of(store: ObjectStore, agents: Collection[str]) -> list[StoredObject]:
    """Everything the outbox holds about these agents' letters. Reads every letter in the store."""
    listed = list(store.list(FOLDER)) if agents else []
    listed_turns = list(store.list(TURNS)) if agents else []
    theirs = set()
    for each in listed:
        folder, _, name = each.key.rpartition("/")
        if name == "letter" and LetterRecord.model_validate_json(store.get(each.key)).agent in agents:
            theirs.add(folder)
    turns = [each for each in listed_turns if FOLDER + store.get(each.key).decode() in theirs]
    return [each for each in listed if each.key.rpartition("/")[0] in theirs] + turns


def letter_id(key: str) -> str:
    """The id of the letter with an idempotency key; it reveals nothing about the agent."""
    return base64.b32encode(hashlib.sha256(key.encode()).digest()[:10]).decode().lower()


def address_digest(address: str) -> str:
    """The digest kept instead of an address, to recognise it by. Ignores case, as mail systems do."""
    return digest_bytes(address.strip().lower().encode("utf-8", "replace"))


def _place(id: str) -> str:
    return f"{FOLDER}{id}/letter"


def _name(number: int) -> str:
    return f"{number:04}"
