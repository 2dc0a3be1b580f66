"""What leaves a process for operators: no secrets, no words of failures; what comes in is not trusted."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter
from temporalio.testing import ActivityEnvironment

from common.approval.groups import Directory
from common.client.diagnosis import Diagnosis
from common.settings import Settings, SettingsError
from common.telemetry.logs import TEXT, JsonLines, RedactingFormatter
from common.telemetry.metrics import open_runtime
from common.telemetry.spans import span
from common.telemetry.tracing import CARRIERS, MAX_NAME, RedactingExporter
from common.temporal.connect import connect
from gateway import agent_gauges
from gateway.metrics import Metrics

KEY, OTHER = "ab" * 32, "cd" * 32


def written(formatter: logging.Formatter, text: str, error: Exception | None = None) -> str:
    info = (type(error), error, None) if error else None
    return formatter.format(logging.LogRecord("of.ours", logging.WARNING, "", 1, text, (), info))


@pytest.mark.parametrize("inner", [JsonLines(), logging.Formatter(TEXT)], ids=["json", "text"])
def test_secrets_are_blacked_out_whoever_says_them(inner: logging.Formatter) -> None:
    """In a message or in the error of a library; each key of a ring, and the password of an address."""
    settings = Settings.read(
        {
            "HIBERNAUT_APPROVAL_KEYS": f"k1:{KEY},k2:{OTHER}",
            "HIBERNAUT_SMTP_PASSWORD": 'with"quote-and-\\',
            "HIBERNAUT_OPENAI_KEY": "sk-live-1234",
        }
    )
    lines = RedactingFormatter(inner, settings.secrets)
    for secret in (KEY, OTHER, 'with"quote-and-\\', "sk-live-1234"):
        for line in (written(lines, f"x{secret}y"), written(lines, "oh", ValueError(f"no {secret} here"))):
            assert "***" in line
            assert secret not in line
            assert json.dumps(secret)[1:-1] not in line
    assert "k1" in written(lines, "the key k1 is old")


def test_an_address_is_no_secret() -> None:
    """Passwords are refused there; its host may be needed to understand a line."""
    sender = {"HIBERNAUT_MAIL_FROM": "agents@example.com"}
    with pytest.raises(SettingsError, match="HIBERNAUT_SMTP_USER"):
        Settings.read({"HIBERNAUT_SMTP": "smtps://me:pass-w0rd@mail.example.com:465", **sender})
    assert Settings.read({"HIBERNAUT_SMTP": "smtps://mail.example.com:465", **sender}).secrets == frozenset()


@pytest.mark.parametrize(
    ("address", "passwords"),
    [
        ("postgresql://me:pass%40w0rd%2F1@db.example.com:5432/all?sslmode=require",
         {"pass%40w0rd%2F1", "pass@w0rd/1"}),
        ("postgresql://me@db.example.com:5432/all?sslmode=require&password=pass-w0rd", {"pass-w0rd"}),
        ("postgresql://me@db.example.com:5432/all", set()),
    ],
)  # fmt: skip
def test_the_password_of_a_database_is_a_secret(address: str, passwords: set[str]) -> None:
    """As it is written in the address, and as libraries decode it; the host is none."""
    assert Settings.read({"HIBERNAUT_DATABASE": address}).secrets == passwords


async def test_a_line_says_for_which_agent_it_is() -> None:
    """From an activity, whichever logger it goes through."""

    @activity.defn
    async def look() -> str:
        return written(JsonLines(), "seen\nbetter", KeyError("k"))

    environment = ActivityEnvironment()
    line = await environment.run(look)
    assert "\n" not in line
    told: dict[str, Any] = json.loads(line)
    info = environment.info
    assert (told["agent"], told["run"], told["kind"]) == (
        info.workflow_id,
        info.workflow_run_id,
        info.workflow_type,
    )
    assert (told["message"], told["level"], told["error"]) == ("seen\nbetter", "warning", "KeyError")
    assert "agent" not in json.loads(written(JsonLines(), "elsewhere"))


def test_spans_leave_without_the_words_of_failures() -> None:
    """Their type stays; names that others chose are cut."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(RedactingExporter(kept)))
    with (
        pytest.raises(ValueError, match="private"),
        provider.get_tracer("t").start_as_current_span("n" * 1000, attributes={"id": "a-1"}),
    ):
        raise ValueError("private")
    [sent] = kept.get_finished_spans()
    assert "private" not in sent.to_json()
    assert (len(sent.name), sent.status.status_code) == (MAX_NAME, StatusCode.ERROR)
    assert [dict(event.attributes or {}) for event in sent.events] == [{"exception.type": "ValueError"}]
    assert dict(sent.attributes or {}) == {"id": "a-1"}


def test_without_tracing_a_span_is_nothing() -> None:
    """It takes what is said of it, and lets errors through."""

    def look() -> None:
        with span("x") as current:
            current.set_attribute("a", 1)
            raise KeyError

    with pytest.raises(KeyError):
        look()


@pytest.mark.parametrize(
    "payload",
    [
        Payload(metadata={"encoding": b"json/plain"}, data=b"{not json"),
        Payload(metadata={"encoding": b"binary/refused"}, data=b"x"),
        Payload(),
        PayloadConverter.default.to_payloads([["traceparent"]])[0],
        PayloadConverter.default.to_payloads([{"traceparent": 5, "baggage": "a=b"}])[0],
    ],
)
def test_a_carrier_that_cannot_be_read_carries_nothing(payload: Payload) -> None:
    """It must not raise: in a workflow that would fail its task for ever."""
    assert CARRIERS.from_payloads([payload]) == [{}]


def test_metrics_at_an_address_that_cannot_be_had_name_the_setting() -> None:
    """Elsewhere, or by a name."""
    for address in ("localhost:9464", "192.0.2.1:9464"):
        with pytest.raises(SettingsError, match=rf"^HIBERNAUT_METRICS={address}: .*\.$") as error:
            open_runtime(Settings.read({"HIBERNAUT_METRICS": address}))
        assert "\n" not in str(error.value)


async def test_where_temporal_is_away_that_is_shown_and_nothing_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is not asked again at once, however often somebody scrapes."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(agent_gauges, "PATIENCE", 0.5)
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    client = await connect(settings, lazy=True)
    found = agent_gauges.AgentGauges(client, settings, Diagnosis(client, Directory.load(settings), "q"))
    metrics = Metrics(lambda: 0, found)
    await found.refresh()
    monkeypatch.setattr(agent_gauges, "PATIENCE", -1)  # a second look would say so by an error
    monkeypatch.setattr(agent_gauges, "datetime", None)
    await found.refresh()
    text = metrics.text().decode()
    assert "hibernaut_temporal_up 0.0" in text
    assert "hibernaut_agents{" not in text
