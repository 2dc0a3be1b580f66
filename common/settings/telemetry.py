"""Settings of what operators look at: metrics, traces, logs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, PlainValidator

from common.settings.base import Group, setting
from common.settings.http import address_of


def _maybe_address(text: str) -> tuple[str, int] | None:
    return address_of(text) if text else None


def _web_address(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("give an http:// or https:// address, where OTLP is taken over HTTP")
    return url


Url = Annotated[str, AfterValidator(_web_address)]


class TelemetrySettings(Group):
    """Everything is off by default. OpenTelemetry's library reads its other `OTEL_*` settings itself."""

    metrics: Annotated[tuple[str, int] | None, PlainValidator(_maybe_address)] = setting(
        "HIBERNAUT_METRICS",
        "Where a worker shows its metrics to Prometheus, `127.0.0.1:9464`, a numeric address; each worker of "
        "a machine needs a port of its own. Empty: nowhere. The gateway shows its own at `/metrics`.",
    )
    log: Literal["text", "json"] = setting(
        "HIBERNAUT_LOG",
        "How workers and the gateway log: `text`, or `json` with one object a line, which names the agent.",
        default="text",
    )
    otlp: Url = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "Base address of an OpenTelemetry collector that takes OTLP over HTTP, `http://localhost:4318`; "
        "traces go there. Empty: no traces.",
    )
    otlp_traces: Url = setting(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The full address for traces, in place of the base address."
    )
    otel_off: Literal["true", "false"] = setting(
        "OTEL_SDK_DISABLED", "`true`: no traces, whatever the others say.", default="false"
    )

    @property
    def traces(self) -> bool:
        """Whether traces go anywhere."""
        return bool(self.otlp or self.otlp_traces) and self.otel_off == "false"
