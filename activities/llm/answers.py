"""What models said, as the ledger keeps it for a retry: encrypted where payloads are."""

from __future__ import annotations

import base64

from common.sealed_store import Sealer
from common.temporal.codec import EncryptingCodec, UnreadableError

_SEALED = "sealed:"


class Answers:
    """Seals answers for the key of their call. One that cannot be opened any more counts as none."""

    def __init__(self, codec: EncryptingCodec | None) -> None:
        self._sealer = Sealer(codec)

    def seal(self, answer: str, key: str) -> str:
        """How the ledger keeps `answer` of the call `key`."""
        if not self._sealer.seals:
            return answer
        return _SEALED + base64.b64encode(self._sealer.seal(_name(key), answer.encode())).decode()

    def open(self, kept: str, key: str) -> str | None:
        """The answer that the ledger keeps for the call `key`."""
        if not kept.startswith(_SEALED):
            return kept or None
        try:
            answer = self._sealer.open(_name(key), base64.b64decode(kept.removeprefix(_SEALED)))
        except (UnreadableError, ValueError):
            return None
        return None if answer is None else answer.decode()


def _name(key: str) -> str:
    return f"model answer {key}"
