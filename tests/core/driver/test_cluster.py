"""What a search notes about its classes and workers, for other processes to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from shadho import ComputeClass, Shadho, hookimpl, spaces
from shadho.backends import Simulated
from shadho.cluster import Cluster
from shadho.errors import StorageError
from shadho.records import Hardware, Worker
from shadho.storage import Storage
from shadho.storage.jsonl import JSONLines
from shadho.storage.memory import Memory
from shadho.storage.sqlite import SQLite

A = ComputeClass('a', 2, {'cores': 4, 'gpus': ['V100', 'V100'], 'rack': ('east', 7)}, {'cores': 2})
B = ComputeClass('b', 1, {'cores': 8})

THE_END = {'uses'}
"""What a run notes when it ends."""


class Counting(Memory):
    """Counts how often metadata are written, and which."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[set[str]] = []

    def update(self, **values: Any) -> None:
        json.dumps(values)
        self.updates.append(set(values))
        super().update(**values)


class Staffed(Simulated):
    """A simulated cluster that knows its workers: one for each class, named after it."""

    def workers(self) -> Sequence[Worker]:
        return [
            Worker(f'${own.name}', 'here', own.name, own.hardware, own.slots, self.of(own.name))
            for own in self.discover()
        ]

    def of(self, name: str) -> list[int]:
        return [trial.id for trial in self.handed.values() if trial.compute_class == name]

    def open(self, job: Any) -> None:
        self.handed: dict[int, Any] = {}
        super().open(job)

    def start(self, trial: Any) -> None:
        self.handed[trial.id] = trial
        super().start(trial)

    def poll(self, timeout: float | None) -> Any:
        results = super().poll(timeout)
        for result in results:
            del self.handed[result.trial]
        return results


class Looking:
    """Reads the notes at the moment of a trial's end."""

    def __init__(self, storage: Storage, trial: int) -> None:
        self.storage = storage
        self.trial = trial

    @hookimpl
    def shadho_trial_finished(self, trial: Any) -> None:
        if trial.id == self.trial:
            self.found = Cluster.of(self.storage.metadata())


def run(backend: Simulated, storage: Storage, *plugins: Any, **options: Any) -> None:
    Shadho(
        'notes', lambda params: 1.0, {'x': spaces.uniform(0, 1)}, seed=0, backend=backend, storage=storage, policy='fcfs',
        display=False, plugins=plugins, **{'max_tasks': 30, **options},
    ).run()  # fmt: skip


@pytest.mark.parametrize('make', [Memory, lambda: SQLite('notes.db'), lambda: JSONLines('notes.json')])
def test_classes_workers_and_what_they_run_can_be_read_while_the_search_runs(make: Any) -> None:
    storage = make()
    looking = Looking(storage, 3)
    run(Staffed([A, B], lambda params, own: 1.5 if own.name == 'a' else 1000.0), storage, looking, max_tasks=6)
    found = looking.found
    assert found.classes == [A, B]
    assert (found.workers[1].name, found.workers[1].running) == ('$b', (2,))
    assert [own.hardware for own in found.workers] == [A.hardware, B.hardware]
    assert [(own.host, own.compute_class, own.slots) for own in found.workers] == [('here', 'a', 2), ('here', 'b', 1)]


def test_after_the_search_the_classes_are_still_told_and_no_workers() -> None:
    storage = Memory()
    run(Staffed([A, B], lambda params, own: 2.0), storage)
    found = Cluster.of(storage.metadata())
    assert (found.classes, found.workers) == ([A, B], [])


def test_a_search_that_fails_leaves_no_workers_behind() -> None:
    class Failing(Staffed):
        def poll(self, timeout: float | None) -> Any:
            if self.now() > 5:
                raise RuntimeError('broken')
            return super().poll(timeout)

    storage = Memory()
    with pytest.raises(RuntimeError, match='broken'):
        run(Failing([A], lambda params, own: 2.0), storage)
    assert Cluster.of(storage.metadata()).workers == []


@pytest.mark.parametrize('trials', [10, 500])
def test_without_workers_nothing_more_is_written_than_the_classes(trials: int) -> None:
    storage = Counting()
    run(Simulated([A, B], lambda params, own: 2.0), storage, max_tasks=trials)
    assert storage.updates[1:] == [{'classes', 'clock', 'workers', 'running'}, THE_END]


def test_classes_are_written_again_when_they_change() -> None:
    storage = Counting()
    run(Simulated([A, B], lambda params, own: 2.0, changes=[(7, 'a', 3), (9, 'b', 0)]), storage)
    assert storage.updates[2:] == [{'classes', 'clock'}, {'classes', 'clock'}, THE_END]
    assert [own.slots for own in Cluster.of(storage.metadata()).classes] == [3]


@pytest.mark.parametrize('seconds', [0.01, 0.1])
def test_what_workers_run_is_written_about_once_a_second_however_short_the_trials(seconds: float) -> None:
    storage = Counting()
    run(Staffed([A, B], lambda params, own: seconds), storage, max_tasks=None, timeout=10.0)
    assert 9 <= storage.updates.count({'running'}) <= 11
    assert {frozenset(names) for names in storage.updates[2:]} == {
        frozenset({'running'}), frozenset(THE_END), frozenset({'workers', 'running'}),
    }  # fmt: skip


def test_workers_that_run_the_same_for_long_are_not_written_again() -> None:
    storage = Counting()
    run(Staffed([A], lambda params, own: 100.0), storage, max_tasks=2)
    assert storage.updates.count({'running'}) == 1


def test_notes_that_somebody_has_changed_are_refused() -> None:
    with pytest.raises(StorageError, match='the notes about the cluster cannot be read'):
        Cluster.of({'workers': [{'name': 'w'}]})
    with pytest.raises(StorageError, match='the notes about the cluster cannot be read'):
        Cluster.of({'classes': 3})


def test_a_worker_is_a_plain_record() -> None:
    worker = Worker('w', 'here', 'a', Hardware(4), 2, [5, 6])
    assert worker.running == (5, 6)
    assert worker == Worker('w', 'here', 'a', Hardware(4), 2, (5, 6))
