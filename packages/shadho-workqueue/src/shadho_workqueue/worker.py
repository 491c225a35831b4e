"""A worker: the engine's worker, told what it is and where its driver is, with our process beside it.

This process becomes the engine's worker, so that whoever stops or kills it means both.
"""

from __future__ import annotations

import json
import os
import secrets
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
from shadho.execution.reaper import MARK
from shadho.records import Hardware
from shadho_workqueue import warm
from shadho_workqueue.installation import HELP, find_program
from shadho_workqueue.meeting import keep_private
from shadho_workqueue.roster import Card

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
    """Turn this process into a worker of the engine, after starting the one beside it.

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
    card = Card(name, hardware, f'{sys.version_info.major}.{sys.version_info.minor}')
    token = secrets.token_hex(16)
    listener = socket.create_server(('127.0.0.1', 0))
    heard, words = os.openpty()  # into a pipe, the engine's worker would say what it does when it ends
    told, tell = os.pipe()
    setup = {
        'listener': listener.fileno(), 'token': token, 'words': heard, 'tell': tell, 'parent': os.getpid(), 'name': name,
    }  # fmt: skip
    beside = subprocess.Popen(
        [sys.executable, '-c', f'import sys; sys.path[:] = {sys.path}\nfrom {warm.__name__} import main; main()'],
        pass_fds=[listener.fileno(), heard, tell], stdin=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert beside.stdin is not None
    with beside.stdin as file:  # not as an argument, which everybody could read
        file.write(json.dumps(setup).encode())
    for number in (heard, tell):
        os.close(number)
    with os.fdopen(told) as answer:
        folder = answer.readline().strip()
    if not folder:
        raise BackendError('the process that runs trials could not start; see above')
    own = [
        '--cores', str(hardware.cores), '--gpus', str(len(hardware.gpus)), '-s', folder,
        '--feature', card.feature, '-A', card.encode(),
    ]  # fmt: skip
    if hardware.memory:
        own += ['--memory', str(hardware.memory)]
    if password is not None:
        keep_private(Path(folder) / 'password', password)
        own += ['-P', str(Path(folder) / 'password')]
    click.echo(f'worker {name}: {hardware}', err=True)
    os.environ[warm.VARIABLE] = f'{listener.getsockname()[1]}:{token}'
    os.environ[MARK] = folder
    os.dup2(words, 1)
    os.dup2(words, 2)
    os.execv(program, [program, *arguments, *own])
