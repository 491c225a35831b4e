"""The engine's factory, which keeps jobs of most batch systems running, and what it says about that."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator

from shadho.errors import BackendError
from shadho.hardware.machine import usable_cpus
from shadho_worker.command import describe_exit
from shadho_workqueue.installation import HELP, find_program
from shadho_workqueue.pool.jobs import Jobs, Setup
from shadho_workqueue.rendezvous import keep_private
from shadho_workqueue.reports import fetch, read_report
from shadho_workqueue.worker.output import unstamped

__all__ = ['Factory']

_QUESTIONS = ('queue_status',)
"""What the factory asks; whoever else asks hears no more, as it need not say the password."""

_AGAIN = 60.0
"""Seconds after which the same words of the factory are passed on again."""

_REFUSED = re.compile(r'submission failed|failed to submit|couldn.t submit|couldn.t open logfile condor')
_STARTED = re.compile(r'\|submitted: [1-9]')
_NOISE = re.compile(
    r'\|submitted: |^PROJECT\s+HOST|^\S+\s+\S+(\s+\d+){5}$|received abort signal|removing \d+ workers|all workers removed|'
    r"couldn't (connect to|read)"  # the driver, whose absence is mentioned elsewhere
)

_MEMORY = {
    'pbs': '-l mem={total}mb', 'torque': '-l mem={total}mb', 'sge': '-l h_vmem={share}M', 'lsf': '-M {total}MB',
}  # fmt: skip
"""How to ask for memory (MiB): some releases of the engine write it in two words, and nothing is ever submitted."""


class Factory(Jobs):
    """Jobs that the engine's factory submits and counts.

    Raises
    ------
    BackendError
        When the factory is not installed.
    """

    def __init__(self, setup: Setup) -> None:
        program = find_program('work_queue_factory')
        if program is None:
            raise BackendError(f'the program work_queue_factory was not found; {HELP}')
        self._say = setup.say
        self._batch = setup.pool.batch
        self._stack = contextlib.ExitStack()
        self._rest = b''
        self._words: list[str] = []  # since the last attempt to submit
        self._told: dict[str, float] = {}
        self._has_started = False
        address = setup.driver.address
        if setup.driver.is_direct and setup.driver.password is not None:
            address = ('127.0.0.1', str(self._stack.enter_context(_proxy(setup))))
        self._heard, words = os.openpty()  # into a pipe, it would say what it does when it ends
        self._stack.callback(os.close, self._heard)
        os.set_blocking(self._heard, False)
        # In a group of its own, as Ctrl-C must reach it once only: at the second one it leaves its jobs behind.
        self._process = subprocess.Popen(
            [program, *_options(setup), *address],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
        os.close(words)

    def tend(self, wanted: bool) -> None:
        status = self._process.poll()
        for line in self._lines():
            self._take(line)
        if status is not None:
            raise BackendError(
                f'work_queue_factory ended ({describe_exit(status)}): {" / ".join(self._words[-5:]) or "it said nothing"}'
            )

    def _lines(self) -> list[str]:
        received = b''
        with contextlib.suppress(OSError):  # there is nothing to read, or never will be
            while chunk := os.read(self._heard, 2**16):
                received += chunk
        *lines, self._rest = (self._rest + received).split(b'\n')
        return [unstamped(line) for line in lines]

    def _take(self, line: str) -> None:
        self._has_started = self._has_started or bool(_STARTED.search(line))
        if _REFUSED.search(line):
            reason = ' / '.join(self._words) or line
            self._words.clear()
            if not self._has_started:
                raise BackendError(
                    f'{self._batch} refused the job: {reason}. See --batch-options, and what the workers are to offer'
                )
            self._tell(f'a job was refused: {reason}')
        elif line and not _NOISE.search(line):
            self._words.append(line)
            if self._has_started:
                self._tell(line)

    def _tell(self, text: str) -> None:
        if time.monotonic() >= self._told.get(text, 0.0):
            self._told[text] = time.monotonic() + _AGAIN
            self._say(text)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # it takes its jobs back
            while self._process.poll() is None:
                self._lines()  # or it waits for its terminal
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.05)
        self._stack.close()


def _options(setup: Setup) -> list[str]:
    pool, driver = setup.pool, setup.driver
    stub = setup.script(keeps_log=setup.has_shared_folder)
    options = [
        '-T', pool.batch, '-w', str(pool.least), '-W', str(max(pool.least, pool.most)), '-S', str(setup.folder / 'scratch'),
        '--worker-binary', str(stub), '--extra-options', shlex.join([*driver.options, '--parent-death']), '--parent-death',
    ]  # fmt: skip
    memory = _MEMORY.get(pool.batch)
    asked = [
        ('--cores', pool.cores),
        ('--gpus', pool.gpus and len(pool.gpus)),
        ('--memory', None if memory else pool.memory),
    ]
    for option, amount in asked:
        options += [option, str(amount)] if amount else []
    batch_options = pool.batch_options
    if memory and pool.memory:
        request = memory.format(total=pool.memory, share=max(1, pool.memory // (pool.cores or 1)))
        batch_options = f'{request} {batch_options}'.strip()
    if batch_options:
        options += ['-B', batch_options]
    if driver.password is not None and not setup.has_shared_folder:
        keep_private(setup.folder / 'password', driver.password)
        options += ['-P', str(setup.folder / 'password')]
    return options


@contextlib.contextmanager
def _proxy(setup: Setup) -> Iterator[int]:
    """Answer the factory's questions about the manager, whose password the factory cannot say; yield the port.

    The factory starts as many workers as there are tasks waiting. A driver suggests no more trials than
    there are slots, yet has always more to suggest; so it is said to have work for the whole pool.
    """
    work = setup.pool.most * max(1, setup.pool.cores or len(usable_cpus()))

    class Handler(socketserver.StreamRequestHandler):
        timeout = 10.0

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                question = self.rfile.readline(4096).decode('ascii', 'replace').strip()
                if question not in _QUESTIONS:
                    return
                (host, port), password = setup.driver.address, setup.driver.password
                report = read_report(fetch(host, int(port), password or '', question))
                for entry in report:
                    entry['tasks_waiting'] = max(work, entry.get('tasks_waiting', 0))
                self.wfile.write(json.dumps(report).encode())

    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True, name='shadho-workqueue-proxy').start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
