"""A long life: whether a search of a million trials stays as fast as it began, and what the driver and the disk keep.

One command, a table::

    python benchmarks/endurance.py                   # about ten minutes
    python benchmarks/endurance.py --trials 50000    # half a minute

The trials do nothing, in this process; they are suggested by random search, placed by the market among three trees,
and recorded in an SQLite file. Each row is measured in a window of trials around it, the last one up to the end; a loop
that is always the same is timed between them, as the speed of a shared machine varies: the floor. Then other
processes look at the file as users do, and go on with the search.

Needs ``pip install psutil`` besides shadho-core.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import attrs

from shadho import Shadho, Trial, hookimpl, spaces

MIB = 2**20

EARLY = 10_000
"""Trials after which the search has settled: the first row."""

LEAST_RATIO = 0.9
"""Of the rate at the end to that around `EARLY`."""

MOST_BYTES = 300
"""Of the driver's memory that a trial may cost."""

FLOOR_EVERY = 20
"""Trials between two timings of the floor, in windows."""

C = spaces.log10_uniform(-3, 3)
SPACE = {
    'exclusive': True,
    'linear': {'C': C},
    'rbf': {'C': C, 'gamma': C},
    'poly': {'C': C, 'degree': spaces.randint(2, 6)},
}


def cheap(params: Mapping[str, Mapping[str, float]]) -> float:
    """Do next to nothing, but let losses differ."""
    (kernel,) = params.values()
    return kernel['C']


@attrs.frozen
class Row:
    """What was measured around one trial.

    Attributes
    ----------
    trial : int
        Finished trials by then.
    rate : float
        Trials per second of the window.
    cpu : float
        CPU seconds of a trial there.
    floor : float
        CPU seconds of the floor there, on average.
    memory, peak : int
        Bytes of the driver at the end of the window, and at most until then.
    disk : int
        Bytes of the storage then, its log included.
    """

    trial: int
    rate: float
    cpu: float
    floor: float
    memory: int
    peak: int
    disk: int


@attrs.define
class Watch:
    """An observer that measures in windows of trials.

    Parameters
    ----------
    ends : mapping of int to int
        The window's last trial, by its first.
    """

    ends: Mapping[int, int]
    storage: Path
    rows: list[Row] = attrs.Factory(list)
    begun: tuple[int, float, float] = (0, 0.0, 0.0)
    floors: list[float] = attrs.Factory(list)
    count: int = 0

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        self.count += 1
        if self.count in self.ends:
            self.floors.clear()
            self.begun = self.count, time.perf_counter(), time.process_time()
        elif self.count == self.ends.get(self.begun[0]):
            self._measure()
        elif self.count < self.ends.get(self.begun[0], 0) and self.count % FLOOR_EVERY == 0:
            self.floors.append(floor())

    def _measure(self) -> None:
        import psutil

        first, wall, cpu = self.begun
        aside = sum(self.floors)
        trials, seconds, worked = (
            self.count - first,
            time.perf_counter() - wall - aside,
            time.process_time() - cpu - aside,
        )
        gc.collect()
        memory = psutil.Process().memory_info().rss
        disk = sum(file.stat().st_size for file in self.storage.parent.glob(f'{self.storage.name}*'))
        self.rows.append(
            Row(self.count, trials / seconds, worked / trials, aside / len(self.floors), memory, _peak(), disk)
        )


def floor() -> float:
    """Return the CPU seconds of a loop that makes objects and looks them up, as a trial does."""
    begun = time.process_time()
    kept = {number: (number, str(number)) for number in range(200)}
    assert sum(kept[number][0] for number in range(200)) == 19_900
    return time.process_time() - begun


def _peak() -> int:
    """Return the most bytes that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def windows(trials: int) -> dict[int, int]:
    """Return the windows of a search of so many trials: around 10,000, 100,000, ..., and at its end."""
    width = EARLY if trials >= 5 * EARLY else trials // 5
    middles = [EARLY * 10**power for power in range(8) if width <= EARLY * 10**power <= trials / 2] or [width]
    return {middle - width // 2: middle + width // 2 for middle in middles} | {trials - width: trials}


def search(trials: int, storage: Path) -> tuple[list[Row], float, int]:
    """Run a search, or go on with it; return what was measured, the seconds that it took, and its peak of memory."""
    logging.disable(logging.WARNING)
    watch = Watch(windows(trials), storage)
    begun = time.perf_counter()
    Shadho(
        'endurance',
        cheap,
        SPACE,
        'random',
        max_tasks=trials,
        seed=0,
        backend='inline',
        storage=storage,
        display=False,
        plugins=[watch],
    ).run()
    return watch.rows, time.perf_counter() - begun, _peak()


def apart(trials: int, storage: Path) -> tuple[list[Row], float, int]:
    """Run `search` in a new process, which has no freed memory to use again."""
    with ProcessPoolExecutor(1, get_context('spawn')) as fresh:
        return fresh.submit(search, trials, storage).result()


def command(*arguments: str) -> tuple[float, int]:
    """Return the seconds that a command of SHADHO takes as a whole, and the bytes of memory at its peak."""
    begun = time.perf_counter()
    call = [sys.executable, '-c', 'from shadho.cli import main; main()', *arguments]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f'shadho {" ".join(arguments)} ended with status {process.returncode}')
    return time.perf_counter() - begun, usage.ru_maxrss * 1024


def show(rows: list[Row]) -> None:
    """Print the rows, and what the last one has cost beyond the first."""
    print(
        f'{"trials":>10}{"trials/s":>10}{"CPU us":>8}{"floors":>8}{"memory":>10}{"at most":>10}{"on disk":>11}{"a trial":>9}'
    )
    for row in rows:
        sizes = f'{row.memory / MIB:>6.1f} MiB{row.peak / MIB:>6.1f} MiB{row.disk / MIB:>7.1f} MiB'
        print(
            f'{row.trial:>10,}{row.rate:>10,.0f}{1e6 * row.cpu:>8.0f}{row.cpu / row.floor:>8.2f}{sizes}{row.disk / row.trial:>7.0f} B'
        )


def judge(first: Row, last: Row) -> None:
    """Print whether the search has stayed as fast, and small."""
    ratio = last.rate / first.rate
    steady = (first.cpu / first.floor) / (last.cpu / last.floor)
    grown = (last.memory - first.memory) / (last.trial - first.trial)
    for what, value, aim, holds in (
        ('rate at the end / early', f'{ratio:.2f}', f'>= {LEAST_RATIO}', ratio >= LEAST_RATIO),
        ('the same, of CPU time', f'{first.cpu / last.cpu:.2f}', f'>= {LEAST_RATIO}', first.cpu / last.cpu >= LEAST_RATIO),
        ('the same, in floors', f'{steady:.2f}', f'>= {LEAST_RATIO}', steady >= LEAST_RATIO),
        ('driver: bytes a trial', f'{grown:.0f}', f'<= {MOST_BYTES}', grown <= MOST_BYTES),
    ):  # fmt: skip
        print(f'{what:<28}{value:>8}   {aim:<10}{"holds" if holds else "DOES NOT HOLD"}')


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--trials', type=int, default=1_000_000, help='1,000,000 by default; 1,000 at least')
    trials = parser.parse_args().trials
    if trials < 1000:
        parser.error('--trials: 1,000 at least, of which one window is a fifth')
    with tempfile.TemporaryDirectory() as folder:
        storage = Path(folder) / 'endurance.db'
        rows, _, _ = apart(trials, storage)
        show(rows)
        print()
        judge(rows[0], rows[-1])
        size = storage.stat().st_size
        print(f'\nthe file: {size / MIB:.1f} MiB, {size / trials:.0f} bytes a trial; what it takes to')
        for what, (seconds, peak) in (
            ('shadho status', command('status', str(storage))),
            ('shadho best', command('best', str(storage))),
            ('go on with one more trial', apart(trials + 1, storage)[1:]),
        ):
            print(f'    {what:<28}{seconds:>7.1f} s   {peak / MIB:>6.1f} MiB at most', flush=True)


if __name__ == '__main__':
    main()
