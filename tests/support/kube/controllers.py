"""Controllers the chart relies on: Temporal's worker controller and KEDA's operator, as processes."""

from __future__ import annotations

import base64
import os
import shutil
import socket
from asyncio.subprocess import Process
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli.dev_server import free_port, listens
from testing.waiting import eventually
from tests.support.kube.cluster import MERGE, Kubernetes
from tests.support.kube.programs import CONTROLLER, KEDA, sources

# The controller's fixed port.
WEBHOOK_PORT = 9443
SYSTEM = "controllers"
KEDA_NAMESPACE = "keda"
ALLOWED = [
    {"kinds": ["ScaledObject"], "apiGroups": ["keda.sh"], "resources": ["scaledobjects"]},
    {"kinds": ["PodDisruptionBudget"], "apiGroups": ["policy"], "resources": ["poddisruptionbudgets"]},
]


def certificate(folder: Path) -> str:
    """Write a loopback certificate, its key, and itself as the CA; return the certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    for file in ("tls.crt", "ca.crt"):
        (folder / file).write_bytes(pem)
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem.decode()


async def install_definitions(cluster: Kubernetes) -> None:
    """Install the kinds of both, and a namespace for their objects."""
    await cluster.namespace(SYSTEM)
    crds = sources(*CONTROLLER) / "helm" / "temporal-worker-controller-crds"
    await cluster.helm("install", "definitions", str(crds), "--namespace", SYSTEM)
    for file in (sources(*KEDA) / "config" / "crd" / "bases").glob("*.yaml"):
        await cluster.make(yaml.load(file.read_text(), yaml.CSafeLoader))


async def start_keda(cluster: Kubernetes) -> Process:
    """Run KEDA's operator as its service account, with its roles.

    The operator scales a Deployment between zero and one. More replicas would need KEDA's metrics server,
    which Kubernetes' own autoscaler queries.
    """
    await cluster.namespace(KEDA_NAMESPACE)
    manifests = sources(*KEDA) / "config"
    for file in ("service_account/service_account.yaml", "rbac/role.yaml", "rbac/role_binding.yaml"):
        for document in yaml.load_all((manifests / file).read_text(), yaml.CSafeLoader):
            await cluster.make(document)
    folder = cluster.folder / "keda"
    certificate(folder)
    config = folder / "kubeconfig"
    config.write_text(cluster.config_of(await cluster.token(KEDA_NAMESPACE, "keda-operator")))
    port = free_port()
    operator = await cluster.run(
        "keda-operator",
        *(f"--cert-dir={folder}", f"--metrics-service-bind-address=127.0.0.1:{free_port()}"),
        *("--enable-prometheus-metrics=false", f"--health-probe-bind-address=127.0.0.1:{port}"),
        environment={
            "KUBECONFIG": str(config),
            "WATCH_NAMESPACE": "",
            "POD_NAMESPACE": KEDA_NAMESPACE,
            "KEDA_CLUSTER_OBJECT_NAMESPACE": KEDA_NAMESPACE,
        },
    )
    await eventually(lambda: listens(port), 60)
    return operator


async def start_worker_controller(cluster: Kubernetes) -> None:
    """Install its chart with roles and webhook, and run it as its service account.

    The webhook is called at an address, since nothing here routes to services.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", WEBHOOK_PORT))
    chart = cluster.folder / "worker-controller"
    source = sources(*CONTROLLER) / "helm" / "temporal-worker-controller"
    shutil.copytree(source, chart, copy_function=shutil.copyfile)
    os.chmod(chart, 0o755)
    (chart / "Chart.lock").unlink()
    described = yaml.safe_load((chart / "Chart.yaml").read_text())
    # The dependency is cert-manager's chart, which would make certificates.
    del described["dependencies"]
    (chart / "Chart.yaml").unlink()
    (chart / "Chart.yaml").write_text(yaml.safe_dump(described))
    # Where controller-runtime looks for the certificate.
    temporary = cluster.folder / "controller"
    trusted = certificate(temporary / "k8s-webhook-server" / "serving-certs")
    bundle = base64.b64encode(trusted.encode()).decode()
    values = {
        "replicas": 0,
        "certmanager": {"enabled": False, "caBundle": bundle},
        "webhook": {"enabled": True},
        "workerResourceTemplate": {"allowedResources": ALLOWED},
    }
    (cluster.folder / "controller.json").write_text(yaml.safe_dump(values))
    await cluster.helm(
        *("install", "worker-controller", str(chart), "--namespace", SYSTEM),
        *("--values", str(cluster.folder / "controller.json")),
    )
    hooks = "apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    for hook in (await cluster.api.get(hooks)).json()["items"]:
        for each in hook["webhooks"]:
            path = each["clientConfig"].pop("service")["path"]
            each["clientConfig"] = {
                "url": f"https://localhost:{WEBHOOK_PORT}{path}",
                "caBundle": bundle,
            }
        answer = await cluster.api.patch(
            f"{hooks}/{hook['metadata']['name']}", json={"webhooks": hook["webhooks"]}, headers=MERGE
        )
        assert answer.is_success, answer.text
    account = "worker-controller-service-account"
    config = cluster.folder / "worker-controller.config"
    config.write_text(cluster.config_of(await cluster.token(SYSTEM, account)))
    await cluster.run(
        "worker-controller",
        *("--metrics-bind-address=0", f"--health-probe-bind-address=127.0.0.1:{free_port()}"),
        environment={
            "KUBECONFIG": str(config),
            "TMPDIR": str(temporary),
            "CONTROLLER_IDENTITY": "worker-controller/tests",
            "CONTROLLER_VERSION": "1.8.1",
            "POD_NAMESPACE": SYSTEM,
            "SERVICE_ACCOUNT_NAME": account,
            "ALLOWED_KINDS": "ScaledObject,PodDisruptionBudget",
        },
    )
    await eventually(lambda: listens(WEBHOOK_PORT), 60)
