"""Podman with its own store, so that stand-ins for official images never mix with real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Images are kept between runs; each run builds only what has changed.
STORE = Path.home() / ".cache" / "hibernaut" / "containers"
BASE = "localhost/hibernaut-base:bookworm"
PROGRAMS = ("podman", "debootstrap", "runc", "iptables")
HELPERS = ("/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns")
TRUSTED = "/etc/ssl/certs/ca-certificates.crt"

CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=16384:16384"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"""
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{store}/images"
runroot = "{store}/run"
"""


def what_is_missing() -> str:
    """Why containers cannot be run here; empty if they can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    missing += [Path(helper).name for helper in HELPERS if not Path(helper).exists()]
    if missing:
        return f"containers need {', '.join(missing)} (Debian packages)"
    return "" if os.geteuid() == 0 else "containers need root"


class Podman:
    """Runs podman. Every failure raises ``CalledProcessError`` with its output."""

    def __init__(self) -> None:
        STORE.mkdir(parents=True, exist_ok=True)
        (STORE / "containers.conf").write_text(CONTAINERS_CONF)
        (STORE / "storage.conf").write_text(STORAGE_CONF.format(store=STORE))
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(STORE / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(STORE / "storage.conf"),
        }

    def __call__(self, *words: str | Path, timeout: float = 300, stdin: bytes | None = None) -> str:
        """Run podman and return its standard output."""
        return self.program("podman", *words, timeout=timeout, stdin=stdin)

    def program(
        self,
        *words: str | Path,
        timeout: float = 300,
        stdin: bytes | None = None,
        cwd: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run any program that uses the store and return its standard output."""
        done = subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env={**self.environment, **(environment or {})},
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            # Package managers print errors to standard output.
            sys.stderr.write(
                done.stdout.decode(errors="replace")[-4000:] + done.stderr.decode(errors="replace")
            )
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        return done.stdout.decode()

    def build(self, tag: str, file: Path, context: Path, *options: str) -> None:
        """Build an image, which takes minutes the first time."""
        self(
            *("build", "--pull=never", "--isolation", "chroot", "--network", "host", "--format", "docker"),
            *("--volume", f"{TRUSTED}:{TRUSTED}:ro", "--build-arg", f"BASE={BASE}"),
            *(*options, "--tag", tag, "--file", file, context),
            timeout=3600,
        )

    def make_base(self) -> None:
        """Make a Debian image with its own Python, in place of the Dockerfile's base."""
        if self.has(BASE):
            return
        folder = STORE / "base"
        shutil.rmtree(folder, ignore_errors=True)
        self.program("debootstrap", "--variant=minbase", "bookworm", folder, timeout=1800)
        packages = "ca-certificates python3 python3-venv python-is-python3"
        steps = (
            "apt-get update",
            f"apt-get install -y --no-install-recommends {packages}",
            "apt-get clean",
            "rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /usr/share/locale /var/cache/debconf",
        )
        # The caller's temporary folder does not exist in there.
        inside = {"TMPDIR": "/tmp"}
        self.program("chroot", folder, "sh", "-ec", " && ".join(steps), timeout=1800, environment=inside)
        packed = STORE / "base.tar"
        self.program("tar", "-C", folder, "-cf", packed, ".")
        self("import", packed, BASE)
        packed.unlink()
        shutil.rmtree(folder)

    def has(self, image: str) -> bool:
        """Whether the store has the image."""
        try:
            self("image", "exists", image)
        except subprocess.CalledProcessError:
            return False
        return True

    def build_target(self, target: str) -> str:
        """Build a target of our own Dockerfile and return the image's name."""
        self.make_base()
        self.build(f"localhost/hibernaut-{target}", ROOT / "deploy" / "Dockerfile", ROOT, "--target", target)
        return f"localhost/hibernaut-{target}"


def until(found: Callable[[], object], what: str, seconds: float = 300) -> object:
    """Poll until there is a result, and return it.

    Raises:
        AssertionError: there was none in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.5)
    raise AssertionError(f"not in {seconds:.0f} s: {what}")


# The options that the compose file gives to every container of ours.
CONFINED: Sequence[str] = (
    *("run", "--rm", "--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
