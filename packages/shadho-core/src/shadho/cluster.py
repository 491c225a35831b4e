"""The cluster of a search: classes, workers and their use, stored for other processes."""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
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
"""Upper bound on seconds since the epoch (the year 5138); larger values are corrupt. Chosen."""

_EVERY = 1.0
"""Least seconds between two updates of the workers. Shorter intervals are more current, but write more. Chosen."""

_EACH = 0.01
"""Least seconds per worker between two updates. Limits the growth of a text storage, to 2 MB per hour with a thousand busy
workers. Chosen."""


class ClusterNotes:
    """Keeps the current compute classes and workers in the metadata of a storage.

    It writes only changes: classes when they change, workers at most once a second, independent of
    the number of trials.

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
        """Write the classes and the time of the search, as readers have no access to the backend's clock."""
        self._next_look = now + _EVERY
        self._write(
            classes=[to_plain(compute_class) for compute_class in classes],
            clock={'began': self._began, 'time': time.time(), 'seconds': now},
            **self._look(),
        )

    def note_workers(self, now: float) -> None:
        """Write the workers and their running trials, unless the last update is recent."""
        if now >= self._next_look:
            looked = self._look()
            self._next_look = now + max(_EVERY, _EACH * len(looked['workers']))
            self._write(**looked)

    def clear(self) -> None:
        """Remove the workers and their running trials; the classes stay."""
        self._write(workers=[], running={})

    def _look(self) -> dict[str, Any]:
        workers = self._backend.workers()
        # Running trials change often, the long facts about workers rarely: apart, only the former are rewritten.
        facts = [to_plain(worker) for worker in workers]
        return {
            'workers': [{key: value for key, value in fact.items() if key != 'running'} for fact in facts],
            'running': jsonable({worker.name: list(worker.running) for worker in workers if worker.running}),
        }

    def _write(self, **values: Any) -> None:
        changed = {key: value for key, value in values.items() if value != self._written.get(key)}
        if changed:
            self._storage.update(**changed)
            self._written |= changed


class Usage:
    """Measures how one run uses the slots of each compute class.

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
        """Add the slot seconds and assigned seconds since the last call; call it before classes change, too."""
        for name in self._present:
            self._uses[name].add(now - self._measured, self._ledger.busy(name))
        self._measured = now

    def follow_classes(self) -> None:
        """Take note of the classes that there are from now on."""
        self._present = list(self._ledger.classes)
        for name, compute_class in self._ledger.classes.items():
            self._uses.setdefault(name, ClassUse(compute_class)).compute_class = compute_class

    def count(self, compute_class: str, seconds: float) -> None:
        """Add the seconds of an ended attempt."""
        if compute_class in self._uses:  # an attempt of an earlier run may be in a class that is gone
            self._uses[compute_class].busy_seconds += seconds

    def so_far(self, now: float, placement: Sequence[ClassPlan]) -> list[ClassUse]:
        """Return the use of each class so far, including running trials."""
        plans = {plan.name: plan for plan in placement}
        running: defaultdict[str, float] = defaultdict(float)
        for trial in list(self._ledger.running.values()):  # a display calls this from another thread
            running[trial.compute_class] += now - (now if trial.started is None else trial.started)
        return [
            attrs.evolve(use, busy_seconds=use.busy_seconds + running[name], plan=plans.get(name))
            for name, use in list(self._uses.items())
        ]

    def to_plain(self) -> dict[str, list[float]]:
        """Return the seconds of each class as JSON-compatible data (see `Cluster.of`)."""
        return {name: [use.slot_seconds, use.busy_seconds, use.assigned_seconds] for name, use in self._uses.items()}


class ServiceWarnings:
    """Warns of declared classes that become unserved, and of classes whose slots no trial fits."""

    def __init__(self, declared: Sequence[DeclaredClass]) -> None:
        self._declared = declared
        self._unserved: set[str] = set()

    def look(self, classes: Sequence[ComputeClass]) -> None:
        """Compare the declared classes with the current ones."""
        if not classes:
            return  # no worker has connected yet
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
    """The cluster as `ClusterNotes` wrote it to a storage.

    Attributes
    ----------
    classes : list of ComputeClass
        The last classes of the latest run.
    workers : list of Worker
        Workers of the current run; after a driver was killed, its workers stay until the next run.
    began : float
        Second of active search at which the latest run began.
    uses : list of ClassUse
        Use of `classes` in that run; empty until it has ended.
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
            When the metadata are invalid.
        """
        clock = metadata.get('clock', {'began': 0.0, 'time': 0.0, 'seconds': 0.0})
        try:
            running = revive(metadata.get('running', {}))
            workers = revive(metadata.get('workers', []))
            classes = [ComputeClass(**revive(facts)) for facts in metadata.get('classes', [])]
            uses = metadata.get('uses', {})
            return cls(
                classes,
                [_worker({**facts, 'running': running.get(facts['name'], ())}) for facts in workers],
                _seconds(clock['began']),
                [ClassUse(known, *uses[known.name]) for known in classes if known.name in uses],
                *(_seconds(clock[name]) for name in ('time', 'seconds')),
            )
        except (ConfigurationError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise StorageError(
                f'the notes about the cluster cannot be read ({type(error).__name__}: {error}); was the storage edited?'
            ) from error

    def start(self) -> float:
        """Return the start of the search less its pauses, in seconds since the epoch; 0 if unknown."""
        return self._time - self._seconds

    def seconds(self) -> float:
        """Return the current second of active search, if the search is still running."""
        return self._seconds + max(0.0, time.time() - self._time)


def _worker(facts: Mapping[str, Any]) -> Worker:
    """Read a worker; ComputeClass checks its hardware."""
    checked = ComputeClass(facts['compute_class'], facts['slots'], Hardware(**facts['hardware']))
    name, host, running = str(facts['name']), str(facts['host']), map(int, facts['running'])
    return Worker(name, host, checked.name, checked.hardware, checked.slots, running)


def _seconds(value: Any) -> float:
    if not 0 <= value < _LATEST:
        raise ValueError(f'{value!r:.100} is not a time in seconds')
    return float(value)
