"""The reference backend: one trial at a time, in this very process."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from shadho.backends.base import Backend, Job
from shadho.errors import ConfigurationError
from shadho.hardware.machine import probe
from shadho.records import ComputeClass, Report, Result, Trial
from shadho_worker.handle import TrialHandle

__all__ = ['Inline']


class Inline(Backend):
    """Evaluates trials one after another in this process, without protection from crashes."""

    name = 'inline'
    has_folders = True

    def __init__(self) -> None:
        self._waiting: deque[Trial] = deque()
        self._host = socket.gethostname()

    @classmethod
    def affinity(cls, job: Job) -> int:
        return 1 if job.trial_timeout is job.max_tasks_per_child is None else -1

    @classmethod
    def check(cls) -> str:
        return 'one trial after another, in the process of the search'

    def open(self, job: Job) -> None:
        if job.trial_timeout is not None:
            raise ConfigurationError(
                "backend='inline' cannot end a trial after trial_timeout, because it runs in the process of the search; "
                "use backend='local', of the package shadho-local"
            )
        if job.max_tasks_per_child is not None:
            raise ConfigurationError(
                "backend='inline' cannot start new processes, as max_tasks_per_child asks for: it runs trials in the process "
                "of the search; use backend='local', of the package shadho-local"
            )
        self._job = job
        hardware = probe()
        self._classes = [ComputeClass('inline', 1, hardware, {'cores': 1, **job.resources})]

    def close(self) -> None:
        self._waiting.clear()

    def discover(self) -> Sequence[ComputeClass]:
        return self._classes

    def start(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def stop(self, trial: Trial) -> None:
        self._waiting = deque(other for other in self._waiting if other.id != trial.id)

    def poll(self, timeout: float | None) -> Sequence[Result]:
        if not self._waiting:
            return []
        trial = self._waiting[0]  # it stays there while it runs, for the case of an interrupt
        started = self.now()
        facts = self._job.facts(trial)
        handle = None if facts is None else TrialHandle(facts, lambda *report: self._tell(trial, *report))
        outcome = self._job.objective.evaluate(trial.params, trial.id, handle)
        self._waiting.popleft()
        when = {'seconds': outcome['seconds'], 'output': outcome.get('output', '')}
        return [
            Result.of(
                trial.id, outcome, started=started, finished=self.now(), host=self._host, attempt=trial.attempt, **when
            )
        ]

    def _tell(self, trial: Trial, step: int, results: Mapping[str, Any], waits: bool) -> Mapping[str, Any] | None:
        if self.hear is None:
            return {'leave': 'paused'} if waits else None
        answer = self.hear(Report(trial.id, trial.attempt, step, results, self.now()))
        return {'until': answer.until, 'leave': answer.leave}
