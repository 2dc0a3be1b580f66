"""What is missing is said in words that name what mends it, and never what a setting holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError

from activities.preconditions import Preconditions
from common.agents.needs import Needs, Place
from common.errors import permanent
from common.object_store import StoreUnavailableError
from common.settings import Settings

MAIL = {"HIBERNAUT_SMTP": "smtp://127.0.0.1:25", "HIBERNAUT_MAIL_FROM": "agents@example.com"}
ANSWERS = {
    "HIBERNAUT_IMAP": "imap://127.0.0.1:143",
    "HIBERNAUT_IMAP_USER": "answers",
    "HIBERNAUT_IMAP_PASSWORD": "s3cret",
    "HIBERNAUT_MAIL_REPLY_TO": "answers@example.com",
}
NAMES = {"wiki.test": ["10.1.2.3"], "public.test": ["93.184.215.14"]}


async def missing(needs: Needs, folder: Path, **environment: str) -> tuple[str, ...]:
    async def resolve(host: str, port: int) -> list[str]:
        if host not in NAMES:
            raise OSError("no such name")
        return NAMES[host]

    async def refuses() -> None:
        raise permanent("BrokerRefused", "401: check HIBERNAUT_ALPACA_KEY")

    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(folder / "data"), **environment})
    return (await Preconditions(settings, refuses, resolve).check(needs)).reasons


@pytest.mark.parametrize(
    ("needs", "mended_by", "words"),
    [
        (Needs(mail=True), MAIL, "set HIBERNAUT_SMTP and HIBERNAUT_MAIL_FROM"),
        (
            Needs(answers=True),
            ANSWERS,
            "set HIBERNAUT_IMAP to the mailbox for answers, or HIBERNAUT_PUBLIC_URL",
        ),
        (
            Needs(answers=True),
            {"HIBERNAUT_PUBLIC_URL": "https://agents.example.com"},
            "no answer to a letter",
        ),
        (Needs(search=True), {"HIBERNAUT_SEARCH": "searxng:http://search.test"}, "set HIBERNAUT_SEARCH"),
        (Needs(model="openai:small"), {"HIBERNAUT_OPENAI_KEY": "s3cret"}, "HIBERNAUT_OPENAI_KEY is not set"),
        (
            Needs(addresses=("http://wiki.test/reports/",)),
            {"HIBERNAUT_ALLOWED_HOSTS": "wiki.test"},
            "to 10.1.2.3, which is not reached: private or reserved: allow it in HIBERNAUT_ALLOWED_HOSTS",
        ),
        (
            Needs(sites=("http://wiki.test:8080",)),
            {"HIBERNAUT_ALLOWED_HOSTS": "wiki.test:8080"},
            "port 8080 is not reached",
        ),
    ],
)
async def test_a_setting_that_is_missing_is_named(
    needs: Needs, mended_by: dict[str, str], words: str, tmp_path: Path
) -> None:
    """And nothing is missing once it is set."""
    [reason] = await missing(needs, tmp_path)
    assert words in reason
    assert await missing(needs, tmp_path, **mended_by) == ()


async def test_one_site_that_may_be_reached_is_enough_and_a_name_that_is_not_known_is_only_away(
    tmp_path: Path,
) -> None:
    """A site that is refused beside others is left out later, as one that is down is."""
    sites = ("http://wiki.test", "https://public.test")
    assert await missing(Needs(sites=sites), tmp_path) == ()
    assert len(await missing(Needs(sites=sites[:1]), tmp_path)) == 1
    assert await missing(Needs(sites=("https://nowhere.test",)), tmp_path) == ()


async def test_a_broker_that_refuses_is_missing_and_one_that_is_away_is_tried_again(tmp_path: Path) -> None:
    """The words are the broker's own, which name the settings."""
    assert await missing(Needs(broker=True), tmp_path) == ("the broker: 401: check HIBERNAUT_ALPACA_KEY",)

    async def is_away() -> None:
        raise ApplicationError("it is away", type="BrokerUnreachable")

    settings = Settings.read({"HIBERNAUT_DATA_DIR": str(tmp_path)})
    with pytest.raises(ApplicationError, match="away"):
        await Preconditions(settings, is_away).check(Needs(broker=True))


async def test_places_are_there_and_of_the_right_kind(tmp_path: Path) -> None:
    """A file is no folder; a calendar may be either."""
    file = tmp_path / "busy.ics"
    file.touch()
    places = [
        Place(field="profiles", path=str(file)),
        Place(field="calendar", path=str(file), folder=False),
        Place(field="publish", path=str(tmp_path / "reports"), writes=True),
        Place(field="documents", path=str(tmp_path)),
    ]
    assert await missing(Needs(places=tuple(places)), tmp_path) == (
        f"profiles: the worker sees no folder {file}: put it there",
        f"publish: the worker sees no folder {tmp_path}/reports: put it there",
    )


async def test_an_object_store_that_refuses_is_missing_and_one_that_is_away_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item of a batch is set aside for what is missing, which a cut connection must not do."""
    environment = {"HIBERNAUT_S3_BUCKET": "b", "HIBERNAUT_S3_ENDPOINT": "http://127.0.0.1:1"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "s3cret")
    with pytest.raises(StoreUnavailableError, match="EndpointConnectionError"):
        await missing(Needs(), tmp_path, **environment)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    [reason] = await missing(Needs(), tmp_path, **environment)
    assert reason.startswith("the object store: cannot list * in HIBERNAUT_S3_BUCKET=b at http://127.0.0.1:")
    assert "NoCredentialsError: set AWS_ACCESS_KEY_ID" in reason
