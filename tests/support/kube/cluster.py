"""A Kubernetes without nodes: etcd, the API server and its controllers, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cli.children import end_child, start_child
from cli.dev_server import free_port
from testing.waiting import eventually
from tests.support.kube.programs import build

CONTROLLERS = (
    *("deployment-controller", "replicaset-controller", "job-controller", "disruption-controller"),
    *("garbage-collector-controller", "namespace-controller", "serviceaccount-controller"),
)
# API paths of each kind of object.
PLACES = {
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "apis/apps/v1/namespaces/{}/replicasets",
    "Job": "apis/batch/v1/namespaces/{}/jobs",
    "Pod": "api/v1/namespaces/{}/pods",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "Secret": "api/v1/namespaces/{}/secrets",
    "Event": "api/v1/namespaces/{}/events",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "WorkerDeployment": "apis/temporal.io/v1alpha1/namespaces/{}/workerdeployments",
    "WorkerResourceTemplate": "apis/temporal.io/v1alpha1/namespaces/{}/workerresourcetemplates",
    "ScaledObject": "apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
}
MERGE = {"Content-Type": "application/merge-patch+json"}


class Patient(httpx.AsyncHTTPTransport):
    """Asks again when the API server says so, as it does while it takes in a new kind."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(60):
            response = await super().handle_async_request(request)
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            await response.aclose()
            await asyncio.sleep(1)
        return response


class Kubernetes:
    """The cluster and its administrator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.kubeconfig = folder / "kubeconfig"
        self._token = secrets.token_hex(16)
        self._children: list[Process] = []

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for child in reversed(self._children):
            await end_child(child, 20)

    async def _start(self) -> None:
        etcd, peers = free_port(), free_port()
        here = "http://127.0.0.1"
        await self.run(
            "etcd",
            *("--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync", "--log-level", "warn"),
            *("--listen-client-urls", f"{here}:{etcd}", "--advertise-client-urls", f"{here}:{etcd}"),
            *("--listen-peer-urls", f"{here}:{peers}", "--initial-advertise-peer-urls", f"{here}:{peers}"),
            *("--initial-cluster", f"default={here}:{peers}"),
        )
        key = self._key()
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{self._token},admin,admin,system:masters\n")
        await self.run(
            "kube-apiserver",
            *(f"--etcd-servers={here}:{etcd}", "--bind-address=127.0.0.1", f"--secure-port={self.port}"),
            *(f"--cert-dir={self.folder / 'certificates'}", "--endpoint-reconciler-type=none"),
            *(f"--token-auth-file={tokens}", "--authorization-mode=RBAC", "--profiling=false"),
            *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
            *(
                "--service-account-issuer=https://kubernetes.invalid",
                "--service-cluster-ip-range=10.0.0.0/24",
            ),
        )
        certificate = self.folder / "certificates" / "apiserver.crt"
        await eventually(certificate.exists, 60)
        self.api = httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}/",
            headers={"Authorization": f"Bearer {self._token}"},
            # Its certificate is self-signed.
            transport=Patient(verify=False),
            timeout=30,
        )
        self.kubeconfig.write_text(self.config_of(self._token))
        await eventually(self._ready, 120)
        await self.run(
            "kube-controller-manager",
            *(f"--kubeconfig={self.kubeconfig}", f"--service-account-private-key-file={key}"),
            *("--leader-elect=false", "--secure-port=0", f"--controllers={','.join(CONTROLLERS)}"),
        )

    def _key(self) -> Path:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path = self.folder / "tokens.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return path

    async def _ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            # A namespace's service account comes from the controllers; the roles must exist first.
            return (await self.api.get("readyz")).status_code == 200
        return False

    def config_of(self, token: str) -> str:
        """A kubeconfig for the holder of `token`."""
        cluster = {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": cluster}],
                "users": [{"name": "me", "user": {"token": token}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "current-context": "here",
            }
        )

    async def run(self, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Process:
        """Start a program, which ends with the cluster."""
        process = await start_child(
            [str(await asyncio.to_thread(build, name)), *arguments],
            environment={"PATH": os.environ["PATH"], "HOME": str(self.folder), **(environment or {})},
            log=self.folder / f"{name}.log",
        )
        self._children.append(process)
        return process

    async def stop(self, process: Process) -> None:
        """Stop a program before the cluster ends."""
        self._children.remove(process)
        await end_child(process, 20)

    async def helm(self, *arguments: str, fails: bool = False) -> str:
        """Run helm and return its output, or its errors if it is to fail."""
        program = await asyncio.to_thread(build, "helm")
        process = await asyncio.create_subprocess_exec(
            str(program),
            *arguments,
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder), "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 600)
        assert (process.returncode != 0) == fails, f"helm {arguments}: {out.decode()}{err.decode()}"
        return (err if fails else out).decode()

    async def make(self, document: Mapping[str, Any]) -> None:
        """Create or update an object from its manifest."""
        kind, version = document["kind"], document["apiVersion"]
        metadata = document["metadata"]
        base = "api" if version == "v1" else "apis"
        found = (await self.api.get(f"{base}/{version}")).json()["resources"]
        resource = next(each for each in found if each["kind"] == kind and "/" not in each["name"])
        inside = f"namespaces/{metadata['namespace']}/" if resource["namespaced"] else ""
        answer = await self.api.patch(
            f"{base}/{version}/{inside}{resource['name']}/{metadata['name']}",
            params={"fieldManager": "tests", "force": "true"},
            content=json.dumps(dict(document)),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        assert answer.is_success, answer.text

    async def namespace(self, name: str) -> None:
        """Create a namespace that only admits pods of the restricted standard."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        await self.make(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        )

    async def all(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        answer = await self.api.get(PLACES[kind].format(namespace))
        assert answer.is_success, answer.text
        return list(answer.json()["items"])

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """One object."""
        answer = await self.api.get(f"{PLACES[kind].format(namespace)}/{name}")
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def patch(
        self, kind: str, namespace: str, name: str, change: Mapping[str, Any], part: str = ""
    ) -> None:
        """Change an object, or its `status` or `scale`."""
        place = f"{PLACES[kind].format(namespace)}/{name}"
        answer = await self.api.patch(f"{place}/{part}" if part else place, json=dict(change), headers=MERGE)
        # A deleted pod needs no status.
        assert answer.is_success or answer.status_code == 404, answer.text

    async def token(self, namespace: str, account: str) -> str:
        """A token of a service account."""
        answer = await self.api.post(
            f"api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
            json={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        )
        assert answer.is_success, answer.text
        return str(answer.json()["status"]["token"])
