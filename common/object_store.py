"""Objects by key: in a folder on disk, or in a bucket of S3 or what speaks like it. One interface."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from common.artifacts import write_atomically
from common.settings import Settings

CONNECT_SECONDS = 5
READ_SECONDS = 30
# As many at a time as the payload store has threads.
CONNECTIONS = 16
# What one request to delete takes.
DELETE_BATCH = 1000


class ObjectMissingError(Exception):
    """There is no object of that key; the message names it."""


class StoreUnavailableError(Exception):
    """The store did not do as asked, and may later; `code` is what S3, or its client, calls the error."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class StoredObject:
    """What a listing says of an object: its key, its size in bytes, when it was written."""

    key: str
    size: int
    written_at: datetime


class ObjectStore(ABC):
    """Whole objects by key. Keys are segments joined by `/`, none of them empty or beginning with a dot.

    Its methods block, and may be called from several threads. Each raises `StoreUnavailableError` where the
    store cannot be reached or refuses, and none tries again: Temporal does.
    """

    @abstractmethod
    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object, all of it or nothing; whether it was written.

        Args:
            key: its key.
            data: its bytes.
            if_absent: leave one that is there as it is. A service that knows no conditions writes anyway.
        """

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The bytes of an object.

        Raises:
            ObjectMissingError: there is none.
        """

    @abstractmethod
    def head(self, key: str) -> StoredObject | None:
        """What a listing would say of an object; None where there is none."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins with `prefix`, in the order of their keys' bytes."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is not there counts as deleted."""


def open_store(settings: Settings) -> ObjectStore:
    """The bucket of the settings, or the embedded stack's folder. Reaches out to nothing yet."""
    if settings.state.s3_bucket:
        return S3Store(settings)
    return FolderStore(settings.data_dir / "objects")


class FolderStore(ObjectStore):
    """A folder on disk: one file an object."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """See the interface; durable (fsync) when it returns."""
        path = self._path(key)
        if if_absent and path.exists():
            return False
        try:
            write_atomically(path, data, replace=not if_absent)
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreUnavailableError(f"{path}: {error.strerror}") from error
        return True

    def get(self, key: str) -> bytes:
        """See the interface."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissingError(f"there is no object {key} in {self._folder}") from None
        except OSError as error:
            raise StoreUnavailableError(f"{key}: {error.strerror}") from error

    def head(self, key: str) -> StoredObject | None:
        """See the interface."""
        return self._described(key, self._path(key))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See the interface."""
        # Only the folders that can hold such keys are walked.
        top = self._folder / prefix.rpartition("/")[0]
        found = []
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder) / name
                key = path.relative_to(self._folder).as_posix()
                # What is being written has a name that begins with a dot.
                if key.startswith(prefix) and not name.startswith("."):
                    found.append((key, path))
        for key, path in sorted(found, key=lambda each: each[0].encode()):
            described = self._described(key, path)
            if described:
                yield described

    def delete(self, keys: Iterable[str]) -> None:
        """See the interface. Folders left empty go too."""
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._folder:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break  # something is in it

    def _described(self, key: str, path: Path) -> StoredObject | None:
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return StoredObject(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def _path(self, key: str) -> Path:
        segments = key.split("/")
        if any(not each or each.startswith(".") or "\0" in each for each in segments):
            raise ValueError(f"{key!r} is no key: its segments must not be empty or begin with a dot")
        return self._folder.joinpath(*segments)


class S3Store(ObjectStore):
    """A bucket. The client library finds credentials as it always does, and does not try again by itself."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket, self._prefix = settings.state.s3_bucket, settings.state.s3_prefix
        self._opening = threading.Lock()
        self._opened: Any = None

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """See the interface. The service checks the bytes against their SHA-256 before it takes them."""
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        condition: Any = {"IfNoneMatch": "*"} if if_absent else {}
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=self._prefix + key, Body=data, ChecksumSHA256=checksum, **condition
            )
        except self._errors as error:
            if if_absent and _status(error) in (409, 412):
                return False
            raise self._unavailable("write", key, error) from error
        return True

    def get(self, key: str) -> bytes:
        """See the interface."""
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            return bytes(found["Body"].read())
        except self._errors as error:
            if _code(error) == "NoSuchKey":
                raise ObjectMissingError(f"there is no object {key} in the bucket {self._bucket}") from None
            raise self._unavailable("read", key, error) from error

    def head(self, key: str) -> StoredObject | None:
        """See the interface."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except self._errors as error:
            # A HEAD has no body, so a bucket that is missing looks the same; the write that follows tells.
            if _status(error) == 404:
                return None
            raise self._unavailable("look up", key, error) from error
        return StoredObject(key, found["ContentLength"], found["LastModified"])

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See the interface."""
        pages = self._client.get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for found in page.get("Contents", []):
                    key = found["Key"][len(self._prefix) :]
                    yield StoredObject(key, found["Size"], found["LastModified"])
        except self._errors as error:
            raise self._unavailable("list", prefix, error) from error

    def delete(self, keys: Iterable[str]) -> None:
        """See the interface."""
        waiting = [self._prefix + key for key in keys]
        for start in range(0, len(waiting), DELETE_BATCH):
            batch = waiting[start : start + DELETE_BATCH]
            try:
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            except self._errors as error:
                raise self._unavailable("delete", batch[0], error) from error
            for flaw in answer.get("Errors", []):
                raise StoreUnavailableError(f"cannot delete {flaw.get('Key')}: {flaw.get('Code')}")

    def look(self) -> None:
        """Ask for one key at most, to see that the bucket is there and may be listed."""
        try:
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        except self._errors as error:
            raise self._unavailable("list", f"{self._prefix}*", error) from error

    def move_when_cold(self, prefix: str, after: timedelta | None) -> None:
        """Have the service move what lies under `prefix` to GLACIER_IR, cheaper and still read at once.

        The bucket's other rules stay. None takes the rule back.
        """
        name = f"hibernaut {self._prefix}{prefix}"
        try:
            rules = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)["Rules"]
        except self._errors as error:
            if _code(error) != "NoSuchLifecycleConfiguration":
                raise self._unavailable("read the rules for", prefix, error) from error
            rules = []
        rules = [rule for rule in rules if rule.get("ID") != name]
        if after is not None:
            move = {"Days": max(after.days, 1), "StorageClass": "GLACIER_IR"}
            where = {"Prefix": self._prefix + prefix}
            rules.append({"ID": name, "Status": "Enabled", "Filter": where, "Transitions": [move]})
        try:
            if rules:
                self._client.put_bucket_lifecycle_configuration(
                    Bucket=self._bucket, LifecycleConfiguration={"Rules": rules}
                )
            else:
                self._client.delete_bucket_lifecycle(Bucket=self._bucket)
        except self._errors as error:
            raise self._unavailable("set the rule for", prefix, error) from error

    @property
    def _client(self) -> Any:
        # Not in `__init__`: a process that stores nothing large need not load the library, which takes 0.2 s.
        with self._opening:
            if self._opened is None:
                import boto3
                from botocore.config import Config

                self._opened = boto3.session.Session().client(
                    "s3",
                    endpoint_url=self._settings.state.s3_endpoint or None,
                    region_name=self._settings.state.s3_region or None,
                    config=Config(
                        connect_timeout=CONNECT_SECONDS,
                        read_timeout=READ_SECONDS,
                        max_pool_connections=CONNECTIONS,
                        retries={"total_max_attempts": 1},
                        # Other services than Amazon's trip over checksums sent after the body.
                        request_checksum_calculation="when_required",
                        response_checksum_validation="when_required",
                    ),
                )
            return self._opened

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from urllib3.exceptions import HTTPError

        return (BotoCoreError, ClientError, HTTPClientError, HTTPError)

    def _unavailable(self, what: str, key: str, error: Exception) -> StoreUnavailableError:
        where = f"HIBERNAUT_S3_BUCKET={self._bucket} at {self._settings.state.s3_endpoint or 'Amazon S3'}"
        code = _code(error) or type(error).__name__
        return StoreUnavailableError(f"cannot {what} {key} in {where}: {code}", code)


def _code(error: Exception) -> str:
    return str(_answer(error).get("Error", {}).get("Code", ""))


def _status(error: Exception) -> int:
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answer(error: Exception) -> dict[str, Any]:
    # A connection that broke has a response too, and it is None.
    return getattr(error, "response", None) or {}
