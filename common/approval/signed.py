"""Small values that people, browsers and Temporal keep for us, signed so that they come back unchanged."""

from __future__ import annotations

import base64
import json
from typing import TypeVar

from pydantic import JsonValue

from common.approval.signing import Signer
from common.approval.starts import SignedStart, digest_of

Request = TypeVar("Request", bound=SignedStart)


def sign(value: JsonValue, purpose: str, signer: Signer) -> str:
    """``value`` as text for a URL or a cookie, `value.key.mac`: anyone can read it, only we can make it.

    Raises:
        SettingsError: there is no key to sign with.
    """
    data = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    key_id, mac = signer.mac(purpose, data)
    return f"{_encode(data)}.{_encode(key_id.encode())}.{mac}"


def verify(text: str, purpose: str, signer: Signer) -> JsonValue:
    """The value that was signed for the same ``purpose``.

    Raises:
        ValueError: the text is not exactly what ``sign`` returned, or its key is not in the ring.
    """
    parts = text.split(".")
    if len(parts) != 3:
        raise ValueError("not three parts")
    data, key_id = _decode(parts[0]), _decode(parts[1]).decode()
    if not signer.is_mac(purpose, data, key_id, parts[2]):
        raise ValueError("the signature does not fit")
    value: JsonValue = json.loads(data)
    return value


def sign_start(kind: str, request: Request, signer: Signer) -> Request:
    """``request`` with its signature, for a workflow of the type ``kind``.

    Raises:
        SettingsError: there is no key to sign with.
    """
    return request.model_copy(update={"signature": sign(digest_of(request), f"start {kind}", signer)})


def is_signed_start(kind: str, digest: str, signature: str, signer: Signer) -> bool:
    """Whether the ``signature`` is that of a request with this ``digest``."""
    try:
        return verify(signature, f"start {kind}", signer) == digest
    except ValueError:
        return False


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("not canonical: one value must have one spelling")
    return data
