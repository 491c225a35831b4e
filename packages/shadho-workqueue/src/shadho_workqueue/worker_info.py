"""What a worker says of itself, and what the manager reports of those that are connected."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

from shadho.errors import ConfigurationError
from shadho.records import ComputeClass, Hardware

__all__ = ['ConnectedWorker', 'WorkerInfo', 'read_workers', 'trial_mark']

_MARK = 'SHADHO_TRIAL'

_MOST = 10**6
"""Cores, GPUs or GiB of a machine: whatever a worker says, each core may become a slot that is to be filled."""


def trial_mark(trial: int) -> str:
    """Return what marks the command of a trial, for `read_workers` to find."""
    return f'{_MARK}={trial}'


@attrs.frozen
class WorkerInfo:
    """What a worker of ours says of itself; it travels as the name of its architecture.

    Attributes
    ----------
    name : str
    hardware : Hardware
    python : str
        Major and minor version of the Python that runs its trials.
    feature : str
        What the engine's tasks ask for to be given to workers with this hardware.
    """

    name: str
    hardware: Hardware
    python: str

    @property
    def feature(self) -> str:
        facts = json.dumps([attrs.asdict(self.hardware), self.python], sort_keys=True)
        return 'shadho-' + hashlib.sha256(facts.encode()).hexdigest()[:16]

    def encode(self) -> str:
        """Write it without spaces, which the engine's protocol does not allow."""
        return 'shadho:' + base64.urlsafe_b64encode(json.dumps(attrs.asdict(self)).encode()).decode()

    @classmethod
    def decode(cls, text: str) -> WorkerInfo | None:
        """Read what `encode` wrote; None when it is anything else, as a plain worker's architecture is."""
        if not text.startswith('shadho:'):
            return None
        try:
            data = json.loads(base64.urlsafe_b64decode(text[len('shadho:') :]))
            hardware = ComputeClass(hardware=data['hardware']).hardware
            own = cls(str(data['name']), hardware, str(data['python']))
        except (ValueError, KeyError, TypeError, RecursionError, ConfigurationError):
            return None
        return own if _makes_sense(hardware) else None


@attrs.frozen
class ConnectedWorker:
    """A connected worker.

    Attributes
    ----------
    address : str
        Host and port of its connection, by which the engine tells workers apart.
    host : str
    info : WorkerInfo or None
        None for a plain worker of the engine.
    hardware : Hardware
    disk : int
        MiB.
    running : tuple of int
        Trials that run there.
    """

    address: str
    host: str
    info: WorkerInfo | None
    hardware: Hardware
    memory: int
    disk: int = attrs.field(eq=False)  # it shrinks and grows all the time
    running: tuple[int, ...] = attrs.field(default=(), eq=False)

    @property
    def name(self) -> str:
        return self.info.name if self.info is not None else self.host


def _makes_sense(hardware: Hardware) -> bool:
    """Whether there may be such a machine: its cores are slots, and each of its GPUs has a name."""
    names = all(isinstance(name, str) for name in (*hardware.gpus, hardware.cpu, *hardware.features))
    return names and max(hardware.cores, len(hardware.gpus), hardware.memory // 1024) <= _MOST


def read_workers(status: Any) -> list[ConnectedWorker]:
    """Turn the manager's own report on its workers into records; one that makes no sense, or not yet, is left out."""
    entries = [entry for entry in status if isinstance(entry, Mapping)] if isinstance(status, list) else []
    found = [worker for worker in map(_read_worker, entries) if worker is not None]
    return sorted(found, key=lambda worker: worker.address)


def _read_worker(entry: Mapping[str, Any]) -> ConnectedWorker | None:
    try:
        cores, memory, disk, gpus = (int(entry.get(f'{name}_total', 0)) for name in ('cores', 'memory', 'disk', 'gpus'))
    except (TypeError, ValueError, OverflowError):
        return None
    if not 1 <= cores <= _MOST or not 0 <= gpus <= _MOST or min(memory, disk) < 0:
        return None  # it has not said yet what it has
    plain = Hardware(cores, memory, ('gpu',) * gpus)
    info = WorkerInfo.decode(str(entry.get('arch', '')))
    commands = [str(entry[key]) for key in entry if key.startswith('current_task_') and key.endswith('_command')]
    marks = (re.search(rf'\b{_MARK}=(\d{{1,18}})\b', command) for command in commands)
    running = tuple(int(mark[1]) for mark in marks if mark)
    hardware = plain if info is None else info.hardware
    address, host = str(entry.get('address_port', '')), str(entry.get('hostname', ''))
    return ConnectedWorker(address, host, info, hardware, memory, disk, running) if _makes_sense(hardware) else None
