"""`starter.py doctor` on object store and mail servers: each fault is one line that names its setting."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL

from cli.checks import Check
from cli.dev_server import free_port
from cli.doctor import doctor
from common.settings import Settings, SettingsError
from tests.support.mail.dovecot import dovecot
from tests.support.mail.smtp_server import PASSWORD, USER, smtp_server
from tests.support.s3 import (
    BUCKET,
    SECRET,
    Rclone,
    credentials,
    moto,
    rclone,
    settings_for,
)

__all__ = ["credentials", "moto", "rclone"]

WRONG = "not-the-secret"

Look = Callable[..., Awaitable[Check]]


@pytest.fixture
def diagnosis(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Settings], Awaitable[dict[str, Check]]]:
    """What the doctor says, by what it is about; it waits as long as servers on a busy machine need."""
    monkeypatch.setattr("cli.doctor.PATIENCE", timedelta(seconds=60))

    async def diagnosis(settings: Settings) -> dict[str, Check]:
        code = await doctor(settings, as_json=True)
        checks = [Check(**each) for each in json.loads(capsys.readouterr().out)]
        for found in checks:
            assert "\n" not in found.text
            for secret in (SECRET, PASSWORD, WRONG):
                assert secret not in found.text
        assert code == any(each.health == "mend" for each in checks)
        return {each.name: each for each in checks}

    return diagnosis


@pytest.fixture
def look(settings: Settings, diagnosis: Callable[[Settings], Awaitable[dict[str, Check]]]) -> Look:
    """What the doctor says of the store behind an address."""

    async def look(endpoint: str, bucket: str = BUCKET, region: str = "us-east-1") -> Check:
        state = settings.state.but(
            s3_bucket=bucket, s3_endpoint=endpoint, s3_region=region, s3_prefix="team/"
        )
        return (await diagnosis(settings.but(state=state)))["object store"]

    return look


async def test_a_bucket_that_answers_is_well(look: Look, moto: str, rclone: Rclone) -> None:
    """Empty as it is."""
    for endpoint in (moto, f"http://127.0.0.1:{rclone.port}"):
        found = await look(endpoint)
        assert (found.health, found.text) == ("ok", f"the bucket {BUCKET} at {endpoint} can be listed")


async def test_a_wrong_key_or_none_names_the_key(
    look: Look, rclone: Rclone, credentials: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service says that it is wrong, the client library that there is none."""
    at = f"http://127.0.0.1:{rclone.port}"
    credentials(WRONG)
    found = await look(at)
    assert found.health == "mend"
    assert f"HIBERNAUT_S3_BUCKET={BUCKET} at {at}: SignatureDoesNotMatch" in found.text
    mend = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) to a key that may list it"
    assert found.text.endswith(mend)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    assert "AWS_ACCESS_KEY_ID" in (await look(at)).text
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(rclone.folder / "none"))
    found = await look(at)
    assert "NoCredentialsError: set AWS_ACCESS_KEY_ID" in found.text


async def test_a_missing_bucket_names_the_bucket(look: Look, moto: str, rclone: Rclone) -> None:
    """At both services, and where there can be no such name."""
    for endpoint in (moto, f"http://127.0.0.1:{rclone.port}"):
        found = await look(endpoint, "nowhere")
        assert found.health == "mend"
        assert found.text.endswith("create that bucket, or set HIBERNAUT_S3_BUCKET to one that is there")
        assert "NoSuchBucket" in found.text
    assert "HIBERNAUT_S3_BUCKET to one" in (await look(moto, "no bucket/name")).text


async def test_a_service_out_of_reach_names_the_address(look: Look, moto: str) -> None:
    """Nobody there, another service there, a region that is none, an address that is none."""
    found = await look(f"http://127.0.0.1:{free_port()}")
    assert found.health == "mend"
    assert found.text.endswith("see that HIBERNAUT_S3_ENDPOINT is right, and that the service runs")
    assert "HIBERNAUT_S3_REGION" in (await look(moto, region="no region")).text
    with pytest.raises(SettingsError, match=r"HIBERNAUT_S3_ENDPOINT=127.0.0.1:9: give an http"):
        settings_for("127.0.0.1:9")


async def test_mail_servers_are_looked_at(
    settings: Settings, diagnosis: Callable[[Settings], Awaitable[dict[str, Check]]]
) -> None:
    """None set, both well, a wrong password, nobody there: the setting is named, the password never said."""

    async def mail(environment: Mapping[str, str]) -> list[Check]:
        read = Settings.read(environment).mail
        found = await diagnosis(settings.but(mail=read))
        return [check for name, check in found.items() if name.startswith("mail")]

    [none] = await mail({})
    assert (none.health, none.text) == ("ok", "no mail is sent; set HIBERNAUT_SMTP to a server")
    async with smtp_server(auth=True) as server, dovecot() as box:
        there = {
            **box.environment(),
            "HIBERNAUT_SMTP": f"smtp://127.0.0.1:{server.port}",
            "HIBERNAUT_SMTP_USER": USER,
            "HIBERNAUT_SMTP_PASSWORD": PASSWORD,
            "HIBERNAUT_MAIL_FROM": "agents@example.com",
        }
        assert [(each.health, each.text) for each in await mail(there)] == [
            ("ok", f"127.0.0.1:{server.port} takes mail"),
            ("ok", f"the mailbox at 127.0.0.1:{box.port} can be read"),
        ]
        wrong = {**there, "HIBERNAUT_SMTP_PASSWORD": WRONG, "HIBERNAUT_IMAP_PASSWORD": WRONG}
        out, into = await mail(wrong)
        assert (out.health, into.health) == ("mend", "mend")
        assert "refuses HIBERNAUT_SMTP_USER" in out.text
        assert "refuses HIBERNAUT_IMAP_USER" in into.text
        assert server.taken == []
    out, into = await mail(there)
    assert (out.health, into.health) == ("mend", "mend")
    assert out.text.startswith(f"HIBERNAUT_SMTP (127.0.0.1:{server.port}): ")
    assert into.text.startswith(f"HIBERNAUT_IMAP (127.0.0.1:{box.port}): ")


async def test_the_database_is_named_and_whether_it_is_reached(
    settings: Settings,
    diagnosis: Callable[[Settings], Awaitable[dict[str, Check]]],
    place: Path | URL,
) -> None:
    """Files where no other is set; one that is out of reach names its setting."""
    if isinstance(place, Path):
        found = (await diagnosis(settings))["database"]
        assert (found.health, found.text) == ("ok", f"SQLite files in {settings.data_dir}")
        return

    async def look(at: URL) -> Check:
        text = at.render_as_string(hide_password=False)
        return (await diagnosis(settings.but(state=settings.state.but(database=text))))["database"]

    found = await look(place)
    assert found.health == "ok"
    assert found.text.endswith(f"at 127.0.0.1:{place.port}/hibernaut")
    found = await look(place.set(port=1, password=WRONG))
    assert found.health == "mend"
    assert found.text.startswith("HIBERNAUT_DATABASE: the database 127.0.0.1:1/hibernaut cannot be used")
