"""One browser and one service for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.api.console.browsing import browser, send_traffic, service
from tests.served import Process


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service that has answered some requests."""
    with service(tmp_path_factory.mktemp("console")) as running:
        send_traffic(running, 48)
        yield running
