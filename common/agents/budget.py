"""The plan to raise a budget for language models, which an agent of any kind may ask about."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from common.approval.stakes import Stakes
from common.shown import Shown


class BudgetPlan(BaseModel, frozen=True):
    """What a human approves when a budget is spent: this much on top of the current limits.

    `tokens` and `usd` may be edited. The rest says what was spent, and makes each plan unique.
    """

    tokens: Annotated[int, Shown("Tokens more", unit="tokens")] = Field(ge=0)
    usd: Annotated[Decimal, Shown("Money more", currency="USD")] = Field(ge=0)
    scope: Annotated[str, Shown("Whose budget", order=1)]
    spent_tokens: Annotated[int, Shown(unit="tokens")]
    spent_usd: Annotated[Decimal, Shown("Spent money", currency="USD")]
    tokens_limit: Annotated[int | None, Shown("Limit of tokens", unit="tokens")]
    usd_limit: Annotated[Decimal | None, Shown("Limit of money", currency="USD")]

    @property
    def stakes(self) -> Stakes:
        """The budget after the raise."""
        whose = self.scope.partition(":")[0]
        tokens, usd = (self.tokens_limit or 0) + self.tokens, (self.usd_limit or Decimal(0)) + self.usd
        return Stakes.model_validate({f"{whose}_tokens": tokens, f"{whose}_usd": usd})
