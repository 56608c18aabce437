"""A JupyterLab and a Chromium for the browser tests. Without a Chromium the tests skip, or fail where it is required."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.lab import CHROMIUM_FLAGS, Lab, open_page
from tests.local_service import no_credentials


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; other fixtures ask for it first, so that nothing starts without one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        message = f"NO CHROMIUM: none of {', '.join(names)} is on PATH, so nothing was tested in a browser"
        if os.environ.get("DATAFLOW_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{message}; DATAFLOW_REQUIRE_BROWSER=1 demands it. Install Chromium.", pytrace=False)
        pytest.skip(f"{message}. Install Chromium.")
    return found


# For the package, not for the session: Playwright keeps an event loop running in this thread, in which no
# async test can run, so it has to be gone before the next folder's tests.
@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page for one test; an error in its scripts fails the test."""
    with open_page(browser) as opened:
        yield opened


@pytest.fixture(scope="session")
def lab(
    chromium: str,  # noqa: ARG001  # without one, no server starts
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    """The JupyterLab that tests share, without credentials or configuration of this machine."""
    with Lab(tmp_path_factory.mktemp("lab"), env=no_credentials()) as shared:
        yield shared


@pytest.fixture
def start_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Lab]]:
    """Start another JupyterLab with other variables and settings, for one test."""
    with ExitStack() as stack:

        def start(*, env: dict[str, str | None] | None = None, **options: Any) -> Lab:
            home = tmp_path_factory.mktemp("lab")
            return stack.enter_context(Lab(home, env={**no_credentials(), **(env or {})}, **options))

        yield start
