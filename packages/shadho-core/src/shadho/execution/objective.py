"""What is evaluated: a function of the parameters, or a shell command in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

import shadho_worker
from shadho.errors import ConfigurationError

__all__ = [
    'LOADING', 'OUTPUT_LIMIT', 'Command', 'Function', 'Objective', 'Outcome', 'check_file', 'describe_exit', 'is_outcome', 'tail',
]  # fmt: skip

Outcome = dict[str, Any]
"""As `shadho_worker.outcome` makes it, with ``seconds`` and, where it is captured, ``output``."""

OUTPUT_LIMIT = 20_000
"""Characters kept of what a trial prints: the last ones."""

LOADING = 'SHADHO_LOADING'
"""Set in the environment of a process while it loads the objective."""

_COPY_LIMIT = 10 * 2**20


@attrs.frozen
class Function:
    """Any Python callable."""

    function: Callable[[Any], Any]
    loss_key: str = 'loss'

    def evaluate(self, params: Any, trial: int) -> Outcome:
        """Call the function once; whatever it does short of ending the process is an outcome."""
        begun = time.perf_counter()
        try:
            returned = self.function(_copy_containers(params))
            seconds = time.perf_counter() - begun
            outcome: Outcome = shadho_worker.outcome(returned, self.loss_key)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            seconds = time.perf_counter() - begun
            outcome = shadho_worker.failure(error)
        outcome['seconds'] = seconds
        return outcome


@attrs.frozen
class Command:
    """A shell command, run in a new folder that holds the input files and the parameters.

    Attributes
    ----------
    command : str
        Given to the shell. It finds ``hyperparameters.json`` in its working folder and leaves
        ``result.json``: a number, or an object with the loss.
    inputs : tuple of Path
        Files and folders placed in the folder; those above 10 MiB, and folders, as links.
    outputs : tuple of str
        Files, relative to the folder, brought back after the trial.
    output_folder : Path
        Where they are brought: ``output_folder/<trial>/``.
    loss_key : str
    """

    command: str
    inputs: tuple[Path, ...] = ()
    outputs: tuple[str, ...] = ()
    output_folder: Path = Path('output')
    loss_key: str = 'loss'

    def evaluate(self, params: Any, trial: int) -> Outcome:
        """Run the command once in a temporary folder."""
        with tempfile.TemporaryDirectory(prefix=f'shadho-{trial}-', ignore_cleanup_errors=True) as name:
            folder = Path(name)
            try:
                self._fill(folder, params)
            except (TypeError, ValueError, OSError) as error:
                message = f'the folder of the trial could not be filled: {error}'
                return {**shadho_worker.failed('exception', message), 'seconds': 0.0}
            begun = time.perf_counter()
            status, printed = self._run(folder)
            seconds = time.perf_counter() - begun
            outcome = self._outcome(folder, status, printed)
            missing = self._bring_back(folder, trial)
            if missing and outcome['state'] == 'done':
                outcome = shadho_worker.failed(
                    'result', f'the command left no {missing[0]}', printed, outcome['results']
                )
        return {**outcome, 'seconds': seconds, 'output': printed}

    def _fill(self, folder: Path, params: Any) -> None:
        for source in self.inputs:
            if source.is_dir() or source.stat().st_size > _COPY_LIMIT:
                (folder / source.name).symlink_to(source.resolve())
            else:
                shutil.copy2(source, folder / source.name)
        shutil.copy2(shadho_worker.__file__, folder / 'shadho_worker.py')
        text = json.dumps(params, default=_plain)
        (folder / shadho_worker.PARAMETERS_FILE).write_text(text, encoding='utf-8')

    def _run(self, folder: Path) -> tuple[int, str]:
        environment = dict(os.environ)
        environment[shadho_worker.LOSS_KEY_VARIABLE] = self.loss_key
        environment['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), environment.get('PATH', os.defpath)])
        with tempfile.TemporaryFile() as output:
            status = subprocess.call(
                self.command, shell=True, cwd=folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
            return status, tail(output.fileno())

    def _outcome(self, folder: Path, status: int, printed: str) -> Outcome:
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
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            return shadho_worker.failed('result', f'{shadho_worker.RESULT_FILE} is not JSON: {error}', printed)
        return data if is_outcome(data) else shadho_worker.outcome(data, self.loss_key)

    def _bring_back(self, folder: Path, trial: int) -> list[str]:
        """Move the output files out of the folder; return the names of those that are missing."""
        missing = []
        for name in self.outputs:
            source = (folder / name).resolve()
            if folder.resolve() not in source.parents or not source.exists():
                missing.append(name)
                continue
            target = self.output_folder / str(trial) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True, symlinks=True)
            else:
                shutil.move(source, target)
        return missing


Objective = Function | Command


def check_file(kind: str, path: str | os.PathLike[str]) -> Path:
    """Return an input file's path when it exists, or an output file's when it stays in its folder."""
    name = Path(path)
    if kind == 'input' and not name.exists():
        raise ConfigurationError(f'add_input_file({str(path)!r}): no such file or folder in {os.getcwd()}')
    if kind == 'output' and (name.is_absolute() or '..' in name.parts or not name.parts):
        raise ConfigurationError(
            f'add_output_file({str(path)!r}): the path must be relative to the folder of the trial, without ".."'
        )
    return name.absolute() if kind == 'input' else name


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
        data = json.loads(text)
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


def _copy_containers(value: Any) -> Any:
    """Copy dicts, lists and tuples, but not what they hold: objectives may change their parameters."""
    if isinstance(value, dict):
        return {key: _copy_containers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy_containers(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_copy_containers(item) for item in value)
    return value
