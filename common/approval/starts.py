"""Inputs of workflows that are not agents.

Anyone who can reach Temporal can start any workflow with any argument, and an eraser asks nobody. So a start
counts only if an entry point or a worker has signed it (`signed.py`).
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.digest import digest


class SignedStart(BaseModel):
    """The input of such a workflow; the signature covers all other fields, for its workflow type only."""

    signature: str = Field("", exclude_if=lambda signature: not signature)


def digest_of(request: SignedStart) -> str:
    """The digest of everything but the signature."""
    return digest(request.model_copy(update={"signature": ""}))
