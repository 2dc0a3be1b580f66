"""Local S3: moto for broad coverage, rclone as a real process that checks keys; with fixtures for both."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import boto3
import httpx
import pytest

from cli.children import end_child, start_child
from cli.dev_server import free_port, listens
from common.settings import Settings

RCLONE = Path(sys.executable).parent / "rclone"
KEY_ID, SECRET = "tester", secrets.token_hex(16)
BUCKET = "agents"


class Rclone:
    """`rclone serve s3` on a folder: a real process with credentials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / BUCKET).mkdir(parents=True)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        process = await start_child(
            [
                *(str(RCLONE), "serve", "s3", str(self.folder), "--addr", f"127.0.0.1:{self.port}"),
                *("--auth-key", f"{KEY_ID},{SECRET}", "--config", str(self.folder / "none.conf")),
                # With a folder cache time of zero, rclone deadlocks after some writes.
                *("--vfs-cache-mode", "off", "--dir-cache-time", "5m"),
            ],
            environment={"HOME": str(self.folder)},
            log=self.folder.parent / "rclone.log",
        )
        try:
            async with asyncio.timeout(120):
                while not await listens(self.port):
                    assert process.returncode is None, (self.folder.parent / "rclone.log").read_text()
                    await asyncio.sleep(0.05)
            yield
        finally:
            await end_child(process, 5)


def in_bucket(endpoint: str, prefix: str = "team/") -> dict[str, str]:
    """The settings that store everything in the bucket at `endpoint`."""
    return {
        "HIBERNAUT_S3_BUCKET": BUCKET,
        "HIBERNAUT_S3_ENDPOINT": endpoint,
        "HIBERNAUT_S3_REGION": "us-east-1",
        "HIBERNAUT_S3_PREFIX": prefix,
    }


def settings_for(endpoint: str) -> Settings:
    return Settings.read(in_bucket(endpoint))


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set credentials where boto3 looks for them, and hide those of this machine."""

    def use(secret: str) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    use(SECRET)
    return use


@pytest.fixture
async def rclone(tmp_path: Path) -> AsyncIterator[Rclone]:
    server = Rclone(tmp_path / "served")
    async with server.running():
        yield server


@pytest.fixture
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # takes a second, in every process

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.session.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(
        Bucket=BUCKET
    )
    yield endpoint
    # All moto servers of a process share their stored objects.
    httpx.post(f"{endpoint}/moto-api/reset").raise_for_status()
    server.stop()
