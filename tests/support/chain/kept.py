"""Scripts that once showed a difference between agent and model, each by what it showed.

A new one is the script that a failing run prints, cut down to what still fails.
"""

from __future__ import annotations

from datetime import timedelta

from tests.support.chain.model import Rules
from tests.support.chain.scripts import Decide, Script, Simple

_REVISED = (Decide(verdict="revise", edits="right"), Decide(which=1, verdict="revise", edits="right"))
_AGAIN = (Decide(by="bob", verdict="reject", again=True), Simple("tell"), Simple("tell"), Simple("tell"))

KEPT: dict[str, Script] = {
    # Paused, the agent holds the one answer, and starts no fresh history while the other is asked again.
    "an answer while another question is revised": Script(
        (
            Rules(
                approvers=("ann", "bob", "owner-1"),
                quorum=3,
                editable=("what",),
                expires_after=timedelta(minutes=317),
            ),
            Rules(approvers=("ann", "bob", "cid"), editable=("what",), expires_after=timedelta(minutes=104)),
        ),
        (
            Simple("pause"),
            *(Simple("leave"), *_REVISED, Simple("back")),
            *_AGAIN,
            *_AGAIN,
            Simple("resume"),
        ),
    ),
}
