"""Settings of markets: where prices come from, and which broker takes orders."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.grammar import PLAIN_NUMBER, Duration
from common.settings.base import OR_NONE, Group, setting


class TradingSettings(Group):
    """Prices and broker. `speed` is in days of the file per day; `stale` is None if any age will do."""

    quotes: str = setting(
        "HIBERNAUT_QUOTES",
        "Source of prices: path of a CSV file of closes (`Date,AAA,BBB,…`, also `.gz`) that is replayed, an "
        "address with `{symbol}` in it that answers JSON, `alpaca`, or `twelvedata`. Empty: a sample of real "
        "closes of 2008 and 2009.",
    )
    speed: Annotated[float, Field(ge=0, le=1_000_000), PLAIN_NUMBER] = setting(
        "HIBERNAUT_QUOTES_SPEED", "Days of the CSV file that pass in one day; 0 stands still.", default="1"
    )
    price: str = setting(
        "HIBERNAUT_QUOTES_PRICE", "Path of the price in the JSON, `data.0.last` for example.", default="price"
    )
    time: str = setting(
        "HIBERNAUT_QUOTES_TIME", "Path of the price's time in the JSON. Empty: the price counts as of now."
    )
    stale: Annotated[Duration | None, OR_NONE] = setting(
        "HIBERNAUT_QUOTES_STALE",
        "Age from which a price no longer counts, `15m` for example. Empty: any age.",
    )
    broker: Literal["paper", "alpaca-paper", "alpaca-live"] = setting(
        "HIBERNAUT_BROKER",
        "The broker: `paper` (its book in the database), `alpaca-paper` or `alpaca-live`.",
        default="paper",
    )
    market: Literal["always", "NYSE"] = setting(
        "HIBERNAUT_MARKET",
        "When the paper broker fills orders: `always`, or `NYSE` for its sessions and holidays.",
        default="always",
    )
    alpaca_key: str = setting("HIBERNAUT_ALPACA_KEY", "Key id for Alpaca.")
    alpaca_secret: str = setting("HIBERNAUT_ALPACA_SECRET", "Secret for Alpaca.", secret=True)
    alpaca_address: str = setting(
        "HIBERNAUT_ALPACA_ADDRESS", "Another address that speaks Alpaca's protocol. Empty: Alpaca's own."
    )

    twelve_data_key: str = setting("HIBERNAUT_TWELVE_DATA_KEY", "Key for Twelve Data.", secret=True)
    twelve_data_address: str = setting(
        "HIBERNAUT_TWELVE_DATA_ADDRESS",
        "Another address that speaks Twelve Data's protocol. Empty: Twelve Data's own.",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if "alpaca" in (self.quotes, self.broker.partition("-")[0]):
            for name, value in (("KEY", self.alpaca_key), ("SECRET", self.alpaca_secret)):
                if not value:
                    raise ValueError(f"HIBERNAUT_ALPACA_{name} is not set, and Alpaca needs it")
        if self.quotes == "twelvedata" and not self.twelve_data_key:
            raise ValueError("HIBERNAUT_TWELVE_DATA_KEY is not set, and Twelve Data needs it")
        if self.stale and "{symbol}" in self.quotes and not self.time:
            raise ValueError("HIBERNAUT_QUOTES_STALE needs HIBERNAUT_QUOTES_TIME: an age needs a time")
        return self
