"""`starter.py doctor` and the object store: each fault is one line that names the setting behind it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable

import pytest

from cli.dev_server import free_port
from cli.doctor import Check, doctor
from common.settings import Settings, SettingsError
from tests.integration.test_object_store import (
    BUCKET,
    SECRET,
    Rclone,
    credentials,
    moto,
    rclone,
    settings_for,
)

__all__ = ["credentials", "moto", "rclone"]

Look = Callable[..., Awaitable[Check]]


@pytest.fixture
def look(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Look:
    """What the doctor says of the store behind an address."""

    async def look(endpoint: str, bucket: str = BUCKET, region: str = "us-east-1") -> Check:
        state = dataclasses.replace(
            settings.state, s3_bucket=bucket, s3_endpoint=endpoint, s3_region=region, s3_prefix="team/"
        )
        code = await doctor(dataclasses.replace(settings, state=state), as_json=True)
        checks = [Check.model_validate(each) for each in json.loads(capsys.readouterr().out)]
        [found] = [each for each in checks if each.name == "object store"]
        assert "\n" not in found.text
        for secret in (SECRET, "wrong"):
            assert secret not in found.text
        assert code == 1 or found.health != "mend"
        return found

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
    credentials("wrong")
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
