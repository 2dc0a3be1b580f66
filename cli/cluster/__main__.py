"""`make cluster`: Temporal on PostgreSQL with a worker and the gateway, on loopback, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from cli.children import NotStartedError
from cli.cluster.build import build
from cli.cluster.cluster import Cluster
from cli.dev import Stack, locked
from cli.dev_server import free_port
from cli.output import CommandError, ExitCode, say
from common.approval.signing import Signer
from common.lifecycle import exit_now
from common.settings import Settings, SettingsError
from common.temporal.codec import prepare


async def cluster(settings: Settings, server: Cluster, http_port: int, workers: int) -> None:
    """Run until SIGINT or SIGTERM.

    Raises:
        CommandError: another cluster holds the folder.
        NotStartedError: a part is missing or does not start.
    """
    with locked(settings):
        Signer.load(settings, create=True)
        prepare(settings, accepts_plain=False)
        await Stack(
            settings, server, "", workers, http_port, None, unsigned=False, is_custom_folder=True
        ).run()


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m cli.cluster", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".hibernaut-cluster"), help="of all its data")
    parser.add_argument("--http-port", type=int, default=0, help="of HTTP and the dashboard; 0: a free one")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--tls", action="store_true", help="mutual TLS, with certificates that it makes")
    found = parser.parse_args()
    if found.workers < 1 or not 0 <= found.http_port < 65536:
        parser.error("give one worker or more, and a port")
    return found


def main() -> int:
    """Run the cluster and return the exit code."""
    given = options()
    folder: Path = given.folder.expanduser().absolute()
    data = folder / "data"
    try:
        # Build first: it takes minutes, and a plain Ctrl-C must end it.
        build()
        data.mkdir(parents=True, exist_ok=True)
        settings = Settings.at_start({**os.environ, "HIBERNAUT_DATA_DIR": str(data)})
        server = Cluster(folder, tls=given.tls)
        asyncio.run(cluster(settings, server, given.http_port or free_port(), given.workers))
    except (CommandError, NotStartedError, SettingsError) as error:
        say(f"error: {error}")
        return error.code if isinstance(error, CommandError) else ExitCode.USAGE
    except KeyboardInterrupt:
        return 130
    return ExitCode.DONE


if __name__ == "__main__":
    exit_now(main())
