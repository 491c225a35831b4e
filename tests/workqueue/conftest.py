"""Real workers on this machine, and a backend that has them from the start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from shadho.backends import Job
from shadho_workqueue import WorkQueue
from shadho_workqueue.installation import find_program
from shadho_workqueue.rendezvous import read


class Hand:
    """A worker in a process of its own, with the engine's worker beside it.

    Attributes
    ----------
    folder : Path
        Where it, and all that it starts, keeps temporary files.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        wait_until: Callable[..., None],
        processes_in: Callable[[Path], list[psutil.Process]],
    ) -> None:
        folder.mkdir(parents=True)
        self._wait_until, self._processes_in = wait_until, processes_in
        self.folder = folder
        self._log = folder.with_suffix('.log')
        with self._log.open('wb') as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, 'TMPDIR': str(folder), **environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        return self._log.read_text(errors='replace')

    def wait_to_hear(self, text: str) -> None:
        try:
            self._wait_until(lambda: text in self.said or not self.is_running, f'{text!r}')
        finally:
            assert text in self.said, self.said

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        """Return the exit status."""
        return self._process.wait(30)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def processes(self) -> list[psutil.Process]:
        """Return what is alive of the worker and of all that it started."""
        return self._processes_in(self.folder)

    @property
    def engine(self) -> psutil.Process:
        """The engine's worker."""
        return next(own for own in self.processes() if own.name().startswith('work_queue'))

    @property
    def has_left_nothing(self) -> bool:
        return not self.processes() and not list(self.folder.iterdir())

    def end(self) -> None:
        for number in (signal.SIGCONT, signal.SIGTERM):
            if self.is_running:
                self.send(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._wait_until(lambda: not self.processes(), f'the end of all processes of {self.folder.name}')


class Crew:
    """Starts workers, and ends those that are left."""

    def __init__(self, folder: Path, wait_until: Callable[..., None], processes_in: Callable[[Path], Any]) -> None:
        self.folder = folder
        self.wait_until, self._processes_in = wait_until, processes_in
        self.hands: list[Hand] = []

    def start(
        self, *arguments: str, name: str = 'hand', cores: int = 1, memory: int = 1000, features: Mapping[str, Any] | None = None,
        gpus: str | None = None, environment: Mapping[str, str] | None = None,
    ) -> Hand:  # fmt: skip
        """Start a worker as users do; `arguments` say where its driver is."""
        options = ['--cores', str(cores), '--memory', str(memory), '--name', name, '--wait', '60']
        options += [] if gpus is None else ['--gpus', gpus]
        options += [f'--feature={key}={value}' for key, value in (features or {}).items()]
        command = [sys.executable, '-m', 'shadho.workers.workqueue', *arguments, *options]
        return self.run(command, name, environment)

    def start_pool(self, *options: str, environment: Mapping[str, str] | None = None) -> Hand:
        """Start a pool of workers for the search 'pool'."""
        command = [sys.executable, '-m', 'shadho.workers.workqueue', '-M', 'pool', '--wait', '60', *options]
        return self.run(command, 'pool', environment)

    def start_plain(self, exp_key: str, *options: str) -> Hand:
        """Start a worker of the engine itself, for a search that has begun."""
        rendezvous = read(exp_key)
        assert rendezvous is not None
        program = find_program('work_queue_worker')
        assert program is not None
        password = self.folder / f'{exp_key}.password'
        password.write_text(rendezvous.password)
        address = ['127.0.0.1', str(rendezvous.port), '-P', str(password)]
        return self.run([program, *address, '-t', '60', '-i', '1', '-b', '2', *options], 'plain')

    def run(self, command: Sequence[str], name: str, environment: Mapping[str, str] | None = None) -> Hand:
        """Start a worker by another command."""
        folder = self.folder / f'{len(self.hands)}-{name}'
        self.hands.append(Hand(command, folder, environment or {}, self.wait_until, self._processes_in))
        return self.hands[-1]

    def end(self) -> None:
        for hand in self.hands:
            hand.end()


class Staffed(WorkQueue):
    """Has its workers when a search begins.

    Parameters
    ----------
    crew : Crew
    staff : sequence of mapping
        What `Crew.start` wants for each worker; or, as ``plain``, the options of one of the engine itself.
    **options : Any
        Of `WorkQueue`.
    """

    def __init__(self, crew: Crew, staff: Sequence[Mapping[str, Any]], **options: Any) -> None:
        super().__init__(**options)
        self.crew = crew
        self.staff = staff

    def open(self, job: Job) -> None:
        super().open(job)
        for own in self.staff:
            if 'plain' in own:
                self.crew.start_plain(job.exp_key, *own['plain'])
            else:
                self.crew.start('-M', job.exp_key, **own)
        self.crew.wait_until(self._is_complete, 'the coming of all workers')

    def _is_complete(self) -> bool:
        assert list(self.poll(0.02)) == []
        self.discover()
        return len(self.workers()) == len(self.staff)


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep rendezvous of the test apart from the user's own, and from those of other tests."""
    folder = tmp_path_factory.mktemp('state')
    monkeypatch.setenv('XDG_STATE_HOME', str(folder))
    return folder / 'shadho' / 'workqueue'


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return a socket that listens, as the manager of a running search does."""
    with socket.create_server(('127.0.0.1', 0)) as own:
        yield own


@pytest.fixture(scope='module')
def free_port() -> int:
    """Return a port for one driver after the other: the engine takes its own from the lowest, so no test beside this one has it."""
    with socket.create_server(('', 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def crew(tmp_path_factory: pytest.TempPathFactory, wait_until: Any, processes_in: Any) -> Iterator[Crew]:
    """Start workers with it; whatever is left of them at the end is ended."""
    hired = Crew(tmp_path_factory.mktemp('crew'), wait_until, processes_in)
    yield hired
    hired.end()


@pytest.fixture(scope='module')
def lasting_crew(tmp_path_factory: pytest.TempPathFactory, wait_until: Any, processes_in: Any) -> Iterator[Crew]:
    """Start workers that stay for the other tests of a file; these must leave `state_folder` as it is here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_STATE_HOME', str(tmp_path_factory.mktemp('state')))
        hired = Crew(tmp_path_factory.mktemp('crew'), wait_until, processes_in)
        yield hired
        hired.end()


@pytest.fixture
def staffed(crew: Crew) -> Callable[..., Staffed]:
    """Return a function that makes a backend with workers: a dict of options for each."""
    return lambda *staff, **options: Staffed(crew, staff, **options)
