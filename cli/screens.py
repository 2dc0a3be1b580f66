"""Screens for a watch: lines for a file or a pipe, or a display in place on a terminal."""

from __future__ import annotations

from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Lines:
    """Prints lines to a file or a pipe: what is new since the last drawing."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class InPlace:
    """A live display for a terminal."""

    def __init__(self) -> None:
        self._live = Live(Text("…"), console=Console(highlight=False), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()
