"""What all tests share: an empty folder each, one profile of hypothesis, and the CPU time of each file."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent

# Every property test: the same examples in every run, and no verdict from the speed of the machine.
settings.register_profile(
    'shadho', deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile('shadho')
with contextlib.suppress(ImportError):  # hypothesis has no public limit; its own is five minutes per failure
    from hypothesis.internal.conjecture import engine

    engine.MAX_SHRINKING_SECONDS = 20

# What a shell starts in the background ignores Ctrl-C, what nohup starts the end of the terminal, and so would all that
# tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests that break things at random do so a few times, or for hours."""
    parser.addoption('--soak', action='store_true', help='hundreds of rounds instead of a few, and all tests')


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line('markers', 'soak: left out without --soak')
    config.pluginmanager.register(CPUSeconds())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let files that start engines, and mostly wait for them, take turns with those that compute, of which there are more."""
    if not config.getoption('--soak'):
        left_out = [item for item in items if item.get_closest_marker('soak')]
        items[:] = [item for item in items if not item.get_closest_marker('soak')]
        config.hook.pytest_deselected(items=left_out)
    turns: dict[Path, int] = {}
    taken: Counter[bool] = Counter()
    for path in dict.fromkeys(item.path for item in items):
        computes = path.is_relative_to(ROOT / 'tests' / 'core')
        turns[path] = taken[computes]
        taken[computes] += 1
    items.sort(key=lambda item: turns[item.path])


class CPUSeconds:
    """Prints the CPU seconds, of tests and of the processes that they wait for, and the files above `BUDGET`.

    Unlike the seconds of ``--durations``, they are much the same on a busy machine. Under xdist, each
    process measures its own tests, and their reports carry the seconds to the process that prints.
    """

    BUDGET = 20.0
    """CPU seconds of a file. Chosen: some 150 files may then take 10 minutes on 2 cores, as most need next to nothing."""

    def __init__(self) -> None:
        self._files: Counter[str] = Counter()
        self._before = _cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        now = _cpu_seconds()
        report.cpu_seconds, self._before = now - self._before, now
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._files[report.nodeid.partition('::')[0]] += getattr(report, 'cpu_seconds', 0.0)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._files:
            return
        above = [(file, seconds) for file, seconds in self._files.most_common() if seconds > self.BUDGET]
        terminalreporter.section(
            f'{sum(self._files.values()):.0f} CPU seconds, {len(above)} files above {self.BUDGET:g}'
        )
        for file, seconds in above:
            terminalreporter.line(f'{seconds:6.0f} s  {file}')


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of the children that it has waited for."""
    return sum(os.times()[:4])


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


@pytest.fixture(scope='session')
def calls() -> Callable[[Callable[[], Any]], int]:
    """Count the function calls that something takes: ``calls(lambda: sorted(numbers))``.

    The same on every machine, however busy it is; but one call of numpy counts once, whatever its size.
    """

    def count(run: Callable[[], Any]) -> int:
        number = 0

        def on_event(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal number
            number += event in ('call', 'c_call')

        before = sys.getprofile()
        sys.setprofile(on_event)
        try:
            run()
        finally:
            sys.setprofile(before)
        return number

    return count
