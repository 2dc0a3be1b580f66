"""Signed tokens for people outside: an approval link, a button in Slack, a link that answers a letter.

All expire. Anyone who has a link can decide or answer as the person it is for, so it is sent only to that
person; a button names nobody, because Slack says who pressed it.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from common.approval.signed import sign, verify
from common.approval.signing import Signer
from common.digest import digest

# How long a link is valid if the request itself does not expire.
LINK_LIFETIME = timedelta(days=7)
# A button is of no use to anyone who finds it, and people answer messages after a long leave.
BUTTON_LIFETIME = timedelta(days=90)
# Candidates answer late, and the agent says whether it still asks.
ANSWER_LIFETIME = timedelta(days=90)
MAX_LENGTH = 3000

Text = Annotated[str, Field(min_length=1, max_length=250)]


class BadLinkError(Exception):
    """A link or a button that cannot be used; the message is one line for a person."""


class _Token(BaseModel, frozen=True):
    """A signed token that `agent` handed out, valid until `expires_at`."""

    name: ClassVar[str]
    # What it is signed for, so that one kind of token does not pass for another.
    purpose: ClassVar[str]
    # The order of the values in a token.
    order: ClassVar[tuple[str, ...]]

    agent: Text
    expires_at: AwareDatetime

    def token(self, signer: Signer) -> str:
        """The token as text for a URL.

        Raises:
            SettingsError: there is no key to sign with.
        """
        values = {**self.model_dump(), "expires_at": int(self.expires_at.timestamp())}
        return sign([values[each] for each in self.order], self.purpose, signer)

    @classmethod
    def read(cls, token: str, signer: Signer, now: datetime) -> Self:
        """What a token says.

        Raises:
            BadLinkError: it is damaged, not signed by a key of the ring, or expired.
        """
        found = cls.read_even_expired(token, signer)
        found.require_valid(now)
        return found

    @classmethod
    def read_even_expired(cls, token: str, signer: Signer) -> Self:
        """What a token says, even if expired; raises `BadLinkError` if it is damaged or not ours."""
        try:
            if len(token) > MAX_LENGTH:
                raise ValueError("too long")
            claims = verify(token, cls.purpose, signer)
            return cls.model_validate(dict(zip(cls.order, claims, strict=True)))  # type: ignore[arg-type]
        except (ValueError, TypeError, ValidationError):
            raise BadLinkError(f"this {cls.name} is not whole; use it exactly as it was sent.") from None

    def require_valid(self, now: datetime) -> None:
        """Raise `BadLinkError` if it has expired."""
        if self.expires_at <= now:
            ended = self.expires_at.astimezone(UTC)
            raise BadLinkError(f"this {self.name} expired at {ended:%Y-%m-%d %H:%M} UTC.")


class _SignedRequest(_Token, frozen=True):
    """Names the request `request_id` of `agent`, as long as it is about the plan with `digest`."""

    request_id: Text
    digest: Text


class ApprovalLink(_SignedRequest, frozen=True):
    """A link by which `approver` decides the request."""

    name = "link"
    purpose = "approval link"
    order = ("agent", "request_id", "digest", "approver", "expires_at")

    approver: Text


class ApprovalButton(_SignedRequest, frozen=True):
    """A button for the request; the agent's policy says who may press it."""

    name = "button"
    purpose = "approval button"
    order = ("agent", "request_id", "digest", "expires_at")


class AnswerLink(_Token, frozen=True):
    """A link by which the recipient of the letter `letter` gives the answer `choice`.

    A URL can be read by others on the way, so `recipient` and `letter` are digests that reveal nothing.
    """

    name = "link"
    purpose = "letter answer"
    order = ("agent", "recipient", "letter", "choice", "expires_at")

    recipient: Text
    letter: Text
    choice: Text


def recipient_of(agent: str, chain: str, thread: str) -> str:
    """The name of a letter's recipient in links, for the `thread` of one chain of runs of one agent."""
    return digest([agent, chain, thread])[:24]


def decision_id(token: str, attempt: int = 0) -> str:
    """The id of the decision made by a link: the same for the same link, so that the gate counts it once.

    A decision that the agent refused does not use the link up; the next ``attempt`` has an id of its own.
    """
    return f"link-{hashlib.sha256(token.encode()).hexdigest()[:32]}-{attempt}"
