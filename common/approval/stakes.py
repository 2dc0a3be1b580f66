"""What an agent's input or plan would spend, send and run, in the units that an operator's policy limits."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel


class Stakes(BaseModel, frozen=True):
    """The most that an input or a plan could do.

    Attributes:
        order: the cost of an order at its limit, in the currency of the quotes.
        recipients: mail addresses and hosts that something is sent to.
        agent_tokens, agent_usd: what an agent's budget for language models would amount to.
        owner_tokens, owner_usd: likewise, for all agents of an owner in a day.
        runs_project_code: whether code of an audited project is run.
    """

    order: Decimal = Decimal(0)
    recipients: tuple[str, ...] = ()
    agent_tokens: int = 0
    agent_usd: Decimal = Decimal(0)
    owner_tokens: int = 0
    owner_usd: Decimal = Decimal(0)
    runs_project_code: bool = False


def stakes_of(plan: object) -> Stakes:
    """What is at stake in ``plan``, as its property `stakes` says; nothing if it has none."""
    found = getattr(plan, "stakes", None)
    return found if isinstance(found, Stakes) else Stakes()
