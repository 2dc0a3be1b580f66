"""Every setting of Hibernaut, read once from the environment by a door and frozen.

Temporal's own settings (``TEMPORAL_*``) are read by the SDK's envconfig in ``common/connect.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
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

TABLE: tuple[Setting, ...] = (
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
    archive: ArchiveSettings

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
            archive=ArchiveSettings.read(value),
        )


# The group of the archive.

ARCHIVE_AFTER = Setting(
    "HIBERNAUT_ARCHIVE_AFTER",
    "30d",
    "How long closed agents stay in Temporal before they are archived; other times by kind or outcome behind "
    "it, as in `30d, code-auditor=7d, failed=90d`. Where several fit, the longest.",
)
ARCHIVE_AT = Setting("HIBERNAUT_ARCHIVE_AT", "17 3 * * *", "When the archivist runs: a cron line, in UTC.")
ARCHIVE_HOLDS = Setting(
    "HIBERNAUT_ARCHIVE_HOLDS",
    "",
    'Path of a JSON file of legal holds, `{"ids": [], "owners": [], "batches": []}`: what it names is left '
    "alone. Empty: `holds.json` in the data folder, if there is one.",
)
ARCHIVE_COLD = Setting(
    "HIBERNAUT_ARCHIVE_COLD",
    "90d",
    "When `archive setup` has S3 move archived agents to GLACIER_IR, cheaper and still read at once. "
    "`never`: no such rule.",
)

ARCHIVE_TABLE = (ARCHIVE_AFTER, ARCHIVE_AT, ARCHIVE_HOLDS, ARCHIVE_COLD)
TABLE = (*TABLE, *ARCHIVE_TABLE)

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class ArchiveSettings:
    """When agents are archived, and what is left alone.

    Attributes:
        after: how long closed agents stay in Temporal.
        exceptions: other times, by kind or outcome (`failed`).
        schedule: a cron line, in UTC.
        holds: the file of legal holds; None for the one in the data folder.
        cold_after: when archived agents go to colder storage; None for never.
    """

    after: timedelta
    exceptions: tuple[tuple[str, timedelta], ...]
    schedule: str
    holds: Path | None
    cold_after: timedelta | None

    @classmethod
    def read(cls, value: Callable[[Setting], str]) -> ArchiveSettings:
        """Read the group by ``value``, which gives the text of a setting.

        Raises:
            SettingsError: a value cannot be used.
        """
        after, *exceptions = (part.strip() for part in value(ARCHIVE_AFTER).split(","))
        pairs = [part.partition("=") for part in exceptions]
        cold = value(ARCHIVE_COLD)
        return cls(
            after=_span(ARCHIVE_AFTER, after),
            exceptions=tuple((name.strip(), _span(ARCHIVE_AFTER, time.strip())) for name, _, time in pairs),
            schedule=value(ARCHIVE_AT),
            holds=Path(value(ARCHIVE_HOLDS)).expanduser().absolute() if value(ARCHIVE_HOLDS) else None,
            cold_after=None if cold == "never" else _span(ARCHIVE_COLD, cold),
        )

    def ttl(self, kind: str, status: str) -> timedelta:
        """How long an agent of this kind stays that closed so."""
        fitting = [time for name, time in self.exceptions if name in (kind, status)]
        return max(fitting, default=self.after)

    @property
    def shortest(self) -> timedelta:
        """After which time the first agents may be due."""
        return min([self.after, *(time for _, time in self.exceptions)])


def _span(setting: Setting, text: str) -> timedelta:
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if not unit or not number.isdecimal() or len(number) > 5:
        raise SettingsError(f"{setting.variable}: {text[:100]!r} is no time; give one such as 12h or 30d.")
    return timedelta(**{unit: int(number)})
