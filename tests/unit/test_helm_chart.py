"""The Helm chart: what it renders is what Kubernetes takes, and says what the code needs."""

from __future__ import annotations

import copy
import functools
import json
import re
import shutil
import tomllib
from typing import Any

import pytest
import yaml

from common.settings import Settings, table
from tests.support.json_schema import flaws
from tests.support.kube.programs import CONTROLLER, KEDA, PROGRAMS, sources
from tests.support.kube.render import CHART, KEPT, ROOT, VARIANTS, helm, rendered

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
OF_KEDA = {"ScaledObject", "TriggerAuthentication"}
CUSTOM = OF_KEDA | {"WorkerDeployment", "Connection", "WorkerResourceTemplate"}


@functools.cache
def kept(variant: str) -> list[dict[str, Any]]:
    return [each for each in yaml.load_all((KEPT / f"{variant}.yaml").read_text(), yaml.CSafeLoader) if each]


def of_kind(variant: str, kind: str) -> list[dict[str, Any]]:
    return [each for each in kept(variant) if each["kind"] == kind]


def pods(variant: str) -> dict[str, dict[str, Any]]:
    """The pods that are described, by component."""
    found = [each["spec"]["template"] for each in kept(variant) if "template" in each.get("spec", {})]
    return {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]
        for each in found
        if "containers" in each["spec"]
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_kept_is_what_helm_makes_of_the_chart(variant: str) -> None:
    """`python -m tests.support.kube.render` writes it anew."""
    program = helm()
    if program is None:
        pytest.skip("helm is not installed")
    done = rendered(program, variant)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (KEPT / f"{variant}.yaml").read_text()


@pytest.mark.parametrize("variant", VARIANTS)
def test_kubernetes_takes_what_is_rendered(variant: str) -> None:
    """By the schemas of the version that `make kube-test` runs, without a field that it does not know."""
    import kubernetes_validate  # not at the top, as `flaws` does it

    version = PROGRAMS["kube-apiserver"].version.removeprefix("v").rpartition(".")[0]
    manifests = [each for each in kept(variant) if each["kind"] not in CUSTOM]
    assert len(manifests) > 8
    for each in manifests:
        kubernetes_validate.validate(each, version, strict=True)
    # What a template of the worker controller holds is an object, too.
    for each in of_kind(variant, "WorkerResourceTemplate"):
        inner = {**each["spec"]["template"], "metadata": {"name": "made"}}
        if inner["kind"] not in CUSTOM:
            kubernetes_validate.validate(inner, version, strict=True)


def test_the_controllers_definitions_take_what_is_rendered() -> None:
    """By the schemas in their modules, made strict: KEDA's and the worker controller's."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed, so the definitions cannot be fetched")
    controller, keda = sources(*CONTROLLER), sources(*KEDA)
    controllers = controller / "helm" / "temporal-worker-controller-crds" / "templates"
    files = [controllers / f"temporal.io_{kind.lower()}s.yaml" for kind in CUSTOM - OF_KEDA]
    files += [keda / "config" / "crd" / "bases" / f"keda.sh_{kind.lower()}s.yaml" for kind in OF_KEDA]
    schemas: dict[str, Any] = {}
    for file in files:
        text = "\n".join(line for line in file.read_text().splitlines() if "{{" not in line)
        each = yaml.load(text, yaml.CSafeLoader)
        [newest] = [one for one in each["spec"]["versions"] if one["storage"]]
        schemas[each["spec"]["names"]["kind"]] = strict(newest["schema"]["openAPIV3Schema"])
    checked = set()
    for variant in VARIANTS:
        for each in kept(variant):
            inner = (
                copy.deepcopy(each["spec"]["template"]) if each["kind"] == "WorkerResourceTemplate" else None
            )
            if inner and "scaleTargetRef" in inner["spec"]:
                assert inner["spec"]["scaleTargetRef"] == {}, "the controller names each build's own"
                inner["spec"]["scaleTargetRef"] = {"name": "of-a-build"}
            for document in (each, inner):
                if document and document["kind"] in CUSTOM:
                    assert flaws(schemas[document["kind"]], document) == []
                    checked.add(document["kind"])
    assert checked == CUSTOM


def strict(schema: Any) -> Any:
    """An OpenAPI schema as JSON schema that refuses what it does not name, as the API server drops it."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: strict(value) for key, value in schema.items() if not key.startswith("x-")}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        made["additionalProperties"] = False
        # These every object has; their schema is Kubernetes' own.
        if "metadata" in schema["properties"]:
            made["properties"]["metadata"] = {"type": "object"}
    return made


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_are_confined(variant: str) -> None:
    """Not root, nothing to write to but volumes, no token of the cluster's API, a tag that is one."""
    found = pods(variant)
    assert set(found) == {"worker", "gateway", "setup"}
    for pod in found.values():
        [container] = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["image"] == "registry.example.com/hibernaut:7"
        # The worker controller mounts what its workers need of TLS, and says where Temporal is.
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert mounted == {each["name"] for each in pod["volumes"]}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_worker_has_the_time_that_it_takes_to_end(variant: str) -> None:
    """Its drain, and the 20 seconds more that docs/settings.md names."""
    [config] = [each for each in of_kind(variant, "ConfigMap") if "HIBERNAUT_DATA_DIR" in each["data"]]
    drain = int(config["data"]["HIBERNAUT_DRAIN_SECONDS"])
    assert pods(variant)["worker"]["terminationGracePeriodSeconds"] >= drain + 20


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_setting_that_is_set_is_one(variant: str) -> None:
    """A setting that was renamed would be set in vain."""
    known = {*table(), "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY", "HOME"}
    known |= {f"TEMPORAL_TLS{each}" for each in ("", "_SERVER_NAME", "_SERVER_CA_CERT_PATH")}
    known |= {f"TEMPORAL_TLS_CLIENT_{each}_PATH" for each in ("CERT", "KEY")}
    made = {name for each in of_kind(variant, "ConfigMap") for name in each["data"] if name.isupper()}
    made |= {each["name"] for pod in pods(variant).values() for each in pod["containers"][0]["env"]}
    assert made - known == set()
    checks = (CHART / "templates" / "checks.yaml").read_text()
    refused = re.findall(r'"((?:HIBERNAUT|TEMPORAL)_\w+)"', checks)
    assert set(refused) - known == set()


@pytest.mark.parametrize("variant", VARIANTS)
def test_workers_are_scaled_by_all_their_queues(variant: str) -> None:
    """Each with the kinds of tasks that it has; running workflows are never counted: every sleeper is."""
    [config] = [each for each in of_kind(variant, "ConfigMap") if "HIBERNAUT_DATA_DIR" in each["data"]]
    settings = Settings.read(config["data"])
    [scaled] = [each["spec"] for each in of_kind(variant, "ScaledObject")] or [
        each["spec"]["template"]["spec"]
        for each in of_kind(variant, "WorkerResourceTemplate")
        if each["spec"]["template"]["kind"] == "ScaledObject"
    ]
    triggers = {each["metadata"]["taskQueue"]: each["metadata"] for each in scaled["triggers"]}
    assert {name: each["queueTypes"] for name, each in triggers.items()} == {
        settings.task_queue: "workflow,activity",
        settings.fetch_queue: "activity",
    }
    assert scaled["minReplicaCount"] == 0
    # A worker that came up just now, and has not been asked for anything yet, stays as well.
    assert scaled["initialCooldownPeriod"] == scaled["cooldownPeriod"] > 0
    for each in triggers.values():
        assert "includeRunningWorkflowCount" not in each
        assert each["enableTLS"] == "true"
        # What the controller writes for each build has to be there and empty.
        empty = {name for name, value in each.items() if not value}
        of_a_build = {"namespace", "workerDeploymentName", "workerDeploymentBuildId"}
        assert empty == (of_a_build if variant == "builds" else set())


def test_a_change_of_settings_makes_no_build() -> None:
    """The image's tag is the build."""
    [worker] = of_kind("builds", "WorkerDeployment")
    assert worker["spec"]["workerOptions"]["unsafeCustomBuildID"] == "7"
    assert "replicas" not in worker["spec"]


def test_every_value_is_in_the_schema() -> None:
    """And nothing else is taken."""
    assert flaws(SCHEMA, VALUES) == []

    def known(values: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
        properties = schema.get("properties")
        if properties is None:
            return []
        assert schema["additionalProperties"] is False, path
        missing = [f"{path}{name}" for name in values.keys() ^ (properties.keys() - {"global"})]
        inner = [(value, properties[name], name) for name, value in values.items() if isinstance(value, dict)]
        return missing + [found for value, each, name in inner for found in known(value, each, f"{name}.")]

    files = dict.fromkeys(SCHEMA["properties"]["files"]["properties"])
    assert known({**VALUES, "files": files}, SCHEMA, "") == []


def test_the_values_of_the_page_are_such_as_the_chart_takes() -> None:
    """As the page shows them, and for its commands nothing that the chart does not know."""
    page = (CHART.parent / "README.md").read_text()
    shown = [
        yaml.safe_load(each) for each in re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    ]
    [values] = [each for each in shown if "image" in each]
    assert flaws(SCHEMA, values) == []
    named = set(re.findall(r"`((?:[a-z][A-Za-z]+\.)+[A-Za-z]+)`", page)) - {"values.yaml"}
    assert named
    for each in named:
        part: Any = VALUES
        for word in each.split("."):
            assert word in part, each
            part = part[word]


def test_the_chart_is_of_the_version_of_the_program() -> None:
    """Which is the image's tag where none is named."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == chart["version"] == project["version"]


REFUSED = {
    "temporal.address=": "temporal.address is not set: name the frontend of Temporal, host:port.",
    "secrets.values.HIBERNAUT_APPROVAL_KEYS=": "No approval keys: put HIBERNAUT_APPROVAL_KEYS",
    "data.existingClaim=": "set settings.HIBERNAUT_S3_BUCKET, or data.existingClaim",
    "data.existingClaim=,settings.HIBERNAUT_S3_BUCKET=b": "set HIBERNAUT_DATABASE in a Secret, or",
    "settings.HIBERNAUT_HTTP=1": "settings.HIBERNAUT_HTTP is set by the chart: leave it out",
    "worker.drainSeconds=60": "an exchange with a model may take 180 (HIBERNAUT_MODEL_SECONDS)",
    "image.tag=latest": "image.tag=latest cannot be a build",
    "autoscaling.minReplicas=1": "KEDA would bring back the workers of each drained build",
    "worker.replica=3": "additional properties 'replica' not allowed",
    "worker.kind=StatefulSet": "value must be one of 'Deployment', 'WorkerDeployment'",
    "gateway.ingress.enabled=true": "gateway.ingress needs a host",
}


@pytest.mark.parametrize("option", REFUSED)
def test_what_cannot_work_is_refused_with_what_to_do(option: str) -> None:
    """Before anything is installed."""
    program = helm()
    if program is None:
        pytest.skip("helm is not installed")
    done = rendered(program, "builds", "--set", option)
    assert done.returncode == 1
    assert REFUSED[option] in done.stderr
