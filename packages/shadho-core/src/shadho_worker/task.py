"""Runs the command of one trial under a plain worker of Work Queue, whose machine may have no SHADHO.

The archive of this package is sent with the trial, and Python runs it by `COMMAND`. Under a worker of ours, the process
beside it does the same without starting an interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shadho_worker import reaper
from shadho_worker.command import run_command
from shadho_worker.files import copy_linked_inputs, place_inputs, ready_outputs
from shadho_worker.outcomes import Outcome, failed, failure
from shadho_worker.package import place_package
from shadho_worker.script import PARAMETERS_FILE

__all__ = ['ARCHIVE', 'COMMAND', 'FOLDER', 'OUTCOME', 'REQUEST', 'main', 'run_task']

ARCHIVE = '.shadho-worker.zip'
"""Name of the archive of this package in the folder of a task."""

# In the place of the working folder, where modules may have the names of standard ones. ``python3 ARCHIVE`` would do, but
# takes 10 ms longer, as it imports runpy.
COMMAND = f"python3 -c 'import sys; sys.path[0] = sys.argv[1]; from shadho_worker.task import main; main()' {ARCHIVE}"
"""What the shell runs in the folder of a task."""

REQUEST = '.shadho.json'
"""Name of the file with a task's request."""

FOLDER = '.shadho-folder'
"""Name of a trial's own folder in the folder of a task; that of its archive is `shadho_worker.files.input_name` of 0."""

OUTCOME = '.shadho-outcome.json'
"""Name of the file that a trial's outcome is left in."""

_LOOK = 0.02
"""Seconds between looks at whether the command has ended: quick enough for commands of a tenth of a second."""


def run_task(
    folder: str, params: str, command: str, loss_key: str, inputs: Sequence[str], outputs: Sequence[str]
) -> Outcome:
    """Run a command in the folder that the engine has made for its task.

    Parameters
    ----------
    folder : str
    params : str
        JSON, for ``hyperparameters.json``.
    command, loss_key : str
    inputs, outputs : sequence of str
        Names of files and folders, relative to the folder.

    Returns
    -------
    dict
        An outcome, with the numbers of outputs that are archives under ``archives``.
    """
    Path(folder, PARAMETERS_FILE).write_text(params, encoding='ascii')
    place_inputs(folder, inputs)
    copy_linked_inputs(folder)  # the engine links them to its worker's cache
    place_package(folder)
    outcome = run_command(command, folder, loss_key)
    return {**outcome, 'archives': ready_outputs(folder, outputs)}


def main() -> None:
    """Run the trial of the working folder and print its outcome."""
    folder = os.getcwd()
    request = json.loads(Path(REQUEST).read_text(encoding='utf-8'))
    mark = folder + '/.shadho-mark'
    tie = _start_reaper(mark)
    begun = time.monotonic()
    child = os.fork()
    if not child:
        os.setsid()
        os.close(tie)
        os.environ[reaper.MARK] = mark
        _leave_outcome(folder, request)
        os._exit(0)
    until = begun + request['timeout'] if request['timeout'] else None
    while not os.waitpid(child, os.WNOHANG)[0]:
        if until is not None and time.monotonic() > until:
            _end(child)
            text = f'the trial was ended after its trial_timeout of {request["timeout"]:g} s'
            outcome = {**failed('timeout', text), 'seconds': time.monotonic() - begun, 'output': ''}
            break
        time.sleep(_LOOK)
    else:
        outcome = _read_outcome()
    reaper.kill_marked(mark)
    if 'archives' not in outcome:  # the trial was killed
        with contextlib.suppress(OSError):
            outcome['archives'] = ready_outputs(folder, request['outputs'])
    sys.stdout.write(json.dumps({**outcome, 'trial': request['trial']}) + '\n')


def _leave_outcome(folder: str, request: Mapping[str, Any]) -> None:
    """Run the command and leave its outcome in a file."""
    facts = [request[key] for key in ('params', 'command', 'loss_key', 'inputs', 'outputs')]
    try:
        outcome = run_task(folder, *facts)
    except BaseException as error:
        outcome = {**failure(error), 'seconds': 0.0, 'output': ''}
    Path(OUTCOME).write_text(json.dumps(outcome), encoding='utf-8')


def _end(child: int) -> None:
    """Kill a process and its group, which it may just not have made yet."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except OSError:
            pass
    os.waitpid(child, 0)


def _read_outcome() -> Outcome:
    """Return what `_leave_outcome` left."""
    try:
        return dict(json.loads(Path(OUTCOME).read_text(encoding='utf-8')))
    except (OSError, ValueError):
        return {**failed('crash', 'the process of the trial was killed'), 'seconds': 0.0, 'output': ''}


def _start_reaper(mark: str) -> int:
    """Start what ends the command when this process is killed; return the end of a pipe that ties them."""
    inner, tie = os.pipe()
    if not os.fork():
        os.setsid()
        os.dup2(inner, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.closerange(3, 64)
        reaper.watch(mark)
        os._exit(0)
    os.close(inner)
    return tie
