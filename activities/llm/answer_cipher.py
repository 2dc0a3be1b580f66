"""Model answers as the ledger keeps them for a retry: encrypted if payloads are."""

from __future__ import annotations

import base64

from common.sealed_store import Sealer
from common.temporal.codec import EncryptingCodec, UnreadableError

_SEALED = "sealed:"


class AnswerCipher:
    """Encrypts answers, bound to their call's key. An answer that cannot be decrypted counts as missing."""

    def __init__(self, codec: EncryptingCodec | None) -> None:
        self._sealer = Sealer(codec)

    def seal(self, answer: str, key: str) -> str:
        """The form in which the ledger stores the `answer` to the call `key`."""
        if not self._sealer.seals:
            return answer
        return _SEALED + base64.b64encode(self._sealer.seal(_name(key), answer.encode())).decode()

    def open(self, kept: str, key: str) -> str | None:
        """The answer to the call `key`, from the form the ledger stores."""
        if not kept.startswith(_SEALED):
            return kept or None
        try:
            answer = self._sealer.open(_name(key), base64.b64decode(kept.removeprefix(_SEALED)))
        except (UnreadableError, ValueError):
            return None
        return None if answer is None else answer.decode()


def _name(key: str) -> str:
    return f"model answer {key}"
