"""The engine's worker, as a child of this process: started, listened to, and ended."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from shadho_workqueue.reach import Watch
from shadho_workqueue.worker.output import WorkerOutput

__all__ = ['EngineWorker']

_GRACE = 5.0  # seconds; the engine lets a task live for three before it kills it


class EngineWorker:
    """A running worker of the engine.

    Parameters
    ----------
    command : sequence of str
    environment : mapping
    say : callable
        Shows the user what it prints.
    watch : Watch
        To be told whether it is connected.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None], watch: Watch
    ) -> None:
        self._heard, words = os.openpty()  # into a pipe, it would print what it does when it ends
        self._process = subprocess.Popen(
            command, env=environment, stdout=words, stderr=words, preexec_fn=_end_with_parent
        )
        os.close(words)
        self._words = WorkerOutput(self._heard, say, watch)
        self._watch = watch
        self._deadline = math.inf

    def fileno(self) -> int:
        return self._heard

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended; it is killed here when it should have."""
        if time.monotonic() > self._deadline:
            self._process.kill()
        return self._process.poll()

    @property
    def is_connected(self) -> bool:
        return self._watch.is_settled

    def listen(self, ready: bool) -> None:
        """Pass on what it has printed."""
        if ready:
            self._words.read()
        self._words.settle()

    def end(self, number: int) -> None:
        """Ask it to end, by a signal; it has a few seconds to do so."""
        self._process.send_signal(number)
        self._deadline = min(self._deadline, time.monotonic() + _GRACE)

    def close(self) -> None:
        """End it, if it has not ended."""
        self._watch.close()
        self._process.kill()
        self._process.wait()
        self._words.close()
        os.close(self._heard)


def _end_with_parent() -> None:
    """Let the kernel kill this process at once when its parent is killed, lest it take trials that nobody runs."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
