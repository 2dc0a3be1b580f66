"""Scripts that once showed a difference between agent and model, named after it.

To add one, take the script that a failing run prints, minimized to what still fails.
"""

from __future__ import annotations

from datetime import timedelta

from tests.support.chain.model import Rules
from tests.support.chain.scripts import Advance, Decide, Script, Simple

_REVISED = (Decide(verdict="revise", edits="right"), Decide(which=1, verdict="revise", edits="right"))
_AGAIN = (Decide(by="bob", verdict="reject", again=True), Simple("tell"), Simple("tell"), Simple("tell"))

REGRESSIONS: dict[str, Script] = {
    # While paused, the agent holds one answer, and must not continue as new while the other is asked again.
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
    # While paused, one question expires and is given up while the other is asked again; its answer must be
    # carried into the history that is then started.
    "an expired question beside one that is asked again": Script(
        (
            Rules(
                approvers=("ann", "@desk", "bob"),
                quorum=3,
                requester_may=True,
                reminders=(timedelta(minutes=23), timedelta(minutes=71)),
                others=("dee",),
                expires_after=timedelta(minutes=317),
            ),
            Rules(
                approvers=("ann", "bob", "owner-1"),
                reminders=(timedelta(minutes=30), timedelta(minutes=78)),
                others=("dee",),
                escalate_after=timedelta(minutes=164),
                expires_after=timedelta(minutes=324),
                on_expiry="ask_again",
            ),
        ),
        (
            Simple("pause"),
            Decide(which=1, verdict="revise", edits="ill-typed"),
            Advance(timedelta(days=15)),
            Simple("resume"),
            Simple("restart"),
        ),
    ),
}
