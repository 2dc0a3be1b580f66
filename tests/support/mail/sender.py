"""A process that sends one letter and kills itself at a given point.

Run as `python -m tests.support.mail.sender FOLDER PORT POINT`.

Points: `before intent`, `after intent`, `before data`, `mid data`, `after answer`, or none of these. The
result is printed as JSON.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosmtplib
from temporalio.exceptions import ApplicationError

from activities.mail.outbox import Outbox
from activities.mail.smtp import SmtpServer
from common.lifecycle import exit_now
from common.mail import Sent
from tests.support.mail.desk import MailDesk, approved, letter

SETTLE_TIME = timedelta(seconds=1)


def die(*_: Any, **__: Any) -> Any:
    """SIGKILL this process: like a power failure, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    """Make this process die at the given point."""
    enter = Outbox.enter

    def entered(*arguments: Any, **more: Any) -> Any:
        enter(*arguments, **more)
        die()

    async def half(client: aiosmtplib.SMTP, mail: bytes, **_: Any) -> Any:
        assert client.protocol is not None
        await client.execute_command(b"DATA")
        client.protocol.write(mail[: len(mail) // 2])
        # Wait until the kernel has the data: the server must see the first half.
        transport: Any = client.transport
        while transport.get_write_buffer_size():
            await asyncio.sleep(0.01)
        die()

    match point:
        case "before intent":
            Outbox.enter = die  # type: ignore[method-assign]
        case "after intent":
            Outbox.enter = entered  # type: ignore[method-assign]
        case "before data":
            SmtpServer._content = die  # type: ignore[method-assign]
        case "mid data":
            aiosmtplib.SMTP.data = half  # type: ignore[method-assign,assignment]
        case "after answer":
            Outbox.settle = die  # type: ignore[method-assign]


async def send(folder: Path, port: int) -> Sent:
    """Send the letter and return the result; waits while the outbox is busy."""
    desk = MailDesk(folder, port, settle_time=SETTLE_TIME)
    while True:
        try:
            return await desk.send(approved(letter(text="Hello\n" * 50_000)))
        except ApplicationError as error:
            if error.type != "MailBusy" or error.next_retry_delay is None:
                raise
            await asyncio.sleep(error.next_retry_delay.total_seconds())


if __name__ == "__main__":
    arm(sys.argv[3])
    print(asyncio.run(send(Path(sys.argv[1]), int(sys.argv[2]))).model_dump_json(), flush=True)
    exit_now(0)
