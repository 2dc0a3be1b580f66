"""The link that lets one person decide one request without signing in: signed, expiring, for one decision.

Whoever has the link can decide as the person it names, so it goes to that person alone.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from common.envelope import Signer
from common.sealed import seal, unseal

# What a link may live where the request itself does not expire.
LINK_LIFETIME = timedelta(days=7)
PURPOSE = "approval link"
MAX_LENGTH = 3000

Text = Annotated[str, Field(min_length=1, max_length=250)]


class BadLinkError(Exception):
    """Why a link cannot be used; the message is one line for a person."""


class ApprovalLink(BaseModel, frozen=True):
    """What a link says: `approver` may decide `request_id` of `agent`, as long as it asks about `digest`."""

    agent: Text
    request_id: Text
    digest: Text
    approver: Text
    expires_at: AwareDatetime

    def token(self, ring: Signer) -> str:
        """The link's last part, fit for an address.

        Raises:
            SettingsError: there is no key to sign with.
        """
        expiry = int(self.expires_at.timestamp())
        return seal([self.agent, self.request_id, self.digest, self.approver, expiry], PURPOSE, ring)

    @classmethod
    def read(cls, token: str, ring: Signer, now: datetime) -> ApprovalLink:
        """The link of a token.

        Raises:
            BadLinkError: it is not whole, not signed by one of the ring's keys, or it has expired.
        """
        try:
            if len(token) > MAX_LENGTH:
                raise ValueError("too long")
            claims = unseal(token, PURPOSE, ring)
            fields = ("agent", "request_id", "digest", "approver", "expires_at")
            link = cls.model_validate(dict(zip(fields, claims, strict=True)))  # type: ignore[arg-type]
        except (ValueError, TypeError, ValidationError):
            raise BadLinkError("this link is not whole; open it exactly as it was sent.") from None
        if link.expires_at <= now:
            raise BadLinkError(f"this link expired at {link.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC.")
        return link


def decision_id(token: str, attempt: int = 0) -> str:
    """The id of the decision a link makes: the same for the same link, so that the gate counts it once.

    A decision that the agent refused has not used the link up; the next ``attempt`` has an id of its own.
    """
    return f"link-{hashlib.sha256(token.encode()).hexdigest()[:32]}-{attempt}"
