"""Drivers of every backend that can be killed at any moment, and what must hold of their storages afterwards."""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import pytest

from shadho import load_result
from shadho.records import Attempt, Event, Result, Trial, TrialState
from shadho.storage.jsonl import JSONLines
from shadho.storage.sqlite import SQLite


def _beside(folder: str) -> ModuleType:
    """Load the conftest of another folder of tests, for its real workers or jobs."""
    spec = spec_from_file_location(f'conftest_{folder}', Path(__file__).parent.parent / folder / 'conftest.py')
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_mpi, _workqueue = _beside('mpi'), _beside('workqueue')
mpirun, crew, state_folder = _mpi.mpirun, _workqueue.crew, _workqueue.state_folder

KEY = 'faults'
"""Name of every search here, as workers of Work Queue must know it."""

BACKENDS = {
    'inline': "backend = 'inline'",
    'simulated': """
from shadho import ComputeClass
from shadho.backends import Simulated
backend = Simulated([ComputeClass('slow', 3, {'cores': 1}), ComputeClass('fast', 1, {'cores': 4})],
                    lambda params, own: 4.0 / own.hardware.cores)
""",
    'local': 'from shadho_local import Local; backend = Local(2)',
    'mpi': "backend = 'mpi'",
    'workqueue': 'from shadho_workqueue import WorkQueue; backend = WorkQueue(port=PORT)',
}
"""Lines that come before the script of a driver, by which it has its `backend`."""

FINAL = (TrialState.DONE, TrialState.FAILED)


class Drivers:
    """Runs scripts as drivers of any backend, each in processes of its own; see `start`."""

    def __init__(self, folder: Path, mpirun: Any, crew: Any, wait_until: Any, processes_in: Any) -> None:
        self._folder = folder
        self._mpirun, self._crew = mpirun, crew
        self._helpers = (wait_until, processes_in)
        self.launches: list[Any] = []
        self._is_over = False
        with socket.create_server(('', 0)) as free:  # a port of its own, as workers come back to no other
            self._port = free.getsockname()[1]

    def start(
        self,
        backend: str,
        script: str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        workers: int = 2,
    ) -> Any:
        """Start a driver; returns at once.

        Parameters
        ----------
        backend : str
            One of `BACKENDS`. MPI has three ranks.
        script : str
            Finds its backend as ``backend``; its search is named as `KEY` says, ``'faults'``.
        *arguments : object
            Become ``sys.argv[1:]``; not with MPI.
        environment : mapping, optional
        workers : int, default 2
            Of Work Queue: started unless there are any, as they stay when a driver is killed.

        Returns
        -------
        Launch
            See tests/mpi/conftest.py: ``out``, ``err``, ``wait()``, ``send(signal)``, ``processes()``, ``check_gone()``.
        """
        script = BACKENDS[backend].replace('PORT', str(self._port)) + '\n' + script
        if backend == 'mpi':
            launch = self._mpirun.start(
                3, script, environment={'SHADHO_HARDWARE': '{"cores": 1}', **(environment or {})}
            )
        else:
            if backend == 'workqueue':
                self._hire(workers)
            Path('driver.py').write_text(script)
            command = [sys.executable, 'driver.py', *map(str, arguments)]
            launch = _mpi.Launch(command, self._folder / str(len(self.launches)), environment or {}, *self._helpers)
        self.launches.append(launch)
        return launch

    def _hire(self, count: int) -> None:
        """Start workers where there are none: they end with a search, or wait for the next driver of one that was cut off."""
        if self._is_over and self.launches[-1].status != 128 + signal.SIGTERM:
            for hand in self._crew.hands:
                try:
                    hand.wait()
                except subprocess.TimeoutExpired:  # it missed the end of a search that found nothing left to do
                    assert 'nobody listens at' in hand.said, hand.said
                    hand.end()
        if not any(hand.is_running for hand in self._crew.hands):
            for number in range(count):
                self._crew.start('-M', KEY, name=f'worker-{number}')
        self._is_over = True

    def run(self, backend: str, script: str, *arguments: object, timeout: float = 120.0, **options: Any) -> Any:
        """Run a driver to its end, after which nothing of it may run; see `start`."""
        launch = self.start(backend, script, *arguments, **options)
        launch.wait(timeout)
        launch.check_gone()
        return launch

    def kill(self, launch: Any) -> bool:
        """Kill a driver, or a whole job; return whether it still ran. Nothing of it may run afterwards."""
        if launch in self._mpirun.launches:
            launch.end()
        else:
            launch.send(signal.SIGKILL)
        launch.wait()
        launch.check_gone()
        self._is_over = launch.status != -signal.SIGKILL
        return not self._is_over

    def end(self) -> None:
        for launch in self.launches:
            launch.end()


@pytest.fixture
def drivers(tmp_path_factory: Any, mpirun: Any, crew: Any, wait_until: Any, processes_in: Any) -> Iterator[Drivers]:
    """Start drivers of any backend, of which nothing is left after a test."""
    started = Drivers(tmp_path_factory.mktemp('drivers'), mpirun, crew, wait_until, processes_in)
    yield started
    started.end()


class Recorded:
    """What a storage holds, checked as it is read.

    Parameters
    ----------
    path : Path
    before : sequence of records
        That were there earlier.

    Attributes
    ----------
    records : list of Trial and Result
    trials : dict of int to Trial
        As they were last handed out.
    final : dict of int to Result
        Those that are done or failed.
    """

    def __init__(self, path: str | Path, before: Sequence[Event] = ()) -> None:
        self.path = Path(path)
        self._check_file()
        storage = (SQLite if self.path.suffix == '.db' else JSONLines)(self.path)
        self.records = [record for _, record in storage.read()] if self.path.exists() else []
        assert self.records[: len(before)] == list(before), 'something recorded is missing, or has changed'
        self.trials: dict[int, Trial] = {}
        self.final: dict[int, Result] = {}
        for record in self.records:
            self._add(record)
        self._check_numbers()

    def _check_file(self) -> None:
        """Let SQLite check a copy: opening the file itself would mend what the next driver has to mend."""
        if self.path.suffix != '.db' or not self.path.exists():
            return
        with TemporaryDirectory() as folder:
            for ending in ('', '-wal', '-journal'):
                if Path(f'{self.path}{ending}').exists():
                    shutil.copy(f'{self.path}{ending}', f'{folder}/copy{ending}')
            with closing(sqlite3.connect(f'{folder}/copy')) as connection:
                assert connection.execute('PRAGMA integrity_check').fetchall() == [('ok',)]

    def _add(self, record: Event) -> None:
        if isinstance(record, Trial):
            assert record.id not in self.trials, f'trial {record.id} was begun twice'
            self.trials[record.id] = record
        elif isinstance(record, Attempt):
            assert record.trial not in self.final, f'trial {record.trial} was begun again after its result'
            self.trials[record.trial] = self.trials[record.trial].begun_again(record)
        elif isinstance(record, Result):
            assert record.trial in self.trials, f'trial {record.trial} has a result, but was never handed out'
            assert record.trial not in self.final, f'trial {record.trial} has two results'
            if record.state in FINAL:
                self.final[record.trial] = record

    def _check_numbers(self) -> None:
        assert sorted(self.trials) == list(range(len(self.trials)))

    @property
    def best(self) -> float | None:
        """Lowest loss."""
        return min((own.loss for own in self.final.values() if own.loss is not None), default=None)

    def check_complete(self, count: int) -> None:
        """The search must have ended with so many trials, each finished once, and its best one known."""
        assert sorted(self.final) == list(range(count))
        assert sorted(self.trials) == list(range(count))
        result = load_result(self.path)
        assert len(list(result)) == count
        assert (result.best.loss if result.best else None) == self.best
        assert [path.name for path in self.path.parent.glob(f'{self.path.name}*')] == [self.path.name]


@pytest.fixture(scope='session')
def recorded() -> Callable[..., Recorded]:
    """Read and check a storage: ``recorded('faults.db', before.records)``; see `Recorded`."""
    return Recorded
