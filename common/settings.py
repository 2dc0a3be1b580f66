"""Every setting of Hibernaut, read once from the environment by a door and frozen.

Temporal's own settings (``TEMPORAL_*``) are read by the SDK's envconfig in ``common/connect.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common.allowed_hosts import AllowedHosts


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
UNSIGNED = Setting(
    "HIBERNAUT_UNSIGNED",
    "refuse",
    "`accept` also counts unsigned decisions (from the Web UI or `temporal workflow signal`) and marks them "
    "unsigned. Set by `starter.py dev`; leave it alone anywhere else.",
)
CACHED_AGENTS = Setting("HIBERNAUT_CACHED_AGENTS", "1000", "Agents a worker keeps in memory between steps.")
ALLOWED_HOSTS = Setting(
    "HIBERNAUT_ALLOWED_HOSTS",
    "",
    "Own hosts that may be fetched although they are not public, with commas between: a name, an address or "
    "a network, each with `:port` or for 80 and 443.",
)
USER_AGENT = Setting(
    "HIBERNAUT_USER_AGENT", "hibernaut/0.1", "How the fetcher names itself to web sites, and in robots.txt."
)
FETCH_RATE = Setting("HIBERNAUT_FETCH_RATE", "1", "Requests a second that one web host gets at most.")
SEARCH = Setting(
    "HIBERNAUT_SEARCH",
    "",
    "Search provider: `searxng:URL` asks a SearXNG instance. Empty: sitemaps, feeds and links of the sites "
    "named.",
)

TABLE = (
    *(DATA_DIR, TASK_QUEUE, USER, MODEL, TEMPORAL_PROGRAM, APPROVAL_KEYS, UNSIGNED, CACHED_AGENTS),
    *(ALLOWED_HOSTS, USER_AGENT, FETCH_RATE, SEARCH),
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
    accept_unsigned: bool
    cached_agents: int
    allowed_hosts: AllowedHosts
    user_agent: str
    fetch_rate: float
    search: str

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

        model = value(MODEL)
        if model != "offline":
            raise SettingsError(f"{MODEL.variable}={model} is not known here; the one there is: offline.")
        unsigned = value(UNSIGNED)
        if unsigned not in ("accept", "refuse"):
            raise SettingsError(f"{UNSIGNED.variable}={unsigned}: say accept or refuse.")
        cached = value(CACHED_AGENTS)
        if not cached.isdecimal():
            raise SettingsError(f"{CACHED_AGENTS.variable}={cached}: give a whole number, 0 or more.")
        try:
            allowed_hosts = AllowedHosts.parse(value(ALLOWED_HOSTS))
        except ValueError as error:
            raise SettingsError(f"{ALLOWED_HOSTS.variable}: {error}.") from None
        user_agent = value(USER_AGENT)
        if not (user_agent.isascii() and user_agent.isprintable()):
            raise SettingsError(f"{USER_AGENT.variable}: plain ASCII only; it is sent as a header.")
        rate = value(FETCH_RATE)
        if not re.fullmatch(r"\d{1,3}(\.\d{1,4})?", rate) or not float(rate):
            raise SettingsError(f"{FETCH_RATE.variable}={rate}: give requests a second, 0.1 for example.")
        search = value(SEARCH)
        if search and not re.fullmatch(r"searxng:https?://\S+", search):
            raise SettingsError(f"{SEARCH.variable}={search}: say searxng:URL, or leave it empty.")
        return cls(
            data_dir=Path(value(DATA_DIR)).expanduser().absolute(),
            task_queue=value(TASK_QUEUE),
            user=value(USER),
            model=model,
            temporal_program=value(TEMPORAL_PROGRAM),
            approval_keys=value(APPROVAL_KEYS),
            accept_unsigned=unsigned == "accept",
            cached_agents=int(cached),
            allowed_hosts=allowed_hosts,
            user_agent=user_agent,
            fetch_rate=float(rate),
            search=search,
        )
