"""What a pool of workers is, and what its jobs run, in whichever batch system."""

from __future__ import annotations

import json
import os
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from shadho_workqueue.reach import Driver

__all__ = ['BATCH_SYSTEMS', 'Jobs', 'Pool', 'Setup', 'become_pooled_worker']

BATCH_SYSTEMS = ('local', 'slurm', 'condor', 'sge', 'pbs', 'torque', 'lsf', 'moab')

_DRIVER = 'driver.json'
_JOB_NUMBERS = ('JOB_ID', 'PBS_JOBID', 'LSB_JOBID', 'MOAB_JOBID')


@attrs.frozen
class Pool:
    """Workers with the same hardware: one compute class.

    Attributes
    ----------
    batch : str
        One of `BATCH_SYSTEMS`.
    least, most : int
        How many workers.
    batch_options : str
        For the batch system.
    cores, memory, gpus, features
        What each worker asks the batch system for, and offers.
    patience : float
        Seconds without a driver after which the jobs are taken back.
    """

    batch: str
    least: int
    most: int
    batch_options: str = ''
    cores: int | None = None
    memory: int | None = None
    gpus: Sequence[str] | None = None
    features: Mapping[str, Any] = attrs.field(factory=dict)
    patience: float = 900.0


@attrs.define
class Setup:
    """What the jobs of a pool are made from.

    Attributes
    ----------
    pool : Pool
    driver : Driver
        Changes when the search is run again elsewhere; see `move`.
    folder : Path
        Holds what the jobs need; except with HTCondor, the nodes share it.
    say : callable
        Shows the user a line of text.
    """

    pool: Pool
    driver: Driver
    folder: Path
    say: Callable[[str], None]

    @property
    def has_shared_folder(self) -> bool:
        return self.pool.batch != 'condor'

    def move(self, driver: Driver) -> bool:
        """Tell the jobs where the driver is now; return whether that is possible."""
        self.driver = driver
        if self.has_shared_folder:
            driver.write(self.folder / _DRIVER)
        return self.has_shared_folder

    def script(self, keeps_log: bool) -> Path:
        """Write the script that a job runs, which takes the arguments of the engine's worker.

        Parameters
        ----------
        keeps_log : bool
            Whether the script has to write the job's log itself.
        """
        pool, driver = self.pool, self.driver
        self.move(driver)
        job = {
            'cores': pool.cores,
            'memory': pool.memory,
            'gpus': pool.gpus and list(pool.gpus),
            'features': dict(pool.features),
            'driver': str(self.folder / _DRIVER) if self.has_shared_folder else None,
            'address': driver.address,
        }
        found = [entry for entry in sys.path if entry]
        code = (
            f'import sys; sys.path[:] = {found}\n'
            f'from shadho_workqueue.pool import become_pooled_worker as become; become({json.dumps(job)!r}, sys.argv[1:])'
        )
        number = ''.join(f'${{{name}:-' for name in _JOB_NUMBERS) + '$$' + '}' * len(_JOB_NUMBERS)
        log = f' > {shlex.quote(str(self.folder))}/"{number}.log" 2>&1' if keeps_log else ''
        path = self.folder / 'shadho-worker'
        path.write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"{log}\n', encoding='utf-8'
        )
        path.chmod(0o755)
        return path


class Jobs(ABC):
    """The jobs of one pool, in one batch system."""

    @abstractmethod
    def tend(self, wanted: bool) -> None:
        """Look after the jobs, about once a second; start some if they are wanted.

        Raises
        ------
        BackendError
            When the batch system refuses the first of them.
        """

    @abstractmethod
    def close(self) -> None:
        """Take all jobs back."""


def become_pooled_worker(job: str, arguments: Sequence[str]) -> NoReturn:
    """Turn a job of the batch system into a worker, with the arguments that the engine's worker would be given."""
    import argparse
    import socket

    from shadho_workqueue.worker import become_worker, detect

    given = json.loads(job)
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for option in ('--cores', '--memory', '--gpus'):
        parser.add_argument(option, type=lambda text: int(float(text)))  # such as 1.000
    # Neither the door of the factory nor the public catalog that it names: where the driver is, the pool knows.
    for option in ('-C', '-M'):
        parser.add_argument(option)
    parser.add_argument('--parent-death', action='store_true')
    known, others = parser.parse_known_args(arguments)
    find = None
    if given['driver'] is not None:
        place = Path(given['driver'])
        driver, find = Driver.read(place), lambda: _read(place)
    else:
        driver = Driver(tuple(given['address']), tuple(others[0 if known.M else 2 :]))
    gpus = given['gpus'] if given['gpus'] is not None else ['gpu'] * known.gpus if known.gpus else None
    cores = given['cores'] or known.cores or _granted('SLURM_CPUS_ON_NODE')
    memory = given['memory'] or known.memory or _granted('SLURM_MEM_PER_NODE')
    found = detect(cores or None, memory or None, gpus, given['features'])
    become_worker(driver, found, socket.gethostname(), find, known.parent_death)


def _read(place: Path) -> Driver | None:
    """Return where the driver is now; None when the pool has gone."""
    try:
        return Driver.read(place)
    except (OSError, ValueError):
        return None


def _granted(variable: str) -> int:
    """Return what Slurm has given this job; 0 when it does not say."""
    text = os.environ.get(variable, '')
    return int(text) if text.isdigit() else 0
