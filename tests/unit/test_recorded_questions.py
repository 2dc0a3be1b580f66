"""What history has of a question is read as far as it can be; one agent's odd payload hides nobody else's."""

from __future__ import annotations

import pytest
from temporalio.api.common.v1 import Payload, Payloads

from common.client.recorded_questions import _decoded
from common.notices.types import Told
from common.settings import Settings
from common.temporal.connect import data_converter


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (b"binary/encrypted", b"under a key that this process does not have"),
        (b"of/somebody-else", b"?"),
        (b"json/plain", b"{"),
        (b"json/plain", b'{"asked": 7}'),
        (b"", b""),
    ],
)
async def test_a_payload_that_nobody_can_read_tells_of_no_question(encoding: bytes, data: bytes) -> None:
    """Encrypted for others, of an unknown encoding, cut off, of another type, empty."""
    payload = Payload(metadata={"encoding": encoding}, data=data)
    reader = data_converter(Settings.read({}))
    assert await _decoded(Payloads(payloads=[payload]), Told, reader) is None
