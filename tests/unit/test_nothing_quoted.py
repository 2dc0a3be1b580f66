"""What was read never comes out in an error: parsers repeat it, and a failure is seen by many."""

from __future__ import annotations

import configparser
import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from pydantic import BaseModel, TypeAdapter
from temporalio.exceptions import ApplicationError

from activities.documents.extract import text_of
from activities.fetching.listings import read_feed, read_sitemap
from activities.quotes.csv_feed import CsvFeed
from activities.trading.alpaca_broker import _order
from common.errors import classify_error, permanent

SECRET = "s3cret-token"


class Reply(BaseModel):
    price: int


def csv_of(folder: Path, text: str) -> None:
    file = folder / "prices.csv"
    file.write_text(text)
    CsvFeed(file, folder / "state.json", speed=1, clock=lambda: datetime.now(UTC))._quote("AAA")


def wrapped() -> None:
    try:
        int(SECRET)
    except ValueError as error:
        raise permanent("Unreadable", "it cannot be read") from error


PARSERS: dict[str, Callable[[Path], Any]] = {
    "a number": lambda _: int(SECRET),
    "a date": lambda _: datetime.fromisoformat(SECRET),
    "a key": lambda _: {}[SECRET],
    "bytes": lambda _: f"{SECRET}\xe9".encode("latin-1").decode(),
    "JSON": lambda _: json.loads(f'{{"a": {SECRET}}}'),
    "pydantic": lambda _: Reply.model_validate_json(f'{{"price": "{SECRET}"}}'),
    "pydantic, not JSON": lambda _: Reply.model_validate_json(SECRET),
    "a type": lambda _: TypeAdapter(list[int]).validate_python([SECRET]),
    "XML": lambda _: etree.fromstring(f"<a><{SECRET}></b>"),
    "TOML": lambda _: tomllib.loads(f"a = {SECRET}"),
    "an INI file": lambda _: configparser.ConfigParser().read_string(f"[a]\n{SECRET}"),
    "a sitemap": lambda _: read_sitemap(f"<{SECRET} &&&".encode(), "http://x/"),
    "a gzip": lambda _: read_sitemap(b"\x1f\x8b" + SECRET.encode(), "http://x/"),
    "a feed": lambda _: read_feed(f"<{SECRET} &&&".encode(), "http://x/"),
    "a PDF": lambda _: text_of(f"%PDF-1.4 {SECRET} /Root {SECRET} R".encode(), "application/pdf"),
    "prices": lambda folder: csv_of(folder, f"Date,AAA\n{SECRET},1\n"),
    "an order": lambda _: _order({"id": SECRET, "qty": SECRET, "status": SECRET}),
    "a cause": lambda _: wrapped(),
}


@pytest.mark.parametrize("parser", PARSERS)
def test_an_error_about_something_read_quotes_nothing_of_it(parser: str, tmp_path: Path) -> None:
    """Not in its message, not in that of a cause; the kind of error and the line are enough to find it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- whatever they raise
        PARSERS[parser](tmp_path)
    told = classify_error(caught.value)
    shown = [str(told)]
    while (told := told.__cause__) is not None:  # what Temporal's converter would follow
        shown.append(str(told))
    assert SECRET not in "\n".join(shown)


def test_an_error_says_which_line_and_which_field() -> None:
    """And is worth a retry or not as before."""
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{\n\n}x")
    assert str(classify_error(caught.value)) == "JSONDecodeError: JSONDecodeError on line 3"
    try:
        Reply.model_validate({"price": SECRET})
    except ValueError as error:
        told = classify_error(error)
    assert isinstance(told, ApplicationError)
    assert told.non_retryable
    assert told.message == "Reply: price (int_parsing)"
