"""The entry point of the process that judges a contract; like `reader_entry.py`, no worker imports it."""

from __future__ import annotations

import json
import pickle
from functools import lru_cache
from typing import Any

from activities.contracts.audit import Auditor
from activities.documents.reader_entry import structure
from activities.documents.structure import UnreadableError
from activities.documents.structured_reader import document_of


def audit(data: bytes, argument: Any) -> bytes:
    """The audit as JSON, or `code` and `error`: why the contract cannot be read.

    `data` is an auditor, `rules` bytes long, pickled by this same program, followed by the contract.
    `reading` says how to read it; `name` and `digest` identify it.
    """
    rules, contract = data[: argument["rules"]], data[argument["rules"] :]
    reading = argument["reading"]
    try:
        document = document_of(structure(contract, reading), reading)
    except UnreadableError as error:
        return json.dumps({"code": error.code, "error": str(error)}).encode()
    found = _loaded(rules).audit(argument["name"], argument["digest"], document)
    return found.model_dump_json().encode("utf-8", "replace")


@lru_cache(2)
def _loaded(rules: bytes) -> Auditor:
    auditor: Auditor = pickle.loads(rules)  # noqa: S301 -- ours
    return auditor
