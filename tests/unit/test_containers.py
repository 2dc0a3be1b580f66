"""What can be said of images and the compose file without running them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.programs import packaged_program

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
SECRETS = {
    name: f"{name.lower()}-s3cr3t" for name in ("POSTGRES_PASSWORD", "DATABASE_PASSWORD", "OBJECTS_PASSWORD")
}


def tool(name: str, *words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    program = packaged_program(name)
    if program is None:
        pytest.skip(f"{name} is missing")
    return subprocess.run([program, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def locked() -> set[tuple[str, str]]:
    """Names and versions of the packages in the lock."""
    text = (ROOT / "requirements.lock").read_text()
    return {(name, version) for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


def test_the_linter_of_dockerfiles_has_nothing_to_say() -> None:
    """Neither about the Dockerfile nor about the shell in it."""
    done = tool("hadolint", DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")
    done = tool("shellcheck", *sorted((ROOT / "deploy").rglob("*.sh")))
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_named_by_its_digest() -> None:
    """And every stage begins with it or with another stage."""
    text = DOCKERFILE.read_text()
    assert re.search(r"^ARG BASE=\S+:3\.11\S*@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", text, re.MULTILINE)
    assert len(stages) == len(re.findall(r"^FROM ", text, re.MULTILINE))
    assert {base for base, _ in stages} <= {"${BASE}", *(name for _, name in stages)}


def test_images_hold_every_package_that_entry_points_import() -> None:
    """A package left out would be missed at the first start."""
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE.read_text(), re.MULTILINE))
    assert copied == {"common", "activities", "workflows", "cli", "gateway"}


def test_the_bill_of_materials_is_the_lock(tmp_path: Path) -> None:
    """Every locked package in its version, and nothing else."""
    recipe = (ROOT / "Makefile").read_text().split("\nsbom:")[1].split("\n\n")[0]
    words = recipe.partition("cyclonedx-py ")[2].replace("\\\n", " ").split()
    words[words.index("--output-file") + 1] = str(tmp_path / "sbom.json")
    # Against the schema `make sbom` checks it, which takes longer than making it.
    done = tool("cyclonedx-py", *words, "--no-validate")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "sbom.json").read_text())["components"]
    assert {(each["name"], each["version"]) for each in found} == locked()


def test_only_what_people_use_is_published() -> None:
    """Temporal, its database and the objects have no port; the others listen on this machine alone."""
    published = {name: each["ports"] for name, each in services().items() if "ports" in each}
    assert set(published) == {"gateway", "ui"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_images_of_others_are_pinned() -> None:
    """And Temporal's server and the tool for its schema are of one version, that of the cluster."""
    images = {name: each["image"] for name, each in services().items() if "build" not in each}
    assert all(re.search(r":\d+\.\d+[\w.-]*$", image) for image in images.values())
    versions = {images[name].rpartition(":")[2] for name in ("temporal", "schema")}
    assert len(versions) == 1


def test_our_containers_can_write_to_nothing_else() -> None:
    """A read-only root, no capabilities, settings from one file: worker, gateway and setup alike."""
    ours = {name: each for name, each in services().items() if "build" in each}
    assert set(ours) == {"setup", "worker", "gateway"}
    for each in ours.values():
        assert each["read_only"] is True
        assert each["cap_drop"] == ["ALL"]
        assert each["env_file"] == ["hibernaut.env"]


@pytest.mark.skipif(
    shutil.which("podman") is None, reason="podman is missing; Debian's package podman has it"
)
def test_a_compose_program_reads_the_file(tmp_path: Path) -> None:
    """With the two files that the page has a team write; without, it says what is missing."""
    folder = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", folder, ignore=shutil.ignore_patterns("sbom*", "hibernaut.env", ".env"))
    done = tool("podman-compose", "config", cwd=folder)
    assert done.returncode != 0
    assert "deploy/README.md" in done.stdout + done.stderr
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in SECRETS.items()))
    (folder / "hibernaut.env").write_text("HIBERNAUT_PUBLIC_URL=http://localhost:8080\n")
    done = tool("podman-compose", "config", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)["services"]
    assert found["worker"]["environment"]["AWS_SECRET_ACCESS_KEY"] == SECRETS["OBJECTS_PASSWORD"]
    assert found["temporal"]["environment"]["POSTGRES_PWD"] == SECRETS["POSTGRES_PASSWORD"]
    # What workers count together: without it each would count alone.
    for name in ("worker", "gateway"):
        assert SECRETS["DATABASE_PASSWORD"] in found[name]["environment"]["HIBERNAUT_DATABASE"]
        assert "database" in found[name]["networks"]
