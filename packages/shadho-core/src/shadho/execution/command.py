"""Running a shell command in a folder that has been filled for it, and reading what it leaves there.

Standard library and `shadho_worker` only: both files are also sent to machines that have no SHADHO.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import shadho_worker

__all__ = [
    'COPY_LIMIT', 'OUTPUT_LIMIT', 'Outcome', 'describe_exit', 'is_outcome', 'parameters_text', 'run_command', 'tail', 'own_inputs',
]  # fmt: skip

Outcome = dict[str, Any]
"""As `shadho_worker.outcome` makes it, with ``seconds`` and, where it is captured, ``output``."""

OUTPUT_LIMIT = 20_000
"""Characters kept of what a trial prints: the last ones."""


COPY_LIMIT = 10 * 2**20
"""Bytes up to which a trial has an input file as a copy of its own, which it may change."""


def parameters_text(params: Any) -> str:
    """Return the parameters of a trial as they are written to ``hyperparameters.json``: in ASCII.

    Floats that are not finite are written as ``{"$float": "inf"}``, as JSON has none.

    Raises
    ------
    TypeError, ValueError
        When a parameter cannot be written as JSON.
    """
    return shadho_worker.write_json(params, default=_plain)


def own_inputs(folder: str | os.PathLike[str]) -> None:
    """Replace small files of a folder that are hard links by copies, for a trial to change as it likes."""
    for path in list(Path(folder).iterdir()):
        facts = path.lstat()
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1 and facts.st_size <= COPY_LIMIT:
            copy = path.with_name(f'.{path.name}.copy')
            shutil.copy2(path, copy)
            copy.replace(path)


def run_command(command: str, folder: str | os.PathLike[str], loss_key: str = 'loss') -> Outcome:
    """Run a command once; whatever it does is an outcome.

    Parameters
    ----------
    command : str
        Given to the shell. It leaves ``result.json``: a number, or an object with the loss.
    folder : path
        Its working folder, which holds ``hyperparameters.json`` and all else that it needs.
    loss_key : str, default 'loss'

    Returns
    -------
    dict
        An outcome with ``seconds`` and ``output``, the end of what the command printed.
    """
    begun = time.perf_counter()
    status, printed = _run(command, folder, loss_key)
    seconds = time.perf_counter() - begun
    return {**_outcome(Path(folder), status, printed, loss_key), 'seconds': seconds, 'output': printed}


def _run(command: str, folder: str | os.PathLike[str], loss_key: str) -> tuple[int, str]:
    environment = dict(os.environ)
    environment[shadho_worker.LOSS_KEY_VARIABLE] = loss_key
    environment['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), environment.get('PATH', os.defpath)])
    with tempfile.TemporaryFile() as output:
        status = subprocess.call(
            command, shell=True, cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return status, tail(output.fileno())


def _outcome(folder: Path, status: int, printed: str, loss_key: str) -> Outcome:
    try:
        text = (folder / shadho_worker.RESULT_FILE).read_text(encoding='utf-8')
    except (OSError, ValueError):
        text = ''
    if status and not _is_failure(text):
        return _exit_failure(status, printed)
    if not text:
        return shadho_worker.failed(
            'result',
            f'the command ended well but left no {shadho_worker.RESULT_FILE}; does the script call '
            'shadho_worker.run(objective), or write that file?',
            printed,
        )
    try:
        data = shadho_worker.read_json(text)
    except (ValueError, RecursionError) as error:
        return shadho_worker.failed('result', f'{shadho_worker.RESULT_FILE} is not JSON: {error}', printed)
    return data if is_outcome(data) else shadho_worker.outcome(data, loss_key)


def is_outcome(data: Any) -> bool:
    """Whether JSON data of unknown origin has the shape of an outcome."""
    if not isinstance(data, dict) or not {'state', 'loss', 'results', 'error'} <= set(data):
        return False
    error, loss = data['error'], data['loss']
    number = isinstance(loss, (int, float)) and not isinstance(loss, bool) and loss == loss
    if data['state'] == 'done':
        return number and isinstance(data['results'], dict) and error is None
    keys = {'kind', 'message', 'traceback'}
    texts = isinstance(error, dict) and set(error) == keys and all(isinstance(text, str) for text in error.values())
    return data['state'] == 'failed' and texts and isinstance(data['results'], dict) and loss is None


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
        data = shadho_worker.read_json(text)
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
    return shadho_worker.failed(
        kind, f'the command ended with {describe_exit(status)}{hints.get(status, "")}{said}', printed
    )


def _plain(value: Any) -> Any:
    if hasattr(value, 'tolist'):
        return value.tolist()
    raise TypeError(
        f'the parameter {value!r} ({type(value).__name__}) cannot be written as JSON for a command; choose between '
        'names instead, and look the object up in the script'
    )
