"""A long life: workers come and go for a day, trials go on for ever; nothing is lost, nothing is done twice, little is kept.

How fast a search of a million trials is at its end is a benchmark: ``python benchmarks/endurance.py``.
"""

from __future__ import annotations

import gc
import logging
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from shadho import ComputeClass, SearchResult, Shadho, Trial, TrialState, hookimpl, spaces
from shadho.backends import Simulated
from shadho.records import Attempt, Result
from shadho.storage.sqlite import SQLite

HOUR, MINUTE = 3600, 60

SHARES = {'16-core': 0.2, '8-core': 0.3, '4-core': 0.5}
"""Of the workers."""

SECONDS = {'16-core': 40.0, '8-core': 60.0, '4-core': 68.0}
"""Of a trial, on average: a minute."""

SPACE = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'x': spaces.uniform(0, 1), 'k': [1, 2, 3]}}

BYTES = 300
"""Of the driver's memory that a trial may cost."""


def loss(params: Mapping[str, Any]) -> float:
    (own,) = params.values()
    return float(own['x'])


def seconds(params: Mapping[str, Any], own: ComputeClass) -> float:
    return SECONDS[own.name] * (0.5 + loss(params))


def come_and_go(classes: list[ComputeClass], hours: int, seed: int = 0) -> Iterator[tuple[float, str, int]]:
    """Yield a change of each class every minute, by up to a fifth of it; once an hour, a class leaves for a minute."""
    rng = random.Random(seed)
    for minute in range(1, 60 * hours):
        for own in classes:
            workers = 0 if rng.random() < 1 / 180 else round(own.slots * rng.uniform(0.8, 1.2))
            yield MINUTE * (minute + rng.random()), own.name, workers


class Log:
    """What a storage says of each trial: it was handed out, and has one final result, or runs again.

    Attributes
    ----------
    handed : int
        Trials, without repetitions.
    final : set of int
        Those that are done or failed.
    waiting : set of int
        Those that were lost or cancelled, and are to run again.
    states : Counter of TrialState
        Results.
    """

    def __init__(self, storage: Path) -> None:
        self.handed, self.final, self.waiting = 0, set[int](), set[int]()
        self.states: Counter[TrialState] = Counter()
        running: set[int] = set()
        for _, record in SQLite(storage).read():
            if isinstance(record, Trial):
                self._hand_out(record.id)
                running.add(record.id)
            elif isinstance(record, Attempt):
                self._hand_out(record.trial)
                running.add(record.trial)
            elif isinstance(record, Result):
                running.remove(record.trial)
                self.states[record.state] += 1
                is_final = record.state in (TrialState.DONE, TrialState.FAILED)
                (self.final if is_final else self.waiting).add(record.trial)
        assert not running

    def _hand_out(self, number: int) -> None:
        assert number not in self.final, f'trial {number} was done, and handed out again'
        if number in self.waiting:
            self.waiting.remove(number)
        else:
            assert number == self.handed
            self.handed += 1


class Memory:
    """An observer that notes the memory of this process after some trials."""

    def __init__(self, *trials: int) -> None:
        self._trials = trials
        self.bytes: list[int] = []
        self._count = 0

    @hookimpl
    def shadho_trial_finished(self, trial: Trial) -> None:
        self._count += 1
        if self._count in self._trials:
            gc.collect()
            traced = tracemalloc.is_tracing()
            self.bytes.append(tracemalloc.get_traced_memory()[0] if traced else psutil.Process().memory_info().rss)


def utilisation(result: SearchResult) -> float:
    return sum(own.busy_seconds for own in result.classes) / sum(own.slot_seconds for own in result.classes)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Drop the line that each lost trial is worth."""
    caplog.set_level(logging.ERROR, 'shadho')


@pytest.mark.usefixtures('quiet')
def test_workers_come_and_go_for_a_day_and_every_trial_has_one_result(rounds: Callable[[int, int], int]) -> None:
    hours, workers = rounds(1, 24), rounds(100, 1000)
    classes = [
        ComputeClass(name, int(share * workers), {'cores': int(name.split('-')[0])}) for name, share in SHARES.items()
    ]
    changes = list(come_and_go(classes, hours))
    cluster = Simulated(classes, seconds, changes=changes)
    expected = hours * workers * HOUR // MINUTE
    memory = Memory(expected // 10, expected * 8 // 10)
    storage = Path('day.db')

    def search(**limit: Any) -> SearchResult:
        return Shadho(
            'day', loss, SPACE, 'random', seed=0, backend=cluster, storage=storage, display=False, plugins=[memory], **limit
        ).run()  # fmt: skip

    day = search(timeout=hours * HOUR)
    log = Log(storage)
    assert (day.stopped, day.elapsed) == ('timeout', hours * HOUR)
    assert len(day) == len(log.final) > 0.8 * expected
    assert log.states[TrialState.LOST] > expected / 50
    assert utilisation(day) > 0.95

    rest = search(max_tasks=log.handed)
    whole = Log(storage)
    assert rest.stopped == 'max_tasks'
    assert whole.handed == log.handed == len(rest)
    assert whole.final == set(range(log.handed))
    assert not whole.waiting

    first, last = memory.bytes
    grown = (last - first) / (0.7 * expected)
    assert grown < BYTES + 2**24 / expected
    joined, left = movements(classes, changes)
    print(
        f'{left:,} workers left and {joined:,} joined in {hours} h of {workers:,}, {whole.states[TrialState.LOST]:,} attempts '
        f'were lost with them and repeated ({whole.states[TrialState.FAILED]} trials gave up after four): '
        f'{log.handed:,} trials, 0 lost, 0 done twice; slots were busy {utilisation(day):.2%} of the time, '
        f'and the driver kept {grown:.0f} bytes of each trial'
    )


def movements(classes: list[ComputeClass], changes: list[tuple[float, str, int]]) -> tuple[int, int]:
    """Return how many workers joined, and how many left."""
    there = {own.name: own.slots for own in classes}
    joined = left = 0
    for _, name, workers in sorted(changes):
        joined += max(workers - there[name], 0)
        left += max(there[name] - workers, 0)
        there[name] = workers
    return joined, left


def test_the_driver_keeps_a_few_numbers_of_each_trial(rounds: Callable[[int, int], int]) -> None:
    trials = rounds(5_000, 200_000)
    memory = Memory(trials // 5, trials)
    tracemalloc.start()
    try:
        Shadho(
            'long', loss, SPACE, 'random', seed=0, backend='inline', storage='long.db', display=False, plugins=[memory],
            max_tasks=trials,
        ).run()  # fmt: skip
    finally:
        tracemalloc.stop()
    first, last = memory.bytes
    grown = (last - first) / (trials - trials // 5)
    assert grown < BYTES
    print(f'{trials:,} trials in this process: the driver kept {grown:.0f} bytes of each')
