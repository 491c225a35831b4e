"""A real browser: Debian's Chromium, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

SWITCHES = (
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
)  # fmt: skip

PATIENCE = 120_000
"""Milliseconds: machines that run tests are busy."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope='session')
def browser() -> Iterator[Browser]:
    """Start Chromium once for all tests; without it they fail."""
    program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if program is None:
        pytest.fail('the tests of pages need Chromium: apt-get install chromium', pytrace=False)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=SWITCHES)
        yield started
        started.close()


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open files as pages: ``show(path, width=400)``; fail on errors, requests and violations of their policy."""
    troubles: list[str] = []
    pages: list[Page] = []

    def open_page(path: Path, width: int = 1280, scheme: str = 'light') -> Page:
        page = browser.new_page(viewport={'width': width, 'height': 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(PATIENCE)
        address = path.resolve().as_uri()
        page.on('console', lambda told: troubles.append(told.text) if told.type == 'error' else None)
        page.on('pageerror', lambda error: troubles.append(str(error)))
        page.on('dialog', lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        page.on('request', lambda request: None if _is_local(request.url, address) else troubles.append(request.url))
        pages.append(page)
        page.goto(address)
        page.wait_for_selector('body[data-ready]')
        return page

    yield open_page
    for page in pages:
        page.close()
    assert troubles == []


def _is_local(url: str, address: str) -> bool:
    """Whether something is the page, or was made by it: a picture of a figure, say."""
    return url.partition('#')[0] == address or url.startswith(('data:', 'blob:'))
