"""The tree-structured Parzen estimator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from shadho import Search, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.samplers import Sampler, SamplerContext, tpe
from shadho.samplers.tpe import TPE
from shadho.testing import SamplerRun, SamplerSuite

UNIT = spaces.uniform(0, 1)


class TestTPE(SamplerSuite):
    """The contract of samplers."""

    def make(self, context: SamplerContext) -> Sampler:
        return TPE(context)


class TestTPEFromTheStart(SamplerSuite):
    """The contract again, with a model from the first result on."""

    def make(self, context: SamplerContext) -> Sampler:
        return TPE(context, first=1)


def best_of(method: str, space: Any, objective: Any, trials: int = 60, seeds: int = 5) -> float:
    """Return the median over seeds of the best loss that a search finds."""
    found = []
    for seed in range(seeds):
        search = Search(space, method=method, seed=seed)
        for _ in range(trials):
            trial = search.ask()
            assert trial is not None
            search.tell(trial, objective(trial.params))
        assert search.best is not None
        found.append(search.best.loss)
    return float(np.median(found))


MIXED = {
    'rate': spaces.loguniform(1e-5, 1), 'width': spaces.randint(1, 33), 'depth': spaces.randint(1, 1000),
    'kind': spaces.choice(['a', 'b', 'c', 'd']),
}  # fmt: skip


def mixed(params: Any) -> float:
    return float(
        (math.log10(params['rate']) + 3) ** 2
        + abs(params['width'] - 20) / 16
        + abs(params['depth'] - 700) / 500
        + 'cabd'.index(params['kind']) / 2
    )


@pytest.mark.parametrize(
    ('space', 'objective'),
    [
        ({'x': UNIT, 'y': UNIT, 'z': UNIT}, lambda p: (p['x'] - 0.3) ** 2 + (p['y'] - 0.8) ** 2 + (p['z'] - 0.5) ** 2),
        (MIXED, mixed),
    ],
    ids=['continuous', 'mixed'],
)
def test_it_finds_far_better_points_than_chance(space: Any, objective: Any) -> None:
    assert best_of('tpe', space, objective) < best_of('random', space, objective) / 4


def test_a_leaf_that_trees_share_is_learned_from_all_of_them() -> None:
    """Trees differ much in how good they are, and a new one profits from what all others have learned."""
    branches = {f'branch{number}': {'own': UNIT} for number in range(12)}
    forest = Forest({'shared': UNIT, 'model': spaces.scope(exclusive=True, **branches)})
    run = SamplerRun(TPE, forest)
    chance = np.random.default_rng(0)
    for tree in list(forest)[:-1] * 5:
        point = chance.random(2)
        (place,) = (at for at, own in enumerate(tree.dimensions) if own.path == ('shared',))
        run.add(tree, point, abs(point[place] - 0.3) + tree.index)
    new = forest.tree(forest.count - 1)
    (place,) = (at for at, own in enumerate(new.dimensions) if own.path == ('shared',))
    asked = [run.ask(new) for _ in range(20)]
    points = np.array([trial.point for trial in asked if trial is not None])
    assert np.abs(points[:, place] - 0.3).mean() < 0.15  # 0.29 by chance
    assert np.std(points[:, 1 - place]) > 0.2  # nothing is known of its own leaf


def test_trees_promise_what_the_best_of_all_trials_say() -> None:
    forest = Forest({'model': spaces.scope(exclusive=True, **{name: {'x': UNIT} for name in 'abc'})})
    run = SamplerRun(TPE, forest)
    trees = list(forest)
    assert run.sampler.promise(trees) is None
    chance = np.random.default_rng(0)
    for tree in trees * 20:
        run.add(tree, chance.random(1), tree.index + chance.random())
    promise = run.sampler.promise(trees)
    assert promise is not None
    assert promise[0] > 2 * promise[1]
    assert promise[1] == pytest.approx(promise[2])


def test_what_is_asked_for_together_lies_apart() -> None:
    forest = Forest({'x': UNIT, 'y': UNIT, 'kind': spaces.choice(list('abc'))})
    run = SamplerRun(TPE, forest)
    tree = forest.tree(0)
    chance = np.random.default_rng(0)
    for _ in range(30):
        point = chance.random(3)
        run.add(tree, point, float(np.sum((point[:2] - 0.5) ** 2)))
    asked = [run.ask(tree) for _ in range(16)]
    points = np.array([trial.point for trial in asked if trial is not None])
    assert len(np.unique(points, axis=0)) == 16
    distances = np.linalg.norm(points[:, None] - points, axis=2)[np.triu_indices(16, 1)]
    assert np.median(distances) > 0.2


@pytest.mark.parametrize('first', [0, -1, 2.5, 'ten', True])
def test_the_number_of_first_suggestions_is_checked(first: Any) -> None:
    with pytest.raises(ConfigurationError, match="method='tpe': first must be an integer of 1 or more"):
        Search({'x': UNIT}, method='tpe', options={'first': first})


FEW = {
    'a': spaces.randint(0, 3),
    'b': spaces.randint(0, 9),
    'c': spaces.randint(0, 6),
    'd': spaces.randint(0, 5),
    'x': UNIT,
}
CHOICES = {f'c{place}': spaces.choice(range(5)) for place in range(4)}


def few(params: Any) -> float:
    steps = (params['a'] - 1) / 2, (params['b'] - 6) / 8, (params['c'] - 4) / 5, (params['d'] - 3) / 4
    return sum(step**2 for step in steps) + (params['x'] - 0.3) ** 2


def choices(params: Any) -> float:
    return float(sum((3 * value + place) % 5 for place, value in enumerate(params.values())))


@pytest.mark.parametrize(('space', 'objective', 'trials'), [(FEW, few, 100), (CHOICES, choices, 120)])
def test_integers_and_choices_of_few_values_are_searched_to_the_optimum(
    space: Any, objective: Any, trials: int
) -> None:
    assert best_of('tpe', space, objective, trials) < 0.01


def test_the_kernel_of_an_integer_reaches_the_values_beside_it() -> None:
    dimension = Forest({'n': spaces.randint(0, 3)}).tree(0).dimensions
    density = tpe._Density(np.full((20, 1), 0.5), np.ones(20), dimension)
    drawn = density.draw(np.random.default_rng(0), 400)
    assert 0.1 < np.mean(drawn != 0.5) < 0.5
