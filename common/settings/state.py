"""Settings of stored state: encryption, the object store, the database, the copy of the data folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, BeforeValidator, field_validator, model_validator

from common.settings.base import File, Group, setting

_IN_BUCKET = re.compile(r"s3://(?P<bucket>[^/?#]+)(?:/(?P<prefix>[^?#]*))?(?:\?(?P<options>[^#]*))?")
_OPTIONS = {"endpoint", "region"}


class CopyPlace(BaseModel, frozen=True):
    """Where a copy of a data folder is kept: a folder, or a prefix of a bucket."""

    folder: Path | None = None
    bucket: str = ""
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    @classmethod
    def read(cls, text: str) -> CopyPlace:
        """The place that `text` names.

        Raises:
            ValueError: it names none; the message says what to give.
        """
        if text.strip() and "://" not in text:
            return cls(folder=Path(text).expanduser().absolute())
        found = _IN_BUCKET.fullmatch(text)
        options = dict(parse_qsl((found and found["options"]) or "", keep_blank_values=True))
        if not found or options.keys() - _OPTIONS:
            raise ValueError("give a folder, or s3://BUCKET/PREFIX with ?endpoint=…&region=… where needed")
        if not options.get("endpoint", "http://").startswith(("http://", "https://")):
            raise ValueError("give an http(s) address as its endpoint")
        prefix = (found["prefix"] or "").strip("/")
        return cls(bucket=found["bucket"], prefix=f"{prefix}/" if prefix else "", **options)

    def __str__(self) -> str:
        return str(self.folder) if self.folder else f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def _place_of(text: object) -> object:
    return (CopyPlace.read(text) if text else None) if isinstance(text, str) else text


class StateSettings(Group):
    """How state is kept. `encryption` is empty, `on`, `migrate` or `off`; no bucket means a folder."""

    encryption: Literal["", "on", "migrate", "off"] = setting(
        "HIBERNAUT_ENCRYPTION",
        "`on` encrypts what goes to Temporal and refuses plain payloads; `migrate` encrypts and still "
        "reads plain ones, for agents that were started before; `off` writes plain. Empty: on if there "
        "are keys.",
    )
    payload_keys: str = setting(
        "HIBERNAUT_PAYLOAD_KEYS",
        "Keys that encrypt, as `id:hex,id:hex` (32 bytes or more each); the first encrypts, all decrypt. "
        "Empty: `payload.keys` in the data folder, if there is one.",
        secret=True,
    )
    compression: Literal["on", "off"] = setting(
        "HIBERNAUT_COMPRESSION",
        "`on` compresses what is encrypted, from 512 bytes; `off` does not. Both read either. For `off` see "
        "docs/state.md.",
        default="on",
    )
    objects: File = setting(
        "HIBERNAUT_OBJECTS",
        "Folder of the object store where there is no bucket; every process needs the same (docs/scale.md). "
        "Empty: `objects` in the data folder.",
    )
    s3_bucket: str = setting(
        "HIBERNAUT_S3_BUCKET",
        "Bucket of the object store: large payloads, artifacts, reports, journals, the archive. Empty: a "
        "folder.",
    )
    s3_endpoint: str = setting(
        "HIBERNAUT_S3_ENDPOINT", "Address of an S3-compatible service. Empty: Amazon's of the region."
    )
    s3_region: str = setting("HIBERNAUT_S3_REGION", "Region of the bucket. Empty: the one that boto3 finds.")
    s3_prefix: str = setting("HIBERNAUT_S3_PREFIX", "Prefix of every key in the bucket, `team/` for example.")

    database: str = setting(
        "HIBERNAUT_DATABASE",
        "PostgreSQL database for what workers count together (docs/scale.md): "
        "`postgresql://USER:PASSWORD@HOST:PORT/NAME`, with libpq's parameters where needed "
        "(`?sslmode=verify-full`). Do not share it with another stack. Empty: SQLite files "
        "in the data folder.",
        secret=True,
    )
    copy_to: Annotated[CopyPlace | None, BeforeValidator(_place_of)] = setting(
        "HIBERNAUT_COPY_TO",
        "Where `starter.py dev` keeps a continuous copy of its data folder, keys included (docs/state.md): a "
        "folder on another disk, or `s3://BUCKET/PREFIX`, with `?endpoint=…&region=…` for a service other "
        "than Amazon's. Empty: nowhere.",
    )

    @field_validator("database")
    @classmethod
    def _is_postgresql(cls, text: str) -> str:
        found = urlsplit(text)
        kind = found.scheme.partition("+")[0]
        if text and (kind not in ("postgresql", "postgres") or len(found.path) < 2):
            raise ValueError("give postgresql://USER:PASSWORD@HOST:PORT/NAME")
        try:
            _ = found.port
        except ValueError:
            raise ValueError("give a port that is a number, and escape / : @ in the password") from None
        return text

    @field_validator("s3_endpoint")
    @classmethod
    def _is_an_address(cls, text: str) -> str:
        if text and not text.startswith(("http://", "https://")):
            raise ValueError("give an http(s) address")
        return text

    @model_validator(mode="after")
    def _has_a_bucket(self) -> Self:
        if self.objects and self.s3_bucket:
            raise ValueError("HIBERNAUT_OBJECTS and HIBERNAUT_S3_BUCKET are both set: keep one")
        if self.s3_endpoint and not self.s3_bucket:
            raise ValueError("HIBERNAUT_S3_ENDPOINT is set and HIBERNAUT_S3_BUCKET is not: name a bucket")
        return self
