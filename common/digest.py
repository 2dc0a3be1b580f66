"""Digests of values and bytes: what a human approves, what a file was, what a key names."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, JsonValue
from pydantic_core import to_jsonable_python


def canonical(value: object) -> bytes:
    """``value`` as JSON with sorted keys and no spaces: the same bytes for the same value everywhere."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else to_jsonable_python(value)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: BaseModel | JsonValue) -> str:
    """SHA-256 of the canonical JSON of ``value``, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_bytes(data: bytes) -> str:
    """SHA-256 of ``data``, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
