"""Restores a data folder from its copy. It never overwrites anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cli.copying.files import conflicts, put_back
from cli.copying.litestream import LitestreamError, restore
from cli.copying.place import CopyMark, NotACopyError, OpenPlace, new_holder
from cli.copying.state import CopyState
from cli.output import CommandError, say
from common.approval.action_log import ActionLog
from common.grammar import rounded
from common.object_store import StoreUnavailableError
from common.settings import Settings
from common.settings.state import CopyPlace
from common.temporal.codec import DATABASE


class _Found(NamedTuple):
    """A restored database, a time before its state, and whether newer states were damaged."""

    file: Path
    since: datetime
    damaged: bool


async def restore_copy(settings: Settings, source: CopyPlace) -> None:
    """Restore files first and databases last, so that an interrupted restore can be repeated.

    A data folder that keeps its own copy at the same place takes the copy over: the previous owner, should
    it still run somewhere, may no longer write to it.

    Raises:
        CommandError: the folder has a database or a conflicting file already, or there is no complete copy.
    """
    place, folder = OpenPlace(source, settings), settings.data_dir
    try:
        mark = await asyncio.to_thread(place.mark)
        if mark is None or mark.until is None or DATABASE not in mark.databases:
            raise CommandError(f"--restore-from: there is no whole copy at {place}.")
        await asyncio.to_thread(_require_room, folder, place, mark)
        files = await asyncio.to_thread(put_back, folder, place.store)
        for name in mark.databases.keys() - {DATABASE}:
            await _the_youngest(place, name, mark, folder)
        found = await _as_marked(place, mark, folder)
        until = min(found.since, mark.until) if found.damaged else mark.until
        if settings.state.copy_to == source:
            own = CopyState(place=str(source), holder=new_holder(), begun=True, until=until)
            await asyncio.to_thread(place.put, mark.model_copy(update={"holder": own.holder}))
            own.save(settings)
        # Agents no longer know what they did since then; this keeps them from doing it twice.
        await asyncio.to_thread(ActionLog.of(settings).note_restore, until)
        # Temporal's database last: it marks the folder as restored.
        found.file.rename(folder / DATABASE)
    except (NotACopyError, StoreUnavailableError, LitestreamError, OSError) as error:
        raise CommandError(f"--restore-from {place}: {error}.") from error
    since = f"{until:%Y-%m-%d %H:%M:%S} UTC"
    say(f"brought back from {place}: all that was committed before {since}, and {files} files")


def _require_room(folder: Path, place: OpenPlace, mark: CopyMark) -> None:
    if (folder / DATABASE).exists():
        raise CommandError(
            f"--restore-from: {folder} has a database already, and nothing is overwritten: "
            "start without it, or give --data-dir another folder."
        )
    # SQLite would apply a leftover WAL to the restored database of the same name.
    logs = [f"{name}-wal" for name in mark.databases if not (folder / name).exists()]
    for path in (*(log for log in logs if (folder / log).exists()), *conflicts(folder, place.store)):
        raise CommandError(
            f"--restore-from: {folder / path} is not of the copy: move it away, or give --data-dir "
            "another folder."
        )


async def _as_marked(place: OpenPlace, mark: CopyMark, folder: Path) -> _Found:
    """Restore Temporal's database as of the mark: a newer state may refer to files that are missing.

    If that state is damaged, restore the newest one before it that is sound.

    Raises:
        LitestreamError: no state is sound.
    """
    problem: LitestreamError | None = None
    for whole in (mark, *mark.earlier):
        marked = whole.databases.get(DATABASE, 0)
        states = await asyncio.to_thread(place.states, whole.generation, DATABASE)
        if marked in states:
            states = {each: at for each, at in states.items() if each <= marked}
        elif states:
            say(f"the copy of {DATABASE} is far ahead of that of the files; some may be missing")
        try:
            found = await _from_generation(place, whole.generation, DATABASE, states, folder)
        except LitestreamError as error:
            problem = problem or error
            continue
        found = found._replace(damaged=found.damaged or whole is not mark)
        if found.damaged and mark.until:
            _say_lost(DATABASE, found, mark.until)
        return found
    raise problem or LitestreamError(f"there is nothing of {DATABASE}")


async def _the_youngest(place: OpenPlace, name: str, mark: CopyMark, folder: Path) -> None:
    """Restore the newest state of any other database: what was already done must not be forgotten.

    Raises:
        LitestreamError: no state of it is sound.
    """
    if (folder / name).exists():
        return
    problem: LitestreamError | None = None
    # A copy made before generations existed is found only under the mark's, which is empty.
    for generation in dict.fromkeys([*await asyncio.to_thread(place.generations), mark.generation]):
        states = await asyncio.to_thread(place.states, generation, name)
        if not states:
            continue
        try:
            found = await _from_generation(place, generation, name, states, folder)
        except LitestreamError as error:
            problem = problem or error
            continue
        if (found.damaged or problem) and mark.until:
            _say_lost(name, found, mark.until)
        found.file.rename(folder / name)
        return
    raise problem or LitestreamError(f"there is nothing of {name}")


async def _from_generation(
    place: OpenPlace, generation: str, name: str, states: dict[int, datetime], folder: Path
) -> _Found:
    file, log = folder / f".{name}.back", folder / "logs" / "restore.log"
    tried, sound = folder / f".{name}.tried", sorted(states, reverse=True)
    problems: list[LitestreamError] = []

    async def restorable(transaction: int) -> bool:
        tried.unlink(missing_ok=True)
        try:
            await restore(place, generation, name, transaction, tried, log)
        except LitestreamError as error:
            problems.append(error)
            return False
        tried.rename(file)
        return True

    found = await first_restorable(sound, restorable)
    if found is None:
        raise problems[0] if problems else LitestreamError(f"there is nothing of {name}")
    return _Found(file, states[found], bool(problems))


async def first_restorable(states: Sequence[int], restorable: Callable[[int], Awaitable[bool]]) -> int | None:
    """The first state that can be restored, if all after it can; it is also the last one restored."""
    bad, good = -1, 0
    while good < len(states) and not await restorable(states[good]):
        bad, good = good, min(2 * good + 1, max(len(states) - 1, good + 1))
    if good >= len(states):
        return None
    while good - bad > 1:
        middle = (bad + good) // 2
        if await restorable(states[middle]):
            good = middle
        else:
            bad = middle
    return states[good]


def _say_lost(name: str, found: _Found, until: datetime) -> None:
    lost = rounded(max(until - found.since, timedelta()))
    say(f"WARNING      what the copy has of {name} is damaged at its end: up to {lost} of it are lost")
