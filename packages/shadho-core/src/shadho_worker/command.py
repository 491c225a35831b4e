"""Running a shell command in a folder that has been filled for it, and reading what it leaves there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shadho_worker.as_json import read_json, write_json
from shadho_worker.handle import TrialHandle
from shadho_worker.outcomes import Outcome, failed, is_outcome, outcome
from shadho_worker.reaper import MARK, Leftovers
from shadho_worker.reports import VARIABLES, Reports
from shadho_worker.script import LOSS_KEY_VARIABLE, RESULT_FILE

__all__ = ['OUTPUT_LIMIT', 'describe_exit', 'parameters_text', 'run_command', 'tail']

OUTPUT_LIMIT = 20_000
"""Characters kept of what a trial prints: the last ones."""

_LOOK = 0.05
"""Seconds between looks for what a command has left behind after SIGTERM."""


def parameters_text(params: Any) -> str:
    """Return the parameters of a trial as they are written to ``hyperparameters.json``: in ASCII.

    Floats that are not finite are written as ``{"$float": "inf"}``, as JSON has none.

    Raises
    ------
    TypeError, ValueError
        When a parameter cannot be written as JSON.
    """
    return write_json(params, default=_plain)


def run_command(
    command: str, folder: str | os.PathLike[str], loss_key: str = 'loss', trial: TrialHandle | None = None,
    grace: float = 0.0,
) -> Outcome:  # fmt: skip
    """Run a command once; whatever it does is an outcome.

    Parameters
    ----------
    command : str
        Given to the shell. It leaves ``result.json``: a number, or an object with the loss.
    folder : path
        Its working folder, which holds ``hyperparameters.json`` and all else that it needs.
    loss_key : str, default 'loss'
    trial : TrialHandle, optional
        Takes the reports of the command's program, and answers them; without it, they are not listened to.
    grace : float, default 0.0
        Seconds between SIGTERM and SIGKILL for the command when waiting for it is interrupted, as by Ctrl-C.

    Notes
    -----
    This process outlives SIGTERM, which its whole group gets, until the command and all that it has started have ended. Who sends it
    is to send SIGKILL in the end.

    Returns
    -------
    dict
        An outcome with ``seconds`` and ``output``, the end of what the command printed.
    """
    begun = time.perf_counter()
    status, printed = _run(command, folder, loss_key, trial, grace)
    outcome = _outcome(Path(folder), status, printed, loss_key, trial)
    return {**outcome, 'seconds': time.perf_counter() - begun, 'output': printed}


def _run(
    command: str, folder: str | os.PathLike[str], loss_key: str, trial: TrialHandle | None, grace: float
) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment[LOSS_KEY_VARIABLE] = loss_key
    environment['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), environment.get('PATH', os.defpath)])
    with tempfile.TemporaryFile() as output, contextlib.ExitStack() as stack:
        reports = None if trial is None else stack.enter_context(Reports(folder, trial))
        terminated = stack.enter_context(_outliving_sigterm())
        process = subprocess.Popen(
            command, shell=True, cwd=folder, env=environment if reports is None else {**environment, **reports.variables},
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            if reports is not None:
                reports.serve(process)
            status = process.wait()
            leftovers = Leftovers(os.environ.get(MARK, str(folder)), os.getpgrp())
            while terminated and not leftovers.have_ended():  # a shell ends before its program, which may save
                time.sleep(_LOOK)
                if reports is not None:
                    reports.take()
            if reports is not None:
                reports.take()
        except BaseException:
            _end(process, grace)
            raise
        return status, tail(output.fileno())


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    try:
        if grace:
            process.terminate()
            process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _outliving_sigterm() -> Iterator[list[int]]:
    """Let this process live on after SIGTERM, unless it has a handler of its own; gives a list that is empty until it comes."""
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield came
        return
    signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _outcome(folder: Path, status: int, printed: str, loss_key: str, trial: TrialHandle | None) -> Outcome:
    try:
        text = (folder / RESULT_FILE).read_text(encoding='utf-8')
    except (OSError, ValueError):
        text = ''
    if status and not _is_failure(text):
        return _exit_failure(status, printed)
    if (
        trial is not None
        and not status
        and (trial.decision in ('paused', 'stopped') or (trial.has_reported and not text))
    ):
        return trial.outcome(None, loss_key)
    step = {} if trial is None else {'step': trial.reported}
    return {**_result(text, printed, loss_key), **step}


def _result(text: str, printed: str, loss_key: str) -> Outcome:
    if not text:
        return failed(
            'result',
            f'the command ended well but left no {RESULT_FILE}; does the script call '
            'shadho_worker.run(objective), report its loss, or write that file?',
            printed,
        )
    try:
        data = read_json(text)
    except (ValueError, RecursionError) as error:
        return failed('result', f'{RESULT_FILE} is not JSON: {error}', printed)
    is_whole = is_outcome(data) and data['state'] in ('done', 'failed')  # nothing else is a program's to say
    return data if is_whole else outcome(data, loss_key)


def tail(file: int) -> str:
    """Return the end of what an open file holds."""
    size = os.fstat(file).st_size
    skipped = max(0, size - OUTPUT_LIMIT)
    text = os.pread(file, OUTPUT_LIMIT, skipped).decode('utf-8', 'replace')
    return f'[{skipped} bytes before this were dropped]\n{text}' if skipped else text


def describe_exit(status: int) -> str:
    """Say how a process ended, from its exit status (negative: a signal)."""
    if status >= 0:
        return f'exit status {status}'
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f'signal {-status}'
    return f'{name} (was it out of memory?)' if name == 'SIGKILL' else name


def _is_failure(text: str) -> bool:
    try:
        data = read_json(text)
    except (ValueError, RecursionError):
        return False
    return is_outcome(data) and data['state'] == 'failed'


def _exit_failure(status: int, printed: str) -> Outcome:
    if status > 128:  # how a shell reports that its command died of a signal
        status = 128 - status
    kind = 'crash' if status < 0 else 'exception'
    hints = {
        126: ' (the shell may not run the command: is it executable?)',
        127: ' (the shell did not find the command)',
    }
    last = printed.rstrip().rpartition('\n')[2]
    said = f': {last}' if last else ''
    return failed(kind, f'the command ended with {describe_exit(status)}{hints.get(status, "")}{said}', printed)


def _plain(value: Any) -> Any:
    if hasattr(value, 'tolist'):
        return value.tolist()
    raise TypeError(
        f'the parameter {value!r} ({type(value).__name__}) cannot be written as JSON for a command; choose between '
        'names instead, and look the object up in the script'
    )
