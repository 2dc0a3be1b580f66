"""How values become payloads: pydantic's JSON, limited in size; refused payloads fail with a clear type."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DefaultFailureConverter, EncodingPayloadConverter, PayloadConverter
from temporalio.exceptions import ApplicationError, FailureError, TemporalError

from common.agents.agent import AgentInput
from common.approval.starts import SignedStart
from common.errors import permanent
from common.flaws import flaw_of
from common.temporal.newer import note_newer
from common.temporal.search_attributes import fit

# What decoding raises if a payload cannot be read here: another key, another encoding, another type.
UNREADABLE = (ValueError, LookupError, RuntimeError, TypeError, TemporalError)
REFUSED = b"hibernaut/refused"
REASON = "reason"
# The types of workflow inputs, and whether a workflow is beginning just now for the first time.
INPUTS = (AgentInput, SignedStart)
BEGINNING: ContextVar[bool] = ContextVar("BEGINNING", default=False)
# The encoding of a payload that holds no value.
NOTHING = b"binary/null"
# Types of the failures raised here.
TOO_LARGE, NOT_READABLE, INPUT_REFUSED = "PayloadTooLarge", "PayloadRefused", "InputRefused"
# Metadata of a payload that must stay in the message and not go to the store.
INLINE = "hibernaut-inline"

# Limit of one value in the store. It is in memory several times while it is encoded.
MAX_BYTES = 32 * 1024 * 1024
# Limit of one value in a message: the server refuses 2 MB, and encryption adds a little.
MAX_INLINE_BYTES = 1_900_000
# Limit of a question with its plan and evidence: an answer to a query has all that are open.
MAX_ASKED_BYTES = 1_000_000


def refused(reason: str) -> Payload:
    """A payload that stands for one that may not be read."""
    return Payload(metadata={"encoding": REFUSED, REASON: reason.encode()})


class AgentPayloadConverter(PydanticPayloadConverter):
    """The payload converter of every client and worker."""

    def __init__(self) -> None:
        # Shared: the SDK creates a converter for every payload, and these are stateless.
        self._set_converters(*_converters())

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """The values of ``payloads``.

        Raises:
            ApplicationError: type `InputRefused`, permanent: a workflow was started with an input that is not
                valid for its kind. If it has begun before, its code is wrong, and its task waits for a fix.
        """
        try:
            values = super().from_payloads(payloads, type_hints)
        except ValidationError as error:
            hint = type_hints[0] if type_hints else None
            if BEGINNING.get() and isinstance(hint, type) and issubclass(hint, INPUTS):
                raise permanent(INPUT_REFUSED, flaw_of(error)) from None
            raise
        for payload, value in zip(payloads, values, strict=False):
            note_newer(value, payload.data)
        return values

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """``values`` as payloads.

        Raises:
            ApplicationError: type `PayloadTooLarge`, permanent: a value is over 32 MiB. Raised here, in the
                agent's own code, it fails the agent; in the SDK it would fail the workflow task for ever.
        """
        payloads = super().to_payloads(values)
        for payload in payloads:
            check_size(len(payload.data), MAX_BYTES, "a value")
        return payloads


class ShortFailures(DefaultFailureConverter):
    """Cuts messages and stack traces: a failure too large for the server could never be reported."""

    _limit = 20_000

    def _error_to_failure(
        self, error: FailureError, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        super()._error_to_failure(error, payload_converter, failure)
        failure.message = fit(failure.message, self._limit)
        failure.stack_trace = failure.stack_trace[-self._limit :]


class EncodedFailures(ShortFailures):
    """Puts messages and stack traces of failures where the codec encrypts them."""

    # The server shows at most 4 kB of a retried activity's failure; of a larger one, nothing encrypted.
    _limit = 1_500

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """See the base class."""
        super().to_failure(exception, payload_converter, failure)
        # These messages hold only sizes and names, and are all that a client sees of a failed query.
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


@cache
def _converters() -> Sequence[EncodingPayloadConverter]:
    return (*PydanticPayloadConverter().converters.values(), _RefusedPayloads())


def reason_of(payload: Payload) -> str | None:
    """Why ``payload`` was refused; None if it was not."""
    if payload.metadata.get("encoding") != REFUSED:
        return None
    return payload.metadata.get(REASON, b"refused").decode(errors="replace")[:200]


def check_size(size: int, limit: int, what: str) -> None:
    """Let ``what`` pass if it is at most ``limit`` bytes.

    Raises:
        ApplicationError: type `PayloadTooLarge`, permanent.
    """
    if size > limit:
        raise permanent(TOO_LARGE, f"{what} is {size} bytes, and {limit} can be kept; hand over an artifact")
