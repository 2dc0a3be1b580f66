"""A PostgreSQL server on loopback, in a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil

START_SECONDS = 60
# The account that Debian's package creates: PostgreSQL refuses to run as root.
ACCOUNT = "postgres"
USER = "hibernaut"


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL's programs; None if it is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[4]))
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class Postgres:
    """A server in `folder` on `port`; under root it runs as `postgres`, who must be able to reach `folder`.

    Raises:
        FileNotFoundError: at `start`, PostgreSQL is not installed.
        subprocess.CalledProcessError: at `start`, it does not start; its log is `server.log`.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self.port = folder, port
        self._data, self._password = folder / "data", folder / "password"
        self._account = ACCOUNT if os.geteuid() == 0 else None

    @property
    def password(self) -> str:
        """The password of its only user, `USER`; generated at the first start."""
        return self._password.read_text().strip()

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of `database`."""
        return f"postgresql+psycopg://{USER}:{quote(self.password)}@127.0.0.1:{self.port}/{database}"

    def start(self, **settings: str) -> None:
        """Create what is missing, start the server, and return once it accepts connections."""
        programs = binaries()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed (Debian: postgresql)")
        if not self._data.exists():
            self._prepare(programs)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **settings,
        }
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        self._run(
            programs / "pg_ctl", "start", "--wait", f"--timeout={START_SECONDS}",
            f"--log={self._folder / 'server.log'}", f"--options={words}",
        )  # fmt: skip

    def create(self, database: str) -> None:
        """Create an empty `database`."""
        programs = binaries()
        if programs is None:
            raise FileNotFoundError("PostgreSQL is not installed (Debian: postgresql)")
        place = ["--host=127.0.0.1", f"--port={self.port}", f"--username={USER}", "--no-password"]
        subprocess.run(
            [programs / "createdb", *place, database],
            check=True,
            env={**os.environ, "PGPASSWORD": self.password},
        )

    def stop(self) -> None:
        """Stop it gracefully; its data stays."""
        programs = binaries()
        if programs is not None and self.pid is not None:
            self._run(programs / "pg_ctl", "stop", "--mode=fast", "--wait")

    def kill(self) -> None:
        """SIGKILL all its processes at once, as a power cut would."""
        if self.pid is None:
            return
        server = psutil.Process(self.pid)
        for process in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        with suppress(psutil.NoSuchProcess):
            server.wait(timeout=START_SECONDS)

    @property
    def pid(self) -> int | None:
        """The server's process id; None if it is not running."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        # After a reboot another process may have this pid.
        with suppress(psutil.NoSuchProcess):
            return pid if psutil.Process(pid).name().startswith("postgres") else None
        return None

    def _prepare(self, programs: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._password.touch(mode=0o600)
        self._password.write_text(secrets.token_hex(16))
        if self._account:
            for path in (self._folder, self._password):
                shutil.chown(path, ACCOUNT, ACCOUNT)
        self._run(
            programs / "initdb", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={USER}",
            "--auth=scram-sha-256", f"--pwfile={self._password}",
        )  # fmt: skip

    def _run(self, program: Path, *arguments: str) -> None:
        subprocess.run(
            [program, f"--pgdata={self._data}", *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            user=self._account,
            group=self._account,
            extra_groups=[] if self._account else None,
        )
