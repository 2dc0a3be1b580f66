"""A file that people may edit at any time; read again when it has changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from common.settings.base import SettingsError

Content = TypeVar("Content")


class WatchedFile(Generic[Content]):
    """The current content of a file.

    Args:
        variable: the setting that names the file in errors.
        file: where it is, or may be created.
        read: parses the bytes; raises ValueError if they are invalid.
        empty: the content while there is no file.
        example: what such a file looks like, for the error.
        required: whether a missing file is an error rather than `empty`.
    """

    def __init__(
        self,
        variable: str,
        file: Path,
        read: Callable[[bytes], Content],
        empty: Content,
        example: str,
        *,
        required: bool = False,
    ) -> None:
        self._variable, self._file, self._read = variable, file, read
        self._empty, self._example, self._required = empty, example, required
        self._seen: tuple[int, ...] | None = None
        self._content = empty

    def content(self) -> Content:
        """What the file says now.

        Raises:
            SettingsError: it cannot be read; try again later.
        """
        try:
            status = self._file.stat()
            # Not by the time alone: container images and copies give different files the same time.
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._content = self._read(self._file.read_bytes())
                self._seen = seen
        except FileNotFoundError:
            if self._required:
                raise SettingsError(f"{self._variable}={self._file}: there is no such file.") from None
            self._content, self._seen = self._empty, None
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{self._variable}: {self._file} is not {self._example}{_where(error)}."
            ) from None
        return self._content

    @property
    def changed_at(self) -> datetime | None:
        """When the file was last written; None while there is none, or it cannot be accessed."""
        try:
            return datetime.fromtimestamp(self._file.stat().st_mtime, UTC)
        except OSError:
            return None


def file_of(variable: str, named: Path | None, usual: Path) -> Path:
    """The file that the setting `variable` names, else the `usual` one, which need not exist.

    Raises:
        SettingsError: the named file is missing.
    """
    if named and not named.exists():
        raise SettingsError(f"{variable}={named}: there is no such file.")
    return named or usual


def _where(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return ""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f" ({place}: {first['msg']})" if place else ""
