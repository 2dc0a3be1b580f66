"""What the tests in containers share."""

from __future__ import annotations

import pytest

from tests.support.containers.podman import Podman, what_is_missing


@pytest.fixture(scope="session")
def podman() -> Podman:
    """Podman; the test is skipped where containers cannot be run."""
    if missing := what_is_missing():
        pytest.skip(missing)
    return Podman()
