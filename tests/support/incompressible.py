"""Text that cannot be compressed."""

from __future__ import annotations

import base64
import hashlib


def incompressible(size: int) -> str:
    """Always the same text; at best it compresses to `size` bytes, and uncompressed it is a third larger."""
    return base64.b64encode(hashlib.shake_256(b"noise").digest(size)).decode()
