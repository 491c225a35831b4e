"""What runs the trials of an engine's worker: each slot a sandbox, kept from trial to trial.

The engine starts a few lines of shell for each task. They connect to this process, say which folder
the task is in, and pass on the outcome that comes back. So no interpreter starts for a trial, and what
the objective imports is imported once for each slot. When the shell is killed, its connection ends,
and so does the trial; when the worker goes, or this process, all that they started goes with them.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs
import click

import shadho_worker
from shadho.errors import BackendError
from shadho.execution.sandbox import FILES, Pickled, Reported, Sandbox, pickle_objective
from shadho.hardware.machine import gpu_environment, visible_gpus
from shadho_worker.handle import TrialHandle
from shadho_worker.outcomes import Outcome
from shadho_worker.task import OUTCOME, REQUEST, place_folder, run_task, with_files
from shadho_workqueue.reach import Driver
from shadho_workqueue.worker.engine_worker import EngineWorker

__all__ = ['FILES_OF_SLOT', 'FolderCommand', 'TaskServer']

FILES_OF_SLOT = FILES + 1
"""Files that a slot keeps open: those of its sandbox, and the connection of its task."""

_LOOK = 0.5
_LOOK_FOR_DRIVER = 2.0
"""Seconds between looks at where the driver is now, while the worker is not connected."""

_LONGEST_REQUEST = 2**13
_MOST_ASKING = 64
_TIME_TO_ASK = 10.0  # seconds


@attrs.frozen
class FolderCommand:
    """A command as the objective of a sandbox: its folder comes with the parameters."""

    command: str
    loss_key: str
    inputs: Sequence[str]
    outputs: Sequence[str]

    def evaluate(self, params: tuple[str, str], trial: int, handle: TrialHandle | None = None) -> Outcome:
        """Run the command once, in the folder of its task."""
        folder, text = params
        return run_task(folder, text, self.command, self.loss_key, self.inputs, self.outputs, handle=handle)


@attrs.define(eq=False)
class _Slot:
    """A sandbox, what it was made for, and the trial that is in it, with its reports: the driver gets them at the end."""

    sandbox: Sandbox
    purpose: tuple[Any, ...]
    gpus: list[str]
    link: socket.socket | None = None
    folder: Path = Path()
    trial: int = -1
    outputs: Sequence[str] = ()
    reports: list[tuple[int, Mapping[str, Any], float]] = attrs.field(factory=list)  # with their times


class TaskServer:
    """Serves the tasks of the engine's worker, and ends it.

    Parameters
    ----------
    name : str
        By which people know the worker.
    listener : socket
        Where its tasks connect to.
    token : str
        By which they are known.
    folder : Path
        For sandboxes.
    """

    def __init__(self, name: str, listener: socket.socket, token: str, folder: Path) -> None:
        self.engine: EngineWorker | None = None
        self.ended = 0
        self.name = name
        self.listener = listener
        self.token = token
        self.folder = folder
        self.gpus = [device for device, _ in visible_gpus()]
        self.asking: dict[socket.socket, tuple[bytes, float]] = {}  # what each has said, and until when it may
        self.slots: list[_Slot] = []
        self.objectives: dict[str, IO[bytes]] = {}
        self.number = 0
        self.served = 0

    def run(
        self, engine: EngineWorker, moved: Callable[[], Driver | None], parent: int | None = None
    ) -> tuple[int, Driver | None]:
        """Serve until the engine's worker has ended.

        Parameters
        ----------
        engine : EngineWorker
        moved : callable
            Returns where its driver is, if that is no longer where the worker looks for it: then the worker is ended.
        parent : int, optional
            The worker is ended, too, when this is not the parent of this process.

        Returns
        -------
        tuple
            Its exit status, and where its driver has moved to.
        """
        self.engine = engine
        if self.ended:  # before there was anybody to tell
            engine.end(self.ended)
        place, looked = None, time.monotonic()
        while (status := engine.status) is None:
            if parent not in (None, os.getppid()):
                self.end(signal.SIGTERM)
            if place is None and not engine.is_connected and time.monotonic() > looked + _LOOK_FOR_DRIVER:
                place, looked = moved(), time.monotonic()
                if place is not None:
                    engine.end(signal.SIGTERM)
            poller = select.poll()
            links = [*self.asking, *[slot.link for slot in self.slots if slot.link is not None]]
            links += [self.listener] * (len(self.asking) < _MOST_ASKING)
            for number in [engine.fileno(), *[link.fileno() for link in links]]:
                poller.register(number, select.POLLIN)
            for slot in self.slots:
                for number in slot.sandbox.files():
                    poller.register(number, select.POLLIN)
            patience = max(0.0, min([_LOOK, *[slot.sandbox.patience for slot in self.slots]]))
            ready = {number for number, _ in poller.poll(patience * 1000)}
            engine.listen(engine.fileno() in ready)
            self.look(ready)
        self.engine = None
        engine.close()
        return status, None if self.ended else place

    def look(self, ready: set[int]) -> None:
        now = time.monotonic()  # before folders are packed, which may take long
        for slot in self.slots:
            if slot.link is not None and slot.link.fileno() in ready:
                self.stop(slot)  # nothing is sent while a trial runs: the connection has ended
            for news in slot.sandbox.news(ready):
                if isinstance(news, Reported):
                    slot.reports.append((news.step, news.results, time.monotonic()))
                else:
                    self.answer(slot, {**news.outcome, 'trial': news.trial, 'worker': self.name})
        for link in [link for link in self.asking if link.fileno() in ready]:
            self.hear(link)
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
                self.asking[link] = b'', time.monotonic() + _TIME_TO_ASK

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
            name, pickled = json.dumps(facts), pickle_objective(FolderCommand(*facts))
            params = (str(folder), request['params'])
        if name not in self.objectives:
            self.objectives[name] = file = tempfile.TemporaryFile()
            file.write(pickled)
            file.flush()
        place_folder(folder, request['handle'])
        slot = self.slot_for(name, request['resources'], request['max_tasks_per_child'], request['grace'])
        slot.sandbox.start(request['trial'], params, request['timeout'], request['handle'])
        slot.link, slot.folder, slot.trial, slot.outputs = link, folder, request['trial'], request['outputs']
        slot.reports = []

    def slot_for(
        self, objective: str, resources: Mapping[str, Any], max_tasks_per_child: int | None, grace: float
    ) -> _Slot:
        """Return an idle slot for this objective, these resources, trials per process and grace, or make one."""
        cores, gpus = max(1, int(resources.get('cores', 1))), resources.get('gpus')
        purpose = (objective, cores, gpus, max_tasks_per_child, grace)
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
            max_tasks_per_child=max_tasks_per_child, grace=grace,
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
            now = time.monotonic()
            reports = [(step, results, now - told) for step, results, told in slot.reports]
            self.send(link, slot.folder, {**with_files(outcome, slot.folder, slot.outputs), 'reports': reports})

    def send(self, link: socket.socket, folder: Path, outcome: Outcome) -> None:
        try:
            (folder / OUTCOME).write_text(json.dumps(outcome), encoding='ascii')
            link.sendall(b'\n')
        except OSError:
            pass  # the task was cancelled by the engine
        finally:
            link.close()

    def stop(self, slot: _Slot) -> None:
        assert slot.link is not None
        slot.link.close()
        slot.link = None
        slot.sandbox.stop(slot.trial, at_once=True)  # the engine removes the folder in which it would save

    def end(self, number: int, frame: object = None) -> None:
        """Let the engine's worker end, by a signal."""
        self.ended = number
        if self.engine is not None:
            self.engine.end(number)

    def close(self) -> None:
        """End all that is left."""
        if self.engine is not None:  # something went wrong here
            self.engine.close()
        for slot in self.slots:
            slot.sandbox.close()
