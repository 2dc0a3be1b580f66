"""Why a connection to Temporal fails, in words that name the setting to look at."""

from __future__ import annotations

from temporalio.service import TLSConfig

# From the SDK's message, in debug format, when this side rejects the server's certificate.
OF_SERVER = {
    "UnknownIssuer": (
        "nobody whom this side trusts signed its certificate: set TEMPORAL_TLS_SERVER_CA_CERT_PATH to who did"
    ),
    "NotValidForName": "its certificate is for another name: set TEMPORAL_TLS_SERVER_NAME to one it has",
    "InvalidCertificate(Expired": "its certificate has expired: it has to be renewed there",
}
# And when the server ends the connection on the first thing this side sends, with TLS its certificate.
ENDED = ("AlertReceived", "error after connection")
AWAY = "start it with `starter.py dev`, or set TEMPORAL_ADDRESS to where yours is"


def why_connect_failed(error: Exception, tls: TLSConfig | bool | None) -> str:
    """Why, and what to do, from an `error` of `Client.connect` and its TLS configuration."""
    said = str(error)
    for words, why in OF_SERVER.items():
        if words in said:
            return why
    if not any(words in said for words in ENDED):
        return AWAY
    if not tls:
        return "what listens there ends the connection, as servers with TLS do: set TEMPORAL_TLS=true"
    return (
        "it ends the connection, as it does on a certificate that it does not take: see that "
        "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH name one that its authority signed, "
        "and that it has not expired"
    )
