"""Stand-ins with the same programs and names as the official images, which are not available everywhere."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from cli.cluster.build import build
from common.programs import packaged_program
from tests.support.containers.podman import BASE, Podman

SERVER_START = """#!/bin/sh
set -eu
address=$(getent hosts "$(hostname)" | head -n 1 | cut -d' ' -f1)
export TEMPORAL_BROADCAST_ADDRESS="${TEMPORAL_BROADCAST_ADDRESS:-$address}"
exec temporal-server start
"""
POSTGRES_START = """#!/bin/sh
set -eu
bin=$(echo /usr/lib/postgresql/*/bin) data=/var/lib/postgresql/data
chown postgres "$data"
as() { exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
if [ ! -s "$data/PG_VERSION" ]; then
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    chown postgres /tmp/password
    (as "$bin/initdb" -D "$data" -U "$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256)
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
fi
as "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
"""


@dataclass(frozen=True)
class StandIn:
    """How to build an image: steps of its Dockerfile, and the files they copy."""

    steps: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def stand_ins() -> dict[str, StandIn]:
    """Stand-ins by the official images' names, without versions.

    Raises:
        NotStartedError: Go is missing, which builds Temporal's server.
    """
    programs, rclone = build(), packaged_program("rclone")
    assert rclone
    return {
        "docker.io/library/postgres": StandIn(
            (
                # Its packages link manuals there, and the base lacks these folders.
                "RUN mkdir -p /usr/share/man/man1 /usr/share/man/man7"
                " && apt-get update && apt-get install -y --no-install-recommends postgresql"
                " && rm -rf /var/lib/postgresql/*/main",
                "COPY start.sh /start.sh",
                "VOLUME /var/lib/postgresql/data",
                # As in the official image: a fast, orderly shutdown.
                "STOPSIGNAL SIGINT",
                'CMD ["sh", "/start.sh"]',
            ),
            texts={"start.sh": POSTGRES_START},
        ),
        "docker.io/temporalio/admin-tools": StandIn(
            ("COPY temporal-sql-tool /usr/local/bin/", "RUN useradd --uid 1000 temporal", "USER temporal"),
            files={"temporal-sql-tool": programs.sql},
        ),
        "docker.io/temporalio/server": StandIn(
            (
                "COPY temporal-server /usr/local/bin/",
                "COPY start.sh /start.sh",
                "RUN useradd --uid 1000 temporal",
                "USER temporal",
                'CMD ["sh", "/start.sh"]',
            ),
            files={"temporal-server": programs.server},
            texts={"start.sh": SERVER_START},
        ),
        "docker.io/rclone/rclone": StandIn(
            ("COPY rclone /usr/local/bin/", 'ENTRYPOINT ["rclone"]'), files={"rclone": rclone}
        ),
    }


def build_stand_ins(podman: Podman, images: set[str]) -> None:
    """Build stand-ins for those of `images`, named with versions, that are not our own."""
    podman.make_base()
    known = stand_ins()
    for image in sorted(images):
        stand_in = known.get(image.rpartition(":")[0])
        if stand_in is None:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file, source in stand_in.files.items():
                shutil.copy2(source, folder / file)
            for file, text in stand_in.texts.items():
                (folder / file).write_text(text)
            (folder / "Dockerfile").write_text("\n".join((f"FROM {BASE}", *stand_in.steps, "")))
            podman.build(image, folder / "Dockerfile", folder)
