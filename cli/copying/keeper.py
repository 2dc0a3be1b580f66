"""Keeps a continuous copy of a data folder elsewhere, as part of `starter.py dev`."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.copying.files import FileCopies
from cli.copying.litestream import Litestream, LitestreamError, databases
from cli.copying.place import CompleteState, CopyMark, NotACopyError, OpenPlace, new_holder
from cli.copying.restore_test import NoRoomError, run_restore_test
from cli.copying.state import CopyState, end_copy
from cli.output import CommandError, say
from common.object_store import StoreUnavailableError
from common.settings import Settings, keep_private
from common.settings.state import CopyPlace
from common.temporal.codec import DATABASE

EVERY = 1.0
# Scanning takes a tenth of the time at most, even of very many files: pause 1 s for each 0.1 s of it.
REST = 10
SAVED_EVERY = timedelta(seconds=5)
# Trouble is reported after this long: a new database or a restarting Litestream needs a moment.
TROUBLE_AFTER = timedelta(seconds=10)
# Time limit of the last round, when the stack ends.
FINISHES_WITHIN = 30.0
# How often a copy is restored as a test; a failed test is retried soon.
RESTORE_TEST_EVERY = timedelta(hours=24)
TRIED_AGAIN_AFTER = timedelta(seconds=10)
TRIES = 3
# A copy that fails its tests is started afresh, but rarely: its place may be at fault.
AFRESH_EVERY = timedelta(hours=1)


class CopyKeeper:
    """Copies a data folder, round after round, until it is stopped.

    Args:
        settings: those of the data folder.
        place: where the copy is kept.

    Once the first round is done, everything committed before `complete_at` is in the copy.
    """

    def __init__(self, settings: Settings, place: CopyPlace) -> None:
        self._settings = settings
        self.place = OpenPlace(place, settings)
        try:
            self.program = Litestream(
                settings.data_dir, self.place, settings.data_dir / "logs" / "litestream.log"
            )
        except LitestreamError as error:
            raise CommandError(f"{error}.") from None
        self._files = FileCopies(settings.data_dir, self.place.store)
        known = CopyState.load(settings)
        if known is None or known.place != str(place):
            known = CopyState(place=str(place), holder=new_holder())
        self._state = known.model_copy(update={"kept": True, "problem": ""})
        self._mark = self._written = CopyMark(holder=known.holder)
        self._wrong: set[str] = set()
        self._failed, self._afresh_at = 0, datetime.min.replace(tzinfo=UTC)
        self.complete_at = self._saved_at = datetime.now(UTC)
        self._ended = False

    async def claim(self) -> None:
        """Check that the place is empty or has this folder's own copy, and begin the copy there.

        Raises:
            CommandError: the place holds something else, or a new copy cannot be begun there now.
        """
        try:
            await asyncio.to_thread(self._claim)
        except NotACopyError as error:
            raise CommandError(f"--copy-to {self.place}: {error}.") from None
        except (StoreUnavailableError, OSError) as error:
            if not self._state.begun:
                raise CommandError(f"--copy-to {self.place}: {error}.") from None
            # Agents must not wait for a place that is out of reach.
            self._report(str(error))
        folder, own = self.place.place.folder, self._settings.data_dir
        if folder and folder.exists() and folder.stat().st_dev == own.stat().st_dev:
            say(f"WARNING      the copy at {self.place} is on the same disk as what it is a copy of")
        self._save()

    async def keep(self) -> None:
        """Copy until the copy must no longer be written. Other trouble is reported once and retried."""
        restore_tests = asyncio.create_task(self._keep_testing_restores())
        try:
            while not self._ended:
                await self.copy()
                await asyncio.sleep(max(EVERY, REST * self._files.looked_for))
        finally:
            restore_tests.cancel()
            await asyncio.gather(restore_tests, return_exceptions=True)

    async def finish(self) -> None:
        """Copy a last time, if that is possible now, and stop Litestream."""
        if self.program.runs and not self._ended and not self._state.problem:
            try:
                await asyncio.wait_for(self.copy(), FINISHES_WITHIN)
            except TimeoutError:
                say(f"the last seconds could not be copied within {FINISHES_WITHIN:g} s")
        await self.program.stop()

    async def copy(self) -> None:
        """Bring the copy up to date."""
        try:
            await self._round()
        except NotACopyError as error:
            self._ended = True
            self._report(f"{error}. Nothing is copied until the next start")
        except (LitestreamError, StoreUnavailableError, OSError) as error:
            if datetime.now(UTC) - self.complete_at > TROUBLE_AFTER:
                self._report(str(error))
        else:
            self._report("")

    async def test_restore(self) -> bool:
        """Restore the databases from the copy as a test; return whether they match the originals.

        A copy that fails again and again is started afresh.
        """
        generation, problem, failed = self._mark.generation, "", self._failed
        try:
            for name in self._mark.databases:
                await run_restore_test(self.program, self.place, self._settings.data_dir / name)
        except NoRoomError as error:
            problem = str(error)
        except (LitestreamError, StoreUnavailableError, OSError, sqlite3.Error) as error:
            problem, failed = str(error), failed + 1
        if generation != self.program.generation:
            return False  # Litestream was restarted in the meantime
        now = datetime.now(UTC)
        if problem:
            self._failed = failed
            self._save(unproven=problem)
        else:
            self._failed = 0
            self._save(unproven="", proven=now)
            self._mark = self._mark.model_copy(update={"proven": now})
        if self._failed >= TRIES and now - self._afresh_at > AFRESH_EVERY:
            say(f"the copy failed its restore test, and is started anew: {problem}")
            self._wrong.add(generation)
            self._failed, self._afresh_at = 0, now
            await self.program.end()
        return not problem

    async def _keep_testing_restores(self) -> None:
        """Test each generation once it is complete, then once a day."""
        generation, due = "", self.complete_at
        while True:
            await asyncio.sleep(EVERY)
            if self._mark.generation != self.program.generation:
                continue
            if generation != self._mark.generation:
                generation, due = self._mark.generation, self.complete_at
            if self.complete_at >= due:
                proven = await self.test_restore()
                soon = TRIED_AGAIN_AFTER * 2 ** min(self._failed, 8)
                due = self.complete_at + (RESTORE_TEST_EVERY if proven else soon)

    def _report(self, problem: str) -> None:
        if problem != self._state.problem:
            say(f"the copy is behind: {problem}" if problem else "the copy is up to date again")
            self._save(problem=problem)

    def _claim(self) -> None:
        folder = self.place.place.folder
        found = self.place.mark()
        if found is None:
            if self._state.begun:
                raise NotACopyError(
                    f"the copy that was there is gone: is its disk mounted? If it is gone for good, delete "
                    f"{CopyState.file(self._settings)}, and a new one is begun"
                )
            if folder:
                self._require_elsewhere(folder)
                folder.mkdir(parents=True, exist_ok=True)
                keep_private(folder)
            self.place.put(self._mark)
            self._written = self._mark
        elif found.holder != self._state.holder:
            raise NotACopyError(
                "it has the copy of another data folder: name another place, or bring that one back with "
                f"--restore-from {self.place}"
            )
        elif self._mark.until is None:
            self._mark = self._written = found
        if not self._state.begun:
            self._save(begun=True)

    def _require_elsewhere(self, folder: Path) -> None:
        own = self._settings.data_dir.resolve()
        if folder.resolve().is_relative_to(own) or own.is_relative_to(folder.resolve()):
            raise NotACopyError(f"it must lie outside of the data folder {self._settings.data_dir}")

    async def _round(self) -> None:
        folder = self._settings.data_dir
        if not (folder / DATABASE).exists():
            # An unmounted disk looks as if everything had been deleted.
            raise NotACopyError(f"{folder / DATABASE} is gone, so nothing is copied any more")
        await asyncio.to_thread(self._claim)
        found, generation = databases(folder), self.program.generation
        # Databases first, then files: whatever the databases refer to is then in the copy.
        until = datetime.now(UTC)
        done = {file.name: await self.program.sync(file) for file in found}
        changed = await asyncio.to_thread(self._files.update, found, until)
        for file in found:
            await self.program.until_there(file, done[file.name])
        if generation != self.program.generation:
            raise LitestreamError("litestream was started again meanwhile")
        proven = self._mark.proven if generation == self._mark.generation else None
        state = CompleteState(generation=generation, until=until, databases=done, proven=proven)
        mark = self._mark.succeeded_by(state, self._wrong)
        if changed or done != self._mark.databases or mark.generations() != self._mark.generations():
            self._mark = mark
        await asyncio.to_thread(self._write, self._mark)
        self.complete_at = until
        if self._state.until is None or until - self._saved_at > SAVED_EVERY:
            self._saved_at = until
            self._save(until=until)

    def _write(self, mark: CopyMark) -> None:
        """Write the mark if it is new, and delete the generations that it no longer lists."""
        if mark is self._written:
            return
        self.place.put(mark)
        before, self._written = self._written, mark
        if before.generations() != mark.generations():
            self.place.keep_only(mark.generations(), mark.generation)

    def _save(self, **changes: datetime | str | bool) -> None:
        self._state = self._state.model_copy(update=changes)
        if self._settings.data_dir.exists():
            self._state.save(self._settings)


async def open_copy(settings: Settings) -> CopyKeeper | None:
    """The keeper of the copy that the settings ask for; None if they ask for none.

    Raises:
        CommandError: the place holds something else.
    """
    if settings.state.copy_to is None:
        end_copy(settings)
        return None
    keeper = CopyKeeper(settings, settings.state.copy_to)
    await keeper.claim()
    return keeper
