"""What operators look at, on a real stack: one trace through everything, metrics, logs, alerts, dashboard."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cli.children import end_child
from cli.dev_server import free_port
from cli.doctor import doctor
from common.client.live_workers import live_workers
from common.client.tokens import Scope, TokenFile
from common.settings import Settings
from common.telemetry.spans import traced
from common.temporal.connect import connect
from gateway.app import build_from
from testing.waiting import eventually
from tests.support.desk import listed
from tests.support.model_servers import serving
from tests.support.otlp import Collector, collecting
from tests.support.serving import Serving
from tests.support.stack import ROOT, Stack

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "hibernaut.json"
# What nobody may find in what operators look at.
PRIVATE = "Xyzzy-heliotrope"
KEY = "sk-0123456789-never-shown"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass
class Seen:
    """What a stack showed while a buyer lived through the death of its worker."""

    buyer: str
    collector: Collector
    worker: str
    gateway: str
    log: str
    doctor: dict[str, dict[str, str]]


class Office:
    """A stack with a gateway in this process, and somebody who asks it."""

    def __init__(self, stack: Stack, http: httpx.AsyncClient) -> None:
        self.stack, self.http = stack, http

    async def start(self, kind: str, **input: Any) -> str:
        """Start an agent within a trace of the caller's."""
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        answer = await self.http.post(f"/agents/{kind}", json=input, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def until(self, id: str, state: str) -> None:
        async def there() -> bool:
            return bool((await self.http.get(f"/agents/{id}")).json()["state"] == state)

        await eventually(there)

    async def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What a user's shell says."""
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, str(ROOT / "starter.py"), *words],
            env={**os.environ, "HIBERNAUT_DATA_DIR": str(self.stack.settings.data_dir)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran


@asynccontextmanager
async def open_office(folder: Path) -> AsyncIterator[Office]:
    async with Stack(folder) as stack:
        settings = Settings.read({**os.environ, "HIBERNAUT_DATA_DIR": str(folder)})
        token = TokenFile.of(settings).add("ann", [Scope.READ, Scope.WRITE, Scope.OPERATOR])
        with traced(settings, "gateway"):
            gateway = Serving(await build_from(settings))
            signed_in = {"Authorization": f"Bearer {token}"}
            async with (
                gateway,
                httpx.AsyncClient(base_url=gateway.address, timeout=60, headers=signed_in) as http,
            ):
                yield Office(stack, http)


@pytest.fixture(scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Seen]:
    """A buyer that was started by HTTP, thought offline, lost its worker at the approval, and bought."""
    folder = tmp_path_factory.mktemp("telemetry")
    (folder / "case.txt").write_text(f"Earnings of {PRIVATE} rose. The price is low and the risk is small.")
    port = free_port()
    with (
        collecting() as collector,
        serving("openai", "500", "It speaks for buying.") as model,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        patch.setenv("HIBERNAUT_METRICS", f"127.0.0.1:{port}")
        patch.setenv("HIBERNAUT_LOG", "json")
        patch.setenv("HIBERNAUT_OPENAI_KEY", KEY)
        # So long its one count may take on a busy machine.
        patch.setattr("gateway.agent_gauges.PATIENCE", 60.0)
        async with open_office(folder / "data") as office:
            stack = office.stack
            buying = {"symbol": "BAC", "quantity": "100", "limit": "20", "documents": str(folder)}
            buyer = await office.start("buyer", **buying)
            await office.until(buyer, "awaiting_approval")
            # The last thing that the agent does before it waits.
            await eventually(lambda: collector.named("RunActivity:notify"))
            await stack.kill_worker()
            patch.setenv("HIBERNAUT_MODEL", "openai:tiny")
            patch.setenv("HIBERNAUT_MODEL_ADDRESS", model.address)
            patch.setenv("HIBERNAUT_MODEL_PRICES", "openai:tiny=1/2")
            await stack.start_worker()
            approved = await office.command("approve", buyer, "--as", "ann", "--note", PRIVATE)
            assert approved.returncode == 0, approved.stderr
            await office.until(buyer, "completed")
            client = await connect(stack.settings)
            asks = await office.start("buyer", **buying)
            fails = await office.start("code-auditor", path=str(folder / "nowhere"))
            for id, state in ((buyer, "completed"), (asks, "awaiting_approval"), (fails, "failed")):
                await office.until(id, state)
                # The gateway counts what lists have.
                await eventually(lambda id=id, state=state: listed(client, id, state))

            async def are_heard() -> bool:
                # What a worker tells first is that it has no slots yet.
                found = await live_workers(client, stack.settings.task_queue)
                return bool(found) and all(each.activities.of for each in found)

            await eventually(are_heard)
            with redirect_stdout(io.StringIO()) as said:
                await doctor(stack.settings, as_json=True)
            worker = (await office.http.get(f"http://127.0.0.1:{port}/metrics")).text
            gateway = (await office.http.get("/metrics", headers={"Authorization": ""})).text
            assert stack.worker is not None
            await end_child(stack.worker, 30)
            stack.worker = None
        log = stack.log.read_text()
        checks = {each["name"]: each for each in json.loads(said.getvalue())}
        yield Seen(buyer, collector, worker, gateway, log, checks)


def test_one_trace_goes_through_everything(seen: Seen) -> None:
    """From the caller by HTTP to the agent, its activities and the model's call, over the worker's death."""
    spans = {each.id: each for each in seen.collector.of(TRACE)}

    def path(name: str) -> list[str]:
        """The names from a span up to the caller."""
        [each] = [one for one in spans.values() if one.name == name and seen.buyer in _ids(one, spans)]
        names = [each.name]
        while each.parent != CALLER:
            each = spans[each.parent]
            names.append(each.name)
        return names

    start = ["StartWorkflow:buyer", "POST /agents/buyer"]
    assert path("RunWorkflow:buyer") == ["RunWorkflow:buyer", *start]
    assert path("chat offline") == ["chat offline", "RunActivity:think", "StartActivity:think", *start]
    # After the worker that began it was killed.
    assert path("RunActivity:place_order") == ["RunActivity:place_order", "StartActivity:place_order", *start]
    assert path("CompleteWorkflow:buyer") == ["CompleteWorkflow:buyer", *start]
    services = Counter(each.service for each in spans.values())
    assert services.keys() == {"hibernaut-gateway", "hibernaut-worker"}
    [decided] = seen.collector.named("SignalWorkflow:decide")
    assert decided.service == "hibernaut-cli"
    [handled] = seen.collector.named("HandleSignal:decide")
    assert (handled.trace, handled.links) == (TRACE, (decided.trace,))


def _ids(span: Any, spans: dict[str, Any]) -> set[str]:
    """The agents that a span and those above it name."""
    found = set()
    while span:
        found |= {str(value) for key, value in span.attributes.items() if key == "temporalWorkflowID"}
        span = spans.get(span.parent)
    return found


def test_a_replay_reports_nothing_twice(seen: Seen) -> None:
    """The second worker replayed the agent to its approval, and queries made both replay it."""
    of_buyer = [
        each for each in seen.collector.spans if each.attributes.get("temporalWorkflowID") == seen.buyer
    ]
    once = (
        "StartWorkflow:",
        "RunWorkflow:",
        "CompleteWorkflow:",
        "StartActivity:",
        "RunActivity:",
        "HandleSignal:",
    )
    names = Counter(
        (each.name, each.attributes.get("temporalActivityID", each.parent if "Start" in each.name else ""))
        for each in of_buyer
        if each.name.startswith(once[:3] + once[5:])
    )
    assert names
    assert set(names.values()) == {1}
    runs = Counter(
        each.attributes["temporalActivityID"] for each in of_buyer if each.name.startswith("RunActivity:")
    )
    asked = Counter(each.name for each in of_buyer if each.name.startswith("StartActivity:"))
    ran = Counter(
        each.name.replace("Run", "Start") for each in of_buyer if each.name.startswith("RunActivity:")
    )
    assert runs
    assert set(runs.values()) == {1}
    assert asked == ran
    assert len({each.id for each in seen.collector.spans}) == len(seen.collector.spans)


def test_a_model_call_is_told_by_the_conventions(seen: Seen) -> None:
    """Who, which model, how many tokens; not what was said."""
    [offline] = seen.collector.named("chat offline")
    assert offline.attributes["gen_ai.provider.name"] == "hibernaut"
    failed, call = seen.collector.named("chat tiny")
    assert failed.failed
    assert failed.attributes["error.type"]
    told = call.attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert (told["gen_ai.provider.name"], told["gen_ai.request.model"]) == ("openai", "tiny")
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (30, 7)
    assert told["gen_ai.agent.name"] == "buyer"
    line = next(
        each
        for each in seen.worker.splitlines()
        if each.startswith("gen_ai_client_token_usage_sum") and 'input"' in each
    )
    assert 'gen_ai_request_model="tiny"' in line
    assert 'workflow_type="buyer"' in line
    assert line.endswith(" 30")
    assert re.search(r"^hibernaut_model_cost_usd_sum\{.*\} 0\.000044$", seen.worker, re.MULTILINE)


def test_failures_are_told_without_their_words(seen: Seen) -> None:
    """By their type, in traces and in metrics."""
    [failed] = seen.collector.named("RunActivity:take_inventory")
    assert failed.failed
    assert {"exception.type"} == {key for event in failed.events for key in event}
    assert b"nowhere" not in seen.collector.sent
    counted = 'activity_type="take_inventory",error="PathMissing",outcome="failed"'
    assert f'hibernaut_activities_total{{{counted},workflow_type="code-auditor"}} 1\n' in seen.worker


def test_nothing_private_is_shown(seen: Seen) -> None:
    """Neither documents, plans and notes nor keys, in traces, metrics and logs."""
    everything = (seen.collector.sent, seen.worker.encode(), seen.gateway.encode(), seen.log.encode())
    for text in everything:
        for secret in (PRIVATE, KEY):
            assert secret.encode() not in text
    assert seen.buyer not in seen.worker + seen.gateway


def test_a_log_line_names_its_agent(seen: Seen) -> None:
    """As JSON, with what the agent was doing."""
    lines = [json.loads(line) for line in seen.log.splitlines() if line.startswith("{")]
    [line] = [each for each in lines if each.get("activity") == "think"]
    assert (line["kind"], line["node"], line["level"], line["attempt"]) == ("buyer", "case", "warning", 1)
    assert line["agent"].startswith("buyer-")
    assert line["run"]
    assert line["error"]
    assert line["stack"]


def test_the_gateway_counts_agents(seen: Seen) -> None:
    """By state, with open approvals and for how long; trouble; who polls."""
    shown = dict(re.findall(r"^(\S+) (\S+)$", seen.gateway, re.MULTILINE))
    assert shown["hibernaut_temporal_up"] == "1.0"
    assert shown['hibernaut_agents{state="awaiting_approval"}'] == "1.0"
    assert shown['hibernaut_agents{state="working"}'] == "0.0"
    assert shown["hibernaut_approvals_open"] == "1.0"
    assert float(shown["hibernaut_approvals_oldest_seconds"]) >= 0
    assert shown['hibernaut_agents_in_trouble{cause="stuck"}'] == "0.0"
    assert float(shown['hibernaut_workers{queue="hibernaut",task="workflow"}']) >= 1


def test_doctor_shows_live_workers(seen: Seen) -> None:
    """With build, slots and agents in memory."""
    slots = seen.doctor["slots"]
    assert slots["health"] == "ok"
    assert re.search(
        r"\(no build\): \d of 24 calls, \d of \d+ tasks of agents, \d agents? in memory", slots["text"]
    )


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in an expression of Prometheus, and not those of labels."""
    bare = re.sub(r"\{.*?\}|by \(.*?\)", "", expression)
    return set(re.findall(r"\b(?:hibernaut|temporal|gen_ai|process)_\w+", bare))


def labels_in(expression: str) -> set[str]:
    """The names of labels by which an expression selects or groups."""
    inside = re.findall(r"\{(.*?)\}|by \((.*?)\)", expression)
    return {name for chosen, grouped in inside for name in re.findall(r"(\w+)(?=[!=]|,|$)", chosen + grouped)}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[str]:
    """The expressions of all panels of the dashboard."""
    found = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in found if panel["type"] != "row" for target in panel["targets"]]


def test_every_metric_of_dashboard_and_alerts_is_shown(seen: Seen) -> None:
    """One that no process prints would be a panel or an alert that is silent for ever."""
    shown = set(re.findall(r"^(\w+)(?:\{| )", seen.worker + seen.gateway, re.MULTILINE))
    expressions = [*panels(), *(rule["expr"] for rule in rules())]
    used = {name for expression in expressions for name in metrics_in(expression)}
    assert len(used) > 20
    assert used - shown == set()


def test_every_label_of_dashboard_and_alerts_is_shown(seen: Seen) -> None:
    """Grouped by one that the metric has not, all would be one line; selected by it, none."""
    shown: defaultdict[str, set[str]] = defaultdict(set)
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", seen.worker + seen.gateway, re.MULTILINE):
        shown[name].update(re.findall(r'(\w+)="', labels))
    expressions = [*panels(), *(rule["expr"] for rule in rules())]
    missing = {
        expression: unknown
        for expression in expressions
        if (unknown := labels_in(expression) - set().union(*(shown[name] for name in metrics_in(expression))))
    }
    assert missing == {}


def test_every_alert_has_a_scene_and_says_what_to_do() -> None:
    """Under a heading of the runbook that is there."""
    scenes = yaml.safe_load((ALERTS.parent / "alerts_test.yml").read_text())["tests"]
    assert [scene["name"] for scene in scenes] == [rule["alert"] for rule in rules()]
    headings = {
        "#" + re.sub(r"[^\w -]", "", line.strip("# ").lower()).replace(" ", "-")
        for line in (ROOT / "docs" / "runbook.md").read_text().splitlines()
        if line.startswith("#")
    }
    named = {rule["annotations"]["runbook"].removeprefix("docs/runbook.md") for rule in rules()}
    assert named - headings == set()


PROMTOOL = shutil.which("promtool", path=f"{sys.prefix}/bin:{os.environ['PATH']}")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not there: install prometheus")


def promtool(*arguments: str | Path, given: str = "") -> str:
    """What Prometheus' own tool says; it must find nothing wrong."""
    ran = subprocess.run(
        [str(PROMTOOL), *map(str, arguments)],
        cwd=ALERTS.parent,
        input=given,
        capture_output=True,
        text=True,
        timeout=240,
    )
    # 3 stands for remarks on names that are Temporal's.
    assert ran.returncode in (0, 3), ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@needs_promtool
def test_prometheus_takes_the_alerts() -> None:
    """Each is quiet while it should be, and then fires, in its scene."""
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


@needs_promtool
def test_prometheus_takes_the_panels(tmp_path: Path) -> None:
    """As the expressions of rules, of which it has a checker."""
    group = {
        "name": "panels",
        "rules": [{"record": f"panel:{at}", "expr": e} for at, e in enumerate(panels())],
    }
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [group]}))
    assert f"{len(panels())} rules found" in promtool("check", "rules", tmp_path / "panels.yml")


@needs_promtool
def test_prometheus_reads_what_is_shown(seen: Seen) -> None:
    """What a worker shows, and what the gateway does."""
    for page in (seen.worker, seen.gateway):
        assert "error" not in promtool("check", "metrics", given=page).lower()


def test_nothing_is_loaded_where_it_is_off() -> None:
    """Neither the kit nor what its activities and clients stand on loads OpenTelemetry's SDK."""
    rooms = (
        "workflows.core.agent, activities.calls.interceptor, activities.llm.runner, common.temporal.connect"
    )
    code = (
        f"import sys, {rooms}; print([each for each in sys.modules if each.startswith('opentelemetry.sdk')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.stdout.strip() == "[]", ran.stderr
