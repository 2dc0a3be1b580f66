"""Settings of the gateway: where it listens, whose tokens it accepts, and limits per person."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from common.grammar import PLAIN_NUMBER
from common.settings.base import Group, setting, split_commas

# Addresses of this machine, and those that mean every interface, to which no link can lead.
HERE = ("127.0.0.1", "::1", "localhost")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104
# With a symmetric algorithm, anyone who knows the key could make tokens; with these, only the issuer can.
Asymmetric = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
AtLeastOne = Annotated[int, Field(ge=1, le=10**15), PLAIN_NUMBER]


def is_safe(url: str) -> bool:
    """Whether what is sent to `url` cannot be read on the way."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def _safe(url: str) -> str:
    if url and not is_safe(url):
        raise ValueError("give an https:// address (or http://localhost)")
    return url


SafeUrl = Annotated[str, AfterValidator(_safe)]


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 host is in brackets."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("say address:port, as in 127.0.0.1:8080")
    return host, int(port)


class HttpSettings(Group):
    """The gateway. `rate` is requests a second from one person; without an issuer only file tokens count."""

    address: Annotated[tuple[str, int], PlainValidator(address_of)] = setting(
        "HIBERNAUT_HTTP", "Where the gateway listens, `address:port`.", default="127.0.0.1:8080"
    )
    public_url: SafeUrl = setting(
        "HIBERNAUT_PUBLIC_URL",
        "Address of the gateway for people, `https://agents.example.com`; links begin with it. Empty: the "
        "address it listens on; if only this machine can reach that, letters have no links.",
    )
    oidc_issuer: SafeUrl = setting(
        "HIBERNAUT_OIDC_ISSUER",
        "Issuer of the bearer tokens that the gateway takes, their `iss`. Empty: only those of the "
        "token file.",
    )
    oidc_audience: str = setting(
        "HIBERNAUT_OIDC_AUDIENCE", "What the tokens' `aud` must name.", default="hibernaut"
    )
    oidc_algorithms: Annotated[tuple[Asymmetric, ...], BeforeValidator(split_commas)] = setting(
        "HIBERNAUT_OIDC_ALGORITHMS",
        "Signature algorithms of tokens; asymmetric ones only.",
        default="RS256,ES256",
    )
    codec_origin: SafeUrl = setting(
        "HIBERNAUT_CODEC_ORIGIN",
        "Address of the Temporal Web UI whose pages may have payloads decoded, "
        "`https://temporal.example.com`. Empty: no page may. Set by `starter.py dev`.",
    )
    web_ui: str = setting(
        "HIBERNAUT_WEB_UI",
        "Address of a Temporal Web UI that the gateway serves at `HIBERNAUT_CODEC_ORIGIN`, on this machine, "
        "to whoever has signed in. Empty: none. Set by `starter.py dev`.",
    )
    hosts: Annotated[tuple[str, ...], BeforeValidator(split_commas)] = setting(
        "HIBERNAUT_HTTP_HOSTS",
        "Names by which the gateway may be asked, besides that in `HIBERNAUT_PUBLIC_URL`, `localhost` and "
        "numeric addresses; separated by commas, `gateway.agents.svc` for example.",
    )
    rate: AtLeastOne = setting(
        "HIBERNAUT_HTTP_RATE",
        "Requests a second that one person may send; three times as many in a burst.",
        default="20",
    )
    body_bytes: AtLeastOne = setting(
        "HIBERNAUT_HTTP_BODY_BYTES", "Largest request body in bytes.", default="262144"
    )
    streams: AtLeastOne = setting(
        "HIBERNAUT_HTTP_STREAMS", "Event streams that one person may hold open.", default="20"
    )

    @field_validator("public_url")
    @classmethod
    def _is_where_it_listens_if_empty(cls, url: str, found: ValidationInfo) -> str:
        host, port = found.data.get("address", ("", 0))
        if not url and host.strip("[]") in EVERYWHERE:
            raise ValueError(
                f"links cannot lead to {host}; set HIBERNAUT_PUBLIC_URL to how people reach the gateway"
            )
        return (url or f"http://{host}:{port}").rstrip("/")

    @field_validator("codec_origin")
    @classmethod
    def _is_an_origin(cls, url: str) -> str:
        return url.rstrip("/")

    @property
    def outside_url(self) -> str:
        """The gateway's address for people elsewhere; empty if it is not known to have one."""
        return self.public_url if self.host not in HERE or "public_url" in self.model_fields_set else ""

    @property
    def web_ui_address(self) -> tuple[str, int]:
        """The address to listen on for the Web UI that the gateway serves."""
        parts = urlsplit(self.codec_origin)
        return parts.hostname or "", parts.port or 80

    @property
    def names(self) -> frozenset[str]:
        """The host names that requests may be for, in lower case."""
        public = urlsplit(self.public_url).hostname or ""
        return frozenset({public, "localhost", *(name.lower() for name in self.hosts)})

    @model_validator(mode="after")
    def _knows_where_the_web_ui_is(self) -> Self:
        if self.web_ui and not self.codec_origin.startswith("http://"):
            raise ValueError(
                "HIBERNAUT_WEB_UI is set: set HIBERNAUT_CODEC_ORIGIN to http://127.0.0.1:PORT, too"
            )
        return self

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.address[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on."""
        return self.address[1]
