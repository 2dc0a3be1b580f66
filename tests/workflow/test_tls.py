"""Clients of a server with mutual TLS: through the worker's proxy, and who is turned away is told why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.cluster.certificates import Certificates, KeyPair
from cli.dev_server import DevServer
from common.settings import Settings, SettingsError
from common.temporal.connect import CannotConnectError, connect
from common.temporal.waiting_proxy import WaitingProxy
from testing.waiting import eventually
from tests.support.tls import behind_tls

A_MINUTE = timedelta(minutes=1)
SERVER, CLIENT = "TEMPORAL_TLS_SERVER_", "TEMPORAL_TLS_CLIENT_"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Right ones, and in the same folder some of a stranger and one that has expired."""
    made = Certificates(tmp_path / "tls")
    made.make()
    stranger = KeyPair.authority("stranger")
    stranger.write(made.folder, "stranger")
    stranger.issue("client").write(made.folder, "wrong")
    yesterday = datetime.now(UTC) - timedelta(days=2)
    authority = KeyPair.read(made.folder, "ca")
    authority.issue("client", timedelta(days=1), yesterday).write(made.folder, "expired")
    authority.issue("temporal", timedelta(days=1), yesterday).write(made.folder, "expired-server")
    return made


async def test_a_worker_gets_through_and_others_are_told_why_not(
    settings: Settings, server: DevServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right certificates from end to end; wrong, expired, none, and a server that is not the one meant."""
    folder, right = certificates.folder, certificates.environment()

    def shown(name: str) -> dict[str, str]:
        files = {f"{CLIENT}CERT_PATH": f"{name}.pem", f"{CLIENT}KEY_PATH": f"{name}.key"}
        return right | {name: str(folder / file) for name, file in files.items()}

    none = {name: value for name, value in right.items() if CLIENT not in name}
    stranger = right | {f"{SERVER}CA_CERT_PATH": str(folder / "stranger.pem")}
    missing = right | {f"{CLIENT}KEY_PATH": str(folder / "missing.key")}

    async def told(
        environment: dict[str, str],
        *,
        proxy: WaitingProxy | None = None,
        patience: timedelta = timedelta(seconds=5),
    ) -> str:
        for name in (*right, *environment):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        said = ""
        try:
            client = await connect(settings, proxy=proxy, patience=patience)
        except (CannotConnectError, SettingsError) as error:
            said = str(error)
        else:
            assert await client.service_client.check_health()
        assert "\n" not in said
        return said

    async def hints(at: str, environment: dict[str, str], **how: Any) -> None:
        """It is told what to look at; on a busy machine it may only have been too late to learn that."""

        async def told_so() -> bool:
            return at in await told(environment, **how)

        await eventually(told_so)

    async with behind_tls(server.address, folder, mutual=True) as address:
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        assert await told(right, patience=A_MINUTE) == ""
        assert await told(right, proxy=WaitingProxy(), patience=A_MINUTE) == ""
        for name in ("wrong", "expired"):
            await hints(f"see that {CLIENT}CERT_PATH", shown(name))
        await hints(f"see that {CLIENT}CERT_PATH", none)
        await hints(f"see that {CLIENT}CERT_PATH", shown("wrong"), proxy=WaitingProxy())
        await hints("set TEMPORAL_TLS=true", {})
        await hints(f"set {SERVER}CA_CERT_PATH", stranger)
        await hints(f"set {SERVER}NAME", right | {f"{SERVER}NAME": "other"})
        await hints(str(folder / "missing.key"), missing)
    for kind in ("pem", "key"):
        (folder / f"expired-server.{kind}").rename(folder / f"server.{kind}")
    async with behind_tls(server.address, folder) as address:
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        await hints("has expired", right)
