"""A backend for SHADHO: trials run in threads of the process of the search."""

from __future__ import annotations

import os
import queue
import socket
from concurrent.futures import Future, ThreadPoolExecutor

from shadho import ComputeClass, Hardware, hookimpl
from shadho.backends import Backend, Job
from shadho.errors import ConfigurationError
from shadho.records import Result


class Threads(Backend):
    """Runs functions in a pool of threads.

    Parameters
    ----------
    workers : int, optional
        Threads; by default as many as the machine has CPUs.
    """

    name = 'threads'

    def __init__(self, workers=None):
        self._workers = workers or os.cpu_count() or 1
        self._pool = None
        self._futures: dict[tuple[int, int], Future] = {}  # by trial and attempt
        self._results: queue.SimpleQueue = queue.SimpleQueue()

    @classmethod
    def affinity(cls, job: Job) -> int:
        """Only by name: for most objectives, processes are faster and safer."""
        return -1 if job.is_command or job.trial_timeout is not None else 0

    def open(self, job):
        if self.affinity(job) < 0:
            raise ConfigurationError("backend='threads' runs functions, and cannot end a trial after trial_timeout")
        self._job = job
        self._results = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(self._workers, 'shadho')
        hardware = Hardware(cores=os.cpu_count() or 1)
        self._classes = [ComputeClass('threads', self._workers, hardware, {'cores': 1, **job.resources})]

    def close(self):
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self._futures.clear()

    def discover(self):
        return self._classes

    def start(self, trial):
        self._futures[trial.id, trial.attempt] = self._pool.submit(self._evaluate, trial, self._results)

    def stop(self, trial):
        future = self._futures.pop((trial.id, trial.attempt), None)
        if future is not None:
            future.cancel()

    def poll(self, timeout):
        results = []
        try:
            if self._futures:
                results.append(self._results.get(timeout=timeout))
            while True:
                results.append(self._results.get_nowait())
        except queue.Empty:
            pass
        # What is not in `_futures` any more was stopped while it ran.
        return [result for result in results if self._futures.pop((result.trial, result.attempt), None) is not None]

    def _evaluate(self, trial, results):
        started = self.now()
        outcome = self._job.objective.evaluate(trial.params, trial.id)
        times = {'started': started, 'finished': self.now(), 'seconds': outcome['seconds']}
        results.put(Result.of(trial.id, outcome, host=socket.gethostname(), attempt=trial.attempt, **times))


@hookimpl
def shadho_register_backends() -> list[type[Backend]]:
    return [Threads]
