"""Small values that people and browsers keep for us, signed so that they come back unchanged."""

from __future__ import annotations

import base64
import json

from pydantic import JsonValue

from common.approval.signing import Signer


def sign(value: JsonValue, purpose: str, signer: Signer) -> str:
    """``value`` as text for an address or a cookie, `value.key.mac`: anyone can read it, only we can make it.

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


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("not canonical: one value must have one spelling")
    return data
