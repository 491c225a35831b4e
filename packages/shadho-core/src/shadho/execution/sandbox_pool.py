"""The slots of compute classes on this machine, each a sandbox with its share of CPUs and GPUs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from typing import IO, Any

from shadho.execution import sandbox
from shadho.execution.limits import allow_open_files, explaining
from shadho.execution.sandbox import FILES, Ended, Reported, Sandbox
from shadho.execution.sessions import Reaper
from shadho.hardware.machine import gpu_environment, usable_cpus, visible_gpus
from shadho.records import ComputeClass

__all__ = ['SandboxPool']

_START_PATIENCE = 60.0
"""Seconds for which the system may refuse new processes, as while others use up the memory, before the search ends of it."""


class SandboxPool:
    """Runs trials on this machine until it is closed.

    Parameters
    ----------
    objective : bytes or callable
        What `shadho.execution.sandbox.pickle_objective` returned; or a function that returns it, given the
        pool's `folder`.
    classes : sequence of ComputeClass
        Each has as many slots here as it says, and a trial there gets the CPUs and GPUs that the
        class's `resources` ask for: one GPU by default, where there are any.
    pin : bool, optional
        Pin every slot to CPUs of its own; by default when the slots fill the machine, so that two
        small searches beside each other do not share a CPU while others idle.
    gpus : sequence of str, optional
        Devices to hand out, for ``CUDA_VISIBLE_DEVICES``; by default those that are visible here.
    max_tasks_per_child : int, optional
        Trials after which a slot gets a new process; no limit without.
    hears : bool, default False
        Whether reports are answered while a trial runs.
    grace : float, default 0.0
        Seconds between SIGTERM and SIGKILL for trials that outlive their time or are stopped.

    Attributes
    ----------
    folder : Path
        Temporary; it goes with the pool, also when its process is killed.

    Raises
    ------
    BackendError
        When the operating system refuses files, processes or room for so many slots.
    """

    def __init__(
        self,
        objective: bytes | Callable[[Path], bytes],
        classes: Sequence[ComputeClass],
        *,
        pin: bool | None = None,
        gpus: Sequence[str] | None = None,
        max_tasks_per_child: int | None = None,
        hears: bool = False,
        grace: float = 0.0,
    ) -> None:
        self._sandboxes: dict[str, list[Sandbox]] = {}
        allow_open_files(sum(own.slots for own in classes), FILES)
        with contextlib.ExitStack() as stack, explaining('the slots cannot be made ready'):
            reaper = Reaper()
            stack.callback(reaper.close)
            self.folder: Path = reaper.folder
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(objective if isinstance(objective, bytes) else objective(self.folder))
            file.flush()
            stack.callback(self._close_slots)
            self._make_slots(file, classes, pin, gpus, max_tasks_per_child, hears, grace)
            self._open = stack.pop_all()

    def _make_slots(
        self, objective: IO[bytes], classes: Sequence[ComputeClass], pin: bool | None, gpus: Sequence[str] | None,
        max_tasks_per_child: int | None, hears: bool, grace: float,
    ) -> None:  # fmt: skip
        cpus = cycle(usable_cpus())
        devices = cycle([device for device, _ in visible_gpus()] if gpus is None else gpus)
        asked = sum(own.slots * _cores(own) for own in classes)
        pinned = asked == len(usable_cpus()) if pin is None else pin
        numbers = count()
        for own in classes:
            slots = self._sandboxes[own.name] = []
            for _ in range(own.slots):
                shown = list(islice(devices, int(own.resources.get('gpus', 1))))
                slot = Sandbox(
                    objective,
                    self.folder / str(next(numbers)),
                    cpus=list(islice(cpus, _cores(own))) if pinned else (),
                    threads=_cores(own),
                    environment=gpu_environment(shown, own.resources),
                    max_tasks_per_child=max_tasks_per_child,
                    hears=hears,
                    grace=grace,
                    start_patience=_START_PATIENCE,
                )
                slots.append(slot)
        for slot in self._slots():
            slot.start_process()

    def _slots(self) -> list[Sandbox]:
        return [slot for slots_of_class in self._sandboxes.values() for slot in slots_of_class]

    def start(
        self, trial: int, compute_class: str, params: Any, timeout: float | None, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Run a trial in the slot of its class that has least to do; with a handle, if its `facts` are given."""
        min(self._sandboxes[compute_class], key=len).start(trial, params, timeout, facts)

    def answer(self, trial: int, attempt: int, answer: Mapping[str, Any]) -> None:
        """Answer a report of a trial; harmless when it has ended."""
        for slot in self._slots():
            slot.answer(trial, attempt, answer)

    def stop(self, trial: int) -> None:
        """End a trial, which gets its grace; nothing more is heard of it. Returns at once."""
        for slot in self._slots():
            slot.stop(trial)

    def hurry(self) -> None:
        """Grant no grace from now on."""
        for slot in self._slots():
            slot.hurry()

    def poll(self, timeout: float | None) -> list[Ended | Reported]:
        """Return trials that have ended, and reports, as soon as there are any; see `shadho.execution.sandbox.poll`."""
        return sandbox.poll(self._slots(), timeout)

    def close(self) -> None:
        """End all that runs, and wait for it, at most as long as the grace."""
        self._open.close()

    def _close_slots(self) -> None:
        try:
            for slot in self._slots():
                slot.end()
            while any(map(len, self._slots())):  # a signal that comes just before waiting begins does not end it
                sandbox.poll(self._slots(), 1.0)
        finally:  # a second Ctrl-C ends the waiting
            for slot in self._slots():
                slot.close()
            self._sandboxes = {}


def _cores(own: ComputeClass) -> int:
    return max(1, int(own.resources.get('cores', 1)))
