"""Telemetry for model calls: a span and metrics, named by OpenTelemetry's semantic conventions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from temporalio import activity

from activities.llm.records import OFFLINE
from common.telemetry.metrics import instruments
from common.telemetry.spans import Attribute, span

PROVIDERS = {"bedrock": "aws.bedrock", OFFLINE: "hibernaut"}


@dataclass
class CallStats:
    """What is known about a call once it has ended; none of its content."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = None
    cut: bool = False


@contextmanager
def observe_call(model: str, max_tokens: int) -> Iterator[CallStats]:
    """Observe a call to `model`, `provider:NAME` or `offline`; the caller fills in the yielded object."""
    provider, _, name = model.partition(":")
    of = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDERS.get(provider, provider),
        "gen_ai.request.model": name or model,
    }
    asked: dict[str, Attribute] = {**of, "gen_ai.request.max_tokens": max_tokens, **_agent()}
    stats, began, failed = CallStats(), time.monotonic(), ""
    with span(f"chat {name or model}", "CLIENT", asked) as current:
        try:
            yield stats
            current.set_attribute("gen_ai.usage.input_tokens", stats.input_tokens)
            current.set_attribute("gen_ai.usage.output_tokens", stats.output_tokens)
            current.set_attribute("gen_ai.response.finish_reasons", ["length" if stats.cut else "stop"])
        except Exception as error:
            failed = getattr(error, "type", None) or type(error).__name__
            raise
        finally:
            instruments().count_call(
                of,
                timedelta(seconds=time.monotonic() - began),
                {"input": stats.input_tokens, "output": stats.output_tokens},
                None if stats.usd is None else float(stats.usd),
                failed,
            )


def _agent() -> dict[str, Attribute]:
    if not activity.in_activity():
        return {}
    info = activity.info()
    return {"gen_ai.agent.id": info.workflow_id or "", "gen_ai.agent.name": info.workflow_type or ""}
