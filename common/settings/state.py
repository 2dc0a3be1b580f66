"""Settings of what agents leave behind: encryption, and where large payloads lie."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import field_validator, model_validator

from common.settings.base import Group, setting


class StateSettings(Group):
    """How payloads are kept. `encryption` is empty, `on`, `migrate` or `off`; an empty bucket is a folder."""

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
    s3_bucket: str = setting(
        "HIBERNAUT_S3_BUCKET", "Bucket for payloads over 128 KiB. Empty: a folder in the data folder."
    )
    s3_endpoint: str = setting(
        "HIBERNAUT_S3_ENDPOINT", "Address of an S3-compatible service. Empty: Amazon's of the region."
    )
    s3_region: str = setting("HIBERNAUT_S3_REGION", "Region of the bucket. Empty: the one that boto3 finds.")
    s3_prefix: str = setting("HIBERNAUT_S3_PREFIX", "Prefix of every key in the bucket, `team/` for example.")

    @field_validator("s3_endpoint")
    @classmethod
    def _is_an_address(cls, text: str) -> str:
        if text and not text.startswith(("http://", "https://")):
            raise ValueError("give an http(s) address")
        return text

    @model_validator(mode="after")
    def _has_a_bucket(self) -> Self:
        if self.s3_endpoint and not self.s3_bucket:
            raise ValueError("HIBERNAUT_S3_ENDPOINT is set and HIBERNAUT_S3_BUCKET is not: name a bucket")
        return self
