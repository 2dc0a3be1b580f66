"""Small values that a person or a browser keeps for us, signed so that they come back as they were given."""

from __future__ import annotations

import base64
import json

from pydantic import JsonValue

from common.approval.signing import Signer


def seal(value: JsonValue, purpose: str, signer: Signer) -> str:
    """``value`` as text fit for an address or a cookie, `value.key.mac`; readable by all, made only by us.

    Raises:
        SettingsError: there is no key to sign with.
    """
    data = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    key_id, mac = signer.seal(purpose, data)
    return f"{_encode(data)}.{_encode(key_id.encode())}.{mac}"


def unseal(text: str, purpose: str, signer: Signer) -> JsonValue:
    """The value that was sealed for the same ``purpose``.

    Raises:
        ValueError: the text is not what ``seal`` made, letter for letter, or under none of the ring's keys.
    """
    parts = text.split(".")
    if len(parts) != 3:
        raise ValueError("not three parts")
    data, key_id = _decode(parts[0]), _decode(parts[1]).decode()
    if not signer.is_sealed(purpose, data, key_id, parts[2]):
        raise ValueError("the signature does not fit")
    value: JsonValue = json.loads(data)
    return value


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("another spelling of the same value")
    return data
