"""Checks a stack's ports: each must be different, and free."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cli.dev_server import is_free
from cli.output import CommandError

PATIENCE = 2.0  # the server of a stack that was just killed may still be shutting down


async def require_ports(ports: Mapping[str, int]) -> None:
    """Wait a moment for all ports to be free. Keys are the options that gave them; 0 means none.

    Raises:
        CommandError: a port is taken, or given twice.
    """
    for option, number in ports.items():
        same = [other for other, port in ports.items() if port == number]
        if number and len(same) > 1:
            raise CommandError(f"{' and '.join(same)} are both {number}: give each a port of its own.")
        if number:
            await _require_free(number, option)


async def _require_free(port: int, option: str) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not is_free(port):
        if asyncio.get_running_loop().time() > deadline:
            raise CommandError(f"port {port} is taken: stop what listens there, or give {option} another.")
        await asyncio.sleep(0.1)
