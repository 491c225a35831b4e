"""Runs the command of one trial under a plain worker of the engine: a script of its own.

It is sent with the trial, beside `command`, `files`, `reaper` and `shadho_worker`, as the machine may have no
SHADHO; Python 3.9 or newer is enough. Under a worker of ours, the process beside it does the same
without starting an interpreter.
"""

import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

import command
import files  # type: ignore[import-not-found]
import reaper

import shadho_worker

REQUEST = '.shadho.json'
_OUTCOME = '.shadho-outcome.json'
_LOOK = 0.02


def main() -> None:
    """Run the trial of this folder and print its outcome."""
    folder = os.getcwd()
    with open(REQUEST, encoding='utf-8') as file:
        request = json.load(file)
    mark = folder + '/.shadho-mark'
    tie = start_reaper(mark)
    begun = time.monotonic()
    child = os.fork()
    if not child:
        os.setsid()
        os.close(tie)
        os.environ[reaper.MARK] = mark
        run(folder, request)
        os._exit(0)
    until = begun + request['timeout'] if request['timeout'] else None
    while not os.waitpid(child, os.WNOHANG)[0]:
        if until is not None and time.monotonic() > until:
            end(child)
            text = 'the trial was ended after its trial_timeout of {:g} s'.format(request['timeout'])
            outcome = dict(shadho_worker.failed('timeout', text), seconds=time.monotonic() - begun, output='')
            break
        time.sleep(_LOOK)
    else:
        outcome = read_outcome()
    reaper.kill_marked(mark)
    if 'archives' not in outcome:  # the trial was killed
        with contextlib.suppress(OSError):
            outcome['archives'] = files.ready_outputs(folder, request['outputs'])
    sys.stdout.write(json.dumps(dict(outcome, trial=request['trial'])) + '\n')


def run(folder: Any, request: Any) -> None:
    """Run the command and leave its outcome in a file."""
    try:
        with open(shadho_worker.PARAMETERS_FILE, 'w', encoding='ascii') as file:
            file.write(request['params'])
        files.place_inputs(folder, request['inputs'])
        command.own_inputs(folder)  # the engine links them to its worker's cache
        outcome = command.run_command(request['command'], folder, request['loss_key'])
        outcome['archives'] = files.ready_outputs(folder, request['outputs'])
    except BaseException as error:
        outcome = dict(shadho_worker.failure(error), seconds=0.0, output='')
    with open(_OUTCOME, 'w', encoding='utf-8') as file:
        json.dump(outcome, file)


def end(child: int) -> None:
    """Kill a process and its group, which it may just not have made yet."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except OSError:
            pass
    os.waitpid(child, 0)


def read_outcome() -> Any:
    """Return what `run` left."""
    try:
        with open(_OUTCOME, encoding='utf-8') as file:
            return json.load(file)
    except (OSError, ValueError):
        return dict(shadho_worker.failed('crash', 'the process of the trial was killed'), seconds=0.0, output='')


def start_reaper(mark: Any) -> int:
    """Start what ends the command when this process is killed; return the end of a pipe that ties them."""
    inner, tie = os.pipe()
    if not os.fork():
        os.setsid()
        os.dup2(inner, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.closerange(3, 64)
        os.execv(sys.executable, [sys.executable, '-I', '-S', reaper.__file__, mark])
    os.close(inner)
    return tie


if __name__ == '__main__':
    main()
