import statistics
from functools import partial

import numpy as np
import pytest

from shadho import Search, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.samplers.cmaes import CMAES
from shadho.testing import SamplerRun, SamplerSuite

unit = spaces.uniform(0, 1)
FIVE = Forest({f'x{number}': unit for number in range(5)})


class TestCMAES(SamplerSuite):
    def make(self, context):
        return CMAES(context)


def ellipsoid(point):
    """Return a loss of unequal, turned axes."""
    away = point - np.array([0.2, 0.4, 0.6, 0.8, 0.7])
    return float(np.sum(4.0 ** np.arange(5) * np.cumsum(away) ** 2))


def small():
    """Return a run with six points in a generation."""
    return SamplerRun(partial(CMAES, population=6), FIVE)


def losses(run, loss, trials, pending=1):
    """Return the losses of so many trials, of which so many are always pending; the oldest ends first."""
    tree = run.context.forest.tree(0)
    waiting, found = [run.ask(tree) for _ in range(pending)], []
    for _ in range(trials):
        trial = waiting.pop(0)
        found.append(loss(np.array(trial.point)))
        run.tell(trial, found[-1])
        waiting.append(run.ask(tree))
    return found


@pytest.mark.parametrize('pending', [1, 16])
def test_it_learns_the_shape_of_a_valley(pending):
    best = statistics.median(min(losses(SamplerRun(CMAES, FIVE, seed), ellipsoid, 400, pending)) for seed in range(5))
    chance = np.random.default_rng(0).random((5, 400, 5))
    by_chance = statistics.median(min(map(ellipsoid, points)) for points in chance)
    assert best < 0.05 * by_chance


def test_it_finds_integers_and_categories():
    space = {
        'x': unit,
        'n': spaces.randint(0, 12),
        'm': spaces.randint(0, 1000),
        'c': list('uvwxyz'),
        'd': [True, False],
    }
    search = Search(space, method='cmaes', seed=0)
    for _ in range(300):
        trial = search.ask()
        x, n, m, c, d = (trial.params[name] for name in ('x', 'n', 'm', 'c', 'd'))
        away = (x - 0.7) ** 2 + ((n - 8) / 12) ** 2 + ((m - 300) / 1000) ** 2
        search.tell(trial, away + 0.2 * (c != 'w') + 0.2 * (d is True))
    assert {name: search.best.params[name] for name in ('n', 'c', 'd')} == {'n': 8, 'c': 'w', 'd': False}
    assert search.best.loss < 1e-3


def test_it_starts_elsewhere_with_more_points_when_it_has_converged():
    run, tree = small(), FIVE.tree(0)
    notes = []
    for _ in range(1500):
        trial = run.ask(tree)
        notes.append((trial.meta['start'], trial.meta['generation']))
        run.tell(trial, sum((u - 0.3) ** 2 for u in trial.point))
    assert notes.count((0, 0)) == 6
    assert notes.count((1, 0)) == 12


def test_it_starts_elsewhere_when_a_generation_makes_no_difference():
    run = small()
    losses(run, lambda point: np.nan, 6)
    assert run.ask(FIVE.tree(0)).meta['start'] == 1


def test_results_of_points_that_are_too_old_do_not_count():
    run, tree = small(), FIVE.tree(0)
    for trial in [run.ask(tree) for _ in range(60)]:
        run.tell(trial, ellipsoid(np.array(trial.point)))
    assert run.ask(tree).meta['generation'] == 4


def test_it_leaves_the_region_where_trials_fail():
    def loss(point):
        return np.nan if point[0] > 0.4 else float(np.sum((point - 0.2) ** 2))

    found = losses(SamplerRun(CMAES, FIVE), loss, 120)
    assert np.isnan(found[:8]).sum() >= 4
    assert np.isnan(found[-40:]).sum() < 5


def test_hundreds_of_dimensions_cost_no_more_and_are_searched():
    forest = Forest({**{f'x{number}': unit for number in range(250)}, 'c': list('uvw')})
    found = losses(SamplerRun(CMAES, forest), lambda point: float(np.sum((point - 0.4) ** 2)), 400)
    assert statistics.mean(found[-20:]) < 0.8 * statistics.mean(found[:20])


def test_a_generation_has_at_least_four_points():
    with pytest.raises(ConfigurationError, match='population must be an integer from 4 to 1,000,000; got 3'):
        Search({'x': unit}, method='cmaes', options={'population': 3})
