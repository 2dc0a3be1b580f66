"""Settings of language models: where, with what key, at what price, within what budget."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from common.grammar import PLAIN_NUMBER
from common.settings.base import OR_NONE, Group, SettingsError, setting

PROVIDERS = ("openai", "anthropic", "bedrock")

Usd = Annotated[Decimal, Field(gt=0), PLAIN_NUMBER]
Tokens = Annotated[int, Field(gt=0), PLAIN_NUMBER]
# Written per million tokens, stored per token.
Price = Annotated[Decimal, Field(ge=0), AfterValidator(lambda usd: usd / 1_000_000), PLAIN_NUMBER]


def _prices_of(text: object) -> object:
    if not isinstance(text, str):
        return text
    prices = {}
    for entry in filter(None, (each.strip() for each in text.split(","))):
        model, _, pair = entry.rpartition("=")
        read, slash, written = pair.partition("/")
        if not (provider_of(model) and slash):
            raise ValueError(f"{entry!r} is not provider:NAME=INPUT/OUTPUT")
        prices[model] = (read, written)
    return prices


class ModelSettings(Group):
    """What language models need: addresses, keys, prices (USD per token, in and out), limits."""

    address: str = setting(
        "HIBERNAUT_MODEL_ADDRESS",
        "Base address of the provider that `HIBERNAUT_MODEL` names, for example `http://localhost:8000/v1` "
        "of any server that speaks the OpenAI protocol. Empty: the provider's own.",
    )
    openai_key: str = setting(
        "HIBERNAUT_OPENAI_KEY",
        "Key for `openai:` models. Not needed with `HIBERNAUT_MODEL_ADDRESS`.",
        secret=True,
    )
    anthropic_key: str = setting("HIBERNAUT_ANTHROPIC_KEY", "Key for `anthropic:` models.", secret=True)
    bedrock_key: str = setting(
        "HIBERNAUT_BEDROCK_KEY",
        "Key for `bedrock:` models: `access-key:secret`, or `aws` for the AWS credentials of the machine.",
        secret=True,
    )
    region: str = setting("HIBERNAUT_BEDROCK_REGION", "AWS region of `bedrock:` models.", default="us-east-1")
    seconds: Annotated[float, Field(gt=0, le=600), PLAIN_NUMBER] = setting(
        "HIBERNAUT_MODEL_SECONDS",
        "How many seconds one exchange with a model may take, at most 600.",
        default="180",
    )
    prices: Annotated[dict[str, tuple[Price, Price]], BeforeValidator(_prices_of)] = setting(
        "HIBERNAUT_MODEL_PRICES",
        "Prices in US dollars per million tokens, as `openai:NAME=INPUT/OUTPUT,…`; they override those "
        "built in. The price of any other model is unknown.",
    )
    agent_tokens: Annotated[Tokens | None, OR_NONE] = setting(
        "HIBERNAUT_AGENT_TOKENS",
        "Tokens that an agent may spend before it asks for more; `none`: no limit.",
        default="2000000",
    )
    agent_usd: Annotated[Usd | None, OR_NONE] = setting(
        "HIBERNAUT_AGENT_USD", "The same in US dollars. Needs a known price of the model.", default="none"
    )
    owner_tokens: Annotated[Tokens | None, OR_NONE] = setting(
        "HIBERNAUT_OWNER_TOKENS_A_DAY",
        "Tokens that all agents of an owner may spend in a UTC day before they ask for more; `none`: no "
        "limit.",
        default="20000000",
    )
    owner_usd: Annotated[Usd | None, OR_NONE] = setting(
        "HIBERNAUT_OWNER_USD_A_DAY", "The same in US dollars.", default="none"
    )

    @property
    def keys(self) -> Mapping[str, str]:
        """The key of each provider; empty if none is set."""
        return {provider: getattr(self, f"{provider}_key") for provider in PROVIDERS}


def key_variable(provider: str) -> str:
    """The variable that sets a provider's key."""
    return f"HIBERNAUT_{provider.upper()}_KEY"


def provider_of(model: str) -> str:
    """The provider in `provider:NAME`; empty if it is unknown."""
    provider, colon, name = model.partition(":")
    return provider if provider in PROVIDERS and colon and name.strip() else ""


def check_model(model: str, default: str, settings: ModelSettings) -> None:
    """Check that `model` can be called: its provider is known and its key is set.

    Args:
        model: `offline` or `provider:NAME`.
        default: what `HIBERNAUT_MODEL` says; the address belongs to its provider.
        settings: keys and address.

    Raises:
        SettingsError: it cannot; the message names the setting and says what to set.
    """
    if model == "offline":
        return
    provider = provider_of(model)
    if not provider:
        kinds = ", ".join(f"{each}:NAME" for each in PROVIDERS)
        raise SettingsError(f"HIBERNAUT_MODEL={model[:100]} is not known here; there are offline, {kinds}")
    needs_no_key = provider == "openai" and provider == provider_of(default) and settings.address
    if not settings.keys[provider] and not needs_no_key:
        raise SettingsError(f"{key_variable(provider)} is not set, and {model} needs it")
