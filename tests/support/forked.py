"""Functions that a forked process may be asked to run, well- and ill-behaved."""

from __future__ import annotations

import json
import os
import time
from typing import Any

_CALLS: list[bytes] = []
_HELD: list[bytes] = []


def said(data: bytes, argument: Any) -> bytes:
    """The arguments, where it ran, and how many calls this process has had."""
    _CALLS.append(data)
    return json.dumps([data.decode(), argument, os.getpid(), len(_CALLS), sorted(os.environ)]).encode()


def spin(data: bytes, argument: Any) -> bytes:
    while True:
        pass


def sleep(data: bytes, argument: Any) -> bytes:
    time.sleep(argument)
    return b""


def wait(data: bytes, argument: Any) -> bytes:
    """Return once a file named `argument` exists."""
    while not os.path.exists(argument):
        time.sleep(0.01)
    return b""


def grow(data: bytes, argument: Any) -> bytes:
    """Take `argument` bytes and keep them."""
    _HELD.append(bytes(argument))
    return str(len(_HELD)).encode()


def fail(data: bytes, argument: Any) -> bytes:
    raise ValueError(data)


def held(data: bytes, argument: Any) -> bytes:
    """Create a file named `argument`, and never return."""
    hold(argument)
    return b""


def hold(argument: Any) -> None:
    with open(argument, "w"):
        pass
    time.sleep(600)
