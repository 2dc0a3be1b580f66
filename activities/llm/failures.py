"""Classifies provider failures: how Temporal should treat each, and whether it may have cost money."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta

from temporalio.exceptions import ApplicationError

from common.errors import permanent, retry_after
from common.settings.models import key_variable, provider_of

# Limits for the wait that a server may ask for.
SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(hours=1)
# How servers say that a prompt is too long: OpenAI, servers with its protocol (llama.cpp, vLLM, SGLang, TGI,
# Ollama, LM Studio, Gemini, Mistral), Anthropic and Bedrock.
_TOO_LONG = re.compile(
    "|".join(
        (
            r"context_length_exceeded|exceed_context_size",
            r"(?:maximum|max|model's|available) context",
            r"context (?:length|size|window) (?:of|is|exceed|limit)",
            r"context the overflows|exceeds? (?:the )?(?:model's )?context",
            r"(?:prompt|input|request|message)s?(?: is| are|) too (?:long|large)|too large for model",
            r"too many (?:input )?tokens(?! per)|reduce the length of the (?:messages|prompt)",
            r"input (?:length|token count|tokens?)\b.{0,80}exceed|inputs. tokens \+",
            r"max(?:imum)?[ _]prompt[ _](?:length|tokens)|model token limit|context[ _]window[ _]exceed",
            r"range of input length|string too long\. expected|\bprompt\b.{0,40}tokens but only",
            r"\b(?:prompt|input|request|messages)\b[^.]{0,60}\b(?:exceeds?|longer than|above|greater than)\b"
            r"[^.]{0,40}\b(?:tokens?|length|limit)\b|prompt_tokens\b.{0,40}exceed",
        )
    ),
    re.IGNORECASE,
)
# HTML or truncated JSON is usually a proxy's temporary error page; if it persists, the address is wrong.
UNREADABLE_ATTEMPTS = 5


class AnswerTooLargeError(Exception):
    """An answer exceeded the byte limit and was not read to the end."""


class ProviderError(Exception):
    """A failed exchange.

    Attributes:
        error: what to raise to Temporal.
        may_have_cost: whether the provider may have charged for it.
        too_long: the conversation is too long for the model; a shorter one may fit.
    """

    def __init__(self, error: ApplicationError, *, may_have_cost: bool, too_long: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.may_have_cost = may_have_cost
        self.too_long = too_long

    @property
    def type(self) -> str:
        """The error type that Temporal sees."""
        return self.error.type or ""


def classify_failure(error: Exception, model: str, attempt: int) -> ProviderError:
    """Classify what an exchange with `model` raised.

    Args:
        error: what the client library raised.
        model: `provider:NAME`.
        attempt: number of this attempt of the activity, from 1.

    Raises:
        Exception: `error` itself, if no provider caused it: a bug, retried until it is fixed.
    """
    # A free import: the failed exchange has already loaded it.
    from pydantic_ai import exceptions as ai

    key = key_variable(provider_of(model))
    said = f"{model}: {_words(error)}"
    if any(isinstance(each, AnswerTooLargeError) for each in _causes(error)):
        too_large = f"{model}: the answer was cut off: {_words(_root(error))}"
        return _failed(permanent("AnswerTooLarge", too_large), cost=True)
    if _filtered(error):
        return _failed(permanent("ContentFiltered", f"{said} (the provider's content filter)"), cost=True)
    is_http = isinstance(error, ai.ModelHTTPError) and error.status_code != 429
    if is_http and _TOO_LONG.search(str(error)):
        return _failed(permanent("ContextTooLong", said), too_long=True)
    match error:
        case ai.ModelContextWindowExceededError() | ai.ModelHTTPError(status_code=413):
            return _failed(permanent("ContextTooLong", said), too_long=True)
        case ai.ModelQuotaExceededError():
            # The agent shows as stuck and retries every hour until somebody tops up the account.
            return _failed(retry_after("QuotaExceeded", f"{said}; top up the account of {key}", LONGEST_WAIT))
        case ai.ModelRateLimitError():
            return _failed(_later("RateLimited", said, error.retry_after))
        case ai.ModelUnavailableError():
            return _failed(_later("Overloaded", said, error.retry_after))
        case ai.ModelAuthenticationError():
            return _failed(permanent("NotAuthenticated", f"{said}; see {key}"))
        case ai.ModelNotFoundError():
            return _failed(
                permanent("ModelNotFound", f"{said}; see the model's name and HIBERNAUT_MODEL_ADDRESS")
            )
        case ai.ModelRequestRejectedError():
            return _failed(permanent("RequestRejected", said))
        case TimeoutError():
            return _failed(_later("TimedOut", f"{model}: the answer took too long", None), cost=True)
        case ai.ModelRequestTimeout() | ai.ModelTimeoutError():
            return _failed(_later("TimedOut", said, None), cost=getattr(error, "phase", None) != "connect")
        case ai.ModelConnectionError():
            return _failed(_later("ConnectionLost", said, None), cost=error.phase != "connect")
        case ai.ModelHTTPError():
            return _failed(_later("ProviderFailed", said, error.retry_after))
    if isinstance(error, ai.ModelAPIError | ai.UnexpectedModelBehavior) or _is_unreadable(error):
        return _failed(_unreadable(said, attempt), cost=True)
    raise error


def content_filtered(model: str) -> ProviderError:
    """The error for an answer withheld by the provider's content filter."""
    held = f"{model}: the provider's content filter withheld the answer"
    return _failed(permanent("ContentFiltered", held), cost=True)


def _failed(error: ApplicationError, *, cost: bool = False, too_long: bool = False) -> ProviderError:
    return ProviderError(error, may_have_cost=cost, too_long=too_long)


def _later(kind: str, words: str, seconds: float | None) -> ApplicationError:
    if seconds is None:
        return ApplicationError(words, type=kind)
    bounded = min(max(seconds, SHORTEST_WAIT.total_seconds()), LONGEST_WAIT.total_seconds())
    return retry_after(kind, words, timedelta(seconds=bounded))


def _unreadable(said: str, attempt: int) -> ApplicationError:
    if attempt < UNREADABLE_ATTEMPTS:
        return ApplicationError(said, type="UnreadableAnswer")
    return permanent("UnreadableAnswer", f"{said}; {attempt} times in a row: see HIBERNAUT_MODEL_ADDRESS")


def _filtered(error: Exception) -> bool:
    codes = {getattr(error, "provider_error_code", None), getattr(error, "provider_error_type", None)}
    return bool(codes & {"content_filter", "content_policy_violation"})


def _is_unreadable(error: Exception) -> bool:
    # Compare by name: botocore is loaded only once Bedrock is called.
    kind = type(error)
    return isinstance(error, json.JSONDecodeError) or (
        kind.__module__.startswith("botocore.")
        and "ResponseParserError" in {each.__name__ for each in kind.__mro__}
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [each.__cause__, each.__context__]


def _root(error: Exception) -> BaseException:
    return next(each for each in _causes(error) if isinstance(each, AnswerTooLargeError))


def _words(error: BaseException) -> str:
    """The message on one short line: a provider's text is untrusted and may be long."""
    text = " ".join((str(error) or type(error).__name__).split())
    return "".join(char if char.isprintable() else " " for char in text)[:500]
