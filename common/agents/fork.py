"""Forks: agents that go on from a state that another agent had, and which of their effects are held.

If a fork's effects are held, every activity that acts on the world stops at `hold`. The mark is made at the
agent's start and travels in a header that no agent writes itself, so none can get around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from pydantic import BaseModel, JsonValue, ValidationError
from temporalio import activity, workflow

from common.errors import permanent
from common.hints import command

# The memo field of an agent, and the header of its activities, that hold its mark.
FORK = "fork"
# The mark of the agent that called the activity running here; the worker sets it.
CALLER: ContextVar[Fork | None] = ContextVar("fork", default=None)


class Fork(BaseModel, frozen=True):
    """What an agent is a fork of: which agent, at which node, in which of its runs.

    `effects`: it acts on the world like any other agent. Otherwise what would act is answered from what the
    other one has on record, or refused.
    """

    of: str
    run_id: str
    node: str
    effects: bool = False

    @property
    def words(self) -> str:
        """In a few words for people."""
        return f"fork of {self.of} at {self.node}" + ("" if self.effects else ", effects held")

    @property
    def evidence(self) -> str:
        """What people who decide for it have to know."""
        if self.effects:
            return f"this is a fork of {self.of} at {self.node}, which may ask or do the same"
        return f"this is a fork of {self.of} at {self.node}: its effects are held, nothing is done outside"

    @property
    def refusal(self) -> str:
        """Why something was not done, and what to do."""
        return (
            f"the effects of this fork are held, and {self.of} has nothing like it on record; "
            f"{command('fork', self.of, '--at', self.node, '--effects')} starts one that acts"
        )


def caveats() -> tuple[str, ...]:
    """What people who decide for the current agent have to know about it."""
    try:
        mark = workflow.memo_value(FORK, None)
        return (Fork.model_validate(mark).evidence,) if mark is not None else ()
    except ValidationError:
        return ("this may be a fork of another agent: nobody can read its mark, and nothing is done outside",)


def mark_of(fork: Fork | None) -> dict[str, JsonValue]:
    """The memo of a workflow whose activities act for this fork; empty without one."""
    return {FORK: fork.model_dump()} if fork else {}


class HeldError(Exception):
    """An effect that is held; `aside` are fields of the request that may differ from the one on record."""

    def __init__(self, aside: Sequence[str] = ()) -> None:
        super().__init__("held")
        self.aside = aside


def hold(aside: Sequence[str] = (), *, key: str = "") -> None:
    """Return if the calling agent may act on the world.

    Args:
        aside: fields of the activity's request that may differ between two attempts at the same thing.
        key: the idempotency key of what is acted on, if that was begun before.

    Raises:
        HeldError: the effects of the caller are held; the worker answers instead of the activity.
        ApplicationError: type `NotItsOwn`, permanent: the key belongs to the agent that the caller is a
            fork of.
    """
    fork = CALLER.get()
    if fork is None:
        return
    if not fork.effects:
        raise HeldError(aside)
    if key and not key.startswith(f"{activity.info().workflow_id}:"):
        raise permanent("NotItsOwn", f"that was begun by {fork.of}, and a fork leaves it alone")


def key_on_record(key: str) -> str:
    """The key under which the effect of `key` is on record: if effects are held, the original agent's."""
    fork, own = CALLER.get(), f"{activity.info().workflow_id}:"
    return f"{fork.of}:{key.removeprefix(own)}" if fork and not fork.effects and key.startswith(own) else key


def marked(text: str) -> str:
    """`text`, a notice of the calling agent, prefixed with what the agent is a fork of."""
    fork = CALLER.get()
    return f"[{fork.words}] {text}" if fork else text
