"""The cluster that a search runs on, noted in its storage for other processes to look at."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shadho.backends import Backend
from shadho.errors import ConfigurationError, StorageError
from shadho.hardware.classes import DeclaredClass
from shadho.jsontags import revive
from shadho.ledger import Ledger
from shadho.records import ComputeClass, Hardware, Worker, to_plain
from shadho.result import ClassUse
from shadho.scheduling import ClassPlan
from shadho.storage import Storage
from shadho.words import counted
from shadho_worker import jsonable

__all__ = ['Cluster', 'ClusterNotes', 'ServiceWarnings', 'Usage']

log = logging.getLogger('shadho')

_LATEST = 1e11
"""Seconds since the epoch: the year 5138."""

_EVERY = 1.0
"""Seconds between two looks at the workers,"""

_EACH = 0.01
"""or so many for each of them, as a storage of text grows with every note: by 2 MB in an hour of a busy thousand."""


class ClusterNotes:
    """Keeps compute classes and workers in the metadata of a storage, as they are now.

    Only what has changed is written: classes with every plan, workers about once a second at most,
    however many trials there are.

    Parameters
    ----------
    storage : Storage
    backend : Backend
    began : float
        Second of active search at which this run began.
    """

    def __init__(self, storage: Storage, backend: Backend, began: float) -> None:
        self._storage = storage
        self._backend = backend
        self._began = began
        self._written: dict[str, Any] = {}
        self._next_look = -math.inf

    def note_classes(self, classes: Sequence[ComputeClass], now: float) -> None:
        """Note the classes, and which second of the search it is: a reader cannot ask the backend's clock."""
        self._next_look = now + _EVERY
        self._write(
            classes=[to_plain(own) for own in classes],
            clock={'began': self._began, 'time': time.time(), 'seconds': now},
            **self._look(),
        )

    def note_workers(self, now: float) -> None:
        """Note which workers there are and what they run, unless that was done a moment ago."""
        if now >= self._next_look:
            looked = self._look()
            self._next_look = now + max(_EVERY, _EACH * len(looked['workers']))
            self._write(**looked)

    def clear(self) -> None:
        """Note that nothing runs any more; the classes stay as they were last."""
        self._write(workers=[], running={})

    def _look(self) -> dict[str, Any]:
        workers = self._backend.workers()
        # What changes with every trial is kept apart from what is long and rarely changes.
        facts = [to_plain(own) for own in workers]
        return {
            'workers': [{key: value for key, value in own.items() if key != 'running'} for own in facts],
            'running': jsonable({own.name: list(own.running) for own in workers if own.running}),
        }

    def _write(self, **values: Any) -> None:
        news = {key: value for key, value in values.items() if value != self._written.get(key)}
        if news:
            self._storage.update(**news)
            self._written |= news


class Usage:
    """Counts how the slots of each compute class are used in one run.

    Parameters
    ----------
    ledger : Ledger
    now : float
        Second of active search at which the run begins.
    """

    def __init__(self, ledger: Ledger, now: float) -> None:
        self._ledger = ledger
        self._measured = now
        self._present: list[str] = []
        self._uses: dict[str, ClassUse] = {}

    def measure(self, now: float) -> None:
        """Count how long the slots that there are have been there, and had a trial; to be called before classes change."""
        for name in self._present:
            self._uses[name].add(now - self._measured, self._ledger.busy(name))
        self._measured = now

    def follow_classes(self) -> None:
        """Take note of the classes that there are from now on."""
        self._present = list(self._ledger.classes)
        for name, compute_class in self._ledger.classes.items():
            self._uses.setdefault(name, ClassUse(compute_class)).compute_class = compute_class

    def count(self, compute_class: str, seconds: float) -> None:
        """Count seconds in which a trial ran that has ended."""
        self._uses[compute_class].busy_seconds += seconds

    def so_far(self, now: float, placement: Sequence[ClassPlan]) -> list[ClassUse]:
        """Return the use of each class; trials that run count for as long as they have run."""
        plans = {plan.name: plan for plan in placement}
        running = dict.fromkeys(self._uses, 0.0)
        for trial in list(self._ledger.running.values()):  # a display asks from a thread of its own
            running[trial.compute_class] += now - (now if trial.started is None else trial.started)
        return [
            attrs.evolve(use, busy_seconds=use.busy_seconds + running.get(name, 0.0), plan=plans.get(name))
            for name, use in list(self._uses.items())
        ]

    def to_plain(self) -> dict[str, list[float]]:
        """Return the seconds of each class as data that JSON keeps (see `Cluster.of`)."""
        return {name: [use.slot_seconds, use.busy_seconds, use.assigned_seconds] for name, use in self._uses.items()}


class ServiceWarnings:
    """Warns of declared classes that no worker serves, once each time, and of classes without a slot for any trial."""

    def __init__(self, declared: Sequence[DeclaredClass]) -> None:
        self._declared = declared
        self._unserved: set[str] = set()

    def look(self, classes: Sequence[ComputeClass]) -> None:
        """Compare what was declared with the classes that there are."""
        if not classes:
            return  # workers are still to come
        connected = '; '.join(f'{each.name}: {each.hardware}, {counted(each.slots, "slot")}' for each in classes)
        unserved = {declared.name for declared in self._declared} - {each.name for each in classes}
        for declared in self._declared:
            if declared.name in unserved - self._unserved:
                log.warning('no connected worker can serve the compute class %s; connected: %s', declared, connected)
        self._unserved = unserved
        for each in classes:
            if each.slots < 1:
                log.warning(
                    'the compute class %s (%s) has no slot for a trial that asks for %s',
                    each.name, each.hardware, dict(each.resources),
                )  # fmt: skip


@attrs.frozen
class Cluster:
    """What `ClusterNotes` left in a storage.

    Attributes
    ----------
    classes : list of ComputeClass
        Of the latest run, as they were last.
    workers : list of Worker
        Those of the run that goes on; those of a driver that was killed stay until the next run.
    began : float
        Second of active search at which the latest run began.
    uses : list of ClassUse
        How `classes` were used in that run; empty until it has ended.
    """

    classes: list[ComputeClass] = attrs.field(factory=list)
    workers: list[Worker] = attrs.field(factory=list)
    began: float = 0.0
    uses: list[ClassUse] = attrs.field(factory=list)
    _time: float = 0.0
    _seconds: float = 0.0

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Cluster:
        """Read the metadata of a storage.

        Raises
        ------
        StorageError
            When they are not what was written.
        """
        clock = metadata.get('clock', {'began': 0.0, 'time': 0.0, 'seconds': 0.0})
        try:
            running = revive(metadata.get('running', {}))
            workers = revive(metadata.get('workers', []))
            classes = [ComputeClass(**revive(own)) for own in metadata.get('classes', [])]
            uses = metadata.get('uses', {})
            return cls(
                classes,
                [_worker({**own, 'running': running.get(own['name'], ())}) for own in workers],
                _seconds(clock['began']),
                [ClassUse(own, *uses[own.name]) for own in classes if own.name in uses],
                *(_seconds(clock[name]) for name in ('time', 'seconds')),
            )
        except (ConfigurationError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise StorageError(
                f'the notes about the cluster cannot be read ({type(error).__name__}: {error})'
            ) from error

    def start(self) -> float:
        """Return when the search would have begun, had it not paused, in seconds since the epoch; 0 when not known."""
        return self._time - self._seconds

    def seconds(self) -> float:
        """Return the second of active search that it is now, if the search that noted this runs."""
        return self._seconds + max(0.0, time.time() - self._time)


def _worker(facts: Mapping[str, Any]) -> Worker:
    """Read a worker; its hardware as that of a class, which is checked."""
    own = ComputeClass(facts['compute_class'], facts['slots'], Hardware(**facts['hardware']))
    return Worker(str(facts['name']), str(facts['host']), own.name, own.hardware, own.slots, map(int, facts['running']))


def _seconds(value: Any) -> float:
    if not 0 <= value < _LATEST:
        raise ValueError(f'{value!r:.100} is no moment')
    return float(value)
