"""The local backend: one sandbox for each slot."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Sequence
from itertools import count, cycle, islice

import attrs

from shadho import ComputeClass, Trial
from shadho.backends import Backend, Job
from shadho.errors import BackendError, ConfigurationError
from shadho.execution import sandbox
from shadho.execution.classes import check_classes, form_classes
from shadho.execution.hardware import probe, usable_cpus, visible_gpus
from shadho.execution.sandbox import Sandbox
from shadho.execution.sessions import Reaper
from shadho.records import Result, as_integer

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
        self._reaper: Reaper | None = None
        self._sandboxes: dict[str, list[Sandbox]] = {}
        self._host = socket.gethostname()

    @classmethod
    def affinity(cls, job: Job) -> int:
        return 1

    def open(self, job: Job) -> None:
        objective = sandbox.pickle_objective(job.objective)
        self._job = job
        self._discovered = self._form_classes(job)
        if not any(own.slots for own in self._discovered):
            raise BackendError(
                f'no trial fits on this machine ({self._discovered[0].hardware}): each asks for '
                f'{dict(self._discovered[0].resources)}; ask for less with resources='
            )
        self._objective = tempfile.TemporaryFile()
        self._objective.write(objective)
        self._objective.flush()
        self._reaper = Reaper()
        self._start()

    def _form_classes(self, job: Job) -> list[ComputeClass]:
        if self.classes is not None:
            return [
                attrs.evolve(own, resources={**own.resources, **job.resources}) if job.resources else own
                for own in self.classes
            ]
        hardware = probe()
        (own,) = form_classes([hardware], job.classes, job.resources)
        return [own if self._workers is None else attrs.evolve(own, slots=self._workers)]

    def _start(self) -> None:
        """Start every slot, with its share of CPUs and GPUs."""
        cpus = cycle(usable_cpus())
        gpus = cycle([device for device, _ in visible_gpus()])
        asked = sum(own.slots * self._cores(own) for own in self._discovered)
        pin = asked == len(usable_cpus()) if self.pin is None else self.pin
        assert self._reaper is not None
        numbers = count()
        for own in self._discovered:
            self._sandboxes[own.name] = [
                Sandbox(
                    self._objective,
                    self._reaper.folder / str(next(numbers)),
                    cpus=list(islice(cpus, self._cores(own))) if pin else (),
                    threads=self._cores(own),
                    environment=_gpu_environment(list(islice(gpus, int(own.resources.get('gpus', 1)))), own),
                )
                for _ in range(own.slots)
            ]
        for slot in self._slots():
            slot.start()

    def _cores(self, own: ComputeClass) -> int:
        return max(1, int(own.resources.get('cores', 1)))

    def _slots(self) -> list[Sandbox]:
        return [slot for slots_of_class in self._sandboxes.values() for slot in slots_of_class]

    def close(self) -> None:
        for slot in self._slots():
            slot.close()
        self._sandboxes = {}
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None
            self._objective.close()

    def discover(self) -> Sequence[ComputeClass]:
        return self._discovered

    def submit(self, trial: Trial) -> None:
        slot = min(self._sandboxes[trial.compute_class], key=len)
        slot.submit(trial.id, trial.params, self._job.trial_timeout)

    def cancel(self, trial: Trial) -> None:
        for slot in self._sandboxes[trial.compute_class]:
            slot.cancel(trial.id)

    def poll(self, timeout: float | None) -> Sequence[Result]:
        results = []
        for trial, begun, outcome in sandbox.poll(self._slots(), timeout):
            when = {'started': begun, 'finished': time.monotonic(), 'seconds': outcome['seconds']}
            results.append(Result.of(trial, outcome, **when, host=self._host, output=outcome['output']))
        return results


def _gpu_environment(devices: Sequence[str], own: ComputeClass) -> dict[str, str]:
    """Show a slot its own GPUs: one by default, none when its trials ask for none."""
    devices = list(dict.fromkeys(devices))
    hides = own.resources.get('gpus') == 0
    return {'CUDA_VISIBLE_DEVICES': ','.join(devices)} if devices or hides else {}
