"""The index of archived agents: Parquet files partitioned by the day agents closed, queried with DuckDB.

No part of a question becomes SQL text: conditions are fixed, and values are bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from common.archive.layout import INDEX, IndexRow, day_of, index_key
from common.object_store import ObjectMissingError, ObjectStore

if TYPE_CHECKING:
    import duckdb

ATTEMPTS = 3
READERS = 8


@dataclass(frozen=True)
class IndexQuery:
    """Which rows are wanted; None and empty values do not restrict them.

    Attributes:
        since, until: the agent lived at some time in between; `until` is exclusive.
        node: it went through this node.
        stuck: entries `Login@2026-11-22`, of which it has at least one.
        ever_stuck: it has any such entry.
        kind, status, owner, batch, id: it has exactly these.
        limit: at most this many, the last to close first.
    """

    since: datetime | None = None
    until: datetime | None = None
    node: str | None = None
    stuck: Sequence[str] = ()
    ever_stuck: bool = False
    kind: str | None = None
    status: str | None = None
    owner: str | None = None
    batch: str | None = None
    id: str | None = None
    limit: int | None = None


# The condition for each field, bound to its value; those without a value are left out.
_CONDITIONS = {
    "since": "closed >= ?",
    "until": "started < ?",
    "node": "list_contains(nodes, ?)",
    "stuck": "list_has_any(stuck_at, ?::VARCHAR[])",
    "kind": "kind = ?",
    "status": "status = ?",
    "owner": "owner = ?",
    "batch": "batch = ?",
    "id": "id = ?",
}


def columns() -> dict[str, str]:
    """The columns of the index and their types."""
    types = {
        **dict.fromkeys(("started", "closed"), "TIMESTAMPTZ"),
        **dict.fromkeys(("nodes", "stuck_at", "keys"), "VARCHAR[]"),
        "cost": "DOUBLE",
    }
    return {name: types.get(name, "VARCHAR") for name in IndexRow.model_fields}


def pack_rows(rows: Iterable[IndexRow], number: int) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of the index files for ``rows``, one file for each day."""

    def order(row: IndexRow) -> tuple[date, datetime, str]:
        return row.day, row.closed, row.run_id

    with _database() as database, TemporaryDirectory() as folder:
        lines, file = Path(folder, "rows.json"), Path(folder, "rows.parquet")
        for day, group in groupby(sorted(rows, key=order), key=lambda row: row.day):
            lines.write_text("".join(f"{row.model_dump_json()}\n" for row in group), encoding="utf-8")
            table = database.read_json(str(lines), columns=columns(), format="newline_delimited")
            table.write_parquet(str(file), compression="zstd")
            yield index_key(day, number), file.read_bytes()


def unpack_rows(data: bytes) -> list[IndexRow]:
    """The rows of an index file."""
    with _database() as database, TemporaryDirectory() as folder:
        file = Path(folder, "rows.parquet")
        file.write_bytes(data)
        return _rows(database.read_parquet(str(file)))


class ArchiveIndex:
    """Queries the index. The methods block."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def find(self, query: IndexQuery) -> list[IndexRow]:
        """The rows that match, newest first, each agent once.

        Raises:
            StoreUnavailableError: the store cannot be read now.
        """
        wanted = [text for name, text in _CONDITIONS.items() if _is_given(getattr(query, name))]
        values = [_bound(getattr(query, name)) for name in _CONDITIONS if _is_given(getattr(query, name))]
        if query.ever_stuck:
            wanted.append("len(stuck_at) > 0")
        where = " AND ".join(wanted) or "true"
        # A kill at the wrong moment may leave an agent archived twice, with two rows for one run.
        sql = (
            f"SELECT * FROM runs WHERE {where} "  # noqa: S608 -- of fixed parts alone
            "QUALIFY row_number() OVER (PARTITION BY id, run_id ORDER BY sha256) = 1 "
            "ORDER BY closed DESC, id"
        )
        if query.limit is not None:
            sql, values = f"{sql} LIMIT ?", [*values, query.limit]
        for attempt in range(ATTEMPTS):
            try:
                return self._ask(sql, values, self.files(query.since))
            except ObjectMissingError:
                # A file was rewritten after it was listed, because an owner is being erased.
                if attempt == ATTEMPTS - 1:
                    raise
        return []

    def files(self, since: datetime | None = None) -> list[str]:
        """Keys of the files that may hold agents which lived at or after ``since``."""
        first = since.astimezone(UTC).date() if since else date.min
        return [each.key for each in self._objects.list(INDEX) if day_of(each.key) >= first]

    def _ask(self, sql: str, values: list[Any], files: list[str]) -> list[IndexRow]:
        if not files:
            return []
        with _database() as database, TemporaryDirectory() as folder:

            def fetch(number: int, key: str) -> str:
                file = Path(folder, f"{number}.parquet")
                file.write_bytes(self._objects.get(key))
                return str(file)

            with ThreadPoolExecutor(READERS, thread_name_prefix="index") as readers:
                fetched = list(readers.map(fetch, range(len(files)), files))
            database.read_parquet(fetched, union_by_name=True).create("runs")
            # From here on DuckDB sees the table `runs` and nothing else: no files, no network.
            database.execute("SET enable_external_access = false")
            return _rows(database.sql(sql, params=values))


def _database() -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(":memory:", config={"threads": 2, "autoload_known_extensions": False})


def _rows(found: duckdb.DuckDBPyRelation) -> list[IndexRow]:
    names = found.columns
    return [IndexRow.model_validate(dict(zip(names, row, strict=True))) for row in found.fetchall()]


def _is_given(value: object) -> bool:
    return value is not None and value != ()


def _bound(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
