"""Checks who started a workflow that is not an agent. An activity, so that keys stay out of workflows."""

from __future__ import annotations

from pydantic import BaseModel
from temporalio import activity

from common.approval.signed import is_signed_start
from common.approval.signing import Signer
from common.errors import permanent


class StartCheck(BaseModel, frozen=True):
    """A start: the workflow's type, the digest of its input, and the signature of that start."""

    kind: str
    digest: str
    signature: str


class StartChecks:
    """The activity that checks signatures with this process's keys."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @activity.defn(name="check_start")
    async def check_start(self, check: StartCheck) -> None:
        """Let the workflow continue if an entry point or a worker signed its start with exactly this input.

        Raises:
            ApplicationError: type `ForgedStart`, permanent.
        """
        if not is_signed_start(check.kind, check.digest, check.signature, self._signer):
            raise permanent(
                "ForgedStart",
                f"nothing was done: no entry point signed this start of {check.kind}, or its key is unknown",
            )
