"""The index of archived agents: Parquet files partitioned by the day agents closed, queried with DuckDB.

No part of a question becomes SQL text: conditions are fixed, and values are bound.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

from common.archive.layout import INDEX, IndexRow, day_of, index_key
from common.object_store import ObjectMissingError, ObjectStore

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


def schema() -> Any:
    """The columns of the index."""
    import pyarrow as pa

    words, time = pa.list_(pa.string()), pa.timestamp("us", tz="UTC")
    types = {
        "started": time,
        "closed": time,
        "cost": pa.float64(),
        "nodes": words,
        "stuck_at": words,
        "keys": words,
    }
    return pa.schema([(name, types.get(name, pa.string())) for name in IndexRow.model_fields])


def pack_rows(rows: Iterable[IndexRow], number: int) -> Iterator[tuple[str, bytes]]:
    """Keys and bytes of the index files for ``rows``, one file for each day."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def order(row: IndexRow) -> tuple[date, datetime, str]:
        return row.day, row.closed, row.run_id

    for day, group in groupby(sorted(rows, key=order), key=lambda row: row.day):
        table = pa.Table.from_pylist([row.model_dump() for row in group], schema=schema())
        file = io.BytesIO()
        pq.write_table(table, file, compression="zstd")
        yield index_key(day, number), file.getvalue()


def unpack_rows(data: bytes) -> list[IndexRow]:
    """The rows of an index file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return [IndexRow.model_validate(row) for row in pq.read_table(pa.BufferReader(data)).to_pylist()]


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
        # A kill at the wrong moment leaves an agent that was archived twice, with two rows of one run.
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
        import duckdb
        import pyarrow as pa
        import pyarrow.dataset as ds

        parquet = ds.ParquetFileFormat()

        def read(key: str) -> Any:
            return parquet.make_fragment(pa.BufferReader(self._objects.get(key)))

        with ThreadPoolExecutor(READERS, thread_name_prefix="index") as readers:
            runs = ds.FileSystemDataset(list(readers.map(read, files)), schema(), parquet)
        # DuckDB sees the table `runs` and nothing else: no files, no extensions, no network.
        settings: dict[str, Any] = {"enable_external_access": False, "threads": 2}
        with duckdb.connect(":memory:", config=settings) as database:
            database.register("runs", runs)
            found = database.sql(sql, params=values).to_arrow_table()
        return [IndexRow.model_validate(row) for row in found.to_pylist()]


def _is_given(value: object) -> bool:
    return value is not None and value != ()


def _bound(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
