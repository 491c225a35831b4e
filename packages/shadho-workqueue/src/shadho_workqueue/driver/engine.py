"""The driver's side of the engine: a manager in a process of its own, spoken to in lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from shadho.errors import BackendError
from shadho_worker.command import describe_exit, tail
from shadho_workqueue import manager
from shadho_workqueue.installation import HELP, find_bindings

__all__ = ['Engine']

_START = 60.0
_CHUNK = 2**16


class Engine:
    """A running manager.

    Parameters
    ----------
    **options : Any
        What `manager.Manager.create` wants.

    Attributes
    ----------
    pid : int
        Of the manager's process.
    port : int
        Where it listens.
    ssl : bool
    reports_workers : bool
        Whether it tells of the connected workers by itself.

    Raises
    ------
    BackendError
        When there are no bindings of the engine, or the manager cannot start.
    """

    def __init__(self, **options: Any) -> None:
        bindings = find_bindings()
        if bindings is None:
            raise BackendError(f'no Python here can load the bindings of Work Queue; {HELP}')
        self._log = tempfile.TemporaryFile()
        self._read = 0
        self._seen = 0
        self._received: list[bytes] = []
        self._unsent = bytearray()
        self._news: deque[dict[str, Any]] = deque()
        self._process = subprocess.Popen(
            [bindings.python, manager.__file__, json.dumps(options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0,
            start_new_session=True,  # Ctrl-C is the driver's to handle
        )  # fmt: skip
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        answer = self._next(_START)
        if answer is None or answer['say'] != 'ready':
            self.kill()
            said = answer['message'] if answer else f'it did not start within {_START:g} s'
            raise BackendError(f'the Work Queue manager could not start: {said}{self._hint(options, said)}')
        self.pid = self._process.pid
        self.port: int = answer['port']
        self.ssl: bool = answer['ssl']
        self.reports_workers: bool = answer['reports']

    def _hint(self, options: dict[str, Any], said: str) -> str:
        if options['port'] and 'port' in said:
            return f'. Is port {options["port"]} taken, by another search perhaps? Give another one, or 0 for any'
        return ''

    def send(self, **message: Any) -> None:
        """Send a command to the manager, with the next ones perhaps: `wait` sends what is left."""
        self._unsent += json.dumps(message).encode() + b'\n'
        if len(self._unsent) >= _CHUNK:
            self._exchange(0.0)

    def wait(self, timeout: float | None) -> Iterator[dict[str, Any]]:
        """Yield news as soon as there is any, after at most so many seconds (None: no limit)."""
        self.send(do='wait', seen=self._seen)
        message = self._next(timeout)
        while message is not None:
            self._seen += message['say'] != 'workers'
            yield message
            message = self._next(0.0)

    def _next(self, timeout: float | None) -> dict[str, Any] | None:
        until = None if timeout is None else time.monotonic() + timeout
        while self._unsent or not self._news:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not self._exchange(0.0 if self._news else left):
                break
        return self._news.popleft() if self._news else None

    def _exchange(self, timeout: float | None) -> bool:
        """Write and read what the pipes take and hold; return whether that was anything within so many seconds.

        Writing never blocks: the manager, which might be writing to a full pipe itself, would not read.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        readable, writable, _ = select.select([stdout], [stdin] if self._unsent else [], [], timeout)
        if writable:
            try:
                del self._unsent[: os.write(stdin.fileno(), self._unsent[:_CHUNK])]
            except OSError:
                self._fail()
        if readable:
            received = os.read(stdout.fileno(), _CHUNK)
            if not received:
                self._fail()
            self._take(received)
        return bool(readable or writable)

    def _take(self, received: bytes) -> None:
        """Add to what was received; a message is a line, and may be long."""
        self._received.append(received)
        if b'\n' in received:
            *lines, rest = b''.join(self._received).split(b'\n')
            self._received = [rest]
            self._news.extend(map(json.loads, lines))

    def _fail(self) -> None:
        status = self._process.wait()
        raise BackendError(
            f'the Work Queue manager ended unexpectedly ({describe_exit(status)}); its last words: '
            f'{tail(self._log.fileno()).strip() or "none"}. All that was recorded is kept: run the script again, and the search goes on'
        )

    def notices(self) -> list[str]:
        """Return what the manager has printed since the last call, line by line."""
        whole, newline, _ = os.pread(self._log.fileno(), 2**20, self._read).rpartition(b'\n')
        self._read += len(whole + newline)
        return whole.decode('utf-8', 'replace').splitlines()

    def close(self, shutdown: bool) -> bool:
        """End the manager; with `shutdown`, its workers too.

        Returns
        -------
        bool
            Whether its workers were told to end, which they are not when the manager has ended before.
        """
        if self._process.poll() is None:
            with contextlib.suppress(BackendError, subprocess.TimeoutExpired):
                self.send(do='close', shutdown=shutdown)
                self._process.communicate(bytes(self._unsent), timeout=20.0)
        told = shutdown and self._process.returncode == 0
        self.kill()
        return told

    def kill(self) -> None:
        """End the manager at once."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._log):
            assert file is not None
            with contextlib.suppress(OSError):
                file.close()
