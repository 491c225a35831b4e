"""Which workers are connected: asked of the manager's own port, as its status program asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import attrs

from shadho.errors import ConfigurationError
from shadho.records import ComputeClass, Hardware

__all__ = ['Card', 'Connected', 'Roster', 'ask', 'converse', 'fetch', 'read_report', 'read_workers', 'trial_mark']

_IDENT = 'auth password sha1'
_PERIOD = 1.0
_SHARE = 20.0
"""Asking takes at most one part in so many of the time, however many workers there are,"""

_LONGEST = 5.0
"""unless that would be more seconds than this: workers that come and go change the plan."""

_MARK = 'SHADHO_TRIAL'

_MOST = 10**6
"""Cores, GPUs or GiB of a machine: whatever a worker says, each core may become a slot that is to be filled."""

_LONGEST_REPORT = 2**28


def trial_mark(trial: int) -> str:
    """Return what marks the command of a trial, for `read_workers` to find."""
    return f'{_MARK}={trial}'


@attrs.frozen
class Card:
    """What a worker of ours says of itself; it travels as the name of its architecture.

    Attributes
    ----------
    name : str
    hardware : Hardware
    python : str
        Major and minor version of the Python that runs its trials.
    feature : str
        What the engine's tasks ask for to be given to workers with this card's hardware.
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
    def decode(cls, text: str) -> Card | None:
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
class Connected:
    """A connected worker.

    Attributes
    ----------
    address : str
        Host and port of its connection, by which the engine tells workers apart.
    host : str
    card : Card or None
        None for a plain worker of the engine.
    hardware : Hardware
    disk : int
        MiB.
    running : tuple of int
        Trials that run there.
    """

    address: str
    host: str
    card: Card | None
    hardware: Hardware
    memory: int
    disk: int = attrs.field(eq=False)  # it shrinks and grows all the time
    running: tuple[int, ...] = attrs.field(default=(), eq=False)

    @property
    def name(self) -> str:
        return self.card.name if self.card is not None else self.host


def _makes_sense(hardware: Hardware) -> bool:
    """Whether there may be such a machine: its cores are slots, and each of its GPUs has a name."""
    names = all(isinstance(name, str) for name in (*hardware.gpus, hardware.cpu, *hardware.features))
    return names and max(hardware.cores, len(hardware.gpus), hardware.memory // 1024) <= _MOST


def read_workers(status: Any) -> list[Connected]:
    """Turn the manager's own report on its workers into records; one that makes no sense, or not yet, is left out."""
    entries = [entry for entry in status if isinstance(entry, Mapping)] if isinstance(status, list) else []
    found = [worker for worker in map(_read_worker, entries) if worker is not None]
    return sorted(found, key=lambda worker: worker.address)


def _read_worker(entry: Mapping[str, Any]) -> Connected | None:
    try:
        cores, memory, disk, gpus = (int(entry.get(f'{name}_total', 0)) for name in ('cores', 'memory', 'disk', 'gpus'))
    except (TypeError, ValueError, OverflowError):
        return None
    if not 1 <= cores <= _MOST or not 0 <= gpus <= _MOST or min(memory, disk) < 0:
        return None  # it has not said yet what it has
    plain = Hardware(cores, memory, ('gpu',) * gpus)
    card = Card.decode(str(entry.get('arch', '')))
    commands = [str(entry[key]) for key in entry if key.startswith('current_task_') and key.endswith('_command')]
    marks = (re.search(rf'\b{_MARK}=(\d{{1,18}})\b', command) for command in commands)
    running = tuple(int(mark[1]) for mark in marks if mark)
    hardware = plain if card is None else card.hardware
    address, host = str(entry.get('address_port', '')), str(entry.get('hostname', ''))
    return Connected(address, host, card, hardware, memory, disk, running) if _makes_sense(hardware) else None


def fetch(host: str, port: int, password: str, question: str, timeout: float = 10.0) -> bytes:
    """Return a manager's report as it is; see `ask`."""
    with socket.create_connection((host, port), timeout) as link:
        return converse(link, password, question)


def converse(link: socket.socket, password: str, question: str) -> bytes:
    """Return the answer to a question, on a connection to a manager; see `ask`.

    Raises
    ------
    PermissionError
        When the two do not know the same password.
    OSError
        When what listens there is no manager, or wants no password.
    """
    with link.makefile('rwb') as file:

        def say(text: str) -> None:
            file.write(text.encode() + b'\n')
            file.flush()

        def hear() -> str:
            return file.readline(4096).decode('utf-8', 'replace').rstrip('\n')

        def proof(challenge: str) -> str:
            return hashlib.sha1(f'{password} {challenge}'.encode()).hexdigest()

        say(_IDENT)
        if hear() != _IDENT:
            raise OSError('no manager that wants a password')
        own = secrets.token_hex(32)
        say(own)
        say(proof(hear()))
        if hear() != proof(own):
            say('failure')
            raise PermissionError('the manager does not know the password')
        say('ok')
        if hear() != 'ok':
            raise PermissionError('the manager refused the password')
        say(question)
        return file.read(_LONGEST_REPORT)


def ask(port: int, password: str, question: str = 'worker_status', timeout: float = 10.0) -> Any:
    """Ask a manager on this machine for a report.

    Parameters
    ----------
    port : int
    password : str
        Both sides prove that they know it; it is not sent.
    question : str, default 'worker_status'
    timeout : float, default 10.0
        Seconds.

    Raises
    ------
    OSError
        When the manager does not answer, or does not know the password.
    """
    try:
        return read_report(fetch('127.0.0.1', port, password, question, timeout))
    except (ValueError, RecursionError):
        raise OSError('the manager sent no report') from None


def read_report(text: bytes) -> Any:
    """Read a manager's report: JSON, but for single quotes, which the engine escapes."""
    return json.loads(text.replace(rb'\'', b"'"))


class Roster:
    """Keeps asking which workers are connected, in a thread of its own, since an answer may take a while.

    Attributes
    ----------
    workers : list of Connected
        As the last answer said.
    """

    def __init__(self, port: int, password: str) -> None:
        self.workers: list[Connected] = []
        self._port = port
        self._password = password
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name='shadho-workqueue-roster')
        self._thread.start()

    def _run(self) -> None:
        pause = 0.05
        while not self._ended.wait(pause):
            begun = time.monotonic()
            try:
                self.workers = read_workers(ask(self._port, self._password))
            except Exception:
                pause = _PERIOD  # the manager is busy, or gone, which the driver learns from its process
                continue
            pause = min(max(_PERIOD, _SHARE * (time.monotonic() - begun)), _LONGEST) if self.workers else 0.2

    def close(self) -> None:
        """Stop asking."""
        self._ended.set()
        self._thread.join(15.0)
