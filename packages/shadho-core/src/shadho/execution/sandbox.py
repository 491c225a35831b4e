"""A sandbox: one slot whose trials run in a process of their own, which may crash, hang or be killed.

Each slot is a fresh interpreter in a session of its own, spoken to through one socket pair. The
objective is sent once. When a trial ends its process, outlives its time or is cancelled, the whole
session is killed, children of the objective included, and a new process takes over. When the
driver itself is killed, a small helper (`Reaper`) kills the sessions that it leaves behind.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Container, Mapping, Sequence
from importlib.machinery import PathFinder
from multiprocessing.connection import Pipe
from types import ModuleType
from typing import Any

import cloudpickle

import shadho_worker
from shadho.errors import ConfigurationError
from shadho.execution.objective import Objective, Outcome, describe_exit, is_outcome, tail

__all__ = ['Reaper', 'Sandbox', 'pickle_objective', 'poll']

_CHILD = 'import json, sys; sys.path[:] = json.loads(sys.argv[2]); from shadho.execution.child import main; main(int(sys.argv[1]))'

# What the thread pools of numerical libraries read when they are loaded.
_THREAD_VARIABLES = (
    'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'BLIS_NUM_THREADS', 'NUMEXPR_NUM_THREADS',
    'VECLIB_MAXIMUM_THREADS', 'LOKY_MAX_CPU_COUNT',
)  # fmt: skip


def pickle_objective(objective: Objective) -> bytes:
    """Pickle an objective; closures and what a fresh process cannot import travel by value.

    Raises
    ------
    ConfigurationError
        When it holds what cannot leave this process, such as an open file or a lock.
    """
    unknown = _unimportable(getattr(objective, 'function', None))
    if unknown is not None:
        cloudpickle.register_pickle_by_value(unknown)
    try:
        return bytes(cloudpickle.dumps(objective))
    except Exception as error:
        raise ConfigurationError(
            f'the objective cannot be sent to another process ({type(error).__name__}: {error}). Create what cannot be '
            "pickled (open files, locks, connections) inside the objective, or use backend='inline'"
        ) from error
    finally:
        if unknown is not None:
            cloudpickle.unregister_pickle_by_value(unknown)


def _unimportable(function: Any) -> ModuleType | None:
    """Return the module of a function when no fresh process would find it, as after loading a file by its path."""
    name = getattr(function, '__module__', None) or type(function).__module__
    module = sys.modules.get(name)
    top = name.partition('.')[0]
    if module is None or top == '__main__' or top in sys.builtin_module_names:
        return None
    return module if PathFinder.find_spec(top) is None else None


class Sandbox:
    """One slot.

    Parameters
    ----------
    objective : bytes
        From `pickle_objective`.
    cpus : sequence of int, optional
        CPUs to pin the process to; not pinned without.
    threads : int, default 1
        Threads that numerical libraries use, unless the user's environment says otherwise.
    environment : mapping, optional
        Variables to set, such as ``CUDA_VISIBLE_DEVICES``.
    reaper : Reaper, optional

    Attributes
    ----------
    trial : int or None
        The trial that is running.
    """

    def __init__(
        self,
        objective: bytes,
        *,
        cpus: Sequence[int] = (),
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
        reaper: Reaper | None = None,
    ) -> None:
        self._setup = pickle.dumps({'objective': objective, 'cpus': list(cpus)})
        limits = {name: os.environ.get(name, str(threads)) for name in _THREAD_VARIABLES}
        self._environment = {**os.environ, **limits, **(environment or {})}
        self._reaper = reaper
        self._output = tempfile.TemporaryFile(mode='a+b')
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: bytes | None = None
        self.trial: int | None = None
        self.begun = 0.0
        self._deadline: float | None = None
        self._timeout: float | None = None

    def start(self) -> None:
        """Start the process; returns before it is ready."""
        self._connection, inner = Pipe()
        file = inner.fileno()
        path = json.dumps([entry or os.getcwd() for entry in sys.path])
        with inner:
            self._process = subprocess.Popen(
                [sys.executable, '-c', _CHILD, str(file), path],
                env=self._environment, pass_fds=[file], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
            )  # fmt: skip
        if self._reaper is not None:
            self._reaper.watch(self._process.pid)
        self._is_ready = False
        self._exit_file = os.pidfd_open(self._process.pid) if hasattr(os, 'pidfd_open') else None
        try:
            self._connection.send_bytes(self._setup)
        except OSError:
            pass  # it died at once, which `poll` will notice

    def submit(self, trial: int, params: Any, timeout: float | None = None) -> None:
        """Run a trial; its time (seconds) counts from when the process is ready for it."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self.start()
        self.trial = trial
        self._timeout = timeout
        self._deadline = None
        self.begun = time.monotonic()
        self._waiting = _pickle((trial, params))
        if self._is_ready:
            self._send()

    def _send(self) -> None:
        assert self._waiting is not None
        message, self._waiting = self._waiting, None
        self.begun = time.monotonic()
        self._deadline = None if self._timeout is None else self.begun + self._timeout
        try:
            self._connection.send_bytes(message)
        except OSError:
            pass  # it has just died, which `poll` will notice

    def news(self, readable: Container[int]) -> Outcome | None:
        """Return the outcome of the running trial, if it has one by now.

        Parameters
        ----------
        readable : container of int
            Those of `files` that have something to say.
        """
        if self._process is None:
            return None
        try:
            if self._connection.fileno() in readable:
                message = self._connection.recv_bytes()
                if message:
                    self._deadline = None
                    return _read(message)
                self._is_ready = True
                if self._waiting is not None:
                    self._send()
                return None
        except (EOFError, OSError):
            return self._died()
        has_ended = self._process.poll() is not None if self._exit_file is None else self._exit_file in readable
        if has_ended:
            return self._died()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return self._timed_out()
        return None

    @property
    def files(self) -> list[int]:
        """Numbers of the files that become readable when there is news."""
        if self._process is None:
            return []
        return [self._connection.fileno()] if self._exit_file is None else [self._connection.fileno(), self._exit_file]

    @property
    def patience(self) -> float:
        """Seconds until the running trial's time is over; infinite without a limit."""
        return math.inf if self._deadline is None else self._deadline - time.monotonic()

    def _died(self) -> Outcome | None:
        assert self._process is not None
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:  # it closed the connection but lives on
            status = -signal.SIGKILL
        seconds = time.monotonic() - self.begun
        printed = tail(self._output.fileno())
        self.stop()
        if self.trial is None:
            return None
        how = describe_exit(status)
        hint = '' if status < 0 else '; did it call os._exit?'
        outcome = shadho_worker.failed('crash', f'the process of the trial ended with {how}{hint}', printed)
        return {**outcome, 'seconds': seconds, 'output': printed}

    def _timed_out(self) -> Outcome:
        seconds = time.monotonic() - self.begun
        printed = tail(self._output.fileno())
        self.stop()
        message = f'the trial was ended after its trial_timeout of {self._timeout:g} s'
        outcome = shadho_worker.failed('timeout', message, printed)
        return {**outcome, 'seconds': seconds, 'output': printed}

    def stop(self) -> None:
        """Kill the process and all that it started; harmless when there is none."""
        if self._process is None:
            return
        process, self._process = self._process, None
        _kill_session(process)
        process.wait()
        if self._reaper is not None:
            self._reaper.forget(process.pid)
        self._connection.close()
        if self._exit_file is not None:
            os.close(self._exit_file)
        self._output.truncate(0)

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._output.close()


def poll(sandboxes: Sequence[Sandbox], timeout: float | None) -> list[tuple[Sandbox, Outcome]]:
    """Wait until a trial has ended, at most `timeout` seconds (None: for ever).

    Returns
    -------
    list of (Sandbox, Outcome)
        Trials that ended, also by crashing or running out of time.
    """
    until = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        poller = select.poll()
        for sandbox in sandboxes:
            for file in sandbox.files:
                poller.register(file, select.POLLIN)
        limits = [until - time.monotonic(), *[sandbox.patience for sandbox in sandboxes]]
        if not hasattr(os, 'pidfd_open'):
            limits.append(0.1)  # how soon an ended process is noticed
        patience = min(limits)
        if math.isinf(patience) and not any(sandbox.files for sandbox in sandboxes):
            return []
        readable = {file for file, _ in poller.poll(None if math.isinf(patience) else max(0.0, patience) * 1000)}
        news = ((sandbox, sandbox.news(readable)) for sandbox in sandboxes)
        ended = [(sandbox, outcome) for sandbox, outcome in news if outcome is not None]
        if ended or time.monotonic() >= until:
            return ended


def _pickle(value: Any) -> bytes:
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:
        raise ConfigurationError(f'the parameters {value[1]!r} cannot be sent to another process: {error}') from error


def _read(message: bytes) -> Outcome:
    try:
        outcome = json.loads(message)
    except ValueError:
        outcome = None
    if is_outcome(outcome):
        return dict(outcome)
    return {
        **shadho_worker.failed('result', 'the process of the trial sent something unreadable'),
        'seconds': 0.0,
        'output': '',
    }


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, its group, and those of its descendants that left the group."""
    import psutil

    try:
        descendants = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        descendants = []
    for kill in (lambda: os.killpg(process.pid, signal.SIGKILL), process.kill, *[child.kill for child in descendants]):
        try:
            kill()
        except (OSError, psutil.Error):
            pass


class Reaper:
    """A helper process that kills the sessions it watches when the driver vanishes."""

    _CODE = """
import os, signal, sys
watched = set()
for line in sys.stdin:
    (watched.add if line[0] == '+' else watched.discard)(int(line[1:]))
for leader in watched:
    try:
        os.killpg(leader, signal.SIGKILL)
    except OSError:
        pass
"""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-I', '-S', '-c', self._CODE], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, leader: int) -> None:
        """Kill this process group when the driver vanishes."""
        self._tell(f'+{leader}\n')

    def forget(self, leader: int) -> None:
        """Leave this process group alone: it has ended."""
        self._tell(f'-{leader}\n')

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError:
            pass  # somebody killed the helper: searches go on without it

    def close(self) -> None:
        """End the helper, and with it every session that it still watches."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass
        self._process.wait()
