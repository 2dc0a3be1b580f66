"""Every setting of Hibernaut, read once from the environment by a door and frozen; a file for each group.

Temporal's own settings (``TEMPORAL_*``) are read by the SDK's envconfig in ``common/temporal/connect.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.settings import archive, fetching, http, mail, models, notices, slack, state, trading
from common.settings.archive import ArchiveSettings
from common.settings.base import Setting, SettingsError, one_of, whole_number
from common.settings.fetching import FetchSettings
from common.settings.http import HttpSettings
from common.settings.mail import MailSettings
from common.settings.models import MODEL, ModelSettings, check_model
from common.settings.notices import NoticeSettings
from common.settings.slack import SlackSettings
from common.settings.state import StateSettings
from common.settings.trading import TradingSettings

__all__ = [
    "TABLE",
    "ArchiveSettings",
    "FetchSettings",
    "HttpSettings",
    "MailSettings",
    "ModelSettings",
    "NoticeSettings",
    "Setting",
    "Settings",
    "SettingsError",
    "SlackSettings",
    "StateSettings",
    "TradingSettings",
]

DATA_DIR = Setting(
    "HIBERNAUT_DATA_DIR", ".hibernaut", "Folder of the embedded stack: database, artifacts, reports, keys."
)
TASK_QUEUE = Setting("HIBERNAUT_TASK_QUEUE", "hibernaut", "Temporal task queue of workers and agents.")
USER = Setting("HIBERNAUT_USER", "local", "Opaque id used where --owner or --as is not given.")
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

TABLE = (
    *(DATA_DIR, TASK_QUEUE, USER, TEMPORAL_PROGRAM, APPROVAL_KEYS, GROUPS, UNSIGNED, CACHED_AGENTS),
    *models.TABLE,
    *fetching.TABLE,
    *trading.TABLE,
    *state.TABLE,
    *http.TABLE,
    *archive.TABLE,
    *mail.TABLE,
    *notices.TABLE,
    *slack.TABLE,
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
    language_models: ModelSettings
    fetching: FetchSettings
    trading: TradingSettings
    state: StateSettings
    http: HttpSettings
    archive: ArchiveSettings
    mail: MailSettings
    notices: NoticeSettings
    slack: SlackSettings

    @property
    def fetch_queue(self) -> str:
        """The task queue of fetches, beside that of everything else: the rates on it slow nothing else."""
        return f"{self.task_queue}-fetch"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from ``environment``.

        Raises:
            SettingsError: a value cannot be used; the message names the variable and the mend.
        """

        def value(setting: Setting) -> str:
            return environment.get(setting.variable, "").strip() or setting.default

        model, language_models = value(MODEL), ModelSettings.read(value)
        check_model(model, model, language_models)
        return cls(
            data_dir=Path(value(DATA_DIR)).expanduser().absolute(),
            task_queue=value(TASK_QUEUE),
            user=value(USER),
            model=model,
            temporal_program=value(TEMPORAL_PROGRAM),
            approval_keys=value(APPROVAL_KEYS),
            groups=Path(value(GROUPS)).expanduser().absolute() if value(GROUPS) else None,
            accept_unsigned=one_of(UNSIGNED, value(UNSIGNED), "accept", "refuse") == "accept",
            cached_agents=whole_number(CACHED_AGENTS, value(CACHED_AGENTS), 0),
            language_models=language_models,
            fetching=FetchSettings.read(value),
            trading=TradingSettings.read(value),
            state=StateSettings.read(value),
            http=HttpSettings.read(value),
            archive=ArchiveSettings.read(value),
            mail=MailSettings.read(value),
            notices=NoticeSettings.read(value),
            slack=SlackSettings.read(value),
        )
