"""Runs pods as processes of this machine: each pod of a Deployment really starts, in its own root directory.

A pod sees the system's programs, its image (a checkout, at `/app`) and its volumes. It can write only to its
volumes, runs as the user of its security context, and has no capabilities. It shares the host's network: it
gets a loopback address, and a program that would listen on all addresses listens on that one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.children import start_child
from tests.support.kube.cluster import PLACES, Kubernetes

# The mounts that a pod sees. Its root is in memory and becomes read-only before its program starts.
ENTER = r"""set -eu
umask 022
root=$1 user=$2 group=$3; shift 3
mount -t tmpfs -o mode=755 pod "$root"
see() { mkdir -p "$root$2"; mount --rbind "$1" "$root$2"; }
for each in /usr /bin /sbin /lib /lib64 /proc /dev; do [ -e $each ] && see $each $each; done
cp -a /etc "$root/etc"
while [ "$1" != -- ]; do see "$1" "$2"; shift 2; done
shift
mount -o remount,ro,bind "$root/app"
mount -o remount,ro "$root"
exec /usr/sbin/chroot "$root" /usr/bin/setpriv --reuid "$user" --regid "$group" --clear-groups \
    --no-new-privs --bounding-set -all --inh-caps -all /bin/sh -c 'cd /app && exec "$@"' pod "$@"
"""


class Pod:
    """One pod and its process."""

    def __init__(self, spec: dict[str, Any], folder: Path, address: str) -> None:
        self.name = spec["metadata"]["name"]
        self.container = spec["spec"]["containers"][0]
        self.spec = spec["spec"]
        self.folder = folder
        self.address = address
        self.log = folder / "log"
        self.process: Process | None = None
        self.restarts = 0
        self.asked_to_end: float | None = None
        self.killed = False
        self.last_status: dict[str, Any] | None = None


class Kubelet:
    """Runs the pods of one namespace, with images that are checkouts."""

    def __init__(self, cluster: Kubernetes, namespace: str, image: Path, folder: Path) -> None:
        self.cluster, self.namespace, self.image, self.folder = cluster, namespace, image, folder
        self.pods: dict[str, Pod] = {}
        # Exit codes of pods that have ended, by name; -9 for a pod that had to be killed.
        self.ended: dict[str, int] = {}
        # Events in order: `NAME ready`, `NAME asked to end`.
        self.happened: list[str] = []
        self._addresses = (f"127.1.{a}.{b}" for a in range(1, 250) for b in range(1, 250))
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Kubelet]:
        task = asyncio.create_task(self._keep())
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            for pod in self.pods.values():
                if pod.process and pod.process.returncode is None:
                    pod.process.kill()
                    await pod.process.wait()

    def log(self, part: str) -> str:
        """The logs of all pods whose name contains `part`."""
        return "".join(log.read_text() for log in sorted(self.folder.glob(f"*{part}*/log")))

    async def _keep(self) -> None:
        async with httpx.AsyncClient(timeout=2) as prober:
            for _ in itertools.count():
                for found in await self.cluster.all("Pod", self.namespace):
                    await self._look_after(found, prober)
                await asyncio.sleep(0.4)

    async def _look_after(self, found: dict[str, Any], prober: httpx.AsyncClient) -> None:
        name = found["metadata"]["name"]
        place = f"{PLACES['Pod'].format(self.namespace)}/{name}"
        pod = self.pods.get(name)
        if pod is None:
            if "deletionTimestamp" in found["metadata"]:
                await self.cluster.api.request("DELETE", place, json={"gracePeriodSeconds": 0})
                return
            binding = {"target": {"apiVersion": "v1", "kind": "Node", "name": "here"}}
            answer = await self.cluster.api.post(
                f"{place}/binding",
                json={"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, **binding},
            )
            if answer.status_code in (404, 409):
                return
            assert answer.is_success, answer.text
            pod = self.pods[name] = Pod(found, self.folder / name, next(self._addresses))
            await self._start(pod)
        assert pod.process is not None
        code = pod.process.returncode
        if "deletionTimestamp" in found["metadata"]:
            await self._end(pod, found["metadata"].get("deletionGracePeriodSeconds", 30), place)
        elif code is not None and pod.spec["restartPolicy"] == "Always":
            pod.restarts += 1
            await asyncio.sleep(0.5)
            await self._start(pod)
        else:
            await self._tell(pod, code, prober)

    async def _start(self, pod: Pod) -> None:
        environment = await self._environment(pod)
        mounts = [str(self.image), "/app"]
        volumes = {each["name"]: each for each in pod.spec["volumes"]}
        for mount in pod.container["volumeMounts"]:
            mounts += [str(await self._volume(pod, volumes[mount["name"]])), mount["mountPath"]]
        # Last, because they may be below `/tmp`, which is a volume.
        for each in (sys.prefix, sys.base_prefix):
            mounts += [] if each.startswith("/usr") else [each, each]
        root = pod.folder / "root"
        root.mkdir(parents=True, exist_ok=True)
        user = pod.spec["securityContext"]
        command = [*pod.container["command"], *pod.container.get("args", [])]
        pod.process = await start_child(
            [
                *("/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", ENTER, "pod"),
                *(str(root), str(user["runAsUser"]), str(user["runAsGroup"]), *mounts, "--", *command),
            ],
            environment=environment,
            log=pod.log,
        )

    async def _environment(self, pod: Pod) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in pod.container.get("envFrom", []):
            if "configMapRef" in source:
                found |= (await self._config(source["configMapRef"]["name"])).get("data", {})
            else:
                found |= await self._secret(source["secretRef"]["name"])
        for each in pod.container["env"]:
            if chosen := each.get("valueFrom", {}).get("secretKeyRef"):
                found[each["name"]] = (await self._secret(chosen["name"]))[chosen["key"]]
            else:
                found[each["name"]] = each.get("value", "").replace("0.0.0.0", pod.address)
        return {**found, "PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}

    async def _config(self, name: str) -> dict[str, Any]:
        return await self.cluster.get("ConfigMap", self.namespace, name)

    async def _secret(self, name: str) -> dict[str, str]:
        held = (await self.cluster.get("Secret", self.namespace, name)).get("data", {})
        return {key: base64.b64decode(value).decode() for key, value in held.items()}

    async def _volume(self, pod: Pod, volume: Mapping[str, Any]) -> Path:
        group = pod.spec["securityContext"]["fsGroup"]
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if claim := volume.get("persistentVolumeClaim"):
            folder = self.folder / "claims" / claim["claimName"]
        else:
            folder = pod.folder / "volumes" / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, str] = {}
        if "configMap" in volume:
            files = (await self._config(volume["configMap"]["name"]))["data"]
        elif "secret" in volume:
            files = await self._secret(volume["secret"]["secretName"])
        for name, text in files.items():
            (folder / name).write_text(text)
        if not files:
            os.chown(folder, -1, group)
            folder.chmod(0o2770)
        return folder

    async def _end(self, pod: Pod, grace: int, place: str) -> None:
        assert pod.process is not None
        loop = asyncio.get_running_loop()
        if pod.process.returncode is None:
            if pod.asked_to_end is None:
                pod.asked_to_end = loop.time()
                pod.process.terminate()
                self.happened.append(f"{pod.name} asked to end")
                await self._tell(pod, None, None)
            elif loop.time() - pod.asked_to_end > grace:
                pod.process.kill()
            return
        self.ended[pod.name] = pod.process.returncode
        answer = await self.cluster.api.request("DELETE", place, json={"gracePeriodSeconds": 0})
        assert answer.is_success or answer.status_code == 404, answer.text
        del self.pods[pod.name]

    async def _tell(self, pod: Pod, code: int | None, prober: httpx.AsyncClient | None) -> None:
        ready = code is None and prober is not None and await self._probe(pod, prober)
        if code is None:
            phase, state = "Running", {"running": {}}
        else:
            phase = "Failed" if code else "Succeeded"
            state = {"terminated": {"exitCode": code}}
        status = {
            "phase": phase,
            "podIP": pod.address,
            "podIPs": [{"ip": pod.address}],
            "conditions": [{"type": kind, "status": str(ready)} for kind in ("Ready", "ContainersReady")],
            "containerStatuses": [
                {
                    **{"name": pod.container["name"], "image": pod.container["image"], "imageID": ""},
                    **{"ready": ready, "restartCount": pod.restarts, "state": state},
                }
            ],
        }
        if status != pod.last_status:
            await self.cluster.patch("Pod", self.namespace, pod.name, {"status": status}, "status")
            pod.last_status = status
            if ready:
                self.happened.append(f"{pod.name} ready")

    async def _probe(self, pod: Pod, prober: httpx.AsyncClient) -> bool:
        probe = pod.container.get("readinessProbe", {}).get("httpGet")
        if not probe:
            return True
        ports = {each["name"]: each["containerPort"] for each in pod.container["ports"]}
        with contextlib.suppress(httpx.TransportError):
            answer = await prober.get(f"http://{pod.address}:{ports[probe['port']]}{probe['path']}")
            return answer.status_code == 200
        return False


def needs_pods() -> None:
    """Skip the test where pods cannot run: they need root and private mounts."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        pytest.skip("pods are run as root, with unshare, setpriv and chroot of Linux")
