"""Which workers are connected, asked of the manager again and again."""

from __future__ import annotations

import threading
import time

from shadho_workqueue.reports import ask
from shadho_workqueue.worker_info import ConnectedWorker, read_workers

__all__ = ['WorkerList']

_PERIOD = 1.0
"""Seconds between two questions."""

_SHARE = 20.0
"""The period is at least this many times as long as an answer takes, which grows with the number of workers."""

_LONGEST = 5.0
"""Upper bound (s) on the period: workers that come and go change the plan."""


class WorkerList:
    """Keeps asking which workers are connected, in a thread of its own, since an answer may take a while.

    Attributes
    ----------
    workers : list of ConnectedWorker
        As the last answer said.
    """

    def __init__(self, port: int, password: str) -> None:
        self.workers: list[ConnectedWorker] = []
        self._port = port
        self._password = password
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name='shadho-workqueue-workers')
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
