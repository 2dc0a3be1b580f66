"""Builds Temporal's server and its schema tool from source, once, into a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cli.children import NotStartedError
from cli.output import say

MODULE, VERSION = "go.temporal.io/server", "v1.32.0"
PACKAGES = {"server": "cmd/server", "sql": "cmd/tools/sql"}
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hibernaut" / f"temporal-{VERSION}"


@dataclass(frozen=True)
class Programs:
    """The server, and the tool that writes its schema into a database."""

    server: str
    sql: str


def built() -> bool:
    """Whether both programs are already built."""
    return all((CACHE / name).exists() for name in PACKAGES)


def find_go() -> str | None:
    """The path of `go`; None if it is not installed."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def build() -> Programs:
    """Build what is missing.

    Raises:
        NotStartedError: Go is missing, or the build failed.
    """
    for name, package in PACKAGES.items():
        if not (CACHE / name).exists():
            _install(name, package)
    return Programs(*(str(CACHE / name) for name in PACKAGES))


def _install(name: str, package: str) -> None:
    go = find_go()
    if go is None:
        raise NotStartedError("Go is not installed, which builds Temporal's server: install it from go.dev")
    say(f"building {MODULE}/{package}@{VERSION} into {CACHE}: minutes, once …")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        done = subprocess.run(
            [go, "install", f"{MODULE}/{package}@{VERSION}"],
            env={**os.environ, "GOBIN": folder, "GOFLAGS": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise NotStartedError(f"Temporal's server cannot be built: {said[0]}")
        # Atomic: an interrupted build leaves nothing that looks finished.
        (Path(folder) / name).replace(CACHE / name)


if __name__ == "__main__":
    try:
        build()
    except NotStartedError as error:
        say(f"error: {error}")
        sys.exit(2)
