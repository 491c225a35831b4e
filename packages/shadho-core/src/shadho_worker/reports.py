"""Reports of a command: its program appends lines to a named pipe, and finds the answer to each in a file.

Both sides are here: `trial`, the handle for a script of Python, and `Reports`, held by the process that runs the command.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shadho_worker.as_json import read_json, write_json
from shadho_worker.handle import Answer, TrialHandle, warn

if TYPE_CHECKING:
    import subprocess

__all__ = ['DECISION_VARIABLE', 'LOSS_KEY_VARIABLE', 'REPORTS_VARIABLE', 'VARIABLES', 'Reports', 'is_reporter', 'trial']

REPORTS_VARIABLE = 'SHADHO_REPORTS'
"""Path of the pipe for reports: lines of JSON."""

DECISION_VARIABLE = 'SHADHO_DECISION'
"""Path of the file with the answers: a line for each report, with its step and 'go', 'paused', 'stopped' or 'done'."""

LOSS_KEY_VARIABLE = 'SHADHO_LOSS_KEY'
"""The search's `loss_key`."""

_FACTS = {
    'id': 'SHADHO_TRIAL', 'attempt': 'SHADHO_ATTEMPT', 'seed': 'SHADHO_SEED', 'compute_class': 'SHADHO_COMPUTE_CLASS',
    'resources': 'SHADHO_RESOURCES', 'step': 'SHADHO_STEP', 'until': 'SHADHO_UNTIL', 'max_steps': 'SHADHO_MAX_STEPS',
    'folder': 'SHADHO_FOLDER',
}  # fmt: skip
_RANK, _OUTER_RANK = 'RANK', 'SHADHO_OUTER_RANK'

VARIABLES = (REPORTS_VARIABLE, DECISION_VARIABLE, _OUTER_RANK, *_FACTS.values())
"""Variables that a command finds in its environment; one that does not apply is missing."""

_REPORTS, _DECISION = '.shadho-reports', '.shadho-decision'

_CHUNK = 2**16
_LONGEST = 2**24
"""Bytes of a line above which it is no report."""

_LOOK = 0.02
"""Seconds between looks at a program where the system cannot tell of its end or its reports."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1e-4, 0.05
"""Seconds between a script's looks for an answer: most come at once, those at the end of a rung when the search has decided."""


# --- in a script ------------------------------------------------------------------------------


@functools.cache
def trial() -> TrialHandle:
    """Return the handle of the trial that this script is run for: see `shadho.TrialHandle`.

    Each call returns the same handle. In a script that is run by hand, its reports go nowhere, and ``SHADHO_MAX_STEPS=3`` in
    the environment sets the number of steps.

    If several processes of a trial report, each calls `report` after the same steps. The first report of a step counts, or that
    of the process whose ``RANK`` is 0 where a launcher sets that; all processes get the same answer to it.
    """
    variables = os.environ
    numbers = {name: int(variables[_FACTS[name]]) if _FACTS[name] in variables else None for name in _NUMBERS}
    facts = {
        **numbers,
        **{name: numbers[name] or 0 for name in ('id', 'attempt', 'seed', 'step')},
        'compute_class': variables.get(_FACTS['compute_class'], ''),
        'resources': json.loads(variables.get(_FACTS['resources'], '{}')),
        'folder': variables.get(_FACTS['folder']),
        'loss_key': variables.get(LOSS_KEY_VARIABLE, 'loss'),
    }
    if REPORTS_VARIABLE not in variables:
        return TrialHandle({**facts, 'until': None})
    return TrialHandle(facts, _Reporter(numbers['max_steps']).tell)


_NUMBERS = ('id', 'attempt', 'seed', 'step', 'until', 'max_steps')


def is_reporter() -> bool:
    """Whether the reports of this process count, by its ``RANK`` among the processes of its trial."""
    return os.environ.get(_RANK, '0') in ('0', os.environ.get(_OUTER_RANK))


class _Reporter:
    """Sends the reports of a script's process, and reads the answers."""

    def __init__(self, max_steps: int | None) -> None:
        self._max_steps = max_steps
        self._answers: dict[int, str] = {}
        self._place = 0  # up to where the file of answers was read

    def tell(self, step: int, results: Mapping[str, Any], waits: bool) -> Answer | None:
        if is_reporter():
            self._send(write_json({**results, 'step': step}).encode() + b'\n')
        if self._max_steps is None or step >= self._max_steps:
            return None  # nothing is decided
        pause = _FIRST_PAUSE
        while step not in self._answers:
            self._read()
            time.sleep(0.0 if step in self._answers else pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        word = self._answers[step]
        return {'leave': word if word in ('paused', 'stopped') else ''}

    def _send(self, line: bytes) -> None:
        import fcntl

        file = os.open(os.environ[REPORTS_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)  # fails if nobody reads
        try:
            os.set_blocking(file, True)
            fcntl.flock(file, fcntl.LOCK_EX)  # long lines of several processes would mix
            while line:
                line = line[os.write(file, line) :]
        finally:
            os.close(file)

    def _read(self) -> None:
        with open(os.environ[DECISION_VARIABLE], 'rb') as file:
            file.seek(self._place)
            whole = file.read().rpartition(b'\n')[0]
        for line in whole.split(b'\n') if whole else []:
            step, word = line.split()
            self._answers.setdefault(int(step), word.decode())
        self._place += len(whole) + bool(whole)


# --- beside the command -----------------------------------------------------------------------


class Reports:
    """Hears the reports of a running command and answers them; a context manager.

    A report of a step that was answered already, as that of a second process, is dropped. A line that cannot be read is dropped
    with a warning, and answered, so that its program does not wait in vain.

    Parameters
    ----------
    folder : path
        The command's working folder.
    trial : TrialHandle
        Takes the reports.
    """

    def __init__(self, folder: str | os.PathLike[str], trial: TrialHandle) -> None:
        self._trial = trial
        self._pipe, self._decision = (os.path.join(os.path.abspath(folder), name) for name in (_REPORTS, _DECISION))
        self._rest = b''
        self._last = trial.step
        self._answered: set[int] = set()

    def __enter__(self) -> Reports:
        try:
            os.mkfifo(self._pipe)
            self._is_pipe = True
        except OSError:  # a file system without pipes
            os.close(os.open(self._pipe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            self._is_pipe = False
        # Also open for writing: no end of the file when a program closes it, and no waiting for one that never opens it.
        self._file = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)
        self._answers = os.open(self._decision, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        return self

    def __exit__(self, *error: object) -> None:
        for file, path in ((self._file, self._pipe), (self._answers, self._decision)):
            os.close(file)
            with contextlib.suppress(OSError):  # its program may have removed it
                os.unlink(path)

    @property
    def variables(self) -> dict[str, str]:
        """What the command finds in its environment."""
        facts = {**self._trial.facts, 'resources': json.dumps(self._trial.resources)}
        found = {_FACTS[name]: value for name, value in facts.items() if name in _FACTS}
        found |= {REPORTS_VARIABLE: self._pipe, DECISION_VARIABLE: self._decision, _OUTER_RANK: os.environ.get(_RANK)}
        return {name: str(value) for name, value in found.items() if value is not None}

    def serve(self, process: subprocess.Popen[bytes]) -> None:
        """Take reports until a process has ended."""
        import select

        poller, patience = select.poll(), None
        try:
            end = os.pidfd_open(process.pid)
        except (AttributeError, OSError):  # another system, or an old kernel
            end = -1
        try:
            if self._is_pipe:
                poller.register(self._file, select.POLLIN)
            if end != -1:
                poller.register(end, select.POLLIN)
            if end == -1 or not self._is_pipe:
                patience = 1000 * _LOOK
            while process.poll() is None:
                poller.poll(patience)
                self.take()
            self.take()
        finally:
            if end != -1:
                os.close(end)

    def take(self) -> None:
        """Take the reports that have come."""
        while True:
            try:
                received = os.read(self._file, _CHUNK)
            except BlockingIOError:
                return
            if not received:
                return
            *lines, self._rest = (self._rest + received).split(b'\n')
            for line in lines:
                if line.strip():
                    self._hear(line)
            if len(self._rest) > _LONGEST:
                warn(f'trial {self._trial.id}: a report is dropped: {len(self._rest):,} bytes without an end of line')
                self._rest = b''

    def _hear(self, line: bytes) -> None:
        values: Any = None
        try:
            values = read_json(line.decode())
            given = values.pop('step', None) if isinstance(values, dict) else None
            step = self._last + 1 if given is None else int(given)
        except Exception as error:
            warn(f'trial {self._trial.id}: the report {line[:200]!r} is dropped: {type(error).__name__}: {error}')
            values, step = None, self._guess(line)
        if step in self._answered:
            return
        if values is not None:
            self._trial.report(values, step=step)
        self._last = max(self._last, step)
        self._answered.add(step)
        os.write(self._answers, f'{step} {self._trial.decision or "go"}\n'.encode())

    def _guess(self, line: bytes) -> int:
        """Return the step of a line that is no JSON, as with a loss of ``nan``."""
        import re

        found = re.search(rb'"step"\s*:\s*"?(\d{1,18})', line)
        return self._last + 1 if found is None else int(found[1])
