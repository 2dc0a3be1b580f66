"""What is kept for an owner in the object store, beyond any one agent, and is nobody's evidence.

It only saves time: it may be deleted at any moment, and `forget --owner` deletes all of it.
"""

from __future__ import annotations

from common.digest import digest_bytes


def owned_prefix(owner: str) -> str:
    """Where every key begins of what is kept for `owner`."""
    return f"owned/v1/{digest_bytes(owner.encode())[:32]}/"
