"""What a worker counts: Temporal's own metrics and ours, at one address for Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import cache

from temporalio import activity
from temporalio.common import MetricMeter
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from common.settings import Settings, SettingsError

# How often a worker reports its state to the server; `doctor` shows it.
HEARTBEAT = timedelta(seconds=10)
SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
TOKENS = (1.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0)
# Names of OpenTelemetry's conventions for generative AI, as Prometheus has to write them.
MODEL_SECONDS = "gen_ai_client_operation_duration"
MODEL_TOKENS = "gen_ai_client_token_usage"
MODEL_USD = "hibernaut_model_cost"
ACTIVITIES = "hibernaut_activities"
REPORTS = "hibernaut_reports_waiting"
BUCKETS: Mapping[str, tuple[float, ...]] = {
    MODEL_SECONDS: SECONDS,
    MODEL_TOKENS: TOKENS,
    MODEL_USD: (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0),
    "temporal_activity_execution_latency": SECONDS,
    "temporal_activity_schedule_to_start_latency": SECONDS,
    "temporal_workflow_task_schedule_to_start_latency": SECONDS,
    "temporal_workflow_task_execution_latency": SECONDS,
    "temporal_workflow_task_replay_latency": SECONDS,
    # Agents live for days: a minute, an hour, a day, a week, a month.
    "temporal_workflow_endtoend_latency": (1.0, 60.0, 3600.0, 86_400.0, 604_800.0, 2_592_000.0),
}


def open_runtime(settings: Settings) -> Runtime:
    """The SDK's runtime for a worker, with metrics and logs as in the settings.

    Raises:
        SettingsError: the address for metrics cannot be used.
    """
    at, build = settings.telemetry.metrics, settings.deployment.build
    warnings = TelemetryFilter(core_level="WARN", other_level="ERROR")
    own = LogForwardingConfig(
        logger=logging.getLogger("temporalio.core"),
        append_target_to_name=False,
        prepend_target_on_message=False,
    )
    telemetry = TelemetryConfig(
        logging=LoggingConfig(filter=warnings, forwarding=own if settings.telemetry.log == "json" else None),
        metrics=at
        and PrometheusConfig(
            bind_address=f"{at[0]}:{at[1]}",
            counters_total_suffix=True,
            unit_suffix=True,
            durations_as_seconds=True,
            histogram_bucket_overrides=BUCKETS,
        ),
        attach_service_name=False,
        global_tags={"build": build} if build else {},
    )
    try:
        return Runtime(telemetry=telemetry, worker_heartbeat_interval=HEARTBEAT)
    except ValueError as error:
        where = f"{at[0]}:{at[1]}" if at else ""
        raise SettingsError(
            f"HIBERNAUT_METRICS={where}: give a numeric address and a free port: {error}."
        ) from None


class Instruments:
    """Our own metrics; without an address for metrics they count nothing."""

    def __init__(self, meter: MetricMeter) -> None:
        self._activities = meter.create_counter(ACTIVITIES, "Attempts at activities, by how they ended.")
        self._reports = meter.create_gauge(REPORTS, "Outcomes that Temporal has not received yet.")
        self._seconds = meter.create_histogram_timedelta(MODEL_SECONDS, "How long a model call took.")
        self._tokens = meter.create_histogram(MODEL_TOKENS, "Tokens of a model call.")
        self._usd = meter.create_histogram_float(MODEL_USD, "Price of a model call.", "usd")

    def count_activity(self, outcome: str, error: str = "") -> None:
        """Count an attempt at the current activity, with its `outcome`; see docs/operations.md."""
        self._activities.add(1, {**_where(), "outcome": outcome, "error": error})

    def show_reports(self, waiting: int) -> None:
        """Show how many outcomes wait to be received."""
        self._reports.set(waiting)

    def count_call(
        self,
        model: Mapping[str, str],
        took: timedelta,
        tokens: Mapping[str, int],
        usd: float | None,
        error: str = "",
    ) -> None:
        """Count a call of a language model.

        Args:
            model: the attributes that name it.
            took: how long it took.
            tokens: how many, by `input` and `output`.
            usd: its price, if known.
            error: the type of the error, if it failed.
        """
        of = {**_where(), **{name.replace(".", "_"): word for name, word in model.items()}}
        self._seconds.record(took, {**of, "error_type": error})
        for kind, number in tokens.items():
            if number:
                self._tokens.record(number, {**of, "gen_ai_token_type": kind})
        if usd is not None:
            self._usd.record(usd, of)


@cache
def instruments() -> Instruments:
    """Our metrics in this process's runtime, which must be open already."""
    return Instruments(Runtime.default().metric_meter)


def _where() -> dict[str, str]:
    """The current activity, and the kind of its agent."""
    if not activity.in_activity():
        return {}
    info = activity.info()
    return {"activity_type": info.activity_type, "workflow_type": info.workflow_type or ""}
