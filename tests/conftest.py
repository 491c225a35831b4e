"""What all tests share: each runs in an empty folder of its own."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parent.parent

# What a shell starts in the background ignores Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests that break things at random do so a few times, or for hours."""
    parser.addoption('--soak', action='store_true', help='hundreds of rounds instead of a few')


@pytest.fixture(scope='session')
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Say how often to try something: ``rounds(few, many)``, the second with ``--soak``."""
    return lambda few, many: many if request.config.getoption('--soak') else few


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with no hardware override and no library settings of the caller."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('SHADHO_HARDWARE', raising=False)
    return tmp_path


@pytest.fixture(scope='session')
def repository() -> Path:
    """Return the root of the repository."""
    return ROOT


@pytest.fixture(scope='session')
def wait_until() -> Callable[..., None]:
    """Wait for what other processes do: ``wait_until(path.exists, 'the file')``."""

    def wait(condition: Callable[[], Any], what: str = 'it', seconds: float = 30.0) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f'{what} did not happen within {seconds:g} s'
            time.sleep(0.02)

    return wait


@pytest.fixture(scope='session')
def processes_in() -> Callable[[Path], list[psutil.Process]]:
    """Find what is alive of processes that keep their temporary files in a folder."""

    def is_in(folder: Path, process: psutil.Process) -> bool:
        try:
            place = process.environ().get('TMPDIR', '') if process.status() != psutil.STATUS_ZOMBIE else ''
        except psutil.Error:
            return False
        return f'{place}/'.startswith(f'{folder}/')

    return lambda folder: [process for process in psutil.process_iter() if is_in(folder, process)]
