"""What a pool of workers is, and what its jobs run, in whichever batch system."""

from __future__ import annotations

import json
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from shadho_workqueue.reach import Driver

__all__ = ['BATCH_SYSTEMS', 'Jobs', 'Pool', 'Setup']

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
            f'from shadho_workqueue.worker.pooled import become_pooled_worker as become; become({json.dumps(job)!r}, sys.argv[1:])'
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
