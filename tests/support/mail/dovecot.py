"""Debian's dovecot with its own configuration, on a loopback port, run by the user who runs the tests."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import shutil
import tempfile
import uuid
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.dev_server import free_port, listens
from testing.waiting import eventually

DOVECOT = shutil.which("dovecot", path="/usr/sbin:/usr/bin:/usr/local/sbin")
# Dovecot does not allow root to read mail.
READER = "nobody"
USER, PASSWORD = "answers", "s3cret"

CONFIG = """
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
instance_name = {name}
{ssl}
disable_plaintext_auth = no
default_internal_user = {owner}
default_login_user = {login}
default_internal_group = {group}
mail_location = maildir:{folder}/mail
mail_uid = {reader}
mail_gid = {reader_group}
first_valid_uid = 1
first_valid_gid = 1
auth_mechanisms = plain login
auth_failure_delay = 0
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = home={folder}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {encrypted}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
protocol imap {{
  rawlog_dir = {folder}/raw
{more}
}}
"""
SSL = "ssl = required\nssl_cert = <{certificate}\nssl_key = <{key}"
WITHOUT_IDLE = "  imap_capability = IMAP4rev1 LITERAL+ MOVE UIDPLUS"


@dataclass
class Dovecot:
    """A running server and its one mailbox."""

    folder: Path
    port: int
    reader: str
    process: Process | None = None

    def deliver(self, mail: bytes) -> None:
        """Put a mail into the inbox, like a mail server does."""
        name = f"{uuid.uuid4().hex}.localhost"
        fresh = self.folder / "mail" / "tmp" / name
        fresh.write_bytes(mail)
        if os.getuid() == 0:
            shutil.chown(fresh, self.reader)
        fresh.rename(self.folder / "mail" / "new" / name)

    def clear(self) -> None:
        """Delete all mails and all recorded client input."""
        for file in self.folder.glob("mail/**/*,*"):
            file.unlink()
        for file in self.folder.glob("mail/**/new/*"):
            file.unlink()
        for file in self.folder.glob("raw/*"):
            file.unlink()

    def holds(self, folder: str = "") -> list[bytes]:
        """The mails of a folder, by default of the inbox."""
        while True:
            # Dovecot may move a file while it is read here.
            with contextlib.suppress(FileNotFoundError):
                return [file.read_bytes() for file in self._files(folder)]

    def is_empty(self) -> bool:
        """Whether the inbox is empty. Looks twice: a file being renamed may be missed once, but not twice."""
        return not self._files() and not self._files()

    def _files(self, folder: str = "") -> list[Path]:
        place = self.folder / "mail" / (f".{folder}" if folder else "")
        return [file for part in ("new", "cur") for file in sorted((place / part).glob("*"))]

    def unread(self, folder: str) -> int:
        """The number of unread mails in a folder."""
        place = self.folder / "mail" / f".{folder}"
        files = [file.name for part in ("new", "cur") for file in (place / part).glob("*")]
        return sum("S" not in name.partition(":2,")[2] for name in files)

    def said(self) -> str:
        """Everything that clients sent after login."""
        return "".join(
            file.read_text(errors="replace") for file in sorted((self.folder / "raw").glob("*.in"))
        )

    def environment(self) -> dict[str, str]:
        """The settings for reading this mailbox."""
        return {
            "HIBERNAUT_MAIL_REPLY_TO": "answers@example.com",
            "HIBERNAUT_IMAP": f"imap://127.0.0.1:{self.port}",
            "HIBERNAUT_IMAP_USER": USER,
            "HIBERNAUT_IMAP_PASSWORD": PASSWORD,
        }

    async def start(self) -> None:
        """Start the server."""
        self.process = await asyncio.create_subprocess_exec(
            *(DOVECOT or "", "-F", "-c", str(self.folder / "dovecot.conf")),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        started = self.process

        async def is_there() -> bool:
            assert started.returncode is None, (self.folder / "log").read_text()
            return await listens(self.port)

        await eventually(is_there)

    async def stop(self) -> None:
        """Stop the server and close its connections."""
        if self.process and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@asynccontextmanager
async def dovecot(*, idle: bool = True, certificate: Path | None = None) -> AsyncIterator[Dovecot]:
    """A server with an empty mailbox; skips the test where dovecot is not installed.

    With a `certificate` (its key is next to it) each connection uses TLS from the first byte.
    """
    if DOVECOT is None:
        pytest.skip("dovecot is missing; Debian's package dovecot-imapd has it")
    as_root = os.getuid() == 0
    me = pwd.getpwuid(os.getuid()).pw_name
    reader = pwd.getpwnam(READER if as_root else me)
    owner = pwd.getpwnam("dovecot") if as_root else reader
    login = pwd.getpwnam("dovenull") if as_root else reader
    # Not in pytest's temporary folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="hibernaut-dovecot-"))
    folder.chmod(0o755)
    try:
        for name in ("mail/tmp", "mail/new", "mail/cur", "home", "raw"):
            (folder / name).mkdir(parents=True)
        if as_root:
            for place in (folder / "mail", folder / "home", folder / "raw", *(folder / "mail").iterdir()):
                shutil.chown(place, reader.pw_uid, reader.pw_gid)
        port = free_port()
        text = CONFIG.format(
            folder=folder,
            name=folder.name,
            plain=0 if certificate else port,
            encrypted=port if certificate else 0,
            ssl=SSL.format(certificate=certificate, key=certificate.with_name("key.pem"))
            if certificate
            else "ssl = no",
            owner=owner.pw_name,
            login=login.pw_name,
            group=grp.getgrgid(owner.pw_gid).gr_name,
            reader=reader.pw_uid,
            reader_group=reader.pw_gid,
            password=PASSWORD,
            more="" if idle else WITHOUT_IDLE,
        )
        (folder / "dovecot.conf").write_text(text)
        server = Dovecot(folder, port, reader.pw_name)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
