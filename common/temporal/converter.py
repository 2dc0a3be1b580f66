"""How values become payloads: pydantic's JSON, bounded in size, with refused payloads refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DefaultFailureConverter, EncodingPayloadConverter, PayloadConverter
from temporalio.exceptions import ApplicationError

from common.errors import permanent

REFUSED = b"hibernaut/refused"
REASON = "reason"
# Types of the failures that are raised here.
TOO_LARGE, NOT_READABLE = "PayloadTooLarge", "PayloadRefused"
# Metadata of a payload that has to travel in the message itself and not through the store.
INLINE = "hibernaut-inline"

# What one value may take in the store. It is held in memory several times over while it is encoded.
MAX_BYTES = 32 * 1024 * 1024
# What travels in a message: the server refuses 2 MB, and encryption adds a little.
MAX_INLINE_BYTES = 1_900_000


def refused(reason: str) -> Payload:
    """A payload in place of one that may not be read."""
    return Payload(metadata={"encoding": REFUSED, REASON: reason.encode()})


class AgentPayloadConverter(PydanticPayloadConverter):
    """The payload converter of every client and worker."""

    def __init__(self) -> None:
        super().__init__()
        self._set_converters(*self.converters.values(), _RefusedPayloads())

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """`values` as payloads.

        Raises:
            ApplicationError: type `PayloadTooLarge`, permanent: one of them is over 32 MiB. Where an agent's
                code runs, so that it fails with a reason; past it, its task would be tried again for ever.
        """
        payloads = super().to_payloads(values)
        for payload in payloads:
            check_size(len(payload.data), MAX_BYTES, "a value")
        return payloads


class EncodedFailures(DefaultFailureConverter):
    """Messages and stack traces go where the codec reaches them."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """See the base class."""
        super().to_failure(exception, payload_converter, failure)
        # Words of this program's own, sizes and names, stay readable too: a client is told of a failed query
        # by this message alone.
        if isinstance(exception, ApplicationError) and exception.type in (TOO_LARGE, NOT_READABLE):
            failure.message = exception.message


class _RefusedPayloads(EncodingPayloadConverter):
    @property
    def encoding(self) -> str:
        return REFUSED.decode()

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        raise permanent(NOT_READABLE, reason_of(payload) or "refused")


def reason_of(payload: Payload) -> str | None:
    """Why `payload` was refused; None where it was not."""
    if payload.metadata.get("encoding") != REFUSED:
        return None
    return payload.metadata.get(REASON, b"refused").decode(errors="replace")[:200]


def check_size(size: int, limit: int, what: str) -> None:
    """Refuse what is over `limit` bytes.

    Raises:
        ApplicationError: type `PayloadTooLarge`; no retry mends it.
    """
    if size > limit:
        raise permanent(TOO_LARGE, f"{what} is {size} bytes, and {limit} can be kept; hand over an artifact")
