"""What lets one request be decided away from the agent: an approval link, and a button in Slack.

Both are signed and end. Whoever has a link can decide as the person it names, so it goes to them alone;
a button names nobody, for Slack says who pressed it.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from common.approval.signed import seal, unseal
from common.approval.signing import Signer

# What a link may live where the request itself does not expire.
LINK_LIFETIME = timedelta(days=7)
# A button is of no use to who finds it, and a message may be answered after a long leave.
BUTTON_LIFETIME = timedelta(days=90)
MAX_LENGTH = 3000

Text = Annotated[str, Field(min_length=1, max_length=250)]


class BadLinkError(Exception):
    """Why a link or a button cannot be used; the message is one line for a person."""


class _SealedRequest(BaseModel, frozen=True):
    """Names `request_id` of `agent`, as long as it asks about `digest`."""

    name: ClassVar[str]
    # As the values stand in a token.
    order: ClassVar[tuple[str, ...]]

    agent: Text
    request_id: Text
    digest: Text
    expires_at: AwareDatetime

    def token(self, signer: Signer) -> str:
        """This as text, fit for an address.

        Raises:
            SettingsError: there is no key to sign with.
        """
        values = {**self.model_dump(), "expires_at": int(self.expires_at.timestamp())}
        return seal([values[each] for each in self.order], f"approval {self.name}", signer)

    @classmethod
    def read(cls, token: str, signer: Signer, now: datetime) -> Self:
        """What a token says.

        Raises:
            BadLinkError: it is not whole, not signed by one of the ring's keys, or it has expired.
        """
        try:
            if len(token) > MAX_LENGTH:
                raise ValueError("too long")
            claims = unseal(token, f"approval {cls.name}", signer)
            found = cls.model_validate(dict(zip(cls.order, claims, strict=True)))  # type: ignore[arg-type]
        except (ValueError, TypeError, ValidationError):
            raise BadLinkError(f"this {cls.name} is not whole; use it exactly as it was sent.") from None
        if found.expires_at <= now:
            ended = found.expires_at.astimezone(UTC)
            raise BadLinkError(f"this {cls.name} expired at {ended:%Y-%m-%d %H:%M} UTC.")
        return found


class ApprovalLink(_SealedRequest, frozen=True):
    """What a link says: `approver` may decide the request."""

    name = "link"
    order = ("agent", "request_id", "digest", "approver", "expires_at")

    approver: Text


class ApprovalButton(_SealedRequest, frozen=True):
    """What a button says; who may press it, the agent's policy knows."""

    name = "button"
    order = ("agent", "request_id", "digest", "expires_at")


def decision_id(token: str, attempt: int = 0) -> str:
    """The id of the decision a link makes: the same for the same link, so that the gate counts it once.

    A decision that the agent refused has not used the link up; the next ``attempt`` has an id of its own.
    """
    return f"link-{hashlib.sha256(token.encode()).hexdigest()[:32]}-{attempt}"
