"""The inner side of a sandbox: a fresh process that evaluates one trial after another."""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import json
import mmap
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from pickle import load, loads  # by name, as objectives may replace what is in modules
from typing import IO, Any

import shadho_worker
from shadho.execution.filters import set_filters
from shadho.execution.objective import LOADING
from shadho_worker.command import tail
from shadho_worker.handle import Answer, Tell, TrialHandle
from shadho_worker.outcomes import Outcome

__all__ = ['BROKEN', 'NO_MEMORY', 'main']

BROKEN = 70
"""Exit status of a process that a trial has left unable to go on."""

NO_MEMORY = 71
"""Exit status of a process without the memory to report a trial, or to read the next one."""

_CHUNK = 2**16

_encode = json.JSONEncoder().encode


def main(
    connection: int, objective_file: int, answers: int | None, cpus: Sequence[int], most: int | None = None
) -> None:
    """Serve trials that come through a socket, until it closes, a trial runs out of memory, or all `most` have run.

    Parameters
    ----------
    connection : int
        File number of the socket: pickled trials come in, lines of JSON go out.
    objective_file : int
        File number of a file that holds what `shadho.execution.sandbox.pickle_objective` returned.
    answers : int or None
        File number of a socket by which the answers to reports come: lines of JSON. None without answers: trials pause at their `until`.
    cpus : sequence of int
        CPUs to stay on; any when empty.
    most : int or None
        Trials after which the process ends; None is no limit.
    """
    for file in (connection, objective_file, answers):
        if file is not None:
            os.set_inheritable(file, False)
    if cpus and hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, cpus)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a worker may ignore it, which its trials must not inherit
    output = _Output()
    faulthandler.enable(output.file)
    try:
        with socket.socket(fileno=connection) as channel, channel.makefile('rb') as trials:
            _serve(channel, trials, objective_file, answers, output, most)
    except (EOFError, ConnectionError):
        pass  # the driver has closed its end
    except MemoryError:
        os._exit(NO_MEMORY)
    except BaseException:
        with contextlib.suppress(OSError, ValueError):  # it may have closed its output too
            traceback.print_exc()
        os._exit(BROKEN)
    finally:
        # Threads and exit handlers that an objective left behind must not keep the process alive.
        os._exit(0)


def _serve(
    channel: socket.socket, trials: IO[bytes], objective_file: int, answers: int | None, output: _Output, most: int | None
) -> None:  # fmt: skip
    objective, broken = _load(objective_file)
    reports = _Reports(channel, None if answers is None else socket.socket(fileno=answers))
    channel.sendall(b'\n')
    home, own = _home(), os.getpid()
    for number in itertools.count(1):
        trial, pickled, facts = load(trials)
        output.begin()
        handle = None if facts is None else TrialHandle(facts, reports.of(trial, facts['attempt']))
        outcome = {'seconds': 0.0, **(broken or _evaluate(objective, pickled, trial, handle)), 'trial': trial}
        if os.getpid() != own:
            return  # the objective has forked, and both processes return from it
        outcome['output'] = output.end() + outcome.get('output', '')
        with contextlib.suppress(OSError):  # an objective may have gone elsewhere
            if home is not None:
                os.chdir(home)
        outcome['is_last'] = number == most or _is_out_of_memory(outcome)
        channel.sendall(_encode(outcome).encode() + b'\n')
        if outcome['is_last']:
            return


def _home() -> str | None:
    """Return the working directory; None when it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _is_out_of_memory(outcome: Outcome) -> bool:
    """Whether a trial failed for want of memory: what it has left behind would fail the next ones too."""
    return outcome['error'] is not None and outcome['error']['kind'] == 'memory'


class _Reports:
    """Sends reports of trials to the driver, and takes its answers, if it gives any."""

    def __init__(self, channel: socket.socket, answers: socket.socket | None) -> None:
        self._channel, self._answers = channel, answers
        self._received = b''
        self._home = os.getpid()

    def of(self, trial: int, attempt: int) -> Tell:
        """Return what sends the reports of an attempt."""

        def tell(step: int, results: Mapping[str, Any], waits: bool) -> Answer | None:
            if os.getpid() != self._home:
                return None  # a process that the objective has forked
            report = {'trial': trial, 'attempt': attempt, 'step': step, 'report': results}
            self._channel.sendall(_encode(report).encode() + b'\n')
            if self._answers is None:
                return {'leave': 'paused'} if waits else None
            answer = None
            while waits or _is_readable(self._answers):
                received = self._answers.recv(_CHUNK)
                if not received:
                    return {'leave': 'paused'}  # the driver is gone
                *lines, self._received = (self._received + received).split(b'\n')
                for each in map(json.loads, lines):
                    if (each['trial'], each['attempt']) == (trial, attempt):  # else of an attempt that has ended
                        answer = each
                        waits = waits and not each['leave'] and each['step'] < step
            return answer

        return tell


def _is_readable(file: socket.socket) -> bool:
    return bool(select.select([file], [], [], 0)[0])


def _evaluate(objective: Any, pickled: bytes, trial: int, handle: TrialHandle | None) -> Outcome:
    try:
        params = loads(pickled)
        outcome: Outcome = objective.evaluate(params, trial, handle)
    except BaseException as error:  # parameters that cannot be loaded here; KeyboardInterrupt of the objective
        outcome = shadho_worker.failure(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # which would ring in another trial
    return outcome


def _load(file: int) -> tuple[Any, Outcome | None]:
    """Return the objective, or the outcome of every trial when it cannot be loaded here."""
    os.environ[LOADING] = '1'
    try:
        # Not os.read, which the system lets return no more than 2 GiB at once.
        with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as text:
            filters = text.readline()
            set_filters(filters)
            with memoryview(text) as whole, whole[text.tell() :] as pickled:
                objective = loads(pickled)
            set_filters(filters)  # libraries that the objective has loaded may have put others before them
            return objective, None
    except BaseException as error:
        outcome = shadho_worker.failure(error)
        message = 'the objective could not be loaded in the process that runs it: ' + outcome['error']['message']
        outcome['error']['message'] = message
        return None, outcome
    finally:
        os.environ.pop(LOADING, None)
        os.close(file)  # all slots share it: nothing that an objective does to its files may reach it


class _Output:
    """Standard output and error of the process, a file that each trial begins anew, and its empty input."""

    def __init__(self) -> None:
        self.file = os.dup(1)
        self.empty = os.dup(0)
        self.is_empty = False
        self.input = sys.stdin
        self.streams = {'stdout': sys.stdout, 'stderr': sys.stderr}

    def begin(self) -> None:
        if not self.is_empty:
            os.ftruncate(self.file, 0)

    def end(self) -> str:
        """Return the end of what the trial printed, and mend what it closed or replaced."""
        for number, name in ((1, 'stdout'), (2, 'stderr')):
            with contextlib.suppress(Exception):
                getattr(sys, name).flush()
            if not _is_as_it_was(self.streams[name], number, self.file):
                os.dup2(self.file, number)
                self.streams[name] = open(number, 'w', buffering=1, errors='backslashreplace', closefd=False)
            setattr(sys, name, self.streams[name])
        if not _is_as_it_was(self.input, 0, self.empty):
            os.dup2(self.empty, 0)
            self.input = open(0, closefd=False)
        sys.stdin = self.input
        self.is_empty = not os.fstat(self.file).st_size
        return '' if self.is_empty else tail(self.file)


def _is_as_it_was(stream: IO[str], number: int, file: int) -> bool:
    """Return whether a stream is open, and its number stands for its file: one that was closed is soon another's."""
    try:
        stream.flush()
        return os.path.sameopenfile(number, file)
    except (OSError, ValueError):
        return False
