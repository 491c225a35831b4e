"""What runs the trials of an engine's worker: each slot a sandbox, kept from trial to trial.

The engine starts a few lines of shell for each task. They connect to this process, say which folder
the task is in, and pass on the outcome that comes back. So no interpreter starts for a trial, and what
the objective imports is imported once for each slot. When the shell is killed, its connection ends,
and so does the trial; when the worker goes, or this process, all that they started goes with them.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs
import click
import cloudpickle

import shadho_worker
from shadho.errors import BackendError
from shadho.execution.command import Outcome, own_inputs, run_command
from shadho.execution.hardware import gpu_environment, visible_gpus
from shadho.execution.sandbox import FILES, Pickled, Sandbox
from shadho_workqueue.files import place_inputs, ready_outputs

__all__ = ['FILES_OF_SLOT', 'OUTCOME', 'REQUEST', 'VARIABLE', 'FolderCommand', 'Server', 'shell_command']

REQUEST = '.shadho.json'
"""Name of the file that says what a task is to do."""

OUTCOME = '.shadho-outcome.json'
"""Name of the file that a trial's outcome is left in, for the shell to print."""

VARIABLE = 'SHADHO_WORKER'
"""In the environment of a worker's tasks: port and token of the process beside it."""

FILES_OF_SLOT = FILES + 1
"""Files that a slot keeps open: those of its sandbox, and the connection of its task."""

_LOOK = 0.5
_GRACE = 5.0  # seconds; the engine lets a task live for three before it kills it
_LONGEST_REQUEST = 2**13
_MOST_ASKING = 64
_TIME_TO_ASK = 10.0  # seconds


def shell_command(mark: str) -> str:
    """Return what the engine runs for a trial, under workers of ours and plain ones.

    Parameters
    ----------
    mark : str
        A setting of a variable, by which the trial is found among the tasks of a worker.
    """
    # No double quotes and no backslashes, which would have to be escaped in the manager's reports.
    connect = (
        f'exec 3<>/dev/tcp/127.0.0.1/${{{VARIABLE}%%:*}} && echo ${VARIABLE} $PWD >&3 && read <&3 && echo $(<{OUTCOME})'
    )
    # When the process beside has gone, the engine's worker goes in a moment, and must not take another trial till then.
    connect = f'IFS=; set -f; {connect} || sleep 5'
    # The engine's worker makes the shell the leader of a group, unless the shell was faster to start. Without that
    # group, it would kill nobody and wait for this shell for ever, deaf to all else.
    lead = 'lead=; kill -0 -$$ 2>&- || lead=$(command -v setsid)'
    run = f"if [ ${VARIABLE} ]; then exec $lead bash -c '{connect}'; else exec $lead python3 .shadho/task.py; fi"
    return f'export {mark}; {lead}; {run}'


@attrs.frozen
class FolderCommand:
    """A command as the objective of a sandbox: its folder comes with the parameters."""

    command: str
    loss_key: str
    inputs: Sequence[str]
    outputs: Sequence[str]

    def evaluate(self, params: tuple[str, str], trial: int) -> Outcome:
        """Run the command once, in the folder of its task."""
        folder, text = params
        (Path(folder) / shadho_worker.PARAMETERS_FILE).write_text(text, encoding='ascii')
        place_inputs(folder, self.inputs)
        own_inputs(folder)  # the engine links them to its worker's cache
        outcome = run_command(self.command, folder, self.loss_key)
        return {**outcome, 'archives': ready_outputs(folder, self.outputs)}


@attrs.define(eq=False)
class _Slot:
    """A sandbox, what it was made for, and the trial that is in it."""

    sandbox: Sandbox
    purpose: tuple[Any, ...]
    gpus: list[str]
    link: socket.socket | None = None
    folder: Path = Path()
    trial: int = -1
    outputs: Sequence[str] = ()


class Server:
    """Serves the tasks of the engine's worker, and ends it.

    Parameters
    ----------
    engine : Popen
        The engine's worker.
    name : str
        By which people know the worker.
    listener : socket
        Where its tasks connect to.
    token : str
        By which they are known.
    folder : Path
        For sandboxes.
    words : int
        The end of a terminal that the engine's worker speaks to.
    """

    def __init__(
        self, engine: subprocess.Popen[bytes], name: str, listener: socket.socket, token: str, folder: Path, words: int
    ) -> None:
        self.engine = engine
        self.deadline = math.inf
        self.name = name
        self.listener = listener
        self.token = token
        self.folder = folder
        self.gpus = [device for device, _ in visible_gpus()]
        self.asking: dict[socket.socket, tuple[bytes, float]] = {}  # what each has said, and until when it may
        self.slots: list[_Slot] = []
        self.objectives: dict[str, IO[bytes]] = {}
        self.words = words
        self.heard = b''
        self.number = 0
        self.served = 0

    def run(self, parent: int | None = None) -> None:
        """Serve until the engine's worker has ended, which it does when `parent` is not the parent of this process."""
        while self.engine.poll() is None:
            if parent not in (None, os.getppid()):
                self.end(signal.SIGTERM)
            if time.monotonic() > self.deadline:
                self.engine.kill()
            poller = select.poll()
            links = [*self.asking, *[slot.link for slot in self.slots if slot.link is not None]]
            links += [self.listener] * (len(self.asking) < _MOST_ASKING)
            for number in [self.words, *[link.fileno() for link in links]]:
                poller.register(number, select.POLLIN)
            for slot in self.slots:
                for number in slot.sandbox.files():
                    poller.register(number, select.POLLIN)
            patience = max(0.0, min([_LOOK, *[slot.sandbox.patience for slot in self.slots]]))
            ready = {number for number, _ in poller.poll(patience * 1000)}
            self.look(ready)

    def look(self, ready: set[int]) -> None:
        if self.words in ready and not self.listen_to_engine():
            ready.discard(self.words)
        for slot in self.slots:
            if slot.link is not None and slot.link.fileno() in ready:
                self.cancel(slot)  # nothing is sent while a trial runs: the connection has ended
            for ended in slot.sandbox.news(ready):
                self.answer(slot, {**ended.outcome, 'trial': ended.trial, 'worker': self.name})
        for link in [link for link in self.asking if link.fileno() in ready]:
            self.hear(link)
        now = time.monotonic()
        for link in [link for link, (_, until) in self.asking.items() if now > until]:
            del self.asking[link]
            link.close()
        if self.listener.fileno() in ready:
            try:
                link, _ = self.listener.accept()
            except OSError:  # too many open files, unless whoever it was has gone
                time.sleep(_LOOK)
            else:
                link.setblocking(False)
                self.asking[link] = b'', now + _TIME_TO_ASK

    def hear(self, link: socket.socket) -> None:
        """Take in a request: the token and the folder of a task."""
        try:
            received = link.recv(_LONGEST_REQUEST)
        except OSError:
            received = b''
        said, until = self.asking[link]
        line = said + received
        if received and b'\n' not in line and len(line) < _LONGEST_REQUEST:
            self.asking[link] = line, until
            return
        del self.asking[link]
        token, _, folder = line.rstrip(b'\n').decode('utf-8', 'surrogateescape').partition(' ')
        if token.partition(':')[2] != self.token or not folder:
            link.close()  # not from a task of this worker
            return
        link.setblocking(True)
        try:
            self.start(link, Path(folder))
        except (OSError, BackendError) as error:  # a full disk, or too many processes: the trial may run elsewhere
            click.echo(f'a trial could not be started: {error}', err=True)
            link.close()
        except Exception as error:
            self.send(link, Path(folder), {**shadho_worker.failure(error), 'seconds': 0.0, 'output': ''})

    def start(self, link: socket.socket, folder: Path) -> None:
        request = json.loads((folder / REQUEST).read_text(encoding='utf-8'))
        if request['command'] is None:
            name = request['objective']
            pickled = (folder / name).read_bytes() if name not in self.objectives else b''
            params: Any = Pickled(bytes.fromhex(request['params']))
        else:
            facts = [request[key] for key in ('command', 'loss_key', 'inputs', 'outputs')]
            name, pickled = json.dumps(facts), cloudpickle.dumps(FolderCommand(*facts))
            params = (str(folder), request['params'])
        if name not in self.objectives:
            self.objectives[name] = file = tempfile.TemporaryFile()
            file.write(pickled)
            file.flush()
        slot = self.slot_for(name, request['resources'], request['max_tasks_per_child'])
        slot.sandbox.submit(request['trial'], params, request['timeout'])
        slot.link, slot.folder, slot.trial, slot.outputs = link, folder, request['trial'], request['outputs']

    def slot_for(self, objective: str, resources: Mapping[str, Any], max_tasks_per_child: int | None) -> _Slot:
        """Return an idle slot for this objective, these resources and trials per process, or make one."""
        cores, gpus = max(1, int(resources.get('cores', 1))), resources.get('gpus')
        purpose = (objective, cores, gpus, max_tasks_per_child)
        idle = [slot for slot in self.slots if slot.link is None]
        for slot in idle:
            if slot.purpose == purpose:
                return slot
        for slot in idle:  # of another search, or of another class of this one
            slot.sandbox.close()
            self.slots.remove(slot)
        for name in self.objectives.keys() - {objective, *[slot.purpose[0] for slot in self.slots]}:
            self.objectives.pop(name).close()
        devices = self.least_used(1 if gpus is None else int(gpus))
        self.number += 1
        place = self.folder / f'slot-{self.number}'
        sandbox = Sandbox(
            self.objectives[objective], place, threads=cores, environment=gpu_environment(devices, resources),
            max_tasks_per_child=max_tasks_per_child,
        )  # fmt: skip
        self.slots.append(_Slot(sandbox, purpose, devices))
        return self.slots[-1]

    def least_used(self, count: int) -> list[str]:
        uses = Counter(gpu for slot in self.slots for gpu in slot.gpus)
        return sorted(self.gpus, key=lambda gpu: uses[gpu])[:count]

    def answer(self, slot: _Slot, outcome: Outcome) -> None:
        link, slot.link = slot.link, None
        self.served += 1
        if link is not None:
            if 'archives' not in outcome:  # the trial was killed
                with contextlib.suppress(OSError):
                    outcome = {**outcome, 'archives': ready_outputs(slot.folder, slot.outputs)}
            self.send(link, slot.folder, outcome)

    def send(self, link: socket.socket, folder: Path, outcome: Outcome) -> None:
        try:
            (folder / OUTCOME).write_text(json.dumps(outcome), encoding='ascii')
            link.sendall(b'\n')
        except OSError:
            pass  # the task was cancelled
        finally:
            link.close()

    def cancel(self, slot: _Slot) -> None:
        assert slot.link is not None
        slot.link.close()
        slot.link = None
        slot.sandbox.cancel(slot.trial)

    def listen_to_engine(self) -> bool:
        """Pass on what the engine's worker says, in words that help; return whether it still speaks."""
        try:
            received = os.read(self.words, 2**16)
        except OSError:  # how the end of a terminal is told
            received = b''
        *lines, self.heard = (self.heard + received).split(b'\n')
        for line in lines:
            said = rephrase(line.decode('utf-8', 'replace').rstrip('\r'))
            if said:
                click.echo(said, err=True)
        return bool(received)

    def end(self, number: int, frame: object = None) -> None:
        """Ask the engine's worker to end, by a signal; it has a few seconds to do so."""
        self.engine.send_signal(number)
        self.deadline = min(self.deadline, time.monotonic() + _GRACE)

    def close(self) -> None:
        """End all that is left."""
        self.engine.kill()  # which has ended, unless something went wrong here
        self.engine.wait()
        while self.listen_to_engine():
            pass
        for slot in self.slots:
            slot.sandbox.close()


_PHRASES: Sequence[tuple[str, str]] = (
    (r'connected to manager (\S+) via', r'connected to the driver at \1; Ctrl-C ends this worker'),
    (r'disconnected from manager (\S+)', r'the driver at \1 has gone, or let this worker go'),
    (
        r'wrong password for manager (\S+)',
        r'the driver at \1 has another password: this worker was started with the password of another search. Give the '
        'file that the driver was given (--password-file), or none, to find it by the name of the search',
    ),
    (
        r'this manager requires a password',
        'the driver wants a password: give the same --password-file as the driver, or only -M, the name of the search',
    ),
    (r'stopping: abort signal received', 'this worker ends'),
    (r'stopping: no other managers available', 'no driver to work for any more; this worker ends'),
    (r'stopping: (.*)', r'this worker ends: \1'),
    (r'(creating|deleting) workspace', ''),
    (r'using \d+ cores', ''),
)


def rephrase(line: str) -> str:
    """Say what the engine's worker says in words that tell what to do; empty for what nobody needs."""
    for pattern, phrase in _PHRASES:
        match = re.search(pattern, line)
        if match:
            return match.expand(phrase) if phrase else ''
    return line.strip()
