"""Signed starts of the workflows that are no agents.

Whoever reaches Temporal can start any workflow with any argument, and an eraser asks nobody. So only starts
count that an entry point or a worker has signed.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, Field

from common.approval.signed import sign, verify
from common.approval.signing import Signer
from common.digest import digest


class SignedStart(BaseModel):
    """The input of such a workflow; the signature is of all the rest, for its type of workflow alone."""

    signature: str = Field("", exclude_if=lambda signature: not signature)


Request = TypeVar("Request", bound=SignedStart)


def sign_start(kind: str, request: Request, signer: Signer) -> Request:
    """``request`` with its signature, for a workflow of the type ``kind``.

    Raises:
        SettingsError: there is no key to sign with.
    """
    return request.model_copy(update={"signature": sign(digest_of(request), _purpose(kind), signer)})


def is_signed_start(kind: str, digest: str, signature: str, signer: Signer) -> bool:
    """Whether the ``signature`` is that of a request with this ``digest``."""
    try:
        return verify(signature, _purpose(kind), signer) == digest
    except ValueError:
        return False


def digest_of(request: SignedStart) -> str:
    """The digest of all but the signature."""
    return digest(request.model_copy(update={"signature": ""}))


def _purpose(kind: str) -> str:
    return f"start {kind}"
