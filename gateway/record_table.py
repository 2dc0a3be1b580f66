"""Reads a list of records as people have it: a table pasted from a spreadsheet, or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

DELIMITERS = "\t;,"


def read_table(text: str, columns: Sequence[str]) -> JsonValue:
    """A record for each row below the first, which names the columns; empty cells are left out.

    Raises:
        ValueError: for people: it is not a table, or names an unknown column.
    """
    if text.lstrip().startswith("["):
        found: JsonValue = json.loads(text)
        return found
    first = text.lstrip().partition("\n")[0]
    delimiter = next((each for each in DELIMITERS if each in first), ",")
    try:
        rows = list(csv.reader(io.StringIO(text.strip()), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"not a table: {error}") from None
    heading, *records = [[cell.strip() for cell in row] for row in rows if any(map(str.strip, row))]
    names = [cell.lower().replace(" ", "_") for cell in heading]
    for name in names:
        if name not in columns or names.count(name) > 1:
            raise ValueError(f"the first line names the columns, which are: {', '.join(columns)}")
    for number, row in enumerate(records, 1):
        if len(row) > len(names):
            raise ValueError(f"row {number}: {len(row)} cells for {len(names)} columns")
    return [{name: cell for name, cell in zip(names, row, strict=False) if cell} for row in records]


def as_table(records: Sequence[Mapping[str, JsonValue]], columns: Sequence[str]) -> str:
    """The records as a table, without columns that none of them fills."""
    used = [name for name in columns if any(record.get(name) for record in records)]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(used)
    writer.writerows([record.get(name) or "" for name in used] for record in records)
    return written.getvalue().rstrip("\n")
