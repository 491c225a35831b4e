"""A worker: the engine's worker, told what it is and where its driver is, and this process, which runs its trials.

Whoever ends this process ends both: the engine's worker is asked to end, and killed when it does not,
as it hears nobody while it waits for a manager that hangs. It ends too when this process is killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs
import click

from shadho.errors import BackendError
from shadho.execution.limits import allow_open_files
from shadho.execution.sessions import Reaper
from shadho.hardware.machine import probe
from shadho.records import Hardware
from shadho.words import counted, printable
from shadho_worker.reaper import MARK
from shadho_workqueue.installation import HELP, find_program, version_of
from shadho_workqueue.reach import Driver, Place, Watch
from shadho_workqueue.rendezvous import keep_private
from shadho_workqueue.shell import VARIABLE
from shadho_workqueue.worker.engine_worker import EngineWorker
from shadho_workqueue.worker.server import FILES_OF_SLOT, TaskServer
from shadho_workqueue.worker_info import WorkerInfo

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


def become_worker(
    driver: Driver,
    hardware: Hardware,
    name: str,
    find: Callable[[], Driver | None] | None = None,
    ends_with_parent: bool = False,
) -> NoReturn:
    """Be a worker, until its engine's worker ends.

    Parameters
    ----------
    driver : Driver
    hardware : Hardware
        What to advertise.
    name : str
        By which people know the worker.
    find : callable, optional
        Returns where the driver is now, when it may be started again elsewhere.
    ends_with_parent : bool, default False
        Whether to end when the parent process does.
    """
    program = worker_program()
    try:
        allow_open_files(hardware.cores, FILES_OF_SLOT)
    except BackendError as error:  # trials may ask for several cores, so that there are fewer slots
        click.echo(f'Warning: {error}', err=True)
    info = WorkerInfo(name, hardware, f'{sys.version_info.major}.{sys.version_info.minor}')
    reaper = Reaper()
    own = [
        '--cores', str(hardware.cores), '--gpus', str(len(hardware.gpus)), '-s', str(reaper.folder),
        '--feature', info.feature, '-A', info.encode(), '--parent-death',
    ]  # fmt: skip
    if hardware.memory:
        own += ['--memory', str(hardware.memory)]
    click.echo(f'worker {name}: {hardware}', err=True)
    token = secrets.token_hex(16)
    listener = socket.create_server(('127.0.0.1', 0))
    server = TaskServer(name, listener, token, reaper.folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.end)
    known = {VARIABLE: f'{listener.getsockname()[1]}:{token}', MARK: str(reaper.folder)}
    parent = os.getppid() if ends_with_parent else None
    place: Driver | None = driver
    status = 0
    try:
        while place is not None:
            command = [program, *place.address, *place.options, *own, *_password(place, reaper.folder)]
            watch = Watch(Place.of(place, version_of(program)), _say, _patience(place))
            engine = EngineWorker(command, {**os.environ, **known}, _say, watch)
            status, place = server.run(engine, _moved(find, place), parent)
    finally:
        server.close()
        reaper.close()
        click.echo(f'{counted(server.served, "trial")} {"was" if server.served == 1 else "were"} run here', err=True)
    sys.exit(status)


def _moved(find: Callable[[], Driver | None] | None, place: Driver) -> Callable[[], Driver | None]:
    """Return a function that tells where the driver is when that is no longer `place`; None while it is, or unknown."""

    def moved() -> Driver | None:
        with contextlib.suppress(BackendError):
            found = None if find is None else find()
            return None if found == place else found
        return None

    return moved


def _password(driver: Driver, folder: Path) -> list[str]:
    if driver.password is None:
        return []
    keep_private(folder / 'password', driver.password)
    return ['-P', str(folder / 'password')]


def _patience(driver: Driver) -> str:
    options = driver.options
    return f'; trying again (--idle-timeout {options[options.index("-t") + 1]} s)' if '-t' in options else ''


def _say(text: str) -> None:
    click.echo(printable(text), err=True)
