"""The inner side of a sandbox: a fresh process that evaluates one trial after another."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

import shadho_worker
from shadho.execution.objective import Outcome, tail

__all__ = ['main']


def main(file: int) -> None:
    """Serve trials that come through the connection with this file number, until it closes."""
    os.set_inheritable(file, False)
    connection = Connection(file)
    output = _Output()
    faulthandler.enable(output.file)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    try:
        setup = pickle.loads(connection.recv_bytes())
        if setup['cpus'] and hasattr(os, 'sched_setaffinity'):
            os.sched_setaffinity(0, setup['cpus'])
        objective, broken = _load(setup['objective'])
        connection.send_bytes(b'')
        home = os.getcwd()
        while True:
            trial, params = pickle.loads(connection.recv_bytes())
            output.begin()
            outcome = broken or objective.evaluate(params, trial)
            outcome.setdefault('seconds', 0.0)
            outcome['output'] = output.end() + outcome.get('output', '')
            with contextlib.suppress(OSError):  # an objective may have gone elsewhere
                os.chdir(home)
            connection.send_bytes(json.dumps(outcome).encode())
    except (EOFError, ConnectionError):
        pass
    finally:
        # Threads and exit handlers that an objective left behind must not keep the process alive.
        os._exit(0)


def _load(pickled: bytes) -> tuple[Any, Outcome | None]:
    """Return the objective, or the outcome of every trial when it cannot be loaded here."""
    try:
        return pickle.loads(pickled), None
    except BaseException as error:
        outcome = shadho_worker.failure(error)
        message = 'the objective could not be loaded in the process that runs it: ' + outcome['error']['message']
        outcome['error']['message'] = message
        return None, outcome


class _Output:
    """Standard output and error of the process: a file that each trial begins anew."""

    def __init__(self) -> None:
        self.file = os.dup(1)

    def begin(self) -> None:
        os.ftruncate(self.file, 0)

    def end(self) -> str:
        """Return the end of what the trial printed, and mend what it closed."""
        for number, name in ((1, 'stdout'), (2, 'stderr')):
            stream = getattr(sys, name)
            try:
                stream.flush()
                os.fstat(number)
            except (OSError, ValueError, AttributeError):
                os.dup2(self.file, number)
                setattr(sys, name, open(number, 'w', buffering=1, errors='backslashreplace', closefd=False))
        return tail(self.file) if os.fstat(self.file).st_size else ''
