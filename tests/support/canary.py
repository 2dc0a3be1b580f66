"""A secret, and a check whether it can be read in some data."""

from __future__ import annotations

import base64
import secrets

CANARY = f"canary-{secrets.token_hex(16)}"


def is_in(data: bytes) -> bool:
    """Whether the secret can be read in `data`: in plain, or in base64 at any of its three offsets."""
    forms = [CANARY.encode()]
    for offset in range(3):
        # The characters at both ends depend on the neighbouring bytes.
        encoded = base64.b64encode(b"\0" * offset + CANARY.encode())
        forms.append(encoded[4 if offset else 0 : -4])
    return any(form in data for form in forms)
