"""Databases for tests: a SQLite file, and a PostgreSQL server of the test session."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.schema import DropSchema

from cli.cluster.postgres import Postgres, binaries
from cli.dev_server import free_port
from common.database import SCHEMA

DATABASE = "hibernaut"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with an empty database, in a folder that its account can reach, unlike pytest's."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="hibernaut-postgres-"))
    folder.chmod(0o755)
    server = Postgres(folder / "server", free_port())
    try:
        server.start()
        server.create(DATABASE)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def emptied(server: Postgres) -> URL:
    """The URL of the server's database, emptied of all tables."""
    place = make_url(server.url(DATABASE))
    engine = create_engine(place)
    with engine.begin() as connection:
        connection.execute(DropSchema(SCHEMA, cascade=True, if_exists=True))
    engine.dispose()
    return place
