import statistics
import sys

import numpy as np
import pytest

from shadho import Search, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.samplers.hyperopt import Hyperopt
from shadho.testing import SamplerRun, SamplerSuite

unit = spaces.uniform(0, 1)
SHARED = {'x': unit, 'kind': {'exclusive': True, 'a': {'y': unit}, 'b': {'z': unit}}}


class TestHyperopt(SamplerSuite):
    expensive = True

    def make(self, context):
        return Hyperopt(context)


def told(forest, tree, trials, loss):
    """Return a run whose sampler has learned from random trials in one tree."""
    run, chance = SamplerRun(Hyperopt, forest), np.random.default_rng(0)
    for _ in range(trials):
        point = chance.random(len(forest.tree(tree)))
        run.add(forest.tree(tree), point, loss(point))
    return run


def test_every_setting_of_a_finite_space_is_tried_once():
    search = Search({'n': spaces.randint(0, 4), 'c': list('uvw')}, method='hyperopt', seed=0)
    asked = [tuple(search.tell(trial, 1.0).params.values()) for trial in iter(search.ask, None)]
    assert len(asked) == len(set(asked)) == 12


def test_what_it_suggests_becomes_better():
    space = {'x': unit, 'y': spaces.log10_uniform(-4, 0), 'n': spaces.randint(0, 30), 'c': list('uvwxyz')}
    search = Search(space, method='hyperopt', seed=0)
    for _ in range(80):
        trial = search.ask()
        x, _, n, _ = trial.point
        search.tell(trial, (x - 0.8) ** 2 + (n - 0.6) ** 2 + (trial.params['c'] != 'v'))
    losses = search.history.losses()
    assert statistics.median(losses[-20:]) < 0.2 * statistics.median(losses[:20])


def test_a_leaf_that_trees_share_is_learned_in_each_of_them():
    forest = Forest(SHARED)
    run = told(forest, 0, 60, lambda point: (point[0] - 0.85) ** 2)
    suggested = [run.ask(forest.tree(1)).point[0] for _ in range(8)]
    assert statistics.median(abs(x - 0.85) for x in suggested) < 0.1


def test_trials_that_share_no_leaf_with_a_tree_say_nothing_of_it():
    forest = Forest({'exclusive': True, 'a': {'x': unit}, 'b': {'y': unit}})
    run = told(forest, 0, 60, lambda point: point[0])
    first = [run.ask(forest.tree(1)).point[0] for _ in range(8)]
    fresh = SamplerRun(Hyperopt, forest)
    assert first == [fresh.ask(forest.tree(1)).point[0] for _ in range(8)]


def test_failed_trials_are_avoided():
    forest = Forest({'x': unit})
    run = told(forest, 0, 60, lambda point: np.nan if point[0] > 0.4 else 1.0)
    suggested = [run.ask(forest.tree(0)).point[0] for _ in range(8)]
    assert sum(x < 0.5 for x in suggested) >= 7


def test_pending_points_of_a_discrete_space_do_not_come_twice():
    forest = Forest({'c': list('abcdefgh'), 'n': spaces.randint(0, 8)})
    run = told(forest, 0, 30, lambda point: point[0] + point[1])
    points = {run.ask(forest.tree(0)).point for _ in range(16)}
    assert len(points) == 16


def test_it_shows_the_library_no_more_than_the_best_and_the_latest_trials(monkeypatch):
    hyperopt = pytest.importorskip('hyperopt')
    shown = []
    original = hyperopt.tpe.suggest
    monkeypatch.setattr(
        hyperopt.tpe, 'suggest', lambda *given, **more: shown.append(given[2]) or original(*given, **more)
    )
    forest = Forest({'x': unit})
    told(forest, 0, 400, lambda point: point[0]).ask(forest.tree(0))
    assert 200 <= len(shown[0]) <= 225
    assert set(range(200, 400)) <= set(shown[0].tids)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'hyperopt', None)
    with pytest.raises(ConfigurationError, match='pip install hyperopt'):
        Search({'x': unit}, method='hyperopt')
