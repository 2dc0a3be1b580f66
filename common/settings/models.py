"""Settings of language models: which one, where, with what key, at what price, within what budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from common.settings.base import Setting, SettingsError, Values

MODEL = Setting(
    "HIBERNAUT_MODEL",
    "offline",
    "Language model: `offline` (the built-in extractive analyst: no key, no network), `openai:NAME`, "
    "`anthropic:NAME` or `bedrock:NAME`.",
)
MODEL_ADDRESS = Setting(
    "HIBERNAUT_MODEL_ADDRESS",
    "",
    "Base address of the provider that `HIBERNAUT_MODEL` names, for example `http://localhost:8000/v1` of "
    "any server that speaks the OpenAI protocol. Empty: the provider's own.",
)
OPENAI_KEY = Setting(
    "HIBERNAUT_OPENAI_KEY", "", "Key for `openai:` models. Not needed where an address of one's own is set."
)
ANTHROPIC_KEY = Setting("HIBERNAUT_ANTHROPIC_KEY", "", "Key for `anthropic:` models.")
BEDROCK_KEY = Setting(
    "HIBERNAUT_BEDROCK_KEY",
    "",
    "Key for `bedrock:` models: `access-key:secret`, or `aws` for the AWS credentials of the machine.",
)
BEDROCK_REGION = Setting("HIBERNAUT_BEDROCK_REGION", "us-east-1", "AWS region of `bedrock:` models.")
MODEL_SECONDS = Setting(
    "HIBERNAUT_MODEL_SECONDS", "180", "Longest one exchange with a model may take, in seconds; at most 600."
)
MODEL_PRICES = Setting(
    "HIBERNAUT_MODEL_PRICES",
    "",
    "Prices in US dollars a million tokens, as `openai:NAME=INPUT/OUTPUT,…`; they go before the list that "
    "comes with the program. A price in neither is called unknown.",
)
AGENT_TOKENS = Setting(
    "HIBERNAUT_AGENT_TOKENS",
    "2000000",
    "Tokens an agent may spend before it asks for more; `none`: no limit.",
)
AGENT_USD = Setting("HIBERNAUT_AGENT_USD", "none", "US dollars likewise. Needs a known price of the model.")
OWNER_TOKENS = Setting(
    "HIBERNAUT_OWNER_TOKENS_A_DAY",
    "20000000",
    "Tokens all agents of an owner may spend in a UTC day before they ask for more; `none`: no limit.",
)
OWNER_USD = Setting("HIBERNAUT_OWNER_USD_A_DAY", "none", "US dollars likewise.")

TABLE = (
    *(MODEL, MODEL_ADDRESS, OPENAI_KEY, ANTHROPIC_KEY, BEDROCK_KEY, BEDROCK_REGION, MODEL_SECONDS),
    *(MODEL_PRICES, AGENT_TOKENS, AGENT_USD, OWNER_TOKENS, OWNER_USD),
)

KEYS = {"openai": OPENAI_KEY, "anthropic": ANTHROPIC_KEY, "bedrock": BEDROCK_KEY}


@dataclass(frozen=True)
class ModelSettings:
    """What language models need: provider addresses, keys, prices (input and output per token), limits."""

    address: str
    keys: Mapping[str, str] = field(repr=False)
    region: str
    seconds: float
    prices: Mapping[str, tuple[Decimal, Decimal]]
    agent_tokens: int | None
    agent_usd: Decimal | None
    owner_tokens: int | None
    owner_usd: Decimal | None

    @classmethod
    def read(cls, value: Values) -> ModelSettings:
        """Read the group.

        Raises:
            SettingsError: a value cannot be used, or the model's key is missing.
        """
        return cls(
            address=value(MODEL_ADDRESS),
            keys={provider: value(setting) for provider, setting in KEYS.items()},
            region=value(BEDROCK_REGION),
            seconds=_seconds(value(MODEL_SECONDS)),
            prices=_prices(value(MODEL_PRICES)),
            agent_tokens=_tokens(AGENT_TOKENS, value(AGENT_TOKENS)),
            agent_usd=_limit(AGENT_USD, value(AGENT_USD)),
            owner_tokens=_tokens(OWNER_TOKENS, value(OWNER_TOKENS)),
            owner_usd=_limit(OWNER_USD, value(OWNER_USD)),
        )


def provider_of(model: str) -> str:
    """The provider in `provider:NAME`; empty where it is not one there is."""
    provider, colon, name = model.partition(":")
    return provider if provider in KEYS and colon and name.strip() else ""


def check_model(model: str, default: str, settings: ModelSettings) -> None:
    """See that `model` can be called: its provider is known and its key set.

    Args:
        model: `offline` or `provider:NAME`.
        default: what `HIBERNAUT_MODEL` says; the address belongs to its provider.
        settings: keys and address.

    Raises:
        SettingsError: it cannot; the message names the setting and the mend.
    """
    if model == "offline":
        return
    provider = provider_of(model)
    if not provider:
        kinds = ", ".join(f"{each}:NAME" for each in KEYS)
        raise SettingsError(f"{MODEL.variable}={model[:100]} is not known here; there are offline, {kinds}.")
    needs_no_key = provider == "openai" and provider == provider_of(default) and settings.address
    if not settings.keys[provider] and not needs_no_key:
        raise SettingsError(f"{KEYS[provider].variable} is not set, and {model} needs it.")


def _prices(text: str) -> dict[str, tuple[Decimal, Decimal]]:
    prices = {}
    for entry in filter(None, (each.strip() for each in text.split(","))):
        model, _, pair = entry.rpartition("=")
        read, slash, written = pair.partition("/")
        if not (provider_of(model) and slash):
            raise SettingsError(f"{MODEL_PRICES.variable}: {entry!r} is not provider:NAME=INPUT/OUTPUT.")
        prices[model] = (_price(read), _price(written))
    return prices


def _price(text: str) -> Decimal:
    return Decimal(0) if text == "0" else _amount(MODEL_PRICES, text) / 1_000_000


def _seconds(text: str) -> float:
    seconds = float(_amount(MODEL_SECONDS, text))
    if seconds > 600:
        raise SettingsError(f"{MODEL_SECONDS.variable}={text}: at most 600.")
    return seconds


def _tokens(setting: Setting, text: str) -> int | None:
    return None if text == "none" else int(_amount(setting, text))


def _limit(setting: Setting, text: str) -> Decimal | None:
    return None if text == "none" else _amount(setting, text)


def _amount(setting: Setting, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal(0)
    if not (number.is_finite() and number > 0):
        raise SettingsError(f"{setting.variable}: {text!r} is not a number above 0.")
    return number
