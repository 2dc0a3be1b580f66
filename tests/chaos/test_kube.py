"""The chart in a real Kubernetes: its API server, its controllers, and pods as processes of this machine.

`make kube-test` runs it; the first time it builds Kubernetes from the module proxy of Go. Nothing routes to
services and no rule of the network is enforced: these are looked at by the API server alone.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from cli.dev_server import DevServer
from common.agents.auditor import AuditInput
from common.agents.states import AgentState
from common.approval.floors import ALONE
from common.approval.signing import Signer
from common.approval.types import Verdict
from common.client.client import AgentClient
from common.client.filters import AgentFilter
from common.settings import Settings
from common.temporal.connect import connect
from testing.waiting import eventually
from tests.support.auditor.code_base import code_base, ended
from tests.support.kube.cluster import Kubernetes
from tests.support.kube.controllers import install_definitions, start_keda, start_worker_controller
from tests.support.kube.kubelet import Kubelet, needs_pods
from tests.support.kube.render import CHART, ROOT
from tests.support.limits import QUICK_ROLLOUTS, QUICK_TASKS

pytestmark = pytest.mark.soak

WENT_WRONG = {EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED, EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT}
# What a namespace has by itself.
OF_KUBERNETES = "kube-root-ca.crt"
# What the worker controller makes for each build.
OF_A_BUILD = ("Deployment", "ScaledObject", "PodDisruptionBudget")


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kubernetes]:
    needs_pods()
    async with Kubernetes(tmp_path_factory.mktemp("kubernetes")) as made:
        await install_definitions(made)
        yield made


@pytest.fixture
async def keda(cluster: Kubernetes) -> AsyncIterator[None]:
    operator = await start_keda(cluster)
    yield
    await cluster.stop(operator)


@pytest.fixture
async def temporal(tmp_path: Path) -> AsyncIterator[DevServer]:
    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path / "temporal")})
    async with DevServer(settings, ui_port=None, limits=QUICK_TASKS | QUICK_ROLLOUTS, scratch=True) as server:
        yield server


class Release:
    """The chart in a namespace of its own, and whoever uses what it runs from outside."""

    def __init__(self, cluster: Kubernetes, temporal: DevServer, name: str, folder: Path) -> None:
        self.cluster, self.name, self.folder = cluster, name, folder
        folder.chmod(0o755)
        self.kubelet = Kubelet(cluster, name, ROOT, folder / "pods")
        claims = self.kubelet.folder / "claims"
        self.data, self.code = claims / "data", claims / "code"
        self.keys = f"k1:{secrets.token_hex(32)}"
        self.values: dict[str, Any] = {
            "image": {"tag": "1"},
            "temporal": {"address": temporal.address, "namespace": name},
            "secrets": {"values": {"HIBERNAUT_APPROVAL_KEYS": self.keys}},
            "files": {"policy": json.loads(ALONE), "roots": {"*": [str(self.code)]}},
            "settings": {"HIBERNAUT_OIDC_ISSUER": "https://login.invalid"},
            "data": {"existingClaim": "data"},
            "worker": {
                "replicas": 1,
                "volumes": [{"name": "code", "persistentVolumeClaim": {"claimName": "code"}}],
                "volumeMounts": [{"name": "code", "mountPath": str(self.code)}],
            },
            "gateway": {"replicas": 1},
        }
        self.address = temporal.address

    async def helm(self, verb: str, *options: str, **values: Mapping[str, Any]) -> str:
        """Install or upgrade it with some values changed, and wait until all of it is ready."""
        for name, change in values.items():
            self.values[name] = {**self.values.get(name, {}), **change}
        file = self.folder / "values.yaml"
        file.write_text(yaml.safe_dump(self.values))
        return await self.cluster.helm(
            *(verb, "hibernaut", str(CHART), "--namespace", self.name, "--values", str(file)),
            *("--wait", "--wait-for-jobs", "--timeout", "8m", *options),
        )

    async def uninstall(self) -> None:
        """Take it away, and see that nothing stays."""
        # Workers go first: the worker controller waits until nobody polls as a build that it deletes.
        await self.cluster.helm("uninstall", "hibernaut", "--namespace", self.name, "--cascade", "foreground")
        kinds = ("Deployment", "ReplicaSet", "Job", "Pod", "ConfigMap", "Secret", "NetworkPolicy")
        kinds += ("PodDisruptionBudget", "WorkerDeployment", "WorkerResourceTemplate", "ScaledObject")

        async def rest() -> list[str]:
            return [
                f"{kind} {each['metadata']['name']}"
                for kind in kinds
                for each in await self.cluster.all(kind, self.name)
                if each["metadata"]["name"] != OF_KUBERNETES
            ]

        async def nothing() -> bool:
            return not await rest()

        try:
            await eventually(nothing, 120)
        except AssertionError as error:
            raise AssertionError(await rest()) from error

    async def agents(self) -> AgentClient:
        """Who starts agents and decides."""
        client = await self.client()
        return AgentClient(client, self.settings, Signer.load(self.settings))

    @property
    def settings(self) -> Settings:
        """As those who use it from outside have them."""
        folder = self.folder / "outside"
        folder.mkdir(exist_ok=True)
        (folder / "roots.json").write_text(json.dumps({"*": [str(self.code)]}))
        (folder / "policy.json").write_text(ALONE)
        return Settings.read({"HIBERNAUT_DATA_DIR": str(folder), "HIBERNAUT_APPROVAL_KEYS": self.keys})

    async def client(self) -> Client:
        """Of the release's namespace of Temporal."""
        return await connect(self.settings)

    def writable_code(self, name: str, files: int) -> Path:
        """A code base that the pods' user may fix."""
        root = code_base(self.code / name, files)
        for each in (self.code, root, *root.rglob("*")):
            each.chmod(0o777 if each.is_dir() else 0o666)
        return root

    async def asks(self, agents: AgentClient, id: str) -> None:
        """Start an agent, and wait until it is asleep at its question."""
        await agents.start(
            "code-auditor", AuditInput(path=str(self.writable_code(id, 4)), apply=True), owner="local", id=id
        )

        async def asking() -> bool:
            view = await agents.view(id)
            return view.state is AgentState.AWAITING_APPROVAL and view.approval is not None

        await eventually(asking, 240)

    async def pods(self, part: str) -> list[dict[str, Any]]:
        """The pods whose name has that in it, those that are going left out."""
        return [
            each
            for each in await self.cluster.all("Pod", self.name)
            if part in each["metadata"]["name"] and "deletionTimestamp" not in each["metadata"]
        ]


@pytest.fixture
async def release(
    cluster: Kubernetes,
    temporal: DevServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Release]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", name)
    await cluster.namespace(name)
    made = Release(cluster, temporal, name, tmp_path)
    async with made.kubelet.running():
        yield made


async def approve(agents: AgentClient, id: str) -> None:
    await agents.decide(id, Verdict.APPROVE, by="local", through="cli")


async def test_it_is_installed_upgraded_and_taken_away(release: Release) -> None:
    """Setup is done, an agent sleeps through an upgrade, a worker goes once another is there."""
    await release.helm("install")
    client = await release.client()
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=release.name)
    )
    retention = described.config.workflow_execution_retention_ttl.ToTimedelta()
    assert retention == timedelta(days=90)
    [gateway] = await release.pods("gateway")
    address = f"http://{gateway['status']['podIP']}:8080"
    async with httpx.AsyncClient(base_url=address) as http:
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        assert (await http.get("/agents")).status_code == 401
        by_name = {"Host": f"hibernaut-gateway.{release.name}.svc"}
        assert (await http.get("/healthz", headers=by_name)).status_code == 200

    agents = await release.agents()
    await release.asks(agents, "sleeper")
    before = {each["metadata"]["name"] for each in await release.pods("worker")}
    release.kubelet.happened.clear()
    await release.helm("upgrade", settings={"HIBERNAUT_WORKING_AGENTS": 7})
    after = {each["metadata"]["name"] for each in await release.pods("worker")}
    assert len(before) == len(after) == 1
    assert not before & after
    [old], [new] = before, after
    # Helm is done once the new one is ready; the old one drains.
    await eventually(lambda: old in release.kubelet.ended, 60)
    happened = release.kubelet.happened
    assert happened.index(f"{new} ready") < happened.index(f"{old} asked to end")
    assert release.kubelet.ended[old] == 0

    await approve(agents, "sleeper")
    view = await ended(agents, "sleeper")
    assert isinstance(view.result, dict)
    assert view.result["files_fixed"] == 1
    await release.uninstall()


async def test_workers_come_from_zero_and_go_again(release: Release, keda: None) -> None:
    """KEDA starts a worker for a backlog, and stops it in the middle of a scan and at a question."""
    await release.helm(
        "install",
        autoscaling={"enabled": True, "pollingSeconds": 1, "cooldownSeconds": 5},
        gateway={"enabled": False},
    )

    async def none_works() -> bool:
        going = any("worker" in name for name in release.kubelet.pods)
        return not going and not await release.pods("worker")

    await eventually(none_works, 120)
    agents = await release.agents()
    root = release.writable_code("large", 15000)
    await agents.start("code-auditor", AuditInput(path=str(root)), owner="local", id="large")
    # The queues are empty while it scans, so the worker goes; what it hands over brings the next one.
    view = await ended(agents, "large", within=600)
    assert isinstance(view.result, dict)
    history = await (await release.client()).get_workflow_handle("large").fetch_history()
    assert not WENT_WRONG & {event.event_type for event in history.events}
    failures = [event.activity_task_started_event_attributes.last_failure for event in history.events]
    assert "HandedOver" in [failure.application_failure_info.type for failure in failures]
    assert len(release.kubelet.ended) > 1
    await eventually(none_works, 120)

    await release.asks(agents, "sleeper")
    await eventually(none_works, 120)
    before = len(release.kubelet.ended)
    await approve(agents, "sleeper")
    view = await ended(agents, "sleeper")
    assert isinstance(view.result, dict)
    assert view.result["files_fixed"] == 1
    await eventually(none_works, 120)
    assert len(release.kubelet.ended) == before + 1
    assert not any(release.kubelet.ended.values())
    await release.uninstall()


async def test_a_build_is_rolled_out_while_agents_sleep(release: Release) -> None:
    """Each ends on the build it began on; then that is taken away."""
    await start_worker_controller(release.cluster)
    await release.helm(
        "install",
        worker={"kind": "WorkerDeployment", "sunset": {"scaledownDelay": "5s", "deleteDelay": "5s"}},
        # Without KEDA's operator nothing scales; what it would read is there for each build.
        autoscaling={"enabled": True},
        gateway={"enabled": False},
    )
    deployment = f"{release.name}/hibernaut-worker"
    agents = await release.agents()

    async def current(build_id: str) -> bool:
        worker = await release.cluster.get("WorkerDeployment", release.name, "hibernaut-worker")
        return worker.get("status", {}).get("currentVersion", {}).get("buildID") == build_id

    async def has(kind: str, builds: set[str]) -> bool:
        found = await release.cluster.all(kind, release.name)
        return {each["metadata"]["labels"]["temporal.io/build-id"] for each in found} == builds

    await eventually(lambda: current("1"), 240)
    for id in ("first", "second"):
        await release.asks(agents, id)
    await release.helm("upgrade", image={"tag": "2"})
    await eventually(lambda: current("2"), 240)
    await release.asks(agents, "third")
    rows = await agents.list_agents(AgentFilter())
    assert {row.id: row.pinned_to for row in rows} == {
        "first": f"{deployment}:1",
        "second": f"{deployment}:1",
        "third": f"{deployment}:2",
    }
    for kind in OF_A_BUILD:
        await eventually(lambda kind=kind: has(kind, {"1", "2"}), 60)
    for id in ("first", "second", "third"):
        await approve(agents, id)
        await ended(agents, id)
        assert await built(await release.client(), id) == {"2" if id == "third" else "1"}
    # Nothing needs the first build any more.
    for kind in OF_A_BUILD:
        await eventually(lambda kind=kind: has(kind, {"2"}), 240)
    # Its worker may still be draining.
    await eventually(lambda: list(release.kubelet.ended.values()) == [0], 300)
    assert [each["metadata"]["labels"]["temporal.io/build-id"] for each in await release.pods("worker")] == [
        "2"
    ]
    await release.uninstall()


async def built(client: Client, id: str) -> set[str]:
    """The builds of the workers that took an agent's steps."""
    history = await client.get_workflow_handle(id).fetch_history()
    return {
        event.workflow_task_completed_event_attributes.deployment_version.build_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    }
