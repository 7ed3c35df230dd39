"""One running platform for all journeys."""

from collections.abc import Generator

import pytest

from tests.servers.platform import Home, RunningPlatform, empty_home
from tests.servers.platform import platform as started_platform


@pytest.fixture(scope="package")
def platform() -> Generator[RunningPlatform]:
    with started_platform() as running:
        yield running


@pytest.fixture
def home() -> Generator[Home]:
    """A home in which nothing was started yet."""
    with empty_home() as fresh:
        yield fresh
