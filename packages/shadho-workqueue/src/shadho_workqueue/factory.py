"""Pools of workers as jobs of a batch system, which the engine's factory keeps running."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from shadho.errors import BackendError
from shadho_workqueue.installation import HELP, find_program
from shadho_workqueue.meeting import keep_private

__all__ = ['BATCH_SYSTEMS', 'Pool', 'become_pooled_worker', 'run_pool']

BATCH_SYSTEMS = ('local', 'slurm', 'condor', 'sge', 'pbs', 'torque', 'lsf', 'moab')


@attrs.frozen
class Pool:
    """Workers with the same hardware: one compute class.

    Attributes
    ----------
    batch : str
        One of `BATCH_SYSTEMS`.
    least, most : int
        How many workers.
    batch_options : str
        For the batch system.
    cores, memory, gpus, features
        What each worker asks the batch system for, and offers.
    """

    batch: str
    least: int
    most: int
    batch_options: str = ''
    cores: int | None = None
    memory: int | None = None
    gpus: Sequence[str] | None = None
    features: Mapping[str, Any] = attrs.field(factory=dict)


def run_pool(pool: Pool, address: Sequence[str], options: Sequence[str], password: str | None) -> NoReturn:
    """Keep a pool of workers running, until Ctrl-C or until the driver has gone.

    Parameters
    ----------
    pool : Pool
    address : sequence of str
        Of the manager, as the engine's worker wants it.
    options : sequence of str
        Further options of the engine's worker.
    password : str or None

    Raises
    ------
    BackendError
        When the engine's factory is not installed.
    """
    factory = find_program('work_queue_factory')
    if factory is None:
        raise BackendError(f'the program work_queue_factory was not found; {HELP}')
    # Most batch systems run a job in the folder that it was submitted from, which must be shared with the nodes.
    place = None if pool.batch in ('local', 'condor') else str(Path.cwd())
    with tempfile.TemporaryDirectory(prefix='.shadho-pool-', dir=place) as name:
        folder = Path(name)
        stub = folder / 'shadho-worker'
        stub.write_text(_stub(pool), encoding='utf-8')
        stub.chmod(0o755)
        command = [
            factory, '-T', pool.batch, '-w', str(pool.least), '-W', str(max(pool.least, pool.most)), '-S', str(folder / 'scratch'),
            '--worker-binary', str(stub), '--extra-options', shlex.join(options), '--parent-death',
        ]  # fmt: skip
        for option, amount in (
            ('--cores', pool.cores),
            ('--memory', pool.memory),
            ('--gpus', pool.gpus and len(pool.gpus)),
        ):
            command += [option, str(amount)] if amount else []
        if pool.batch_options:
            command += ['-B', pool.batch_options]
        if password is not None:
            keep_private(folder / 'password', password)
            command += ['-P', str(folder / 'password')]
        process = subprocess.Popen([*command, *address])
        try:
            sys.exit(process.wait())
        except KeyboardInterrupt:
            process.wait()  # it has got the signal too, and takes its jobs back
            sys.exit(130)


def _stub(pool: Pool) -> str:
    """Return a script that the factory takes for the engine's worker."""
    hardware = json.dumps({'gpus': pool.gpus and list(pool.gpus), 'features': dict(pool.features)})
    path = shlex.quote(os.pathsep.join(entry for entry in sys.path if entry))
    code = f'from shadho_workqueue.factory import become_pooled_worker as become; import sys; become({hardware!r}, sys.argv[1:])'
    return f'#!/bin/sh\nPYTHONPATH={path} exec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n'


def become_pooled_worker(hardware: str, arguments: Sequence[str]) -> NoReturn:
    """Turn a job of the batch system into a worker, with the arguments that the factory gives the engine's worker."""
    import argparse
    import socket

    from shadho_workqueue.worker import become_worker, detect

    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for option in ('--cores', '--memory', '--gpus'):
        parser.add_argument(option, type=lambda text: int(float(text)))  # such as 1.000
    known, others = parser.parse_known_args(arguments)
    given = json.loads(hardware)
    gpus = given['gpus'] if given['gpus'] is not None else ['gpu'] * known.gpus if known.gpus else None
    found = detect(known.cores or None, known.memory or None, gpus, given['features'])
    become_worker(others, found, socket.gethostname(), None)
