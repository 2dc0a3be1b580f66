"""Every setting of Hibernaut, read once from the environment by a door and frozen.

Temporal's own settings (``TEMPORAL_*``) are read by the SDK's envconfig in ``common/connect.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says what to set."""


@dataclass(frozen=True)
class Setting:
    """One row of the settings table: environment variable, default as text, meaning."""

    variable: str
    default: str
    meaning: str


DATA_DIR = Setting(
    "HIBERNAUT_DATA_DIR", ".hibernaut", "Folder of the embedded stack: database, artifacts, reports, keys."
)
TASK_QUEUE = Setting("HIBERNAUT_TASK_QUEUE", "hibernaut", "Temporal task queue of workers and agents.")
USER = Setting("HIBERNAUT_USER", "local", "Opaque id used where --owner or --as is not given.")
MODEL = Setting(
    "HIBERNAUT_MODEL",
    "offline",
    "Language model. `offline` is the built-in extractive analyst: no key, no network.",
)
TEMPORAL_PROGRAM = Setting(
    "HIBERNAUT_TEMPORAL_PROGRAM", "", "Path of a `temporal` program to use in place of the packaged one."
)
APPROVAL_KEYS = Setting(
    "HIBERNAUT_APPROVAL_KEYS",
    "",
    "Keys that sign decisions, as `id:hex,id:hex` (32 bytes or more each); the first signs, all verify. "
    "Empty: the embedded stack keeps one in its data folder.",
)
GROUPS = Setting(
    "HIBERNAUT_GROUPS",
    "",
    'Path of a JSON file of groups, `{"treasury": ["ann", "bob"]}`; `@treasury` then stands for its members '
    "where people are named. Empty: `groups.json` in the data folder, if there is one.",
)
UNSIGNED = Setting(
    "HIBERNAUT_UNSIGNED",
    "refuse",
    "`accept` also counts unsigned decisions (from the Web UI or `temporal workflow signal`) and marks them "
    "unsigned. Set by `starter.py dev`; leave it alone anywhere else.",
)
CACHED_AGENTS = Setting("HIBERNAUT_CACHED_AGENTS", "1000", "Agents a worker keeps in memory between steps.")
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

TABLE = (
    DATA_DIR,
    TASK_QUEUE,
    USER,
    MODEL,
    TEMPORAL_PROGRAM,
    APPROVAL_KEYS,
    GROUPS,
    UNSIGNED,
    CACHED_AGENTS,
    ENCRYPTION,
    PAYLOAD_KEYS,
    S3_BUCKET,
    S3_ENDPOINT,
    S3_REGION,
    S3_PREFIX,
)


@dataclass(frozen=True)
class Settings:
    """The settings of one process."""

    data_dir: Path
    task_queue: str
    user: str
    model: str
    temporal_program: str
    approval_keys: str
    groups: Path | None
    accept_unsigned: bool
    cached_agents: int
    encryption: str
    payload_keys: str
    s3_bucket: str
    s3_endpoint: str
    s3_region: str
    s3_prefix: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from ``environment``.

        Raises:
            SettingsError: a value cannot be used; the message names the variable and the mend.
        """

        def value(setting: Setting) -> str:
            return environment.get(setting.variable, "").strip() or setting.default

        model = value(MODEL)
        if model != "offline":
            raise SettingsError(f"{MODEL.variable}={model} is not known here; the one there is: offline.")
        unsigned = value(UNSIGNED)
        if unsigned not in ("accept", "refuse"):
            raise SettingsError(f"{UNSIGNED.variable}={unsigned}: say accept or refuse.")
        cached = value(CACHED_AGENTS)
        if not cached.isdecimal():
            raise SettingsError(f"{CACHED_AGENTS.variable}={cached}: give a whole number, 0 or more.")
        encryption = value(ENCRYPTION)
        if encryption not in ("", "on", "migrate", "off"):
            raise SettingsError(f"{ENCRYPTION.variable}={encryption}: say on, migrate or off.")
        if value(S3_ENDPOINT) and not value(S3_BUCKET):
            raise SettingsError(
                f"{S3_ENDPOINT.variable} is set and {S3_BUCKET.variable} is not: name a bucket."
            )
        return cls(
            data_dir=Path(value(DATA_DIR)).expanduser().absolute(),
            task_queue=value(TASK_QUEUE),
            user=value(USER),
            model=model,
            temporal_program=value(TEMPORAL_PROGRAM),
            approval_keys=value(APPROVAL_KEYS),
            groups=Path(value(GROUPS)).expanduser().absolute() if value(GROUPS) else None,
            accept_unsigned=unsigned == "accept",
            cached_agents=int(cached),
            encryption=encryption,
            payload_keys=value(PAYLOAD_KEYS),
            s3_bucket=value(S3_BUCKET),
            s3_endpoint=value(S3_ENDPOINT),
            s3_region=value(S3_REGION),
            s3_prefix=value(S3_PREFIX),
        )
