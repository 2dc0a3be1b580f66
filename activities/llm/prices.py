"""What tokens cost: by the settings' prices, then by the list of genai-prices. Nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

# As genai-prices calls the providers.
_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "bedrock": "aws"}


class Prices:
    """Prices by model, `provider:NAME`."""

    def __init__(self, own: Mapping[str, tuple[Decimal, Decimal]]) -> None:
        """`own`: US dollars a token, read and written, by model; they go before the list."""
        self._own = own

    def usd(self, model: str, input_tokens: int, output_tokens: int) -> Decimal | None:
        """What so many tokens of `model` cost, in US dollars; None where its price is unknown."""
        if model in self._own:
            read, written = self._own[model]
            return read * input_tokens + written * output_tokens
        # 1.5 MB of prices: loaded by whoever asks for one.
        from genai_prices import Usage, calc_price

        provider, _, name = model.partition(":")
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        try:
            return calc_price(usage, name, provider_id=_PROVIDERS[provider]).total_price
        except LookupError:
            return None
