"""Inputs of the workflows that are no agents.

Whoever reaches Temporal can start any workflow with any argument, and an eraser asks nobody. So only starts
count that an entry point or a worker has signed (`signed.py`).
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from common.digest import digest


class SignedStart(BaseModel):
    """The input of such a workflow; the signature is of all the rest, for its type of workflow alone."""

    signature: str = Field("", exclude_if=lambda signature: not signature)


def digest_of(request: SignedStart) -> str:
    """The digest of all but the signature."""
    return digest(request.model_copy(update={"signature": ""}))
