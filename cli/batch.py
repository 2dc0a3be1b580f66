"""`starter.py batch`: changes a batch while it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from cli.clients import open_agents
from cli.output import CommandError, ExitCode, flat, print_document, say
from cli.steering import SteeringResult
from common.agents.batch import MAX_ITEMS, MAX_MORE, BatchCommand, BatchItem, as_lines
from common.settings import Settings

# A signal holds at most 256 KiB; leave room for what surrounds the items.
MAX_SIGNAL_BYTES = 200 * 1024


async def batch(
    settings: Settings, id: str, at_once: int | None, source: str | None, *, retry: bool, as_json: bool
) -> ExitCode:
    """Change the concurrency, retry quarantined items, add items, and print the outcome.

    Raises:
        CommandError: there is nothing to change, or a line of the file is not an item.
    """
    if at_once is None and source is None and not retry:
        raise CommandError("nothing to change: give --at-once, --retry or --add.")
    try:
        command = BatchCommand(at_once=at_once, retry=retry)
    except ValidationError as error:
        raise CommandError(f"--{flat(error).replace('at_once', 'at-once')}.") from None
    items = read_items(source) if source else []
    commands = [BatchCommand(more=tuple(more)) for more in parts_of(items)]
    if at_once is not None or retry:
        first = commands[0].more if commands else ()
        commands[:1] = [command.model_copy(update={"more": first})]
    agents = await open_agents(settings)
    sent = 0
    for command in commands:
        receipt = await agents.receipt(id, await agents.batch(id, command))
        steered = SteeringResult.of(id, receipt)
        if as_json and (steered.refused or command is commands[-1]):
            print_document(steered)
        say(steered.words)
        if steered.refused:
            if items:
                say(f"{sent} of {len(items)} items were added; those given again are not done twice.")
            return ExitCode.REFUSED
        sent += len(command.more)
    return ExitCode.DONE


def read_items(source: str) -> list[BatchItem]:
    """Read items from a file, or from stdin for `-`: one JSON object a line, whose `id` names the item.

    Raises:
        CommandError: unreadable, or a line is not an item; the message names the first such line.
    """
    try:
        text = sys.stdin.read() if source == "-" else Path(source).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CommandError(f"--add {source}: {reason}.") from None
    items = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            items.append(_item(line, f"--add {source}: line {number}"))
    if not items:
        raise CommandError(f"--add {source}: there is no item in it.")
    if len(items) > MAX_ITEMS:
        raise CommandError(f"--add {source}: {len(items)} items; a batch may have {MAX_ITEMS}.")
    return items


def _item(line: str, where: str) -> BatchItem:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise CommandError(f"{where}: not JSON.") from None
    # Require an id: keyed by line number, it would clash with an item of the batch's first file.
    if not isinstance(value, dict) or type(value.get("id")) not in (str, int):
        raise CommandError(f'{where}: give a JSON object with an id, as in {{"id": "a-17", …}}.')
    key = str(value.pop("id"))
    try:
        item = BatchItem(key=key, argument=value)
    except ValidationError as error:
        raise CommandError(f"{where}: {flat(error).replace('key:', 'id:')}.") from None
    if (size := len(as_lines([item]))) > MAX_SIGNAL_BYTES:
        raise CommandError(f"{where}: {size} bytes are too many: name a file in it instead.")
    return item


def parts_of(items: list[BatchItem]) -> Iterator[list[BatchItem]]:
    """Split the items into parts that each fit into one signal."""
    part, size = list[BatchItem](), 0
    for item in items:
        more = len(as_lines([item]))
        if part and (len(part) == MAX_MORE or size + more > MAX_SIGNAL_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield part
