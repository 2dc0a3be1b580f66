"""Local sites, and a scraper that may read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import ARTICLE
from tests.support.reader import Reader
from tests.support.web import Route, WebServer


@pytest.fixture
def site() -> Iterator[WebServer]:
    with WebServer({"/a": Route(ARTICLE, etag='"1"')}, "127.0.0.2") as running:
        yield running


@pytest.fixture
def other() -> Iterator[WebServer]:
    with WebServer({}, "127.0.0.3") as running:
        yield running


@pytest.fixture
def reader(tmp_path: Path, site: WebServer, other: WebServer) -> Reader:
    return Reader(tmp_path, site, other)
