"""Settings of a flat space run in the classes that suit them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from shadho import ComputeClass, Search, SearchResult, Shadho, spaces
from shadho.backends import Simulated
from shadho.records import ClassesChanged
from shadho.samplers import Offer, Suggestion
from shadho.scheduling import New, Slot
from shadho.scheduling.matching import _prices
from shadho.storage.memory import Memory

SPACE = {'width': spaces.loguniform(16, 1024), 'rate': spaces.loguniform(1e-4, 1e-1), 'kind': ['a', 'b']}
CLASSES = [ComputeClass('gpu', 4), ComputeClass('cpu', 15)]


def is_large(params: Any) -> bool:
    return bool(params['width'] > 128)


def seconds(params: Any, compute_class: ComputeClass) -> float:
    """Return seconds: small networks are equally fast everywhere, large ones ten times slower without a GPU."""
    own = 20 * (params['width'] / 16) ** 0.5
    return float(own * (10 if is_large(params) and compute_class.name == 'cpu' else 1))


def uniform(params: Any, compute_class: ComputeClass) -> float:
    return seconds(params, CLASSES[0]) * (3 if compute_class.name == 'cpu' else 1)


def simulated(
    policy: str, seconds: Any = seconds, classes: Any = CLASSES, space: Any = SPACE, **options: Any
) -> SearchResult:
    options = {'method': 'random', 'seed': 1, 'max_tasks': 400, **options}
    backend = Simulated(classes, seconds)
    return Shadho(
        'matched',
        lambda params: params.get('rate', 0.0),
        space,
        policy=policy,
        backend=backend,
        storage=None,
        display=False,
        **options,
    ).run()


def settings(result: SearchResult) -> list[Any]:
    return [trial.params for trial in sorted(result, key=lambda trial: trial.id)]


def test_a_flat_space_has_more_trials_in_the_same_time_and_of_the_same_sizes() -> None:
    results = {policy: simulated(policy, timeout=7200, max_tasks=10_000) for policy in ('fcfs', 'market')}
    count = {policy: len(result) for policy, result in results.items()}
    assert count['market'] > 1.1 * count['fcfs']
    large = {policy: np.mean([is_large(trial.params) for trial in result]) for policy, result in results.items()}
    assert large['market'] == pytest.approx(large['fcfs'], rel=0.1)
    late = [trial for trial in results['market'] if trial.id > 100]
    placed = Counter((trial.compute_class, is_large(trial.params)) for trial in late)
    assert placed['gpu', False] < 0.05 * placed['cpu', False]
    assert placed['cpu', True] < 0.6 * placed['gpu', True]  # which has more than its slots can run


@pytest.mark.parametrize(
    ('seconds', 'classes'),
    [(uniform, CLASSES), (lambda params, compute_class: 7.0, CLASSES), (seconds, [ComputeClass('cpu', 8)])],
)
@pytest.mark.parametrize('method', ['random', 'tpe'])
def test_where_no_setting_suits_a_class_better_than_others_the_sampler_has_its_way(
    seconds: Any, classes: Any, method: str
) -> None:
    blind, matched = (
        simulated(policy, seconds, classes, method=method, max_tasks=150) for policy in ('fcfs', 'market')
    )
    assert settings(blind) == settings(matched)


def test_every_setting_of_a_grid_is_run_once() -> None:
    space = {'width': [16, 32, 64, 256, 512, 1024], 'depth': list(range(15)), 'kind': ['a', 'b']}
    result = simulated('market', space=space, method='grid', max_tasks=1000)
    assert Counter(map(str, settings(result))).total() == 180 == len({str(params) for params in settings(result)})
    assert any('number' in trial.meta for trial in result)


def asked_and_told(method: str, count: int) -> Search:
    """Return a search on unequal classes that has learned which settings suit which."""
    search = Search(SPACE, method, seed=0)
    search.plan(CLASSES, 0.0)
    for number in range(count):
        own = CLASSES[number % 2]
        trial = search.ask(own.name, 0.0)
        search.tell(trial, trial.params['rate'], seconds=seconds(trial.params, own))
    return search


@pytest.mark.parametrize(('latest', 'begun'), [(300, 'small'), (301, 'large')])
def test_a_suggestion_that_many_later_ones_were_preferred_to_is_begun_anywhere(latest: int, begun: str) -> None:
    search = asked_and_told('random', 100)
    tree = search.forest.tree(0)
    large, small = (Offer(Suggestion(tree, np.array([width, 0.5, 0.5])), n) for width, n in ((1.0, 0), (0.0, latest)))
    assert search.policy._matching.matters(0, Slot('cpu'))
    choice = search.policy._matching.best(New(tree), Slot('cpu'), [large, small])
    assert choice.offer is {'large': large, 'small': small}[begun]


@pytest.mark.parametrize('method', ['random', 'sobol', 'tpe', 'gp', 'auto', 'cmaes', 'pso'])
def test_methods_offer_a_choice(method: str) -> None:
    search = asked_and_told(method, 30)
    choice = search.choose(Slot('cpu'), 0.0)
    assert isinstance(choice, New)
    assert choice.offer is not None
    assert len(search.policy.context.offers(choice.tree, 16)) >= 10


@pytest.mark.parametrize('method', ['random', 'tpe', 'pso'])
def test_a_log_brings_back_what_would_be_chosen(method: str) -> None:
    storage = Memory()
    changes = [(100, 'gpu', 2), (150, 'cpu', 8), (200, 'gpu', 5)]
    opt = Shadho(
        'matched', lambda params: params['rate'], SPACE, method, backend=Simulated(CLASSES, seconds, changes=changes), storage=storage,
        seed=0, max_tasks=120, display=False,
    )  # fmt: skip
    opt.run()
    events = [event for _, event in storage.read()]
    assert sum(isinstance(event, ClassesChanged) for event in events) > 1
    searches = []
    for _ in range(2):
        search = opt._new_search(0)
        for event in events:
            search.apply(event)
            if searches == []:  # asking changes nothing
                search.choose(Slot('gpu'), search.ledger.time)
        searches.append(search)
    choices = [[search.choose(Slot(name), search.ledger.time) for name in search.classes] for search in searches]
    assert choices[0] == choices[1]
    assert any(choice.offer is not None for choice in choices[0])


def test_a_large_setting_waits_for_the_class_that_suits_it() -> None:
    search = asked_and_told('random', 200)
    asked = [(own.name, is_large(search.ask(own.name, 0.0).params)) for own in CLASSES * 20]
    assert asked.count(('gpu', True)) > 15
    assert asked.count(('cpu', False)) > 15


def test_prices_are_those_at_which_each_class_is_worth_its_time() -> None:
    # The first setting takes 1 s anywhere, the second 1 s in the first class, and 10 s in the second one: of 10 slots there, some run the
    # second setting too, so that its priced seconds are equal in both classes.
    prices = _prices(np.log([[1.0, 1.0], [1.0, 10.0]]), np.array([1.0, 10.0]))
    assert prices is not None
    assert prices[0] / prices[1] == pytest.approx(10.0)


def test_seconds_of_any_size_have_prices() -> None:
    prices = _prices(np.array([[-700.0, 700.0], [700.0, -700.0], [0.0, 0.0]]), np.array([1e-3, 1e6]))
    assert prices is not None
    assert np.isfinite(prices).all()
