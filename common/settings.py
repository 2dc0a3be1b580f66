"""Every setting of Hibernaut, read once from the environment by a door and frozen.

Temporal's own settings (``TEMPORAL_*``) are read by the SDK's envconfig in ``common/connect.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


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
HTTP = Setting("HIBERNAUT_HTTP", "127.0.0.1:8080", "Where the gateway listens, `address:port`.")
PUBLIC_URL = Setting(
    "HIBERNAUT_PUBLIC_URL",
    "",
    "How people reach the gateway, `https://agents.example.com`; approval links begin with it. Empty: the "
    "address it listens on.",
)
OIDC_ISSUER = Setting(
    "HIBERNAUT_OIDC_ISSUER",
    "",
    "Whose bearer tokens the gateway takes, the tokens' `iss`. Empty: only those of the token file.",
)
OIDC_AUDIENCE = Setting("HIBERNAUT_OIDC_AUDIENCE", "hibernaut", "What the tokens' `aud` must name.")
OIDC_ALGORITHMS = Setting(
    "HIBERNAUT_OIDC_ALGORITHMS", "RS256,ES256", "Signature algorithms of tokens; asymmetric ones only."
)
HTTP_RATE = Setting(
    "HIBERNAUT_HTTP_RATE",
    "20",
    "Requests a second the gateway takes from one person; three times that at once.",
)
HTTP_BODY_BYTES = Setting("HIBERNAUT_HTTP_BODY_BYTES", "262144", "Largest request body in bytes.")
HTTP_STREAMS = Setting("HIBERNAUT_HTTP_STREAMS", "20", "Event streams one person may hold open.")

TABLE = (
    DATA_DIR, TASK_QUEUE, USER, MODEL, TEMPORAL_PROGRAM, APPROVAL_KEYS, GROUPS, UNSIGNED, CACHED_AGENTS,
    HTTP, PUBLIC_URL, OIDC_ISSUER, OIDC_AUDIENCE, OIDC_ALGORITHMS, HTTP_RATE, HTTP_BODY_BYTES, HTTP_STREAMS,
)  # fmt: skip

# Whoever knows a symmetric algorithm's key could make tokens; of these, only the issuer can.
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
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
    http_host: str
    http_port: int
    public_url: str
    oidc_issuer: str
    oidc_audience: str
    oidc_algorithms: tuple[str, ...]
    http_rate: int
    http_body_bytes: int
    http_streams: int

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

        def number(setting: Setting, least: int) -> int:
            text = value(setting)
            if not text.isdecimal() or int(text) < least:
                raise SettingsError(f"{setting.variable}={text}: give a whole number, {least} or more.")
            return int(text)

        host, _, port = value(HTTP).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingsError(f"{HTTP.variable}={value(HTTP)}: say address:port, as in 127.0.0.1:8080.")
        for setting in (PUBLIC_URL, OIDC_ISSUER):
            if value(setting) and not is_safe(value(setting)):
                raise SettingsError(
                    f"{setting.variable}={value(setting)}: give an https:// address (or http://localhost)."
                )
        algorithms = tuple(filter(None, (name.strip() for name in value(OIDC_ALGORITHMS).split(","))))
        if not set(algorithms) <= ASYMMETRIC:
            raise SettingsError(
                f"{OIDC_ALGORITHMS.variable}={value(OIDC_ALGORITHMS)}: "
                f"choose among {', '.join(sorted(ASYMMETRIC))}."
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
            cached_agents=number(CACHED_AGENTS, 0),
            http_host=host.strip("[]"),
            http_port=int(port),
            public_url=(value(PUBLIC_URL) or f"http://{host}:{port}").rstrip("/"),
            oidc_issuer=value(OIDC_ISSUER),
            oidc_audience=value(OIDC_AUDIENCE),
            oidc_algorithms=algorithms,
            http_rate=number(HTTP_RATE, 1),
            http_body_bytes=number(HTTP_BODY_BYTES, 1),
            http_streams=number(HTTP_STREAMS, 1),
        )


def is_safe(url: str) -> bool:
    """Whether what is sent there can be read by nobody on the way."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))
