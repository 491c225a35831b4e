"""A log brings back what a search knew: also in parallel, on unequal classes that come and go."""

from __future__ import annotations

from typing import Any

import pytest

from shadho import ComputeClass, Search, Shadho, spaces
from shadho.backends import Simulated
from shadho.interrupts import Interrupts
from shadho.records import Attempt, ClassesChanged, Result
from shadho.scheduling import Slot
from shadho.storage.memory import Memory

X = spaces.uniform(0, 1)
SPACE = {'exclusive': True, **{f'tree{number}': {'x': X} for number in range(6)}, 'finite': {'x': [1, 2, 3]}}
CLASSES = [ComputeClass('16-core', 3, {'cores': 16}), ComputeClass('4-core', 5, {'cores': 4}), ComputeClass('gpu', 0)]
CHANGES = [(3, '16-core', 0), (5, 'gpu', 2), (7, '16-core', 2), (9, '4-core', 1), (12, 'gpu', 0), (15, '4-core', 6)]


def seconds(params: Any, compute_class: ComputeClass) -> float:
    [(name, values)] = params.items()
    slow = 8.0 if name in ('tree1', 'tree4') and compute_class.name == '4-core' else 1.0
    return slow * (1 + sum(values.values()) % 1)


def objective(params: Any) -> float:
    [(name, values)] = params.items()
    return float(values['x'] ** 2 + len(name) % 2)


def make(storage: Memory, **options: Any) -> Shadho:
    backend = Simulated(CLASSES, seconds, failures=0.05, changes=CHANGES)
    return Shadho('exact', objective, SPACE, seed=0, backend=backend, storage=storage, display=False, **options)


def run(opt: Shadho) -> Search:
    """Run, and return the search as its end left it."""
    kept: list[Search] = []
    opt._run(Interrupts(), kept.append)
    return kept[0]


def replayed(opt: Shadho, storage: Memory) -> Search:
    """Return a search to which the log was applied."""
    search = opt._new_search(0)
    search.replay(event for _, event in storage.read())
    return search


def choices(search: Search) -> list[Any]:
    """Return what a free slot of each class would be given, and what a market owes each tree."""
    now = search.ledger.time
    credits = getattr(search.policy, '_credits', None)
    owed = [] if credits is None else credits._credits.tolist()
    return [search.policy.choose(Slot(name), now) for name in search.classes] + [search.policy.placement, owed]


@pytest.mark.parametrize('quota', [None, 40])
@pytest.mark.parametrize(
    ('policy', 'method'),
    [('market', 'random'), ('market', 'tpe'), ('market', 'auto'), ('ranked', 'tpe'), ('fcfs', 'tpe')],
)
def test_a_log_brings_back_what_the_policy_would_choose(policy: str, method: str, quota: int | None) -> None:
    storage = Memory()
    limit = (
        {'max_tasks': 100 if method == 'auto' else 300} if quota is None else {'trials_per_tree': quota, 'timeout': 150}
    )
    opt = make(storage, policy=policy, method=method, **limit)
    search = run(opt)
    events = [event for _, event in storage.read()]
    assert sum(isinstance(event, ClassesChanged) for event in events) > 4
    assert any(isinstance(event, Attempt) for event in events)
    resumed = replayed(opt, storage)
    assert choices(search) == choices(resumed)
    resumed.begin_run()  # as the next run does first
    resumed.apply(ClassesChanged(list(resumed.classes.values()), resumed.ledger.time))
    assert choices(search) == choices(resumed)


@pytest.mark.parametrize('policy', ['market', 'ranked', 'fcfs'])
def test_a_search_that_is_killed_goes_on_as_its_log_says(policy: str) -> None:
    whole = Memory()
    opt = make(whole, policy=policy, method='tpe', max_tasks=300)
    run(opt)
    events = [event for _, event in whole.read()]
    for cut in (7, 100, 333, 500):
        storage = Memory()
        for event in events[:cut]:
            storage.append(event)
        searches = [replayed(opt, storage) for _ in range(2)]
        for search in searches:
            search.begin_run()
        assert choices(searches[0]) == choices(searches[1])
        assert not searches[0].pending
        begun = {event.trial for event in events[:cut] if isinstance(event, Result)}
        assert begun <= set(range(searches[0].history.asked))


def reporting(params: Any, trial: Any) -> None:
    for step in trial.steps():
        trial.report(loss=objective(params) + 1 / step)


@pytest.mark.parametrize('fidelity', ['asha', 'hyperband', 'median'])
@pytest.mark.parametrize(('policy', 'method'), [('market', 'tpe'), ('ranked', 'random'), ('fcfs', 'auto')])
def test_a_log_brings_back_what_a_search_with_rungs_would_choose(policy: str, method: str, fidelity: str) -> None:
    storage = Memory()
    backend = Simulated(CLASSES, lambda *given: 9 * seconds(*given), failures=0.05, changes=CHANGES)
    opt = Shadho(
        'exact', reporting, SPACE, seed=0, backend=backend, storage=storage, display=False, policy=policy, method=method,
        max_tasks=100, max_steps=9, fidelity=fidelity,
    )  # fmt: skip
    search = run(opt)
    resumed = replayed(opt, storage)
    assert choices(search) == choices(resumed)
    assert list(search.fidelity.promotable()) == list(resumed.fidelity.promotable())
    assert [trial.id for trial in search.leaders] == [trial.id for trial in resumed.leaders]
    resumed.begin_run()
    resumed.apply(ClassesChanged(list(resumed.classes.values()), resumed.ledger.time))
    assert choices(search) == choices(resumed)
