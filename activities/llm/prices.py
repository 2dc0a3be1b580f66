"""Token prices: those of the settings first, then those of genai-prices. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

# The providers' names in genai-prices.
_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "bedrock": "aws"}


class Prices:
    """Prices by model, `provider:NAME`."""

    def __init__(self, own: Mapping[str, tuple[Decimal, Decimal]]) -> None:
        """`own`: US dollars per input and output token, by model; they override genai-prices."""
        self._own = own

    def usd(self, model: str, input_tokens: int, output_tokens: int) -> Decimal | None:
        """The cost of these tokens for `model`, in US dollars; None if its price is unknown."""
        if model in self._own:
            read, written = self._own[model]
            return read * input_tokens + written * output_tokens
        # Loads 1.5 MB of prices, so import it only when needed.
        from genai_prices import Usage, calc_price

        provider, _, name = model.partition(":")
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        try:
            return calc_price(usage, name, provider_id=_PROVIDERS[provider]).total_price
        except LookupError:
            return None
