"""A file that people may edit at any time; read again when it has changed."""

from __future__ import annotations

from collections.abc import Callable
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
        read: parses the bytes; raises ValueError where they are invalid.
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
        self._read_at, self._content = 0, empty

    def content(self) -> Content:
        """What the file says now.

        Raises:
            SettingsError: it cannot be read; try again later.
        """
        try:
            changed_at = self._file.stat().st_mtime_ns
            if changed_at != self._read_at:
                self._content = self._read(self._file.read_bytes())
                self._read_at = changed_at
        except FileNotFoundError:
            if self._required:
                raise SettingsError(f"{self._variable}={self._file}: there is no such file.") from None
            self._content, self._read_at = self._empty, 0
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{self._variable}: {self._file} is not {self._example}{_where(error)}."
            ) from None
        return self._content


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
