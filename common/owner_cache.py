"""What is kept for an owner in the object store, independent of any one agent: a cache, not evidence.

It only saves time, so it may be deleted at any moment; `forget --owner` deletes all of it.
"""

from __future__ import annotations

from common.digest import digest_bytes


def owner_cache_prefix(owner: str) -> str:
    """The key prefix of what is kept for `owner`."""
    return f"owned/v1/{digest_bytes(owner.encode())[:32]}/"
