"""The programs of a Kubernetes cluster, built once from Go's module proxy and cached.

Each program is built in a module of its own that copies the `replace` lines of the program's module.
`go install` rejects modules with such lines, and Kubernetes replaces its own modules by folders that only
its repository has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hibernaut" / "kube"


@dataclass(frozen=True)
class Program:
    """One program: its module, version and package."""

    module: str
    version: str
    package: str

    @property
    def source(self) -> str:
        """Module and version in Go's notation."""
        return f"{self.module}@{self.version}"


KUBERNETES = "k8s.io/kubernetes", "v1.37.2"
CONTROLLER = "github.com/temporalio/temporal-worker-controller", "v1.8.1"
KEDA = "github.com/kedacore/keda/v2", "v2.21.0"
PROGRAMS = {
    "helm": Program("helm.sh/helm/v3", "v3.22.0", "cmd/helm"),
    "etcd": Program("go.etcd.io/etcd/server/v3", "v3.7.3", ""),
    "kube-apiserver": Program(*KUBERNETES, "cmd/kube-apiserver"),
    "kube-controller-manager": Program(*KUBERNETES, "cmd/kube-controller-manager"),
    "worker-controller": Program(*CONTROLLER, "cmd"),
    "keda-operator": Program(*KEDA, "cmd/operator"),
}


def find(name: str) -> Path | None:
    """The path of a program, or None if it has not been built."""
    built = HOME / f"{name}-{PROGRAMS[name].version}"
    return built if built.exists() else None


def build(name: str) -> Path:
    """The path of a program, built if necessary (takes minutes). Skips the test if Go is not installed."""
    if built := find(name):
        return built
    program = PROGRAMS[name]
    built = HOME / f"{name}-{program.version}"
    folder = HOME / "modules" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text(_module(program))
    # Kubernetes does not know its version unless it is set here, and charts ask for it.
    said = f"-X k8s.io/component-base/version.gitVersion={program.version}"
    package = "/".join(filter(None, (program.module, program.package)))
    partial = built.with_suffix(".partial")
    _go(
        "build", "-mod=mod", "-trimpath", f"-ldflags=-s -w {said}", "-o", str(partial), package, within=folder
    )
    partial.replace(built)
    return built


def sources(module: str, version: str) -> Path:
    """The folder with a module's files."""
    return Path(json.loads(_go("mod", "download", "-json", f"{module}@{version}"))["Dir"])


def _module(program: Program) -> str:
    """The `go.mod` of a module that requires only the program's module."""
    said = json.loads(_go("mod", "download", "-json", program.source))
    theirs = Path(said["GoMod"]).read_text()
    lines = ["module build", f"require {program.module} {program.version}"]
    lines += re.findall(r"^(?:go|godebug) .+$", theirs, re.MULTILINE)
    staged = program.version.replace("v1.", "v0.", 1)
    for old, new in re.findall(r"^(?:replace)?\s*(\S+(?: v\S+)?) => (\S+(?: v\S+)?)", theirs, re.MULTILINE):
        lines.append(f"replace {old} => {f'{old} {staged}' if new.startswith('.') else new}")
    return "\n".join(lines) + "\n"


def _go(*arguments: str, within: Path | None = None) -> str:
    if shutil.which("go") is None:
        pytest.skip("Go is not installed, so Kubernetes cannot be built")
    done = subprocess.run(["go", *arguments], cwd=within or "/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
