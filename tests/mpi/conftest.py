"""Real jobs of several ranks, of which nothing is left after a test."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

FLAGS = 'MPIRUN_FLAGS'
"""Names what mpirun needs besides, such as ``--oversubscribe --bind-to none`` of Open MPI."""

Part = tuple[Any, ...]
"""A part of a job, which the colon sets apart: a number of ranks, and what to run the script with."""


def pytest_configure(config: pytest.Config) -> None:
    """Let tests say that they are of the launcher of MPICH: leave them out elsewhere by ``-m 'not mpich'``."""
    config.addinivalue_line('markers', 'mpich: of what the launcher of MPICH does, or enough with it')


def find_mpirun() -> str:
    """Return the launcher that was installed together with mpi4py."""
    program = Path(sys.executable).with_name('mpirun')
    if not program.exists():
        pytest.fail(f'there is no {program}: pip install mpich', pytrace=False)
    return str(program)


class Launch:
    """A job: mpirun in a session of its own, and all that it started.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        Where all processes of the job keep temporary files, by which they are found.
    environment : mapping
    wait_until, processes_in : callable
        The fixtures.

    Attributes
    ----------
    status : int or None
        Of the exit, once `wait` has returned.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        wait_until: Callable[..., None],
        processes_in: Callable[[Path], list[psutil.Process]],
    ) -> None:
        folder.mkdir()
        self._wait_until, self._processes_in = wait_until, processes_in
        self.folder = folder
        self.status: int | None = None
        self._out, self._err = folder.with_suffix('.out'), folder.with_suffix('.err')
        with self._out.open('wb') as out, self._err.open('wb') as err:
            self._process = subprocess.Popen(
                command, env={**os.environ, 'TMPDIR': str(folder), **environment}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def out(self) -> str:
        return self._out.read_text(errors='replace')

    @property
    def err(self) -> str:
        return self._err.read_text(errors='replace')

    def wait(self, timeout: float = 60.0) -> int:
        """Return the exit status, which must come in time."""
        try:
            self.status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f'the job still runs after {timeout:g} s; it said:\n{self.out}\n{self.err}', pytrace=False)
        return self.status

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal to mpirun; or, as a terminal does, to its process group."""
        if group:
            os.killpg(self.pid, number)
        else:
            self._process.send_signal(number)

    def processes(self) -> list[psutil.Process]:
        """Return what is alive of the job."""
        return self._processes_in(self.folder)

    def check_gone(self) -> None:
        """Nothing of an ended job may run."""
        self._wait_until(lambda: not self.processes(), 'the end of all processes of the job', 10.0)

    def end(self) -> None:
        """End what is left."""
        while own := self.processes():
            for process in own:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.02)
        self._process.wait()


class Launcher:
    """Runs scripts as jobs; see `start`."""

    def __init__(self, folder: Path, *helpers: Any) -> None:
        self._folder = folder
        self._helpers = helpers
        self._program = find_mpirun()
        self.launches: list[Launch] = []

    def start(self, ranks: int, script: str, *parts: Part, environment: Mapping[str, str] | None = None) -> Launch:
        """Start a job of a script; returns at once.

        Parameters
        ----------
        ranks : int
            How many there are, those of `parts` not counted.
        script : str
            Is ``driver.py`` in the working folder.
        *parts : tuple
            Further ranks: a number, and the words before the interpreter, such as ``'env', 'A=1'``.
        environment : mapping, optional
        """
        Path('driver.py').write_text(script)
        command = [self._program, *shlex.split(os.environ.get(FLAGS, ''))]
        for place, (number, *words) in enumerate([(ranks,), *parts]):
            command += [':'] * (place > 0) + ['-n', str(number), *words, sys.executable, 'driver.py']
        launch = Launch(command, self._folder / str(len(self.launches)), environment or {}, *self._helpers)
        self.launches.append(launch)
        return launch

    def __call__(self, ranks: int, script: str, *parts: Part, timeout: float = 60.0, **options: Any) -> Launch:
        """Run a job to its end, after which nothing of it may run; see `start`."""
        launch = self.start(ranks, script, *parts, **options)
        launch.wait(timeout)
        launch.check_gone()
        return launch

    def end(self) -> None:
        for launch in self.launches:
            launch.end()


@pytest.fixture
def mpirun(tmp_path_factory: pytest.TempPathFactory, wait_until: Any, processes_in: Any) -> Iterator[Launcher]:
    """Run a script as a job of several ranks: ``mpirun(4, script).out``."""
    launcher = Launcher(tmp_path_factory.mktemp('jobs'), wait_until, processes_in)
    yield launcher
    launcher.end()
