"""The same seed gives the same search: in series to the last bit, with fcfs the same settings however many run at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shadho import ComputeClass, Shadho, TrialState, load_result
from shadho.backends import Simulated
from shadho.records import Result
from shadho.storage.sqlite import SQLite
from shadho.testing import SPACES

METHODS = ['random', 'grid', 'sobol', 'tpe', 'gp', 'rf', 'cmaes', 'pso', 'hyperopt', 'auto']
POLICIES = ['market', 'ranked', 'fcfs']

SERIAL = """
import sys
from shadho import Shadho
from shadho.testing import SPACES

def objective(params):
    if 'poly' in params and params['poly']['degree'] == 3:
        raise ValueError('degree 3')
    text = repr(params)
    return {'loss': sum(map(ord, text)) / len(text), 'text': text}

for name in ('unequal trees', 'every domain'):
    for method in METHODS:
        for policy in POLICIES if method == 'random' else POLICIES[:1]:
            Shadho(
                'serial', objective, SPACES[name], method, policy=policy, max_tasks=24, seed=7, backend='inline', display=False,
                storage=f'{method}-{policy}-{name}.db', grid_points=4 if method == 'grid' else None,
            ).run()
"""

TIMES = {'trials': ('started',), 'results': ('started', 'finished', 'seconds')}
TIMELY = ('clock', 'uses', 'command', 'folder', 'running', 'workers')
"""Metadata of when and how a search ran."""


def contents(file: Path) -> dict[str, Any]:
    """Return all that is in a storage but times."""
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        tables: dict[str, Any] = {}
        for table, times in TIMES.items():
            rows = [dict(row) for row in connection.execute(f'SELECT * FROM {table} ORDER BY position')]
            tables[table] = [{name: value for name, value in row.items() if name not in times} for row in rows]
        known = dict(connection.execute('SELECT key, value FROM metadata').fetchall())
        tables['metadata'] = {key: value for key, value in known.items() if key not in TIMELY}
        return tables


def test_a_search_in_series_repeats_to_the_last_bit_in_another_process(tmp_path: Path) -> None:
    folders = [tmp_path / 'first', tmp_path / 'second']
    script = f'METHODS, POLICIES = {METHODS!r}, {POLICIES!r}\n{SERIAL}'
    runs = []
    for hashseed, folder in enumerate(folders):
        folder.mkdir()
        environment = {**os.environ, 'PYTHONHASHSEED': str(hashseed), 'OMP_NUM_THREADS': str(1 + hashseed)}
        runs.append(subprocess.Popen([sys.executable, '-c', script], cwd=folder, env=environment))
    assert [run.wait() for run in runs] == [0, 0]
    files = sorted(file.name for file in folders[0].iterdir())
    assert len(files) == 2 * (len(METHODS) + 2)
    for name in files:
        first, second = (contents(folder / name) for folder in folders)
        assert len(first['trials']) == len(first['results']) > 0
        assert first == second, name
    print(f'{len(files)} searches of {len(METHODS)} methods, each in two processes: 0 records differ')


# --- in parallel ------------------------------------------------------------------------------------

DEAF = ['random', 'grid', 'sobol']
"""Methods whose suggestions depend on nothing that they are told."""

PARALLEL = """
import random, time
from shadho import Shadho
from shadho.testing import SPACES

def objective(params):
    time.sleep(random.random() / 50)  # no two runs in the same order
    return 1.0

for method in METHODS:
    Shadho(
        'faults', objective, SPACES['unequal trees'], method, policy='fcfs', max_tasks=40, seed=5, backend=backend,
        display=False, storage=f'{method}.db', grid_points=4 if method == 'grid' else None,
    ).run()
"""


def unequal() -> Simulated:
    """Return a cluster on which trials take from 1 to 100 seconds, crash, and lose their workers."""
    return Simulated(
        [ComputeClass('slow', 4, {'cores': 1}), ComputeClass('fast', 3, {'cores': 16})],
        lambda params, own: 1 + 100 * (len(repr(params)) % 7) / 7 / own.hardware.cores,
        failures=0.1,
        changes=[(10, 'slow', 1), (20, 'fast', 0), (25, 'slow', 6), (30, 'fast', 2), (40, 'slow', 1)],
        slowdown={'slow-0': 2.5},
    )


def settings(file: str | Path) -> list[tuple[int, str]]:
    """Return the numbers and parameters of all finished trials."""
    return sorted((trial.id, repr(trial.params)) for trial in load_result(file))


@pytest.fixture(scope='module')
def in_series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str]]]:
    """The settings of each method in series; there are 36 on the grid."""
    folder = tmp_path_factory.mktemp('series')
    script = f"METHODS, backend = {DEAF!r}, 'inline'\n{PARALLEL}"
    subprocess.run([sys.executable, '-c', script], cwd=folder, check=True)
    found = {method: settings(folder / f'{method}.db') for method in DEAF}
    assert {method: len(own) for method, own in found.items()} == {'random': 40, 'grid': 36, 'sobol': 40}
    return found


KINDS = {
    'one slot': ('inline', 'from shadho_local import Local; backend = Local(1)'),
    'two slots': ('inline', 'from shadho_local import Local; backend = Local(2)'),
    'five slots': ('inline', 'from shadho_local import Local; backend = Local(5)'),
    'ranks': ('mpi', ''),
    'workers': ('workqueue', 'backend = WorkQueue(keep_workers=True)'),  # for the next search
}
"""Backends by which drivers are started, and lines that set up what they use."""


@pytest.mark.parametrize('kind', KINDS)
def test_with_fcfs_any_number_of_slots_evaluates_the_same_settings_as_one(
    kind: str, drivers: Any, in_series: Any
) -> None:
    backend, lines = KINDS[kind]
    launch = drivers.run(backend, f'METHODS = {DEAF!r}\n{lines}\n{PARALLEL}')
    assert launch.status == 0, launch.err
    for method in DEAF:
        assert settings(f'{method}.db') == in_series[method], method
    print(f'{sum(map(len, in_series.values()))} settings on {kind}, in any order: 0 differ')


@pytest.mark.parametrize('method', DEAF)
def test_with_fcfs_lost_workers_and_unequal_classes_change_no_setting(method: str, in_series: Any) -> None:
    options = {'grid_points': 4 if method == 'grid' else None, 'max_tasks': 40, 'seed': 5, 'display': False}
    Shadho(
        'lossy', lambda params: 1.0, SPACES['unequal trees'], method, policy='fcfs', backend=unequal(), **options
    ).run()  # fmt: skip
    assert settings('lossy.db') == in_series[method]
    states = Counter(record.state for _, record in SQLite('lossy.db').read() if isinstance(record, Result))
    assert states[TrialState.LOST] >= 5
    assert states[TrialState.FAILED] >= 1
    print(
        f'{states[TrialState.LOST]} workers lost their trials, {states[TrialState.FAILED]} crashed: 0 settings differ'
    )
