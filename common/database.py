"""A SQL database in which several processes count: SQLite files in the data folder, or PostgreSQL by setting.

On both, a transaction excludes every other that names the same thing: a SQLite file has one writer at a time,
and PostgreSQL locks the names (advisory locks, released with the transaction, even if its process dies). So
what is read in a transaction still holds when it commits, and nothing has to be retried, as SERIALIZABLE
would require.
"""

from __future__ import annotations

import fcntl
import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    Engine,
    MetaData,
    QueuePool,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoFreeConnectionError
from sqlalchemy.schema import CreateSchema
from sqlalchemy.sql import bindparam

from common.digest import digest_bytes
from common.settings import Settings, SettingsError

VARIABLE = "HIBERNAUT_DATABASE"
# How long to wait for the lock of a file or a name, and for a free connection; longer than any transaction
# takes.
LOCK_SECONDS = 30
CONNECTIONS = 8
# A schema of our own, so that the database may hold other tables, too.
SCHEMA = "hibernaut"
# A server that vanishes silently is given up within half a minute, as is a client by the server.
_CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 1000 * LOCK_SECONDS,
    "application_name": "hibernaut",
    # Otherwise text comes as bytes from a database whose encoding is SQL_ASCII.
    "client_encoding": "utf8",
    "options": f"-c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout={LOCK_SECONDS}s",
}
_LOCK = text("SELECT pg_advisory_xact_lock(key) FROM unnest(:keys) AS key").bindparams(
    bindparam("keys", type_=ARRAY(BigInteger))
)


class DatabaseLostError(ConnectionError):
    """The database cannot be used just now; the message says which, and why.

    An interrupted transaction left nothing, or if it was being committed, either nothing or all it had done.
    """


class SharedDatabase:
    """Tables in the database at `place`, created with the first transaction if there are none.

    Args:
        place: a SQLite file, or the address of a PostgreSQL database.
        tables: declared the same in every process that uses them.
        durable: whether a commit to a file survives a power failure; if not, it survives only the end of its
            process. A server decides this itself.
    """

    def __init__(self, place: Path | URL, tables: MetaData, *, durable: bool = True) -> None:
        self._file = place if isinstance(place, Path) else None
        self._engine = _file_engine(place, durable) if isinstance(place, Path) else _server_engine(place)
        self._tables = tables
        self._ready = False

    @contextmanager
    def transaction(self, *names: str) -> Iterator[Connection]:
        """Exclude all others with one of `names`; commits at the block's end, rolls back if it raises.

        Raises:
            DatabaseLostError: it cannot be reached, the connection broke, or the lock was not free within 30
                seconds.
        """
        with _telling(self._engine.url):
            if not self._ready:
                self._prepare()
            with self._engine.begin() as connection:
                if self._file is not None:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    # Always in the same order, so that there is no deadlock.
                    connection.execute(_LOCK, {"keys": sorted(map(_key, names))})
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """For reading only: it blocks nobody, and sees what was committed.

        Raises:
            DatabaseLostError: it cannot be reached, or the connection broke.
        """
        with _telling(self._engine.url):
            if not self._ready:
                self._prepare()
            with self._engine.connect() as connection:
                yield connection

    def now(self, connection: Connection) -> float:
        """Seconds since the epoch, by the one clock of all processes that share the database."""
        if self._file is not None:
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def _prepare(self) -> None:
        if self._file is None:
            with self._engine.begin() as connection:
                connection.execute(_LOCK, {"keys": [_key(SCHEMA)]})
                if not inspect(connection).has_schema(SCHEMA):
                    connection.execute(CreateSchema(SCHEMA))
                self._tables.create_all(connection)
        else:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # Processes that switch a new file to WAL at the same time can make each other fail.
            with self._file.with_name(f"{self._file.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with self._engine.begin() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    self._tables.create_all(connection)
        self._ready = True


def database_place(settings: Settings, file: str) -> Path | URL:
    """The database of `HIBERNAUT_DATABASE`; if that is not set, the SQLite file `file` in the data folder."""
    if settings.state.database:
        return make_url(settings.state.database).set(drivername="postgresql+psycopg")
    return settings.data_dir / file


def check_database(settings: Settings) -> str:
    """Check that the database of the settings can be used; return what it is, in words.

    Raises:
        SettingsError: it cannot; the message says why.
    """
    place = database_place(settings, "")
    if isinstance(place, Path):
        return f"SQLite files in {place}"
    try:
        with _telling(place), _server_engine(place).connect() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
            read_only = connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on"
            may = "SELECT has_database_privilege(current_database(), 'CREATE')"
            makes = inspect(connection).has_schema(SCHEMA) or connection.execute(text(may)).scalar_one()
    except DatabaseLostError as error:
        raise SettingsError(f"{VARIABLE}: {error}.") from None
    if read_only:
        raise SettingsError(f"{VARIABLE}: {_shown(place)} takes no writes: name its primary.")
    if not makes:
        raise SettingsError(
            f"{VARIABLE}: {_shown(place)}: its user may not create the schema {SCHEMA}: "
            f"GRANT CREATE ON DATABASE {place.database} TO {place.username}"
        )
    return f"PostgreSQL {version} at {_shown(place)}"


def _file_engine(file: Path, durable: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        # One connection, for which the threads of a process queue; between processes, SQLite only polls.
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=LOCK_SECONDS,
        connect_args={"timeout": LOCK_SECONDS},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")

    return engine


@functools.cache
def _server_engine(place: URL) -> Engine:
    """The connections of this process to a server: a few, shared by all tables."""
    return create_engine(
        place,
        connect_args={name: value for name, value in _CONNECT.items() if name not in place.query},
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=LOCK_SECONDS,
        # Silently replaces a connection that broke while it was idle.
        pool_pre_ping=True,
        # Each statement sees what was committed before it, as the first one waits for the lock.
        isolation_level="READ COMMITTED",
        hide_parameters=True,
        execution_options={"schema_translate_map": {None: SCHEMA}},
    )


@contextmanager
def _telling(place: URL) -> Iterator[None]:
    """Report a lost database as `DatabaseLostError`; other errors pass."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise DatabaseLostError(f"the database {_shown(place)} cannot be used: {_reason(error)}") from error
    except NoFreeConnectionError as error:
        raise DatabaseLostError(
            f"the database {_shown(place)} is busy: no connection was free for {LOCK_SECONDS} s"
        ) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DatabaseLostError(f"the database {_shown(place)} broke off: {_reason(error)}") from error


def _reason(error: DBAPIError) -> str:
    """The first line of the driver's message, which is about servers and files, not their content."""
    return str(error.orig).partition("\n")[0].removeprefix("connection failed: ")


def _shown(place: URL) -> str:
    if place.get_backend_name() == "sqlite":
        return str(place.database)
    host = place.host or place.query.get("host", "")
    return f"{host}{f':{place.port}' if place.port else ''}/{place.database}"


def _key(name: str) -> int:
    """The 64-bit number that PostgreSQL locks for `name`."""
    return int(digest_bytes(name.encode())[:16], 16) - 2**63
