"""Reads the signals that every agent takes. What cannot be read is refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from temporalio import workflow
from temporalio.common import RawValue

from common.agents.agent import WakeUp
from common.agents.batch import REPORT, BatchCommand
from common.agents.batch_state import PageReport
from common.approval.types import MAX_WORDS, Decision
from common.mail import IncomingMail
from common.temporal.converter import NOTHING, reason_of

# The argument of each signal; a signal with a default may come without one.
ARGUMENTS: dict[str, TypeAdapter[Any]] = {
    "decide": TypeAdapter(Decision),
    "tell": TypeAdapter(Annotated[str, Field(min_length=1, max_length=MAX_WORDS)]),
    "undelivered": TypeAdapter(Annotated[str, Field(min_length=1, max_length=1000)]),
    "wake": TypeAdapter(WakeUp),
    "pause": TypeAdapter(None),
    "resume": TypeAdapter(None),
    "upgrade": TypeAdapter(None),
    "mail": TypeAdapter(IncomingMail),
    "batch": TypeAdapter(BatchCommand),
    REPORT: TypeAdapter(PageReport),
}
DEFAULTS: dict[str, Any] = {"wake": WakeUp(), "pause": None, "resume": None, "upgrade": None}
MAX_BYTES = 256 * 1024
# A last argument `{"receipt": ID}` asks for a receipt under that id.
RECEIPT = "receipt"
MAX_RECEIPT_BYTES = 100


class UnreadableSignalError(Exception):
    """A signal cannot be read; the message says why, in words for the notebook."""


def receipt_asked(arguments: Sequence[RawValue]) -> tuple[str, Sequence[RawValue]]:
    """The id under which a receipt is asked for (empty if none is), and the signal's own arguments."""
    value = None
    if arguments and len(arguments[-1].payload.data) <= MAX_RECEIPT_BYTES:
        with suppress(Exception):  # whatever this is, `read_signal` refuses it with its reason
            value = workflow.payload_converter().from_payload(arguments[-1].payload)
    if isinstance(value, dict) and list(value) == [RECEIPT] and isinstance(value[RECEIPT], str):
        return value[RECEIPT], arguments[:-1]
    return "", arguments


def read_signal(name: str, arguments: Sequence[RawValue]) -> Any:
    """The argument of the signal `name`.

    Raises:
        UnreadableSignalError: unknown name, wrong number of arguments, or an argument of another type.
    """
    if name not in ARGUMENTS:
        raise UnreadableSignalError(f"unknown signal; there are {', '.join(sorted(ARGUMENTS))}")
    arguments = [each for each in arguments if each.payload.metadata.get("encoding") != NOTHING]
    if not arguments and name in DEFAULTS:
        return DEFAULTS[name]
    if len(arguments) != 1:
        raise UnreadableSignalError(f"it takes one argument, and {len(arguments)} came")
    payload = arguments[0].payload
    if refusal := reason_of(payload):
        raise UnreadableSignalError(refusal)
    if len(payload.data) > MAX_BYTES:
        raise UnreadableSignalError(f"{len(payload.data)} bytes are too many")
    try:
        value = workflow.payload_converter().from_payload(payload)
        return ARGUMENTS[name].validate_python(value, strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "argument"
        raise UnreadableSignalError(f"{place}: {first['msg']}") from None
    except Exception as error:
        # A hostile payload can make a converter raise anything; letting it through would wedge the agent.
        raise UnreadableSignalError(f"undecodable: {type(error).__name__}") from None
