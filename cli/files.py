"""`starter.py files`: fetches what an agent wrote for people, on whichever machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cli.archive import view_anywhere
from cli.output import CommandError, clean, print_document, say
from common.agent_files import AgentFiles
from common.files import write_atomically
from common.hints import command
from common.settings import Settings


async def files(settings: Settings, id: str, save: Path | None, *, as_json: bool) -> None:
    """List the reports, drafts and letters of an agent; with ``save``, write them into that folder.

    Raises:
        NoSuchAgentError: no agent has that id.
        CommandError: a file cannot be written there.
    """
    kept = AgentFiles.of(settings)
    names = await asyncio.to_thread(kept.names, id)
    if not names:
        await view_anywhere(settings, id)  # raises if there is no such agent
    saved = [save / name for name in names] if save else []
    for path in saved:
        parts = await asyncio.to_thread(kept.read, id, path.name)
        try:
            await asyncio.to_thread(write_atomically, path, parts)
        except OSError as error:
            raise CommandError(f"--save {save}: {error.strerror}.") from error
    if as_json:
        print_document({"id": id, "files": names, "saved": [str(path.absolute()) for path in saved]})
    elif not names:
        say(f"{id} has written no files.")
    else:
        print("\n".join(clean(str(each)) for each in (saved or names)))
        if not save:
            say(f"fetch them with {command('files', id, '--save', 'FOLDER')}.")
