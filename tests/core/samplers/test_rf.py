import itertools
import math
import statistics
import sys

import numpy as np
import pytest
from scipy import integrate, stats

from shadho import Search, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.samplers import rf
from shadho.samplers.rf import RandomForest
from shadho.testing import SamplerRun, SamplerSuite

x = spaces.uniform(0, 1)


class TestRandomForest(SamplerSuite):
    expensive = True

    def make(self, context):
        return RandomForest(context)


def told(run, tree, points, loss):
    """Let a sampler learn points that it did not suggest."""
    for point in points:
        run.add(tree, point, loss(point))


def conditional(params):
    """Return a loss whose best branch is not the easy one."""
    ((branch, own),) = params['branch'].items()
    shared = (params['x'] - 0.7) ** 2
    if branch == 'easy':
        return shared + 0.3
    return shared + (own['y'] - 0.2) ** 2 + {'p': 0.2, 'q': 0.0, 'r': 0.4}[own['word']] + 0.02 * abs(own['n'] - 5)


CONDITIONAL = {
    'x': x,
    'branch': {'exclusive': True, 'easy': {}, 'hard': {'y': x, 'word': ['p', 'q', 'r'], 'n': spaces.randint(0, 20)}},
}


def best_of(method, seed, space=CONDITIONAL, objective=conditional, trials=60):
    search = Search(space, method=method, seed=seed)
    for _ in range(trials):
        trial = search.ask()
        search.tell(trial, objective(trial.params))
    return search.best.loss


def test_it_finds_better_settings_of_a_conditional_space_than_random_search():
    ours, random = ([best_of(method, seed) for seed in range(4)] for method in ('rf', 'random'))
    assert statistics.median(ours) < statistics.median(random) / 4


@pytest.mark.parametrize('change', [lambda loss: -1e300 * math.exp(-loss), lambda loss: math.exp(100 * loss), math.log])
def test_the_scale_of_losses_does_not_matter(change):
    best = best_of('rf', 1, objective=lambda params: change(conditional(params)))
    assert best < change(best_of('random', 1) / 2)


def test_where_trials_fail_is_learned():
    def objective(params):
        return math.nan if params['x'] + params['y'] > 0.8 else (params['x'] - 0.5) ** 2 + (params['y'] - 0.2) ** 2

    search = Search({'x': x, 'y': x}, method='rf', seed=1)
    losses = []
    for _ in range(60):
        trial = search.ask()
        losses.append(objective(trial.params))
        search.tell(trial, losses[-1])
    assert sum(map(math.isnan, losses[:10])) >= 5
    assert sum(map(math.isnan, losses[30:])) <= 8


def test_a_leaf_is_learned_from_all_trees_that_share_it():
    forest = Forest({'x': x, 'branch': {'exclusive': True, 'a': {'y': x}, 'b': {'z': x}}})
    run = SamplerRun(RandomForest, forest, seed=1)
    points = np.random.default_rng(1).random((40, 2))
    told(run, forest.tree(0), points, lambda point: abs(point[0] - 0.8))
    suggested = [run.sampler.suggest(forest.tree(1), np.random.default_rng(seed))[0] for seed in range(9)]
    assert abs(statistics.median(suggested) - 0.8) < 0.05


def test_the_tree_of_the_better_trials_promises_more():
    forest = Forest({'x': x, 'branch': {'exclusive': True, 'a': {'y': x}, 'b': {'z': x}, 'c': {}}})
    run = SamplerRun(RandomForest, forest, seed=1)
    trees = list(forest)
    assert run.sampler.promise(trees) is None
    points = np.random.default_rng(1).random((12, 2))
    told(run, trees[0], points, lambda point: point.sum() + 3)
    told(run, trees[1], points, lambda point: point.sum())
    promise = run.sampler.promise(trees)
    assert np.isfinite(promise).all()
    # What is said of the third tree, which has no trials, depends on the last digits of numbers.
    assert promise[0] < promise[1] / 2
    assert promise.max() == 1.0
    assert (promise > 0).all()


def test_a_tree_whose_points_have_all_been_tried_promises_next_to_nothing():
    forest = Forest({'exclusive': True, 'a': {'x': x}, 'b': {'word': ['p', 'q']}, 'c': 1})
    run = SamplerRun(RandomForest, forest, seed=1)
    told(run, forest.tree(0), np.random.default_rng(1).random((10, 1)), lambda point: point[0])
    told(run, forest.tree(1), [[0.25], [0.75]], lambda point: -point[0])
    told(run, forest.tree(2), [[]], lambda point: -5.0)
    promise = run.sampler.promise(list(forest))
    assert promise[0] == 1.0
    assert promise[1] == promise[2] < 1e-9


def test_no_point_of_a_discrete_space_comes_twice_before_all_have_come():
    search = Search({'a': ['p', 'q', 'r'], 'b': spaces.randint(0, 8)}, method='rf', seed=1, options={'first': 4})
    seen = []
    for _ in range(24):
        trial = search.ask()
        seen.append(tuple(trial.params.values()))
        search.tell(trial, -trial.params['b'])
    assert len(set(seen)) >= 20  # some are drawn at random


def test_pending_suggestions_lie_apart_where_it_is_promising():
    forest = Forest({'x': x, 'y': x, 'z': x})
    tree = forest.tree(0)
    for seed in range(3):
        run = SamplerRun(RandomForest, forest, seed)
        points = np.random.default_rng(seed).random((30, 3))
        told(run, tree, points, lambda point: ((point - 0.4) ** 2).sum())
        points = np.array([run.ask(tree).point for _ in range(16)])
        distances = [np.abs(one - other).max() for one, other in itertools.combinations(points, 2)]
        assert min(distances) > 0.05
        assert statistics.median(distances) > 0.25
        assert statistics.median(np.linalg.norm(point - 0.4) for point in points) < 0.45  # 0.53 by chance


def test_any_number_of_suggestions_can_be_pending():
    forest = Forest({'x': x, 'word': ['p', 'q']})
    run = SamplerRun(RandomForest, forest, seed=1)
    tree = forest.tree(0)
    told(run, tree, np.random.default_rng(1).random((12, 2)), np.sum)
    points = {run.ask(tree).point for _ in range(100)}
    assert len(points) == 100


def test_what_is_asked_for_after_a_pending_one_was_told_follows_from_what_is_known():
    forest = Forest(CONDITIONAL)
    one, other = (SamplerRun(RandomForest, forest, seed=1) for _ in range(2))
    tree = forest.tree(1)
    points = np.random.default_rng(1).random((15, 4))
    told(one, tree, points, np.sum)
    first = one.ask(tree)
    one.sampler.promise(list(forest))
    told(other, tree, points, np.sum)
    assert other.ask(tree) == first
    for run in (one, other):
        run.tell(first, 0.5)
    assert one.ask(tree) == other.ask(tree)


def test_a_model_is_made_of_so_many_trials_at_most():
    forest = Forest({'x': x, 'y': x})
    run = SamplerRun(RandomForest, forest, seed=1)
    points = np.random.default_rng(1).random((2 * rf._MOST_ROWS, 2))
    told(run, forest.tree(0), points, np.sum)
    rows = run.sampler._chosen(run.sampler.table.losses())
    assert len(rows) == rf._MOST_ROWS
    assert set(np.argsort(points.sum(axis=1))[: rf._MOST_ROWS // 2]) < set(rows.tolist())
    assert run.sampler.suggest(forest.tree(0), np.random.default_rng(1)).sum() < 0.4


@pytest.mark.parametrize(('best', 'mean', 'deviation'), [(-1.0, -0.5, 0.7), (-2.0, 1.0, 0.5), (0.5, -1.0, 1.2)])
def test_the_expected_improvement_is_that_of_a_lognormal_loss(best, mean, deviation):
    normal = stats.norm(mean, deviation)
    expected, _ = integrate.quad(lambda y: (math.exp(best) - math.exp(y)) * normal.pdf(y), mean - 12 * deviation, best)
    got = rf._log_expected_improvement(best, np.array([mean]), np.array([deviation]))
    assert got[0] == pytest.approx(math.log(expected), rel=1e-6)


def test_the_expected_improvement_far_from_any_is_finite_and_in_order():
    got = rf._log_expected_improvement(-3.0, np.linspace(-3, 5, 50), np.full(50, 1e-4))
    assert np.isfinite(got).all()
    assert (np.diff(got) < 0).all()


@pytest.mark.parametrize(
    ('losses', 'best', 'worst'),
    [
        ([3.0, -1e308, 1e308, 5.0], [1], [2]),
        ([math.inf, 2.0, 1.0], [2], [0, 1]),
        ([math.inf, 1.0, 1.0], [1, 2], [0]),
        ([-math.inf, 2.0, 1.0], [0, 2], [1]),
        ([-math.inf, math.inf], [0], [1]),
        ([0.0, 0.0], [0, 1], [0, 1]),
    ],
)
def test_scores_are_finite_and_in_the_order_of_the_losses(losses, best, worst):
    scores = rf._scores(np.array(losses))
    assert np.isfinite(scores).all()
    assert np.flatnonzero(scores == scores.min()).tolist() == best
    assert np.flatnonzero(scores == scores.max()).tolist() == worst


def test_it_can_be_chosen_as_smac():
    assert type(Search({'x': x}, method='smac', seed=1).sampler) is RandomForest


def test_without_scikit_learn_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.ensemble', None)
    with pytest.raises(ConfigurationError, match="method='rf' needs .* pip install scikit-learn"):
        Search({'x': x}, method='rf', seed=1)


@pytest.mark.parametrize('first', [0, 1.5, 'ten'])
def test_the_number_of_first_suggestions_must_be_positive(first):
    with pytest.raises(ConfigurationError, match="method='rf': first must be an integer of 1 or more, or None; got"):
        Search({'x': x}, method='rf', seed=1, options={'first': first})
