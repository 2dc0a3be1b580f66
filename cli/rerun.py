"""Starts an agent with the input of another one, running, closed or archived."""

from __future__ import annotations

from collections.abc import Sequence

from cli.agents import begin
from cli.clients import open_client
from cli.inputs import kind_named, read_input
from cli.output import ExitCode
from common.archive.histories import Histories
from common.settings import Settings


async def rerun(
    settings: Settings,
    id: str,
    words: Sequence[str],
    as_id: str | None,
    owner: str | None,
    *,
    wait: bool,
    as_json: bool,
) -> ExitCode:
    """Start the same again, changed by ``words``; for its owner, unless another is given."""
    histories = Histories.open(await open_client(settings), settings)
    original = await histories.runs(id)
    kind = kind_named(original.kind)
    input = read_input(kind, None, words, await histories.input(original, kind.input))
    whose = owner or original.owner or settings.user
    return await begin(settings, kind, input, as_id, whose, wait=wait, as_json=as_json)
