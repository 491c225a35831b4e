"""Drivers that are killed at any moment, again and again on one storage, and go on."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

AT_ONCE = {'inline': 1, 'simulated': 4, 'local': 4, 'mpi': 4, 'workqueue': 4}
"""Trials that are handed out at once: slots, twice where short trials wait beside the running ones."""

SEARCH = """
import os, time
from shadho import Shadho, spaces
from shadho.storage import sqlite

HERE = os.getcwd()
SPACE = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'x': spaces.uniform(1, 2), 'k': [1, 2, 3]}}

def objective(params):
    (own,) = params.values()
    with open(f'{HERE}/evaluated.txt', 'a') as file:
        file.write(f'{own["x"]!r}\\n')
    time.sleep(PAUSE)
    if own['x'] > 1.9:
        raise ValueError('too large')
    return (own['x'] - 0.3) ** 2

def run(seed, storage, on_network=False):
    if on_network:
        sqlite._on_network = lambda path: True
    Shadho('faults', objective, SPACE, 'random', policy='fcfs', seed=seed, max_tasks=TRIALS, storage=storage,
           backend=backend, display=False).run()
"""
"""With fcfs, a search evaluates the same settings however often it was killed, on any backend."""

CASES = [
    ('inline', 'faults.db', False, 4, 200),
    ('inline', 'faults.jsonl', False, 2, 100),
    ('inline', 'faults.db', True, 2, 100),
    ('simulated', 'faults.db', False, 2, 100),
    ('local', 'faults.db', False, 2, 100),
    ('mpi', 'faults.db', False, 2, 50),
    ('workqueue', 'faults.db', False, 2, 50),
]


class Kept:
    """What must hold of one storage, over all the kills; and the next search when that one has ended.

    Parameters
    ----------
    recorded : callable
        The fixture.
    backend : str
    path : str
        Of the storage.
    trials : int
        Of each search.
    """

    def __init__(self, recorded: Any, backend: str, path: str, trials: int) -> None:
        self._recorded, self.path, self.trials = recorded, path, trials
        self._at_once = AT_ONCE[backend]
        self.seed = 0
        self.results = 0
        self._begin()

    def _begin(self) -> None:
        self.seed += 1
        for path in [*Path().glob(f'{self.path}*'), *Path().glob('evaluated.txt')]:
            path.unlink()
        self.now = self._recorded(self.path)
        self._evaluated = 0

    @property
    def evaluated(self) -> list[str]:
        """What the objective has noted, trial by trial."""
        path = Path('evaluated.txt')
        return path.read_text().splitlines() if path.exists() else []

    def check(self) -> None:
        """After a kill: what was evaluated was recorded when it was handed out, and not again once it had a result."""
        before, lines = self.now, self.evaluated
        self.now = self._recorded(self.path, before.records)
        values = {number: repr(next(iter(own.params.values()))['x']) for number, own in self.now.trials.items()}
        assert set(lines) <= set(values.values()), 'handed out before it was recorded'
        assert len(values) - len(self.now.final) <= self._at_once, 'a result was not recorded before the next trial'
        assert not {values[number] for number in before.final} & set(lines[self._evaluated :]), 'evaluated again'
        self._evaluated = len(lines)

    def check_end(self) -> None:
        """After the end of a search: it is complete, and the same as one that was never killed."""
        self.check()
        self.now.check_complete(self.trials)
        settings = {number: (own.tree, own.point) for number, own in self.now.trials.items()}
        assert settings == whole(self.seed, self.trials)
        self.results += len(self.now.final)
        self._begin()


def whole(seed: int, trials: int) -> dict[int, Any]:
    """Return the settings of a search that is never killed."""
    from shadho import Shadho, spaces

    space = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'x': spaces.uniform(1, 2), 'k': [1, 2, 3]}}
    result = Shadho(
        'whole', lambda params: 0.0, space, 'random', policy='fcfs', seed=seed, max_tasks=trials, storage=None,
        backend='inline', display=False,
    ).run()  # fmt: skip
    return {trial.id: (trial.tree, trial.point) for trial in result}


@pytest.mark.parametrize(('backend', 'path', 'on_network', 'few', 'many'), CASES)
def test_a_driver_that_is_killed_at_random_moments_loses_nothing(
    drivers: Any, recorded: Any, rounds: Any, backend: str, path: str, on_network: bool, few: int, many: int
) -> None:
    kept, chance = Kept(recorded, backend, path, 60), random.Random(f'{backend} {path} {on_network}')
    search = SEARCH.replace('PAUSE', '0.002').replace('TRIALS', str(kept.trials))
    kills, longest = 0, 1.0

    def start() -> Any:
        return drivers.start(backend, f'{search}\nrun({kept.seed}, {path!r}, {on_network})')

    while kills < rounds(few, many):
        launch, begun = start(), time.monotonic()
        more = len(kept.evaluated) + chance.randrange(1, 20)
        latest = chance.uniform(0, longest) if kills % 4 == 3 else math.inf  # then before the first trial, perhaps
        while launch.is_running and len(kept.evaluated) < more and time.monotonic() - begun < latest:
            time.sleep(0.001)
            assert time.monotonic() - begun < 120, f'no trials came: {launch.out} {launch.err}'
        longest = max(longest, time.monotonic() - begun)
        time.sleep(chance.uniform(0, 0.005))
        if drivers.kill(launch):
            kills += 1
            kept.check()
        else:
            assert launch.status == 0, launch.err
            kept.check_end()
    launch = start()
    assert launch.wait(120) == 0, launch.err
    kept.check_end()
    print(f'{kills} kills of drivers ({backend}, {path}{", network" * on_network}), {kept.results} results, 0 lost')


# --- exact moments -----------------------------------------------------------------------------

FORGE = """
import gc, signal, sqlite3, sys, threading
from functools import partial

class Moments:
    # Counts calls, returns and SQL statements of the storage and of what writes to it, and kills at one of them.
    def __init__(self, last):
        self.count, self.last = 0, last

    def count_one(self, *_):
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def profile(self, frame, event, argument):
        name = frame.f_code.co_filename
        if '/shadho/storage/' in name or name.endswith(('/shadho/driver.py', '/shadho/ledger.py', '/shadho/resume.py')):
            self.count_one()

    def begin(self):
        moments = self
        class Traced(sqlite3.Connection):
            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                self.set_trace_callback(moments.count_one)  # COMMIT, too
        sqlite3.connect = partial(sqlite3.connect, factory=Traced)
        sys.setprofile(self.profile)

run(0, None)  # everything is imported
os.unlink('evaluated.txt')
for line in sys.stdin:
    seed, path, on_network, last = line.split()
    child = os.fork()
    if not child:
        moments = Moments(int(last))
        moments.begin()
        run(int(seed), path, on_network == 'True')
        sys.setprofile(None)
        with open('moments.txt', 'w') as file:
            file.write(str(moments.count))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Forks a search for each line that it reads: a kill costs no start of Python."""


@pytest.fixture
def forge() -> Iterator[Any]:
    """Run searches that are killed at their so-manieth moment: ``forge(backend, ...)`` returns the exit status."""
    started: list[subprocess.Popen[str]] = []

    def make(backend: str, trials: int) -> Any:
        setup = {'inline': "backend = 'inline'", 'simulated': SIMULATED, 'local': LOCAL}[backend]
        script = setup + SEARCH.replace('PAUSE', '0').replace('TRIALS', str(trials)) + FORGE
        Path('forge.py').write_text(script)
        process = subprocess.Popen(
            [sys.executable, 'forge.py'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)

        def run(*words: object) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            print(*words, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        return run

    yield make
    for process in started:
        process.communicate()


SIMULATED = """
from shadho import ComputeClass
from shadho.backends import Simulated
backend = Simulated([ComputeClass('one', 3, {'cores': 1})], lambda params, own: 1.0)
"""
LOCAL = 'from shadho_local import Local; backend = Local(1)'


@pytest.mark.parametrize(
    ('backend', 'path', 'on_network', 'few', 'many'),
    [
        ('inline', 'faults.db', False, 60, 2000),
        ('inline', 'faults.jsonl', False, 60, 2000),
        ('inline', 'faults.db', True, 30, 1000),
        ('simulated', 'faults.db', False, 30, 1000),
        ('local', 'faults.db', False, 4, 200),
    ],
)
def test_a_driver_that_is_killed_at_any_step_of_its_storage_loses_nothing(
    forge: Any, recorded: Any, rounds: Any, backend: str, path: str, on_network: bool, few: int, many: int
) -> None:
    """Drivers of MPI and of Work Queue take the same steps, in processes that cannot be forked; see above for these."""
    kept, chance = Kept(recorded, backend, path, 10), random.Random(f'{backend} {path} {on_network}')
    run = forge(backend, kept.trials)
    assert run(kept.seed, path, on_network, 0) == 0
    kept.check_end()
    count = int(Path('moments.txt').read_text())
    assert count > 500
    kills = 0
    while kills < rounds(few, many):
        status = run(kept.seed, path, on_network, chance.randrange(1, chance.choice([count, count // 5])))
        if status == 0:
            kept.check_end()
        else:
            assert status == -signal.SIGKILL
            kills += 1
            kept.check()
    assert run(kept.seed, path, on_network, 0) == 0
    kept.check_end()
    print(
        f'{kills} kills between two of {count} steps ({backend}, {path}{", network" * on_network}), {kept.results} results, '
        '0 lost'
    )
