"""A worker: the engine's worker, told what it is and where its driver is, and this process, which runs its trials.

Whoever ends this process ends both: the engine's worker is asked to end, and killed when it does not,
as it hears nobody while it waits for a manager that hangs. It ends too when this process is killed.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs
import click

from shadho.errors import BackendError
from shadho.execution.hardware import probe
from shadho.execution.limits import allow_open_files
from shadho.execution.reaper import MARK
from shadho.execution.sessions import Reaper
from shadho.records import Hardware
from shadho_workqueue.installation import HELP, find_program
from shadho_workqueue.meeting import keep_private
from shadho_workqueue.roster import Card
from shadho_workqueue.warm import FILES_OF_SLOT, VARIABLE, Server

__all__ = ['become_worker', 'detect', 'worker_program']


def detect(
    cores: int | None = None, memory: int | None = None, gpus: Sequence[str] | None = None,
    features: Mapping[str, Any] | None = None,
) -> Hardware:  # fmt: skip
    """Return the hardware that a worker advertises: what is found here, but for what is given."""
    found = probe()
    return attrs.evolve(
        found,
        cores=found.cores if cores is None else cores,
        memory=found.memory if memory is None else memory,
        gpus=found.gpus if gpus is None else tuple(gpus),
        features={**found.features, **(features or {})},
    )


def worker_program() -> str:
    """Return the path of the engine's worker.

    Raises
    ------
    BackendError
        When there is none.
    """
    program = find_program('work_queue_worker')
    if program is None:
        raise BackendError(f'the program work_queue_worker was not found; {HELP}')
    return program


def become_worker(arguments: Sequence[str], hardware: Hardware, name: str, password: str | None) -> NoReturn:
    """Be a worker, until its engine's worker ends.

    Parameters
    ----------
    arguments : sequence of str
        For the engine's worker, such as the address of the manager.
    hardware : Hardware
        What to advertise.
    name : str
        By which people know the worker.
    password : str or None
        None when the arguments hold a password file.
    """
    program = worker_program()
    try:
        allow_open_files(hardware.cores, FILES_OF_SLOT)
    except BackendError as error:  # trials may ask for several cores, so that there are fewer slots
        click.echo(f'Warning: {error}', err=True)
    card = Card(name, hardware, f'{sys.version_info.major}.{sys.version_info.minor}')
    reaper = Reaper()
    folder = str(reaper.folder)
    own = [
        '--cores', str(hardware.cores), '--gpus', str(len(hardware.gpus)), '-s', folder,
        '--feature', card.feature, '-A', card.encode(), '--parent-death',
    ]  # fmt: skip
    if hardware.memory:
        own += ['--memory', str(hardware.memory)]
    if password is not None:
        keep_private(Path(folder) / 'password', password)
        own += ['-P', str(Path(folder) / 'password')]
    click.echo(f'worker {name}: {hardware}', err=True)
    token = secrets.token_hex(16)
    listener = socket.create_server(('127.0.0.1', 0))
    heard, words = os.openpty()  # into a pipe, the engine's worker would say what it does when it ends
    known = {VARIABLE: f'{listener.getsockname()[1]}:{token}', MARK: folder}
    engine = subprocess.Popen(
        [program, *arguments, *own], env={**os.environ, **known}, stdout=words, stderr=words, preexec_fn=_end_with_parent
    )  # fmt: skip
    os.close(words)
    server = Server(engine, name, listener, token, reaper.folder, heard)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.end)
    try:
        server.run(os.getppid() if '--parent-death' in arguments else None)
    finally:
        server.close()
        reaper.close()
        click.echo(f'{server.served} trials were run here', err=True)
    sys.exit(engine.returncode)


def _end_with_parent() -> None:
    """Let the kernel kill this process at once when its parent is killed, lest it take trials that nobody runs."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
