"""The dashboard in a real browser: it follows a search without being loaded again."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from shadho import Shadho, spaces

PATIENCE = 120_000


def search(path: Path, trials: int) -> None:
    Shadho('watched', lambda params: params['x'] ** 2, {'x': spaces.uniform(-1, 1)}, max_tasks=trials, seed=0,
           backend='inline', storage=path, display=False).run()  # fmt: skip


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Show a search of five trials, which needs a token; return where."""
    search(tmp_path / 'watched.db', 5)
    command = [str(Path(sys.executable).parent / 'shadho'), 'dashboard', 'watched.db', '--token']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        yield re.search(r'http://\S+', process.stdout.readline())[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_the_page_follows_the_search(browser: Browser, address: str, tmp_path: Path) -> None:
    page = browser.new_page(viewport={'width': 1200, 'height': 900})
    page.set_default_timeout(PATIENCE)
    troubles: list[Any] = []
    page.on('console', lambda told: troubles.append(told.text) if told.type == 'error' else None)
    page.on('pageerror', lambda error: troubles.append(error))
    page.goto(address)
    expect(page).to_have_url(address.partition('?')[0])
    expect(page.locator('#live')).to_have_text('live', timeout=PATIENCE)
    facts = page.locator('#facts')
    expect(facts).to_contain_text('trials5')
    page.get_by_role('button', name='over trials').click()
    page.locator('#trials input').fill('trial=3')

    search(tmp_path / 'watched.db', 30)
    expect(facts).to_contain_text('trials30', timeout=PATIENCE)
    expect(page.locator('#history .figure')).to_have_attribute(
        'data-drawn', 'trials', timeout=PATIENCE
    )  # what was chosen stays
    expect(page.locator('#trials .count')).to_have_text('1 trial')
    assert page.locator('#trials input').input_value() == 'trial=3'
    assert troubles == []
    page.close()
