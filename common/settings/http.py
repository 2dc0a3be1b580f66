"""Settings of the gateway: where it listens, whose tokens it takes, how much it takes from one person."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from common.settings.base import Setting, SettingsError, Values, whole_number

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
CODEC_ORIGIN = Setting(
    "HIBERNAUT_CODEC_ORIGIN",
    "",
    "Address of the Temporal Web UI whose pages may have payloads decoded, `https://temporal.example.com`. "
    "Empty: no page may. Set by `starter.py dev`.",
)
HTTP_RATE = Setting(
    "HIBERNAUT_HTTP_RATE",
    "20",
    "Requests a second the gateway takes from one person; three times that at once.",
)
HTTP_BODY_BYTES = Setting("HIBERNAUT_HTTP_BODY_BYTES", "262144", "Largest request body in bytes.")
HTTP_STREAMS = Setting("HIBERNAUT_HTTP_STREAMS", "20", "Event streams one person may hold open.")

TABLE = (
    *(HTTP, PUBLIC_URL, OIDC_ISSUER, OIDC_AUDIENCE, OIDC_ALGORITHMS),
    *(CODEC_ORIGIN, HTTP_RATE, HTTP_BODY_BYTES, HTTP_STREAMS),
)

# Addresses to listen on at every interface, which no link can lead to.
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
# Whoever knows a symmetric algorithm's key could make tokens; of these, only the issuer can.
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)


@dataclass(frozen=True)
class HttpSettings:
    """The gateway. `rate` is requests a second from one person; without an issuer only file tokens count."""

    host: str
    port: int
    public_url: str
    oidc_issuer: str
    oidc_audience: str
    oidc_algorithms: tuple[str, ...]
    codec_origin: str
    rate: int
    body_bytes: int
    streams: int

    @classmethod
    def read(cls, value: Values) -> HttpSettings:
        """Read the group.

        Raises:
            SettingsError: a value cannot be used.
        """
        host, _, port = value(HTTP).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingsError(f"{HTTP.variable}={value(HTTP)}: say address:port, as in 127.0.0.1:8080.")
        if not value(PUBLIC_URL) and host.strip("[]") in EVERYWHERE:
            raise SettingsError(
                f"{HTTP.variable}={value(HTTP)}: links cannot lead to {host}; "
                f"set {PUBLIC_URL.variable} to how people reach the gateway."
            )
        for setting in (PUBLIC_URL, OIDC_ISSUER, CODEC_ORIGIN):
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
            host=host.strip("[]"),
            port=int(port),
            public_url=(value(PUBLIC_URL) or f"http://{host}:{port}").rstrip("/"),
            oidc_issuer=value(OIDC_ISSUER),
            oidc_audience=value(OIDC_AUDIENCE),
            oidc_algorithms=algorithms,
            codec_origin=value(CODEC_ORIGIN).rstrip("/"),
            rate=whole_number(HTTP_RATE, value(HTTP_RATE), 1),
            body_bytes=whole_number(HTTP_BODY_BYTES, value(HTTP_BODY_BYTES), 1),
            streams=whole_number(HTTP_STREAMS, value(HTTP_STREAMS), 1),
        )


def is_safe(url: str) -> bool:
    """Whether what is sent there can be read by nobody on the way."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))
