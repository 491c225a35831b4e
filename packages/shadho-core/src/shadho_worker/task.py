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
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shadho_worker import reaper
from shadho_worker.command import run_command
from shadho_worker.files import copy_linked_inputs, place_inputs, ready_outputs, unpack_folder
from shadho_worker.handle import Answer, TrialHandle
from shadho_worker.outcomes import Outcome, failed, failure
from shadho_worker.package import place_package
from shadho_worker.script import PARAMETERS_FILE

__all__ = [
    'ARCHIVE',
    'COMMAND',
    'FOLDER',
    'FOLDER_ARCHIVE',
    'OUTCOME',
    'REQUEST',
    'main',
    'place_folder',
    'run_task',
    'with_files',
]

ARCHIVE = '.shadho-worker.zip'
"""Name of the archive of this package in the folder of a task."""

# In the place of the working folder, where modules may have the names of standard ones. ``python3 ARCHIVE`` would do, but
# takes 10 ms longer, as it imports runpy.
COMMAND = f"python3 -c 'import sys; sys.path[0] = sys.argv[1]; from shadho_worker.task import main; main()' {ARCHIVE}"
"""What the shell runs in the folder of a task."""

REQUEST = '.shadho.json'
"""Name of the file with a task's request."""

FOLDER = '.shadho-folder'
"""Name of a trial's own folder in the folder of a task."""

FOLDER_ARCHIVE = FOLDER + '.tar'
"""Name of the archive in which it comes."""

OUTCOME = '.shadho-outcome.json'
"""Name of the file that a trial's outcome is left in."""

_TOLD = '.shadho-told.jsonl'
"""Name of the file with a trial's reports, which are there when the trial is killed."""

_LOOK = 0.02
"""Seconds between looks at whether the command has ended: quick enough for commands of a tenth of a second."""


def run_task(
    folder: str, params: str, command: str, loss_key: str, inputs: Sequence[str], outputs: Sequence[str], *,
    handle: TrialHandle | None,
) -> Outcome:  # fmt: skip
    """Run a command in the folder that the engine has made for its task.

    Parameters
    ----------
    folder : str
    params : str
        JSON, for ``hyperparameters.json``.
    command, loss_key : str
    inputs, outputs : sequence of str
        Names of files and folders, relative to the folder.
    handle : TrialHandle or None
        Takes the reports of the command's program.

    Returns
    -------
    dict
        As `with_files` returns it.
    """
    Path(folder, PARAMETERS_FILE).write_text(params, encoding='ascii')
    place_inputs(folder, inputs)
    copy_linked_inputs(folder)  # the engine links them to its worker's cache
    place_package(folder)
    return with_files(run_command(command, folder, loss_key, handle), folder, outputs)


def place_folder(folder: str | os.PathLike[str], facts: dict[str, Any] | None) -> None:
    """Fill a trial's own folder with what its earlier attempts have left, and write down where it is.

    Parameters
    ----------
    folder : path
        That of its task.
    facts : dict or None
        Of the trial's handle.
    """
    if facts is None or facts['folder'] is None:
        return
    facts['folder'] = os.path.join(folder, FOLDER)
    archive = Path(folder, FOLDER_ARCHIVE)
    if archive.exists():
        unpack_folder(archive, Path(folder, FOLDER))
        archive.unlink()


def with_files(outcome: Outcome, folder: str | os.PathLike[str], outputs: Sequence[str]) -> Outcome:
    """Give what a trial has left the names under which it travels, unless that was done.

    Returns
    -------
    dict
        The outcome, with the numbers of outputs that are archives under ``archives``. One of failure if they cannot be packed.
    """
    if 'archives' in outcome:
        return outcome
    try:
        return {**outcome, 'archives': ready_outputs(folder, outputs)}
    except (OSError, ValueError, tarfile.TarError) as error:
        if outcome['state'] == 'failed':
            return outcome
        text = f'the folder of the trial could not be packed: {error}'
        return {**outcome, **failed('result', text, results=outcome['results'])}


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
            text = f'the trial was ended after its trial_timeout of {request["timeout"]:g} s'
            if not _end(child, request['grace']) and request['grace']:
                text += f'; it did not end within {request["grace"]:g} s of SIGTERM'
            outcome = {**failed('timeout', text), 'seconds': time.monotonic() - begun, 'output': ''}
            break
        time.sleep(_LOOK)
    else:
        outcome = _read_outcome()
    reaper.kill_marked(mark)
    outcome = with_files(outcome, folder, request['outputs'])  # of a trial that was killed
    sys.stdout.write(json.dumps({**outcome, 'trial': request['trial'], 'reports': _read_reports()}) + '\n')


def _leave_outcome(folder: str, request: Mapping[str, Any]) -> None:
    """Run the command and leave its outcome in a file."""
    facts = [request[key] for key in ('params', 'command', 'loss_key', 'inputs', 'outputs')]
    try:
        place_folder(folder, request['handle'])
        handle = None if request['handle'] is None else TrialHandle(request['handle'], _tell)
        outcome = run_task(folder, *facts, handle=handle)
    except BaseException as error:
        outcome = {**failure(error), 'seconds': 0.0, 'output': ''}
    Path(OUTCOME).write_text(json.dumps(outcome), encoding='utf-8')


def _tell(step: int, results: Mapping[str, Any], waits: bool) -> Answer | None:
    """Note a report; as nobody can be asked, the trial pauses where it would wait for an answer."""
    with open(_TOLD, 'a', encoding='ascii') as file:
        file.write(json.dumps([step, results, time.monotonic()]) + '\n')
    return {'leave': 'paused'} if waits else None


def _read_reports() -> list[tuple[int, Mapping[str, Any], float]]:
    """Return what was noted, with the seconds since then."""
    try:
        *lines, _ = Path(_TOLD).read_text(encoding='ascii').split('\n')  # the last one, if it is not empty, was cut off
        reports = [json.loads(line) for line in lines]
    except (OSError, ValueError):  # nothing was reported
        return []
    now = time.monotonic()
    return [(step, results, now - told) for step, results, told in reports]


def _end(child: int, grace: float) -> bool:
    """Kill a process and its group, which it may just not have made yet; return whether they ended within their grace."""
    deadline = time.monotonic() + grace
    if grace:
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGTERM)
    while time.monotonic() < deadline:  # the child waits for all that the command has started
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(_LOOK)
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except OSError:
            pass
    os.waitpid(child, 0)
    return False


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
