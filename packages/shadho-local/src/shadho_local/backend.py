"""The local backend: one sandbox for each slot."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

import attrs

from shadho import ComputeClass, Trial
from shadho.backends import Answer, Backend, Job
from shadho.checks import as_integer
from shadho.errors import BackendError, ConfigurationError
from shadho.execution.sandbox import Ended, Reported, pickle_objective
from shadho.execution.sandbox_pool import SandboxPool
from shadho.hardware.classes import check_classes, form_classes
from shadho.hardware.machine import probe
from shadho.records import Report, Result

__all__ = ['Local']


class Local(Backend):
    """Runs trials in parallel on this machine, each slot in a process of its own.

    A trial that crashes, hangs or exits fails alone. Trials see one GPU each where there are GPUs,
    and numerical libraries use as many threads as a trial asks for cores.

    Parameters
    ----------
    workers : int, optional
        Slots; by default as many as the machine's usable cores (respecting affinity and a
        container's quota), memory and GPUs allow for what each trial asks for.
    classes : sequence of ComputeClass, optional
        Unequal slots on one machine, instead of what is probed: each class has as many slots as it
        says, and a trial there asks for the class's `resources`.
    pin : bool, optional
        Pin every slot to CPUs of its own; by default when the slots fill the machine, so that two
        small searches beside each other do not share a CPU while others idle.
    """

    name = 'local'
    queues_ahead = True
    has_folders = True

    def __init__(
        self, workers: int | None = None, *, classes: Sequence[ComputeClass] | None = None, pin: bool | None = None
    ) -> None:
        if workers is not None and (as_integer(workers) or 0) < 1:
            raise ConfigurationError(f'Local(): workers must be an integer of 1 or more; got {workers!r}')
        if workers is not None and classes is not None:
            raise ConfigurationError(
                'Local(): give workers or classes, not both; the slots of the classes are the workers'
            )
        if pin is not None and not isinstance(pin, bool):
            raise ConfigurationError(f'Local(): pin must be True, False or None; got {pin!r}')
        self._workers = as_integer(workers)
        self.classes = None if classes is None else check_classes('Local', classes)
        self.pin = pin
        self._pool: SandboxPool | None = None
        self._attempts: dict[int, int] = {}  # numbers of those that run, by their trials
        self._host = socket.gethostname()

    @classmethod
    def affinity(cls, job: Job) -> int:
        return 1

    @classmethod
    def check(cls) -> str:
        cores = probe().cores
        return f'{cores} trial{"s" if cores != 1 else ""} of one core at once, each in a process of its own'

    def open(self, job: Job) -> None:
        objective = pickle_objective(job.objective)
        self._job = job
        self._attempts = {}
        self._discovered = self._form_classes(job)
        if not any(own.slots for own in self._discovered):
            raise BackendError(
                f'no trial fits on this machine ({self._discovered[0].hardware}): each asks for '
                f'{dict(self._discovered[0].resources)}; ask for less with resources='
            )
        self._pool = SandboxPool(
            objective, self._discovered, pin=self.pin, max_tasks_per_child=job.max_tasks_per_child,
            hears=job.objective.takes_trial, grace=job.grace,
        )  # fmt: skip

    def _form_classes(self, job: Job) -> list[ComputeClass]:
        if self.classes is not None:
            return [
                attrs.evolve(own, resources={**own.resources, **job.resources}) if job.resources else own
                for own in self.classes
            ]
        hardware = probe()
        (own,) = form_classes([hardware], job.classes, job.resources)
        return [own if self._workers is None else attrs.evolve(own, slots=self._workers)]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def discover(self) -> Sequence[ComputeClass]:
        return self._discovered

    def start(self, trial: Trial) -> None:
        assert self._pool is not None
        self._attempts[trial.id] = trial.attempt
        facts = self._job.facts(trial)
        self._pool.start(trial.id, trial.compute_class, trial.params, self._job.trial_timeout, facts)

    def answer(self, trial: Trial, answer: Answer) -> None:
        assert self._pool is not None
        self._pool.answer(trial.id, trial.attempt, attrs.asdict(answer))

    def stop(self, trial: Trial) -> None:
        assert self._pool is not None
        self._attempts.pop(trial.id, None)
        self._pool.stop(trial.id)

    def hurry(self) -> None:
        if self._pool is not None:
            self._pool.hurry()

    def poll(self, timeout: float | None) -> Sequence[Report | Result]:
        assert self._pool is not None
        now = time.monotonic
        return [
            Report(*news, now()) if isinstance(news, Reported) else self._result(news)
            for news in self._pool.poll(timeout)
        ]

    def _result(self, ended: Ended) -> Result:
        trial, begun, outcome = ended
        return Result.of(
            trial, outcome, started=begun, finished=time.monotonic(), seconds=outcome['seconds'], host=self._host,
            output=outcome['output'], attempt=self._attempts.pop(trial),
        )  # fmt: skip
