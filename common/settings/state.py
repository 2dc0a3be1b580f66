"""Settings of what agents leave behind: encryption, and where large payloads lie."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.settings.base import Setting, SettingsError, Values

ENCRYPTION = Setting(
    "HIBERNAUT_ENCRYPTION",
    "",
    "`on` encrypts what goes to Temporal and refuses what comes in plain; `migrate` encrypts and still reads "
    "plain, while agents from before live on; `off` writes plain. Empty: on where there are keys.",
)
PAYLOAD_KEYS = Setting(
    "HIBERNAUT_PAYLOAD_KEYS",
    "",
    "Keys that encrypt, as `id:hex,id:hex` (32 bytes or more each); the first encrypts, all decrypt. "
    "Empty: `payload.keys` in the data folder, if there is one.",
)
S3_BUCKET = Setting(
    "HIBERNAUT_S3_BUCKET", "", "Bucket of payloads over 128 KiB. Empty: a folder in the data folder."
)
S3_ENDPOINT = Setting(
    "HIBERNAUT_S3_ENDPOINT", "", "Address of an S3-compatible service. Empty: Amazon's of the region."
)
S3_REGION = Setting("HIBERNAUT_S3_REGION", "", "Region of the bucket. Empty: as boto3 finds it.")
S3_PREFIX = Setting("HIBERNAUT_S3_PREFIX", "", "Put before every key in the bucket, `team/` for example.")

TABLE = (ENCRYPTION, PAYLOAD_KEYS, S3_BUCKET, S3_ENDPOINT, S3_REGION, S3_PREFIX)


@dataclass(frozen=True)
class StateSettings:
    """How payloads are kept. `encryption` is empty, `on`, `migrate` or `off`; an empty bucket is a folder."""

    encryption: str
    payload_keys: str = field(repr=False)
    s3_bucket: str
    s3_endpoint: str
    s3_region: str
    s3_prefix: str

    @classmethod
    def read(cls, value: Values) -> StateSettings:
        """Read the group.

        Raises:
            SettingsError: a value cannot be used.
        """
        encryption = value(ENCRYPTION)
        if encryption not in ("", "on", "migrate", "off"):
            raise SettingsError(f"{ENCRYPTION.variable}={encryption}: say on, migrate or off.")
        if value(S3_ENDPOINT) and not value(S3_BUCKET):
            raise SettingsError(
                f"{S3_ENDPOINT.variable} is set and {S3_BUCKET.variable} is not: name a bucket."
            )
        if value(S3_ENDPOINT) and not value(S3_ENDPOINT).startswith(("http://", "https://")):
            raise SettingsError(f"{S3_ENDPOINT.variable}={value(S3_ENDPOINT)}: give an http(s) address.")
        return cls(
            encryption=encryption,
            payload_keys=value(PAYLOAD_KEYS),
            s3_bucket=value(S3_BUCKET),
            s3_endpoint=value(S3_ENDPOINT),
            s3_region=value(S3_REGION),
            s3_prefix=value(S3_PREFIX),
        )
