"""Every setting of Hibernaut, read once from the environment at start and frozen; one file per group.

Temporal's own connection settings (``TEMPORAL_*``) are read by the SDK's envconfig in
``common/temporal/connect.py``.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from common.grammar import PLAIN_NUMBER
from common.settings.archive import ArchiveSettings
from common.settings.base import OR_NONE, File, Folder, Group, SettingsError, Whole, complaint, setting
from common.settings.deployment import DeploymentSettings
from common.settings.fetching import FetchSettings
from common.settings.http import HttpSettings
from common.settings.mail import MailSettings
from common.settings.models import ModelSettings, check_model
from common.settings.notices import NoticeSettings
from common.settings.slack import SlackSettings
from common.settings.state import StateSettings
from common.settings.telemetry import TelemetrySettings
from common.settings.trading import TradingSettings

__all__ = [
    "ArchiveSettings",
    "DeploymentSettings",
    "FetchSettings",
    "HttpSettings",
    "MailSettings",
    "ModelSettings",
    "NoticeSettings",
    "Settings",
    "SettingsError",
    "SlackSettings",
    "StateSettings",
    "TelemetrySettings",
    "TradingSettings",
]

# Shorter secrets are not blacked out: they would be part of many ordinary words.
SHORTEST_SECRET = 8
# Passwords in an address: `USER:PASSWORD@HOST`, and as a parameter.
PASSWORD = re.compile(r"://[^:/@]*:([^@]+)@|[?&]password=([^&]+)")


class Settings(Group):
    """The settings of one process."""

    data_dir: Folder = setting(
        "HIBERNAUT_DATA_DIR",
        "Folder of the embedded stack: database, objects, reports, keys.",
        default=".hibernaut",
    )
    task_queue: str = setting(
        "HIBERNAUT_TASK_QUEUE", "Temporal task queue of workers and agents.", default="hibernaut"
    )
    user: str = setting(
        "HIBERNAUT_USER", "Opaque id used where `--owner` or `--as` is not given.", default="local"
    )
    temporal_program: str = setting(
        "HIBERNAUT_TEMPORAL_PROGRAM", "Path of a `temporal` program to use in place of the packaged one."
    )
    approval_keys: str = setting(
        "HIBERNAUT_APPROVAL_KEYS",
        "Keys that sign decisions, as `id:hex,id:hex` (32 bytes or more each); the first signs, all verify. "
        "Empty: the embedded stack keeps one in its data folder.",
        secret=True,
    )
    groups: File = setting(
        "HIBERNAUT_GROUPS",
        'Path of a JSON file of groups, `{"treasury": ["ann", "bob"]}`; `@treasury` then stands for its '
        "members where people are named. Empty: `groups.json` in the data folder, if there is one.",
    )
    policy: File = setting(
        "HIBERNAUT_POLICY",
        "Path of a JSON file of the operator's policy: who may start which agents, who has to approve, how "
        "much at most (docs/policy.md). Empty: `policy.json` in the data folder, if there is one; without a "
        "policy, careful defaults apply. `starter.py dev` writes one for a single person.",
    )
    roots: File = setting(
        "HIBERNAUT_ROOTS",
        "Path of a JSON file with the folders that agents may read and write below, by owner, `@group` or "
        '`*` for everybody: `{"ann": ["/srv/ann"], "*": ["/srv/code"]}`. Empty: `roots.json` in the data '
        "folder, if there is one. Without it no agent may use files, except on `starter.py dev`: there the "
        "home folder and the one it was started in.",
    )
    unsigned: Literal["accept", "refuse"] = setting(
        "HIBERNAUT_UNSIGNED",
        "`accept` also counts unsigned decisions (from the Web UI or `temporal workflow signal`) and "
        "marks them unsigned. Set by `starter.py dev --unsigned`; do not set it anywhere else.",
        default="refuse",
    )
    rehearsal: File = setting(
        "HIBERNAUT_REHEARSAL",
        "Folder of a rehearsal, beyond which nothing is touched. Set by `starter.py rehearse` for its own "
        "worker; do not set it anywhere else.",
    )
    # If the cache lets an agent go while a local activity runs in its task, Temporal's SDK (1.35.0) starts
    # the task over, again and again. A worker has a hundred tasks in hand at most. With a cache for 200, 121
    # of 500 agents never got past that; with one for 300, all of 750 did.
    cached_agents: Annotated[int, Field(ge=500, le=10**6), PLAIN_NUMBER] = setting(
        "HIBERNAUT_CACHED_AGENTS",
        "How many agents a worker keeps in memory between steps; 500 or more.",
        default="1000",
    )
    drain_seconds: Whole = setting(
        "HIBERNAUT_DRAIN_SECONDS",
        "On SIGTERM a worker takes no more work, and finishes what it has for this long; what cannot end by "
        "then is handed over to another worker. Its process may take 20 s more: give it that before SIGKILL. "
        "`starter.py dev` waits 20 s at most.",
        default="90",
    )
    working_agents: Annotated[Whole | None, OR_NONE] = setting(
        "HIBERNAUT_WORKING_AGENTS",
        "How many agents of one owner may be at work at once; those that sleep or wait do not count, and "
        "more are refused at the start. `none`: no limit.",
        default="1000",
    )
    model: str = setting(
        "HIBERNAUT_MODEL",
        "Language model: `offline` (the built-in extractive analyst: no key, no network), `openai:NAME`, "
        "`anthropic:NAME` or `bedrock:NAME`.",
        default="offline",
    )
    language_models: ModelSettings
    fetching: FetchSettings
    trading: TradingSettings
    state: StateSettings
    http: HttpSettings
    archive: ArchiveSettings
    mail: MailSettings
    notices: NoticeSettings
    slack: SlackSettings
    deployment: DeploymentSettings
    telemetry: TelemetrySettings

    @model_validator(mode="after")
    def _has_a_usable_model(self) -> Self:
        check_model(self.model, self.model, self.language_models)
        return self

    @property
    def accept_unsigned(self) -> bool:
        """Whether unsigned decisions count."""
        return self.unsigned == "accept"

    @property
    def secrets(self) -> frozenset[str]:
        """What must never be logged: every secret, and the parts of composite ones, `id:hex,id:hex`."""
        return frozenset(part for text in _secrets_of(self) for part in _parts_of(text))

    @property
    def fetch_queue(self) -> str:
        """The task queue of fetches, separate so that its rate limits slow down nothing else."""
        return f"{self.task_queue}-fetch"

    @classmethod
    def at_start(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings of this process, and make what it writes from now on readable only by its user.

        Raises:
            SettingsError: as ``read`` does.
        """
        os.umask(0o077)
        found = cls.read(environment)
        keep_private(found.data_dir)
        return found

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from ``environment``; unknown variables are ignored.

        Raises:
            SettingsError: a value cannot be used; the message names the variable and says what to set.
        """
        given = {name: text for name in table() if (text := environment.get(name, "").strip())}
        groups = [name for name, field in cls.model_fields.items() if field.is_required()]
        try:
            return cls.model_validate({**given, **dict.fromkeys(groups, given)})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
        variable = next((name for name in first["loc"] if name in given), "")
        if not isinstance(variable, str) or not variable:  # several together; the reason names them
            raise SettingsError(f"{complaint(first)}.") from None
        shown = f"={given[variable][:100]}" if table()[variable].repr else ""
        raise SettingsError(f"{variable}{shown}: {complaint(first)}.") from None


def _secrets_of(group: Group) -> Iterator[str]:
    for name, field in type(group).model_fields.items():
        found = getattr(group, name)
        if isinstance(found, Group):
            yield from _secrets_of(found)
        elif not field.repr:
            yield from [found] if isinstance(found, str) else found


def _parts_of(text: str) -> Iterator[str]:
    """The whole text, and its parts between commas and colons; of an address only the password."""
    if "://" in text:
        found = [word for match in PASSWORD.finditer(text) for word in match.groups("")]
        words = {*found, *map(unquote, found)}
    else:
        words = {text, *re.split("[,:]", text)}
    yield from (word for word in words if len(word) >= SHORTEST_SECRET)


def keep_private(folder: Path) -> None:
    """Let only its owner into a data folder, if it exists; it holds keys, letters and reports.

    Raises:
        SettingsError: it, or a folder above it, is a file.
    """
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise SettingsError(f"{nearest} is no folder: set HIBERNAUT_DATA_DIR to one, or to where one can be.")
    with contextlib.suppress(FileNotFoundError, PermissionError):
        folder.chmod(0o700)


def table(group: type[Group] = Settings) -> dict[str, FieldInfo]:
    """Every setting by its variable, with its `default` as text and its meaning as `description`."""
    rows: dict[str, FieldInfo] = {}
    for field in group.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            rows |= table(field.annotation)
        else:
            rows[str(field.validation_alias)] = field
    return rows
