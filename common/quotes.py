"""What a price is, for agents that trade and agents that watch. Money is never a float."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from common.agents.fields import Amount
from common.error_message import ErrorMessage
from common.shown import Shown

Money = Amount
# As the price source names it; at some sources, names of indices begin with `^`.
Symbol = Annotated[
    str,
    Field(pattern=r"^\^?[A-Z0-9][A-Z0-9.\-/]{0,19}$"),
    ErrorMessage("must be a symbol such as KO, BRK.B or ^GSPC, in capital letters"),
]


class Quote(BaseModel, frozen=True):
    """What one unit of `symbol` cost at the moment `at`, and according to whom."""

    symbol: Annotated[Symbol, Shown(internal=True)]
    price: Annotated[Money, Shown("Price")]
    at: Annotated[AwareDatetime, Shown("As of")]
    source: Annotated[str, Shown("Source")]
