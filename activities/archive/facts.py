"""Facts for the index, read from an agent's history. None of them contains text that a person wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent

from common.temporal import search_attributes
from common.temporal.codec import KEY_ID


def nodes_of(events: Iterable[HistoryEvent]) -> set[str]:
    """The nodes that an agent went through, as named by its search attributes and its calls."""
    found = set[str]()
    for event in events:
        upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
        if search_attributes.NODE.name in upserted:
            value = json.loads(upserted[search_attributes.NODE.name].data or b"null")
            if isinstance(value, str):
                found.add(value)
        # An activity id is `node/sequence/digest`.
        id = event.activity_task_scheduled_event_attributes.activity_id
        if id.count("/") >= 2:
            found.add(id.rsplit("/", 2)[0])
    return found


def key_ids(payloads: Iterable[Payload]) -> set[str]:
    """The ids of the keys these payloads are encrypted with."""
    return {id.decode(errors="replace") for each in payloads if (id := each.metadata.get(KEY_ID))}


def key_ids_in(body: bytes) -> set[str]:
    """The id of the key an object of the store is encrypted with; empty if it is not a payload."""
    try:
        return key_ids([Payload.FromString(body)])
    except DecodeError:
        return set()
