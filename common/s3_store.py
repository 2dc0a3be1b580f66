"""The object store in a bucket of S3, or of a service with the same API."""

from __future__ import annotations

import base64
import functools
import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from common.object_store import ObjectMissingError, ObjectStore, StoredObject, StoreUnavailableError
from common.settings import Settings

CONNECT_SECONDS = 5
READ_SECONDS = 30
# As many as the payload store has threads.
CONNECTIONS = 16
# Keys in one request to delete.
DELETE_BATCH = 1000
# What may pass without intervention, as error codes of S3 and of its client library.
OUTAGES = (
    *("EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError", "ReadTimeoutError"),
    *("SSLError", "ProxyConnectionError", "ResponseParserError"),
)
EXPIRED = ("ExpiredToken", "CredentialRetrievalError")
# How a person can fix each.
FIXES = {
    (
        *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", *EXPIRED),
        *("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"),
    ): "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) to a key that may list it",
    ("NoSuchBucket", "InvalidBucketName", "ParamValidationError"): (
        "create that bucket, or set HIBERNAUT_S3_BUCKET to one that is there"
    ),
    (
        *("NoRegionError", "InvalidRegionError", "AuthorizationHeaderMalformed", "PermanentRedirect"),
        "IllegalLocationConstraintException",
    ): "set HIBERNAUT_S3_REGION to the bucket's",
    (*OUTAGES, "InvalidEndpointConfigurationError"): (
        "see that HIBERNAUT_S3_ENDPOINT is right, and that the service runs"
    ),
}


class S3Store(ObjectStore):
    """A bucket. Credentials are found as boto3 finds them; its own retries are off.

    Args:
        settings: the settings that name the bucket.
        variable: the setting that errors name.
    """

    def __init__(self, settings: Settings, variable: str = "HIBERNAUT_S3_BUCKET") -> None:
        self._settings = settings
        self._variable = variable
        self._bucket, self._prefix = settings.state.s3_bucket, settings.state.s3_prefix
        self._opening = threading.Lock()
        self._opened: Any = None

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """See the interface. The service verifies the SHA-256 of the bytes before it accepts them."""
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
            # A HEAD has no body, so a missing bucket looks the same; the write that follows reports it.
            if _status(error) == 404:
                return None
            raise self._unavailable("look up", key, error) from error
        return StoredObject(key, found["ContentLength"], found["LastModified"])

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See the interface."""
        pages = self._client.get_paginator("list_objects_v2")
        with self._reports("list", prefix):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for found in page.get("Contents", []):
                    key = found["Key"][len(self._prefix) :]
                    yield StoredObject(key, found["Size"], found["LastModified"])

    def delete(self, keys: Iterable[str]) -> None:
        """See the interface."""
        waiting = [self._prefix + key for key in keys]
        for start in range(0, len(waiting), DELETE_BATCH):
            batch = waiting[start : start + DELETE_BATCH]
            with self._reports("delete", batch[0]):
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            for flaw in answer.get("Errors", []):
                raise StoreUnavailableError(f"cannot delete {flaw.get('Key')}: {flaw.get('Code')}")

    def look(self) -> None:
        """See the interface: list one key at most, so that the bucket exists and may be listed."""
        with self._reports("list", f"{self._prefix}*"):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def move_when_cold(self, prefix: str, after: timedelta | None) -> None:
        """Have the service move what is under ``prefix`` to GLACIER_IR, cheaper and still readable at once.

        The bucket's other rules stay. None removes the rule.
        """
        name = f"hibernaut {self._prefix}{prefix}"
        try:
            found = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket).get("Rules", [])
        except self._errors as error:
            if _code(error) != "NoSuchLifecycleConfiguration":
                raise self._unavailable("read the rules for", prefix, error) from error
            found = []
        rules = [rule for rule in found if rule.get("ID") != name]
        if after is not None:
            move = {"Days": max(after.days, 1), "StorageClass": "GLACIER_IR"}
            where = {"Prefix": self._prefix + prefix}
            rules.append({"ID": name, "Status": "Enabled", "Filter": where, "Transitions": [move]})
        if rules == found:
            # A service without such rules takes a request to delete them as one to delete the bucket.
            return
        with self._reports("set the rule for", prefix):
            if rules:
                self._client.put_bucket_lifecycle_configuration(
                    Bucket=self._bucket, LifecycleConfiguration={"Rules": rules}
                )
            else:
                self._client.delete_bucket_lifecycle(Bucket=self._bucket)

    @contextmanager
    def _reports(self, what: str, key: str) -> Iterator[None]:
        """Turns the client's errors into ``StoreUnavailableError``."""
        try:
            yield
        except self._errors as error:
            raise self._unavailable(what, key, error) from error

    @property
    def _client(self) -> Any:
        # Not in `__init__`: botocore takes 0.2 s to import, which most processes do not need.
        with self._opening:
            if self._opened is None:
                from botocore.config import Config
                from botocore.session import Session

                session = Session()
                session.register_component(
                    "data_loader", _descriptions(session.get_config_variable("data_path"))
                )
                self._opened = session.create_client(
                    "s3",
                    endpoint_url=self._settings.state.s3_endpoint or None,
                    region_name=self._settings.state.s3_region or None,
                    config=Config(
                        connect_timeout=CONNECT_SECONDS,
                        read_timeout=READ_SECONDS,
                        max_pool_connections=CONNECTIONS,
                        retries={"total_max_attempts": 1},
                        # Some services other than Amazon's cannot handle checksums sent after the body.
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
        where = f"{self._variable}={self._bucket} at {self._settings.state.s3_endpoint or 'Amazon S3'}"
        code = _code(error) or type(error).__name__
        mend = next((words for codes, words in FIXES.items() if code in codes), "")
        refuses = bool(mend) and code not in (*OUTAGES, *EXPIRED)
        return StoreUnavailableError(f"cannot {what} {key} in {where}: {code}", mend, refuses=refuses)


@functools.cache
def _descriptions(folders: str | None) -> Any:
    """The description of S3 that botocore needs for a client; shared by all, because it takes 12 MB."""
    from botocore.loaders import create_loader

    return create_loader(folders)


def _code(error: Exception) -> str:
    return str(_answer(error).get("Error", {}).get("Code", ""))


def _status(error: Exception) -> int:
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answer(error: Exception) -> dict[str, Any]:
    # The error of a broken connection has a `response` too, which is None.
    return getattr(error, "response", None) or {}
