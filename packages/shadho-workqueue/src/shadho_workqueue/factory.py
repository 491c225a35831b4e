"""Pools of workers as jobs of a batch system, which the engine's factory keeps running."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from shadho.errors import BackendError
from shadho.execution.hardware import usable_cpus
from shadho_workqueue.installation import HELP, find_program
from shadho_workqueue.meeting import keep_private
from shadho_workqueue.roster import fetch, read_report

__all__ = ['BATCH_SYSTEMS', 'Pool', 'become_pooled_worker', 'run_pool']

BATCH_SYSTEMS = ('local', 'slurm', 'condor', 'sge', 'pbs', 'torque', 'lsf', 'moab')

_LOOK = 1.0
_QUESTIONS = ('queue_status',)
"""What the factory asks; whoever else asks hears no more, as it need not say the password."""

_ABSENCE = 600
"""Seconds without a driver after which a pool ends; a driver that crashed may be started again before."""


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


def run_pool(
    pool: Pool, address: Sequence[str], options: Sequence[str], password: str | None, is_over: Callable[[], bool]
) -> NoReturn:
    """Keep a pool of workers running, until Ctrl-C, SIGTERM, or the end of the search.

    Parameters
    ----------
    pool : Pool
    address : sequence of str
        Of the manager, as the engine's worker wants it: host and port, or options for a catalog.
    options : sequence of str
        Further options of the engine's worker.
    password : str or None
    is_over : callable
        Tells whether the search has ended.

    Raises
    ------
    BackendError
        When the engine's factory is not installed.
    """
    factory = find_program('work_queue_factory')
    if factory is None:
        raise BackendError(f'the program work_queue_factory was not found; {HELP}')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_direct = not address[0].startswith('-')
    # Most batch systems run a job in the folder that it was submitted from, which must be shared with the nodes.
    place = None if pool.batch in ('local', 'condor') else str(Path.cwd())
    with tempfile.TemporaryDirectory(prefix='.shadho-pool-', dir=place) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        stub = folder / 'shadho-worker'
        stub.write_text(_stub(pool, list(address) if is_direct else None), encoding='utf-8')
        stub.chmod(0o755)
        command = [
            factory, '-T', pool.batch, '-w', str(pool.least), '-W', str(max(pool.least, pool.most)), '-S', str(folder / 'scratch'),
            '--worker-binary', str(stub), '--extra-options', shlex.join([*options, '--parent-death']), '--parent-death',
            '--factory-timeout', str(_ABSENCE),
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
        if is_direct and password is not None:
            address = ['127.0.0.1', str(stack.enter_context(_door(address[0], int(address[1]), password, pool)))]
        # In a group of its own, as Ctrl-C must reach it once only: at the second one it leaves its jobs behind.
        process = subprocess.Popen([*command, *address], start_new_session=True)
        status = 0
        try:
            while process.poll() is None and not is_over():
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            status = 130
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # it takes its jobs back
        sys.exit(process.wait() or status)


@contextlib.contextmanager
def _door(host: str, port: int, password: str, pool: Pool) -> Iterator[int]:
    """Answer the factory's questions about the manager, whose password the factory cannot say; yield the port.

    The factory starts as many workers as there are tasks waiting. A driver suggests no more trials than
    there are slots, yet has always more to suggest; so it is said to have work for the whole pool.
    """
    work = pool.most * max(1, pool.cores or len(usable_cpus()))

    class Handler(socketserver.StreamRequestHandler):
        timeout = 10.0

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                question = self.rfile.readline(4096).decode('ascii', 'replace').strip()
                if question not in _QUESTIONS:
                    return
                report = read_report(fetch(host, port, password, question))
                for entry in report:
                    entry['tasks_waiting'] = max(work, entry.get('tasks_waiting', 0))
                self.wfile.write(json.dumps(report).encode())

    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True, name='shadho-workqueue-door').start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


def _stub(pool: Pool, address: list[str] | None) -> str:
    """Return a script that the factory takes for the engine's worker."""
    job = json.dumps({'gpus': pool.gpus and list(pool.gpus), 'features': dict(pool.features), 'address': address})
    found = [entry for entry in sys.path if entry]
    code = (
        f'import sys; sys.path[:] = {found}\n'
        f'from shadho_workqueue.factory import become_pooled_worker as become; become({job!r}, sys.argv[1:])'
    )
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n'


def become_pooled_worker(job: str, arguments: Sequence[str]) -> NoReturn:
    """Turn a job of the batch system into a worker, with the arguments that the factory gives the engine's worker."""
    import argparse
    import socket

    from shadho_workqueue.worker import become_worker, detect

    given = json.loads(job)
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for option in ('--cores', '--memory', '--gpus'):
        parser.add_argument(option, type=lambda text: int(float(text)))  # such as 1.000
    if given['address'] is not None:  # neither the door of the factory, nor the public catalog that it names
        parser.add_argument('-C')
        arguments = [*given['address'], *arguments[2:]]
    known, others = parser.parse_known_args(arguments)
    gpus = given['gpus'] if given['gpus'] is not None else ['gpu'] * known.gpus if known.gpus else None
    found = detect(known.cores or None, known.memory or None, gpus, given['features'])
    become_worker(others, found, socket.gethostname(), None)
