"""The activities of the template agent: finds old files, and deletes those of an approved plan."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from temporalio import activity

from activities.safe_files import open_folder
from cli.new.template.inputs import Deleted, DeleteRequest, FindRequest, OldFile, TemplatePlan
from common.approval.signing import Authority
from common.settings import Settings

# People read the plan, and history keeps it.
MAX_FILES = 1000


class TemplateActivities:
    """What the template agent does outside Temporal; each activity is a method."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    @classmethod
    def build(cls, settings: Settings) -> Self:
        """The activities as a worker runs them; clients of outside systems are made here."""
        return cls(Authority.load(settings))

    @activity.defn(name="template_find")
    def find(self, request: FindRequest) -> TemplatePlan:
        """The old files right in the folder, at most `MAX_FILES`; no links, no names that do not print."""
        before, old = datetime.now(UTC) - request.older_than, list[OldFile]()
        with _opened(request.path) as folder:
            for name in sorted(os.listdir(folder)):
                changed = _changed(folder, name)
                if changed and changed < before and name.isprintable():
                    old.append(OldFile(name=name, changed=changed))
        return TemplatePlan(path=request.path, files=tuple(old[:MAX_FILES]))

    @activity.defn(name="template_delete")
    def delete(self, request: DeleteRequest) -> Deleted:
        """Delete the files of an approved plan, but for those changed since. It may be repeated.

        Raises:
            ApplicationError: type `NotAuthorized` or `PolicyRefused`; nothing was touched.
        """
        self._authority.authorize(request.authorization, request.plan, activity.info())
        files = request.plan.files
        with _opened(request.plan.path) as folder:
            for file in files:
                if _changed(folder, file.name) == file.changed:
                    with suppress(FileNotFoundError):
                        os.unlink(file.name, dir_fd=folder)
            left = sum(_changed(folder, file.name) is not None for file in files)
        return Deleted(files=len(files) - left)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """A descriptor of the folder: a link that is put in its place meanwhile leads nowhere."""
    folder = open_folder(Path(path), "")
    try:
        yield folder
    finally:
        os.close(folder)


def _changed(folder: int, name: str) -> datetime | None:
    """When a file was last changed; None where there is none of that name."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return datetime.fromtimestamp(status.st_mtime, UTC) if stat.S_ISREG(status.st_mode) else None
