"""Scripts to play with an agent and its model: what may happen, in any order.

They are plain data, drawn in advance, so that a failing one shrinks and is readable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain

from hypothesis import strategies as st

from tests.support.chain.model import Rules

PEOPLE = ("ann", "bob", "cid", "dee", "gus", "eve", "owner-1")
GROUPS = {"desk": {"ann", "gus"}}


@dataclass(frozen=True)
class Decide:
    """A decision. `request`: open, closed or future; `flaw`: what is wrong with its envelope."""

    which: int = 0
    by: str = "ann"
    verdict: str = "approve"
    edits: str = ""
    request: str = "open"
    stale: bool = False
    flaw: str = ""
    again: bool = False


@dataclass(frozen=True)
class AtOnce:
    """Two decisions sent before the agent can judge either."""

    first: Decide
    second: Decide


@dataclass(frozen=True)
class Advance:
    """Time passes."""

    duration: timedelta


@dataclass(frozen=True)
class Move:
    """The fact changes its value."""

    value: int


@dataclass(frozen=True)
class Simple:
    """pause, resume, restart, leave (the worker stops), back, tell, look; lose and find the fact's source."""

    what: str


Action = Decide | AtOnce | Advance | Move | Simple


@dataclass(frozen=True)
class Script:
    """One sequence: the policies, then what happens."""

    rules: tuple[Rules, ...]
    actions: tuple[Action, ...]


def _minutes(*choices: int) -> st.SearchStrategy[timedelta]:
    return st.sampled_from([timedelta(minutes=each) for each in choices])


@st.composite
def rules(draw: st.DrawFn, apart: timedelta = timedelta()) -> Rules:
    """A satisfiable policy; its durations are odd, so that no two of them coincide."""
    approvers = draw(
        st.sampled_from(
            [("ann", "bob", "cid"), ("ann", "@desk", "bob"), ("ann", "bob", "owner-1"), ("@desk",)]
        )
    )
    others = draw(st.sampled_from([(), ("dee",)]))
    expires = draw(st.none() | _minutes(97, 317))
    escalates = draw(st.none() | _minutes(41, 157)) if others else None
    on_expiry = draw(st.sampled_from(["give_up", "ask_again", "escalate" if others else "ask_again"]))
    return Rules(
        approvers=approvers,
        quorum=draw(st.sampled_from([1, 1, 2, 2, 3])),
        requester_may=draw(st.booleans()),
        editable=draw(st.sampled_from([(), ("what",), ("what",)])),
        reminders=draw(st.sampled_from([(), (timedelta(minutes=23) + apart, timedelta(minutes=71) + apart)])),
        others=others,
        escalate_after=escalates + apart if escalates else None,
        expires_after=expires + apart if expires else None,
        on_expiry=on_expiry,
    )


_good = st.builds(
    Decide,
    which=st.integers(0, 1),
    by=st.sampled_from(["ann", "ann", "bob", "bob", "cid", "dee", "gus", "owner-1"]),
    verdict=st.sampled_from(["approve"] * 5 + ["reject"]),
)
_revise = st.builds(
    Decide,
    which=st.integers(0, 1),
    by=st.sampled_from(["ann", "bob"]),
    verdict=st.just("revise"),
    edits=st.sampled_from(["right", "right", "right", "forbidden", "ill-typed", ""]),
)
_one_flaw = [
    *({"flaw": each} for each in ("unsigned", "forged", "foreign", "outdated", "unknown key")),
    *({"by": each} for each in ("eve", "owner-1", "dee")),
    *({"request": each} for each in ("closed", "future", "future")),
    *({"stale": True}, {"stale": True}, {"again": True}, {"again": True}, {"edits": "right"}),
]
_flawed = st.builds(lambda decision, flaw: replace(decision, **flaw), _good, st.sampled_from(_one_flaw))
_any = st.builds(
    Decide,
    which=st.integers(0, 1),
    by=st.sampled_from(PEOPLE),
    verdict=st.sampled_from(["approve", "reject", "revise"]),
    edits=st.sampled_from(["", "right"]),
    request=st.sampled_from(["open", "closed", "future"]),
    stale=st.booleans(),
    flaw=st.sampled_from(["", "", "unsigned", "forged"]),
)
decisions = st.one_of(_good, _good, _revise, _flawed, _any)
_simple = st.sampled_from(
    [Simple(each) for each in ("pause", "resume", "restart", "lose", "find", "tell", "look")]
)
_time = st.builds(Advance, _minutes(15, 60, 60, 120, 360, 1440, 15 * 1440))
_fact = st.builds(Move, st.sampled_from([10, 11, 12]))
_at_once = st.builds(AtOnce, decisions, decisions)
# Some things only make sense together: a worker is away while time passes and people decide.
_leave, _back = st.just(Simple("leave")), st.just(Simple("back"))
bits = st.one_of(
    *(st.tuples(each) for each in (_good, _good, _good, _revise, _flawed, _flawed, _any, _at_once)),
    *(st.tuples(each) for each in (_time, _time, _fact, _simple, _simple, _simple)),
    st.tuples(_leave, _time, decisions, _back),
    st.tuples(_leave, _time, _at_once, _back),
    st.tuples(_leave, decisions, _simple, decisions, _back),
    st.tuples(st.just(Simple("pause")), decisions, _fact | _time, st.just(Simple("resume"))),
    st.tuples(st.just(Simple("restart")), decisions),
)


@st.composite
def scripts(draw: st.DrawFn, longest: int) -> Script:
    """One or two questions, and up to `longest` groups of one to five actions."""
    first = draw(rules())
    second = draw(st.none() | rules(apart=timedelta(minutes=7)))
    happens = draw(st.lists(bits, min_size=3, max_size=longest))
    return Script((first, second) if second else (first,), tuple(chain.from_iterable(happens)))
