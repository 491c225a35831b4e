"""Keeps a pool of workers running: as long as their driver is there, or may come back to them."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from shadho.words import printable
from shadho_workqueue.pool.factory import Factory
from shadho_workqueue.pool.jobs import Jobs, Pool, Setup
from shadho_workqueue.pool.slurm import Slurm
from shadho_workqueue.reach import Driver, Place, Watch

__all__ = ['run_pool']

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK = 1.0
_SETTLED = 3.0
"""Seconds after which the last line of a log counts as what its job is stuck at, or has ended with."""


def run_pool(pool: Pool, find: Callable[[], Driver | None]) -> NoReturn:
    """Keep a pool of workers running, until Ctrl-C, SIGTERM, SIGHUP, or the end of the search.

    Parameters
    ----------
    pool : Pool
    find : callable
        Returns where the driver is; None when the search has ended.

    Raises
    ------
    BackendError
        When the batch system's programs are missing, or it refuses the jobs.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    # Most batch systems run a job in the folder that it was submitted from, which must be shared with the nodes.
    parent = None if pool.batch in ('local', 'condor') else str(Path.cwd())
    with tempfile.TemporaryDirectory(prefix='.shadho-pool-', dir=parent, ignore_cleanup_errors=True) as name:
        running = _RunningPool(pool, Path(name))
        status = 0
        try:
            while (driver := find()) is not None:
                running.tend(driver)
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            status = 130
        finally:
            for number in _SIGNALS:  # a second one must not leave jobs behind
                signal.signal(number, signal.SIG_IGN)
            running.close()
    sys.exit(status)


class _RunningPool:
    """Keeps the jobs of a pool as long as its driver is there, or may come back to them."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.pool = pool
        self.folder = folder
        self.logs = _Logs(folder)
        self.setup: Setup | None = None
        self.jobs: Jobs | None = None
        self.watch: Watch | None = None
        self.since = time.monotonic()  # when the driver was there
        self.met = False

    def tend(self, driver: Driver) -> None:
        if self.setup is None or driver != self.setup.driver:  # the first one, or started again at another place
            if self.setup is None or not self.setup.move(driver):
                self.close()
                self.setup = Setup(self.pool, driver, self.folder, self.say)
            if self.watch is not None:
                self.watch.close()
            self.watch = Watch(Place.of(driver), self.say, '; the pool keeps looking for it')
            self.met, self.since = False, time.monotonic()
        assert self.watch is not None
        if self.watch.reached:
            self.met, self.since = True, time.monotonic()
        absence = time.monotonic() - self.since
        if self.jobs is None and (self.watch.reached or (not self.met and absence < self.pool.patience)):
            kind = Slurm if self.pool.batch == 'slurm' else Factory
            self.jobs = kind(self.setup)
        if self.jobs is not None:
            self.jobs.tend(self.watch.reached or not self.met)
            if absence > self.pool.patience:
                self.say(f'there was no driver for {absence:.0f} s: the jobs are taken back, until there is one again')
                self.jobs.close()
                self.jobs = None
        for text in self.logs.news():
            self.say(text)

    def say(self, text: str) -> None:
        click.echo(f'{self.pool.batch}: {printable(text)}', err=True)

    def close(self) -> None:
        if self.watch is not None:
            self.watch.close()
        if self.jobs is not None:
            self.jobs.close()
            self.jobs = None


class _Logs:
    """Finds in the logs of a pool's jobs what keeps a worker from its driver, or has ended it before it got there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fine: set[Path] = set()
        self._told: dict[Path, str] = {}

    def news(self) -> list[str]:
        """Return what the user should know of; nothing twice."""
        found = []
        for path in sorted(self._folder.glob('*.log')):
            if path in self._fine:
                continue
            text = path.read_text(encoding='utf-8', errors='replace')
            lines = [line for line in text.splitlines() if line.strip()]
            if 'connected to the driver' in text:
                self._fine.add(path)
            elif len(lines) > ('worker ' in text) and time.time() - path.stat().st_mtime > _SETTLED:
                words = [line for line in lines if not line.startswith('0 trials')][-1].strip()
                if words not in self._told.values():
                    found.append(f'job {path.stem} has not reached the driver: {words}')
                self._told[path] = words
        return found
