"""Brings a data folder back from its copy. It never overwrites anything."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from cli.copying.files import conflicts, put_back
from cli.copying.litestream import LitestreamError, restore
from cli.copying.place import CopyMark, NotACopyError, OpenPlace, new_holder
from cli.copying.state import CopyState
from cli.output import CommandError, say
from common.approval.acts import ActLog
from common.object_store import StoreUnavailableError
from common.settings import Settings
from common.settings.state import CopyPlace
from common.temporal.codec import DATABASE


async def restore_copy(settings: Settings, source: CopyPlace) -> None:
    """Bring back files first and databases last, so that what was interrupted can be done again.

    A data folder that goes on writing to the same place takes the copy over: its first owner, should it
    still be alive somewhere, may not write to it any more.

    Raises:
        CommandError: there is a database here, or another file of the same name; or there is no whole copy.
    """
    place, folder = OpenPlace(source, settings), settings.data_dir
    try:
        mark = await asyncio.to_thread(place.mark)
        if mark is None or mark.until is None or DATABASE not in mark.databases:
            raise CommandError(f"--restore-from: there is no whole copy at {place}.")
        await asyncio.to_thread(_require_room, folder, place, mark)
        files = await asyncio.to_thread(put_back, folder, place.store)
        for name in mark.databases.keys() - {DATABASE}:
            await _database(place, name, None, folder)
        if settings.state.copy_to == source:
            own = CopyState(place=str(source), holder=new_holder(), begun=True, until=mark.until)
            await asyncio.to_thread(place.put, mark.model_copy(update={"holder": own.holder}))
            own.save(settings)
        # So that what agents did since, and do not know of, is not done a second time.
        await asyncio.to_thread(ActLog.of(settings).note_restore, mark.until)
        # Temporal's last: with it the folder counts as brought back.
        await _database(place, DATABASE, mark.databases[DATABASE], folder)
    except (NotACopyError, StoreUnavailableError, LitestreamError, OSError) as error:
        raise CommandError(f"--restore-from {place}: {error}.") from error
    since = f"{mark.until:%Y-%m-%d %H:%M:%S} UTC"
    say(f"brought back from {place}: all that was committed before {since}, and {files} files")


def _require_room(folder: Path, place: OpenPlace, mark: CopyMark) -> None:
    if (folder / DATABASE).exists():
        raise CommandError(
            f"--restore-from: {folder} has a database already, and nothing is overwritten: "
            "start without it, or give --data-dir another folder."
        )
    # SQLite would take the log of a database that is gone for that of its namesake.
    logs = [f"{name}-wal" for name in mark.databases if not (folder / name).exists()]
    for path in (*(log for log in logs if (folder / log).exists()), *conflicts(folder, place.store)):
        raise CommandError(
            f"--restore-from: {folder / path} is not of the copy: move it away, or give --data-dir "
            "another folder."
        )


async def _database(place: OpenPlace, name: str, transaction: int | None, folder: Path) -> None:
    """Bring a database back as of a transaction, or else as young as it is.

    Temporal's is as of the mark, because files that a younger one refers to may be missing. The others say
    what was done already, which must not be forgotten.
    """
    file, log = folder / name, folder / "logs" / "restore.log"
    if file.exists():
        return
    shutil.rmtree(folder / f".{name}-litestream", ignore_errors=True)
    try:
        await restore(place, name, transaction, file, log)
    except LitestreamError:
        if transaction is None:
            raise
        say(f"the copy of {name} is far ahead of that of the files; some may be missing")
        await restore(place, name, None, file, log)
