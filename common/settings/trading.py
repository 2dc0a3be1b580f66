"""Settings of the buyer's outside systems: where prices come from, and which broker takes orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation

from common.settings.base import Setting, SettingsError, Values, duration, one_of

QUOTES = Setting(
    "HIBERNAUT_QUOTES",
    "",
    "Source of prices: path of a CSV file of closes (`Date,AAA,BBB,…`, also `.gz`) that is replayed, an "
    "address with `{symbol}` in it that answers JSON, or `alpaca`. Empty: a sample of real closes of 2008 "
    "and 2009.",
)
QUOTES_SPEED = Setting(
    "HIBERNAUT_QUOTES_SPEED", "1", "Days of the CSV file that pass in a day; 0 stands still."
)
QUOTES_PRICE = Setting(
    "HIBERNAUT_QUOTES_PRICE", "price", "Where in the JSON the price stands, `data.0.last` for example."
)
QUOTES_TIME = Setting(
    "HIBERNAUT_QUOTES_TIME", "", "Where in the JSON the price's time stands. Empty: it counts as of now."
)
QUOTES_STALE = Setting(
    "HIBERNAUT_QUOTES_STALE",
    "",
    "Age from which a price no longer counts, `15m` for example. Empty: any age.",
)
BROKER = Setting(
    "HIBERNAUT_BROKER",
    "paper",
    "Who takes orders: `paper` (on this machine, in the data folder), `alpaca-paper` or `alpaca-live`.",
)
MARKET = Setting(
    "HIBERNAUT_MARKET",
    "always",
    "When the paper broker fills orders: `always`, or `NYSE` for its sessions and holidays.",
)
ALPACA_KEY = Setting("HIBERNAUT_ALPACA_KEY", "", "Key id for Alpaca.")
ALPACA_SECRET = Setting("HIBERNAUT_ALPACA_SECRET", "", "Secret for Alpaca.")
ALPACA_ADDRESS = Setting(
    "HIBERNAUT_ALPACA_ADDRESS", "", "Another address that speaks Alpaca's protocol. Empty: Alpaca's own."
)

TABLE = (
    *(QUOTES, QUOTES_SPEED, QUOTES_PRICE, QUOTES_TIME, QUOTES_STALE),
    *(BROKER, MARKET, ALPACA_KEY, ALPACA_SECRET, ALPACA_ADDRESS),
)


@dataclass(frozen=True)
class TradingSettings:
    """Prices and broker. `speed` is in days of the file a day; `stale` is None where any age will do."""

    quotes: str
    speed: float
    price: str
    time: str
    stale: timedelta | None
    broker: str
    market: str
    alpaca_key: str
    alpaca_secret: str = field(repr=False)
    alpaca_address: str

    @classmethod
    def read(cls, value: Values) -> TradingSettings:
        """Read the group.

        Raises:
            SettingsError: a value cannot be used, or Alpaca is asked for without its keys.
        """
        broker = one_of(BROKER, value(BROKER), "paper", "alpaca-paper", "alpaca-live")
        if "alpaca" in (value(QUOTES), broker.partition("-")[0]):
            for setting in (ALPACA_KEY, ALPACA_SECRET):
                if not value(setting):
                    raise SettingsError(f"{setting.variable} is not set, and Alpaca needs it.")
        if value(QUOTES_STALE) and "{symbol}" in value(QUOTES) and not value(QUOTES_TIME):
            raise SettingsError(f"{QUOTES_STALE.variable} needs {QUOTES_TIME.variable}: an age needs a time.")
        return cls(
            quotes=value(QUOTES),
            speed=_speed(value(QUOTES_SPEED)),
            price=value(QUOTES_PRICE),
            time=value(QUOTES_TIME),
            stale=duration(QUOTES_STALE, value(QUOTES_STALE)) if value(QUOTES_STALE) else None,
            broker=broker,
            market=one_of(MARKET, value(MARKET), "always", "NYSE"),
            alpaca_key=value(ALPACA_KEY),
            alpaca_secret=value(ALPACA_SECRET),
            alpaca_address=value(ALPACA_ADDRESS),
        )


def _speed(text: str) -> float:
    try:
        speed = Decimal(text)
    except InvalidOperation:
        speed = Decimal(-1)
    if not 0 <= speed <= 1_000_000:
        raise SettingsError(
            f"{QUOTES_SPEED.variable}={text[:100]}: give 0 or more days a day, at most 1000000."
        )
    return float(speed)
