"""Workers as jobs of Slurm, submitted, counted and taken back by its own programs."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections import Counter

from shadho.errors import BackendError
from shadho_workqueue.pool.jobs import Jobs, Setup

__all__ = ['Slurm']

_FIRST_LOOK = 2.0
_PAUSE = 10.0
"""Seconds between two calls of squeue, which clusters ask their users to be sparing with."""

_LONGEST_PAUSE = 300.0
"""Seconds between attempts to submit, at most, after jobs that were refused or ended before they reached the driver."""

_TIMEOUT = 60.0
"""Seconds for one of Slurm's programs to answer."""

_GPUS = re.compile(r'(^|\s)(--gres|--gpus|-G)')


class Slurm(Jobs):
    """Jobs of Slurm, one for each worker.

    Raises
    ------
    BackendError
        When Slurm's programs are not installed.
    """

    def __init__(self, setup: Setup) -> None:
        for program in ('sbatch', 'squeue', 'scancel'):
            if shutil.which(program) is None:
                raise BackendError(
                    f'the program {program} was not found: start the pool where you submit jobs to Slurm'
                )
        self._pool = setup.pool
        self._say = setup.say
        self._command = _command(setup)
        self._jobs: set[str] = set()
        self._has_started = False
        self._count = 0
        self._next = 0.0
        self._next_attempt = 0.0
        self._pause = _PAUSE
        self._told = ''

    def tend(self, wanted: bool) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PAUSE
        if self._jobs:
            self._look()
        most = max(self._pool.least, self._pool.most)
        if wanted and now >= self._next_attempt:
            while self._count < most and self._submit():
                self._next = now + _FIRST_LOOK

    def _look(self) -> None:
        """Count the jobs that wait or run."""
        done = _run(['squeue', '--noheader', '--array', f'--user={os.getuid()}', '--format=%F|%t|%r'])
        if done.returncode:
            self._tell(f'squeue failed: {_words(done)}')
            return
        rows = [row.strip().split('|') for row in done.stdout.splitlines()]
        own = [(state, reason) for job, state, reason in rows if job in self._jobs and state != 'CG']
        ended = self._jobs - {row[0] for row in rows}
        self._jobs -= ended
        self._count = len(own)
        if ended:  # at once, or after hours: a job that cannot run must not be submitted again and again
            self._next_attempt = time.monotonic() + self._pause
            self._pause = min(2.0 * self._pause, _LONGEST_PAUSE)
        elif all(state == 'R' for state, _ in own):
            self._pause = _PAUSE
        reasons = Counter(reason for state, reason in own if state == 'PD')
        why = ', '.join(reason for reason in sorted(reasons) if reason != 'None')
        running = sum(state == 'R' for state, _ in own)
        self._tell(f'{running} jobs run, {reasons.total()} wait' + (f' ({why})' if why else ''))

    def _submit(self) -> bool:
        done = _run(self._command)
        number = done.stdout.strip().partition(';')[0]  # the cluster's name may follow
        if done.returncode == 0 and number:
            self._jobs.add(number)
            self._has_started = True
            self._count += 1
            return True
        problem = _words(done)
        if not self._has_started:
            raise BackendError(f'slurm refused the job: {problem}. The command was: {shlex.join(self._command)}')
        self._next_attempt = time.monotonic() + self._pause
        self._tell(
            f'a job was refused: {problem}; {self._count} were not, the rest is tried again in {self._pause:.0f} s'
        )
        self._pause = min(2.0 * self._pause, _LONGEST_PAUSE)
        return False

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._say(text)

    def close(self) -> None:
        if self._jobs:
            with contextlib.suppress(BackendError):
                _run(['scancel', '--quiet', *sorted(self._jobs)])


def _command(setup: Setup) -> list[str]:
    """Return how to submit a job for one worker; what the user says comes last, and so counts."""
    pool = setup.pool
    command = [
        'sbatch',
        '--parsable',
        '--job-name=shadho-worker',
        f'--output={setup.folder}/%j.log',
        '--nodes=1',
        '--ntasks=1',
    ]
    command += [f'--cpus-per-task={pool.cores}'] if pool.cores else []
    command += [f'--mem={pool.memory}M'] if pool.memory else []
    command += [f'--gpus={len(pool.gpus)}'] if pool.gpus and not _GPUS.search(pool.batch_options) else []
    return [*command, *shlex.split(pool.batch_options), str(setup.script(keeps_log=False))]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors='replace',
            timeout=_TIMEOUT,
            check=False,
            start_new_session=True,  # Ctrl-C is for the pool, not for what it has begun
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, '', str(error))


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return ' / '.join(line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()) or (
        f'exit status {done.returncode}, and no word about why'
    )
