"""A sandbox: one slot whose trials run in a process of their own, which may crash, hang or be killed.

Each slot is a fresh interpreter in a session of its own, spoken to through one socket pair. The
objective is sent once. When a trial ends its process, runs out of memory, outlives its time or is
stopped, the whole session is killed, children of the objective included, and a new process takes
over; likewise after `max_tasks_per_child` trials. One that outlives its time or is stopped gets SIGTERM
first, and seconds of grace. When the driver itself is killed, a small helper
(`sessions.Reaper`) ends what it leaves behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import math
import os
import pickle
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Container, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NamedTuple

import cloudpickle

import shadho_worker
from shadho.errors import BackendError, ConfigurationError
from shadho.execution.child import BROKEN, NO_MEMORY
from shadho.execution.filters import written_filters
from shadho.execution.limits import explaining
from shadho.execution.sessions import kill_session
from shadho_worker.command import describe_exit, tail
from shadho_worker.outcomes import Outcome, is_outcome
from shadho_worker.reaper import MARK, Leftovers

__all__ = ['FILES', 'Ended', 'Pickled', 'Reported', 'Sandbox', 'pickle_objective', 'pickle_params', 'poll']

log = logging.getLogger('shadho')

FILES = 4
"""Files that a sandbox keeps open: sockets for trials and for answers, what its trials print, and what tells of the end of
its process."""

_START_PAUSE = 1.0
"""Seconds between two attempts to start a process that the system refuses."""

_LOOK = 0.05
"""Seconds between looks for what the process of a trial has left behind after SIGTERM."""

_CHILD = """
import sys
if not sys.path[0]:
    del sys.path[0]  # modules there may have the names of standard ones
import json
setup = json.loads(sys.argv[1])
sys.path[:] = setup['path']
from shadho.execution.child import main
main(*setup['files'], setup['cpus'], setup['most'])
"""
_CHUNK = 2**16
LOADING_SECONDS = 60.0
"""How long the objective may take to load where trials have a time limit (or that limit, if longer)."""
_LONGEST = 2**29
"""Bytes of a message above which it is no outcome: those of the largest results, however they are written, are fewer."""
_AHEAD_LIMIT = 2**15  # bytes that a socket takes in at once, though nobody reads
_UNREADABLE = 'the process of the trial sent something unreadable: did it write to a file that is not its own?'
_ENDLESS = 'the process of the trial sent far more than a result may be: did it write to a file that is not its own?'

# What the thread pools of numerical libraries read when they are loaded.
_THREAD_VARIABLES = (
    'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'BLIS_NUM_THREADS', 'NUMEXPR_NUM_THREADS',
    'VECLIB_MAXIMUM_THREADS', 'LOKY_MAX_CPU_COUNT',
)  # fmt: skip


def pickle_objective(objective: Any) -> bytes:
    """Pickle what has the `evaluate` of an objective; closures and what a fresh process cannot import travel by value.

    Before it goes a line with the filters of warnings that are set here.

    Raises
    ------
    ConfigurationError
        When it holds what cannot leave this process, such as an open file or a lock.
    """
    unknown = _unimportable(getattr(objective, 'function', None))
    if unknown is not None:
        cloudpickle.register_pickle_by_value(unknown)
    try:
        text = io.BytesIO()
        text.write(written_filters() + b'\n')
        cloudpickle.dump(objective, text)
        return text.getvalue()
    except Exception as error:
        raise ConfigurationError(
            f'the objective cannot be sent to another process ({type(error).__name__}: {error}). Create what cannot be '
            "pickled (open files, locks, connections) inside the objective, or use backend='inline'"
        ) from error
    finally:
        if unknown is not None:
            cloudpickle.unregister_pickle_by_value(unknown)


def pickle_params(params: Any) -> bytes:
    """Pickle the parameters of a trial, unless they are `Pickled`.

    Raises
    ------
    ConfigurationError
        When they hold what cannot leave this process.
    """
    if isinstance(params, Pickled):
        return params.pickled
    try:
        return bytes(cloudpickle.dumps(params))
    except Exception as error:
        raise ConfigurationError(f'the parameters {params!r} cannot be sent to another process: {error}') from error


def _unimportable(function: Any) -> ModuleType | None:
    """Return the module of a function when no fresh process would find it, as after loading a file by its path."""
    name = getattr(function, '__module__', None) or type(function).__module__
    module = sys.modules.get(name)
    top = name.partition('.')[0]
    if module is None or top == '__main__' or top in sys.builtin_module_names:
        return None
    return module if PathFinder.find_spec(top) is None else None


class Pickled(NamedTuple):
    """Pickled parameters that came from elsewhere; only the process of the trial unpickles them."""

    pickled: bytes


class Reported(NamedTuple):
    """A report of a running trial: its number, that of its attempt, the step, and the results."""

    trial: int
    attempt: int
    step: int
    results: Mapping[str, Any]


class Ended(NamedTuple):
    """A trial that has ended: its number, when it began (`time.monotonic`), and what came of it."""

    trial: int
    begun: float
    outcome: Outcome


class _Task(NamedTuple):
    trial: int
    message: bytes
    timeout: float


class Sandbox:
    """One slot.

    Parameters
    ----------
    objective : file
        Holds what `pickle_objective` returned; shared by all slots.
    cpus : sequence of int, optional
        CPUs to pin the process to; not pinned without.
    threads : int, default 1
        Threads that numerical libraries use, unless the user's environment says otherwise.
    environment : mapping, optional
        Variables to set, such as ``CUDA_VISIBLE_DEVICES``.
    folder : Path
        New; temporary files of trials go there, and are removed with the process.
    max_tasks_per_child : int, optional
        Trials after which a new process takes over; no limit without.
    hears : bool, default False
        Whether reports are answered while a trial runs; without, it pauses by itself at the step `until` of its `facts`.
    grace : float, default 0.0
        Seconds between SIGTERM and SIGKILL for a trial that outlives its time or is stopped; it is killed at once without.
    start_patience : float, default 0.0
        Seconds for which the system may refuse a new process before that is an error.

    Notes
    -----
    Trials run one at a time. One that is started while another runs waits its turn, with its
    parameters already sent, so that trials of milliseconds need not wait for the driver.
    """

    def __init__(
        self,
        objective: IO[bytes],
        folder: Path,
        *,
        cpus: Sequence[int] = (),
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        max_tasks_per_child: int | None = None,
        hears: bool = False,
        grace: float = 0.0,
        start_patience: float = 0.0,
    ) -> None:
        self._hears = hears
        self._grace = grace
        self._deadline = math.inf  # when the process is killed, after SIGTERM
        self._leftovers: Leftovers | None = None  # once the process has ended after SIGTERM
        self._answers: socket.socket | None = None
        self._objective = objective
        self._most = max_tasks_per_child
        self._cpus = list(cpus)
        limits = {name: os.environ.get(name, str(threads)) for name in _THREAD_VARIABLES}
        place = {'TMPDIR': str(folder), MARK: str(folder)}
        self._environment = {**os.environ, **limits, **place, **(environment or {})}
        self._folder = folder
        # Each trial begins this file anew, while whoever writes to it has his own place in it.
        self._output = tempfile.TemporaryFile()
        fcntl.fcntl(self._output, fcntl.F_SETFL, fcntl.fcntl(self._output, fcntl.F_GETFL) | os.O_APPEND)
        self._process: subprocess.Popen[bytes] | None = None
        self._tasks: deque[_Task] = deque()
        self._sent = 0
        self._begun = 0.0
        self._is_ready = False
        self._start_patience = start_patience
        self._refused_since = math.inf
        self._next_start = -math.inf

    def __len__(self) -> int:
        """Return how many trials it has, the running one included, and one that was stopped but has not ended."""
        return len(self._tasks) + (self._is_ending and not self._sent)

    @property
    def _is_ending(self) -> bool:
        """Whether the process was sent SIGTERM."""
        return self._deadline < math.inf

    def start_process(self) -> None:
        """Start the process; returns before it is ready.

        Raises
        ------
        BackendError
            When the system refuses it.
        """
        with explaining('no process for trials can be started'), contextlib.ExitStack() as stack:
            self._folder.mkdir(parents=True, exist_ok=True)
            outer, inner = socket.socketpair()
            stack.callback(outer.close)
            with inner, contextlib.ExitStack() as inside:
                files: list[int | None] = [inner.fileno(), self._objective.fileno(), None]
                if self._hears:
                    self._answers, theirs = socket.socketpair()
                    stack.callback(self._answers.close)
                    files[2] = inside.enter_context(theirs).fileno()
                setup = {'files': files, 'path': _import_path(), 'cpus': self._cpus, 'most': self._most}
                self._process = subprocess.Popen(
                    [sys.executable, '-c', _CHILD, json.dumps(setup)],
                    env=self._environment, pass_fds=[file for file in files if file is not None], start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
                )  # fmt: skip
            stack.pop_all()
        self._socket = outer
        self._received: list[bytes] = []
        self._unread = 0
        self._begun = time.monotonic()
        self._exit_file: int | None
        try:
            self._exit_file = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):  # another system, or an old kernel
            self._exit_file = None

    def _restart(self) -> None:
        """Start the process again, now or, where the system refuses it for the moment, a little later."""
        now = time.monotonic()
        if now < self._next_start:
            return
        try:
            self.start_process()
        except BackendError as error:
            if math.isinf(self._refused_since) and self._start_patience:
                log.warning('%s. Trying again for %g s', error, self._start_patience)
            self._refused_since = min(self._refused_since, now)
            if now >= self._refused_since + self._start_patience:
                raise
            self._next_start = now + _START_PAUSE
        else:
            self._refused_since, self._next_start = math.inf, -math.inf

    def start(
        self, trial: int, params: Any, timeout: float | None = None, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Run a trial; its time (seconds) counts from when the process is free and ready for it.

        With the `facts` of a handle (see `shadho.TrialHandle`), the objective gets one, and reports.
        """
        task = _Task(trial, pickle.dumps((trial, pickle_params(params), facts)), timeout or math.inf)
        if self._process is None:
            self._restart()
        self._tasks.append(task)
        self._advance()

    def stop(self, trial: int, *, at_once: bool = False) -> None:
        """Drop a trial; one that has been sent is ended together with its process, which gets its grace unless `at_once`."""
        for place, task in enumerate(self._tasks):
            if task.trial == trial:
                del self._tasks[place]
                if place < self._sent and at_once:
                    self.stop_process()
                elif place < self._sent:
                    self._drop_process()
                return

    def end(self) -> None:
        """Drop all trials; returns at once, and the process has ended when `poll` of this sandbox returns."""
        self._tasks.clear()
        self._drop_process()

    def hurry(self) -> None:
        """Grant no grace from now on."""
        self._grace = 0.0
        if self._is_ending:
            self._deadline = time.monotonic()

    def _drop_process(self) -> None:
        """End the process, whose running trial is no more of interest."""
        if self._sent == 1 and self._grace:  # of two that were sent, the second would begin when the first one leaves
            self._sent = 0
            self._terminate()
        elif not self._is_ending or self._sent:
            self.stop_process()

    def _terminate(self) -> None:
        """Send SIGTERM to the process and its group, unless it was sent already; they are killed when their grace is over."""
        if self._process is None or self._is_ending:
            return
        self._deadline = time.monotonic() + self._grace
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def answer(self, trial: int, attempt: int, answer: Mapping[str, Any]) -> None:
        """Answer a report of the running trial; harmless when it has ended."""
        if self._sent and self._tasks[0].trial == trial and self._answers is not None:
            with contextlib.suppress(OSError):  # it has just died, which `poll` will notice
                self._answers.sendall(json.dumps({**answer, 'trial': trial, 'attempt': attempt}).encode() + b'\n')

    def _advance(self) -> None:
        """Send the next trials: the one to run now, and a small one to follow."""
        while self._is_ready and not self._is_ending and self._sent < len(self._tasks):
            task = self._tasks[self._sent]
            if self._sent and (self._sent > 1 or len(task.message) > _AHEAD_LIMIT):
                return
            if not self._sent:
                self._begun = time.monotonic()
            self._sent += 1
            try:
                self._socket.sendall(task.message)
            except OSError:
                return  # it has just died, which `poll` will notice

    def _end(self, outcome: Outcome, *, process_ended: bool = False) -> Ended:
        """Take the running trial off, and go on with the next one."""
        ended = Ended(self._tasks.popleft().trial, self._begun, outcome)
        self._begun = time.monotonic()
        if process_ended:
            self.stop_process()
        else:
            self._sent -= 1
            self._advance()
        return ended

    def news(self, readable: Container[int]) -> list[Ended | Reported]:
        """Return what trials have reported, and which have ended by now.

        Parameters
        ----------
        readable : container of int
            Those of `files` that have something to say.
        """
        if self._process is None:
            return []
        received = b''
        if self._leftovers is None and self._socket.fileno() in readable:
            with contextlib.suppress(OSError):
                received = self._socket.recv(_CHUNK)
            has_ended = not received
        elif self._exit_file is None:
            has_ended = self._process.poll() is not None
        else:
            has_ended = self._exit_file in readable
        news = self._take(received) if received else []
        if self._is_ending:
            if has_ended and self._leftovers is None and self._process is not None:
                self._leftovers = Leftovers(str(self._folder), self._process.pid)
            return [*news, *self._left()]
        if received:
            return news
        if has_ended:
            return [*self._died()]
        return [*self._timed_out()] if self.patience <= 0 else []

    def _left(self) -> list[Ended]:
        """Return the trial that outlived its time, once all that it started has ended after SIGTERM, or its grace is over."""
        is_late = time.monotonic() >= self._deadline
        if not is_late and (self._leftovers is None or not self._leftovers.have_ended()):
            return []
        return self._end_ending(f'; it did not end within {self._grace:g} s of SIGTERM' if is_late else '')

    def _end_ending(self, remark: str = '') -> list[Ended]:
        """End what was sent SIGTERM for good."""
        if self._sent:
            limit = self._tasks[0].timeout
            return self._ended_by('timeout', f'the trial was ended after its trial_timeout of {limit:g} s{remark}')
        self.stop_process()
        return []

    def _take(self, received: bytes) -> list[Ended | Reported]:
        """Add to what was received; each message is a line, and the first one is empty."""
        self._received.append(received)
        self._unread += len(received)
        if b'\n' not in received:
            return [] if self._unread <= _LONGEST else [*self._ended_by('result', _ENDLESS)]
        *lines, rest = b''.join(self._received).split(b'\n')
        self._received, self._unread = [rest], len(rest)
        if lines and not self._is_ready:
            del lines[0]
            self._is_ready = True
            self._advance()
        ended: list[Ended | Reported] = []
        for outcome in map(_read, lines):
            if outcome is None:  # nor can anything be read that follows
                return [*ended, *self._ended_by('result', _UNREADABLE)]
            if 'report' in outcome:
                if self._sent and outcome['trial'] == self._tasks[0].trial:
                    ended.append(Reported(*[outcome[name] for name in ('trial', 'attempt', 'step', 'report')]))
                continue
            if self._is_ending:  # the objective has returned within its grace
                return [*ended, *self._end_ending()]
            is_last = outcome.pop('is_last', False)
            if (
                self._sent and outcome['trial'] == self._tasks[0].trial
            ):  # else it is of a process that a trial has forked
                ended.append(self._end(outcome, process_ended=is_last))
                if is_last:
                    break
        return ended

    def files(self) -> list[int]:
        """Return the numbers of the files that become readable when there is news."""
        if self._process is None and self._tasks:
            self._restart()  # its last process ended while trials were waiting
        if self._process is None:
            return []
        if self._leftovers is not None:
            return []
        return [self._socket.fileno()] if self._exit_file is None else [self._socket.fileno(), self._exit_file]

    @property
    def must_be_looked_at(self) -> bool:
        """Whether the end of its process is noticed by looking only."""
        return self._process is not None and self._exit_file is None

    @property
    def patience(self) -> float:
        """Seconds until the running trial's time is over, or its grace; infinite without a limit.

        Loading the objective does not count, but a trial with a limit does not wait for ever for it.
        """
        if self._is_ending:
            left = self._deadline - time.monotonic()
            return left if self._leftovers is None else min(left, _LOOK)
        if not self._tasks:
            return math.inf
        if self._process is None:
            return self._next_start - time.monotonic()
        limit = self._tasks[0].timeout if self._is_ready else max(self._tasks[0].timeout, LOADING_SECONDS)
        return self._begun + limit - time.monotonic()

    def _died(self) -> list[Ended]:
        assert self._process is not None
        try:
            status = self._process.wait(1)
        except subprocess.TimeoutExpired:  # it closed the socket but lives on
            status = -signal.SIGKILL
        if status == BROKEN:
            return self._ended_by(
                'crash', 'the process of the trial could not go on: did it close files that are not its own, or replace what '
                'Python needs?'
            )  # fmt: skip
        if status == NO_MEMORY:
            return self._ended_by('memory', 'the process of the trial had no memory left to report what came of it')
        hint = '' if status < 0 else '; did it call os._exit?'
        return self._ended_by('crash', f'the process of the trial ended with {describe_exit(status)}{hint}')

    def _timed_out(self) -> list[Ended]:
        if self._is_ready:
            if self._grace:
                self._terminate()
                return []
            return self._end_ending()
        return self._ended_by('timeout', 'the objective was not loaded in time: does its import wait for something?')

    def _ended_by(self, kind: str, message: str) -> list[Ended]:
        """End the process, and with it the running trial, if there is one."""
        if not self._tasks or (self._is_ending and not self._sent):
            self.stop_process()
            return []
        printed = tail(self._output.fileno())
        seconds = time.monotonic() - self._begun if self._sent else 0.0
        outcome = shadho_worker.failed(kind, message, printed)
        return [self._end({**outcome, 'seconds': seconds, 'output': printed}, process_ended=True)]

    def stop_process(self) -> None:
        """Kill the process and all that it started; harmless when there is none."""
        if self._process is None:
            return
        process, self._process = self._process, None
        self._sent, self._is_ready = 0, False
        self._deadline, self._leftovers = math.inf, None
        kill_session(process, self._folder)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._socket.close()
        if self._answers is not None:
            self._answers.close()
        if self._exit_file is not None:
            os.close(self._exit_file)
        self._output.truncate(0)

    def close(self) -> None:
        """Stop for good."""
        self._tasks.clear()
        self.stop_process()
        self._output.close()


def _import_path() -> list[str]:
    """Return where modules are found, for a process that may begin elsewhere."""
    try:
        here = [os.getcwd()]
    except OSError:  # the working directory was removed
        here = []
    return [place for entry in sys.path for place in ([entry] if entry else here)]


def poll(sandboxes: Sequence[Sandbox], timeout: float | None) -> list[Ended | Reported]:
    """Wait until a trial has ended or reported, at most `timeout` seconds (None: for ever).

    Returns
    -------
    list of Ended or Reported
        Trials that ended, also by crashing or running out of time, and reports.
    """
    until = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        poller = select.poll()
        for sandbox in sandboxes:
            for file in sandbox.files():
                poller.register(file, select.POLLIN)
        limits = [until - time.monotonic(), *[sandbox.patience for sandbox in sandboxes]]
        if any(sandbox.must_be_looked_at for sandbox in sandboxes):
            limits.append(0.1)
        patience = min(limits)
        if math.isinf(patience) and not any(map(len, sandboxes)):
            return []
        readable = {file for file, _ in poller.poll(None if math.isinf(patience) else max(0.0, patience) * 1000)}
        ended = [news for sandbox in sandboxes for news in sandbox.news(readable)]
        if ended or time.monotonic() >= until:
            return ended


def _read(message: bytes) -> Outcome | None:
    """Return an outcome or a report; None when an objective has written into the socket."""
    try:
        outcome = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if isinstance(outcome, dict) and isinstance(outcome.get('report'), dict):
        is_whole = all(type(outcome.get(name)) is int for name in ('trial', 'attempt', 'step'))
        return outcome if is_whole else None
    if not is_outcome(outcome) or not isinstance(outcome.get('trial'), int):
        return None
    is_whole = isinstance(outcome.get('seconds'), (int, float)) and isinstance(outcome.get('output'), str)
    return dict(outcome) if is_whole else None
