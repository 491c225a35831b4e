"""What samplers do that search each tree by itself."""

import numpy as np
import pytest

from shadho import spaces
from shadho.forest import Forest
from shadho.samplers.cmaes import CMAES
from shadho.samplers.pso import ParticleSwarm
from shadho.testing import SamplerRun

unit = spaces.uniform(0, 1)
MIXED = Forest({'x': unit, 'y': unit, 'n': spaces.randint(0, 12), 'c': list('uvw')})
DISCRETE = Forest({'n': spaces.randint(0, 12), 'c': list('uvwxyz')})

both = pytest.mark.parametrize('method', [CMAES, ParticleSwarm])


def loss(point):
    return float(np.sum((np.array(point) - 0.3) ** 2))


def points_of(run, tree, trials):
    """Ask and tell so many times; return the points."""
    points = []
    for _ in range(trials):
        trial = run.ask(tree)
        run.tell(trial, loss(trial.point))
        points.append(trial.point)
    return points


@both
@pytest.mark.parametrize('forest', [MIXED, DISCRETE], ids=['mixed', 'discrete'])
@pytest.mark.parametrize('trials', [1, 50, 120])
def test_a_search_goes_on_after_an_interruption_as_if_there_had_been_none(method, forest, trials):
    tree, whole = forest.tree(0), SamplerRun(method, forest, seed=3)
    points_of(whole, tree, trials)
    rest = whole.resumed()
    assert points_of(whole, tree, 30) == points_of(rest, tree, 30)


@both
def test_so_does_one_with_pending_trials(method):
    tree, whole = MIXED.tree(0), SamplerRun(method, MIXED, seed=3)
    pending = [whole.ask(tree) for _ in range(40)]
    for trial in pending[5:]:
        whole.tell(trial, loss(trial.point))
    rest = whole.resumed()
    assert [whole.ask(tree).point for _ in range(9)] == [rest.ask(tree).point for _ in range(9)]


@both
def test_pending_points_do_not_come_twice(method):
    tree = DISCRETE.tree(0)
    run = SamplerRun(method, DISCRETE)
    points_of(run, tree, 30)
    assert len({run.ask(tree).point for _ in range(16)}) == 16


@both
def test_a_small_space_is_tried_out_before_anything_comes_twice(method):
    forest = Forest({'a': [1, 2, 3], 'b': list('uv')})
    assert len(set(points_of(SamplerRun(method, forest), forest.tree(0), 9)[:6])) == 6


@both
def test_a_point_whose_trial_waits_to_run_again_does_not_come_twice(method):
    forest = Forest({'a': [1, 2, 3]})
    run, tree = SamplerRun(method, forest), forest.tree(0)
    first = run.ask(tree)
    run.take_back(first)
    points = [first.point, run.ask(tree).point, run.ask(tree).point]
    assert sorted(u for (u,) in points) == pytest.approx([1 / 6, 3 / 6, 5 / 6])


@both
def test_discrete_coordinates_lie_in_the_middle_of_their_cells(method):
    for point in points_of(SamplerRun(method, MIXED), MIXED.tree(0), 60):
        cells = np.array(point[2:]) * [12, 3]
        assert cells % 1 == pytest.approx(0.5)


@both
def test_coordinates_that_the_search_sets_are_left_alone(method):
    forest = Forest({'g': spaces.grid([1, 2, 3]), 'x': unit})
    run, tree = SamplerRun(method, forest), forest.tree(0)
    for number in range(60):
        suggestion = run.suggest(tree)
        trial = run.begin(tree, [(number % 3 + 0.5) / 3, suggestion.point[1]], suggestion.meta)
        run.tell(trial, (trial.point[1] - 0.8) ** 2)
    assert suggestion.point[0] == 0.5
    assert suggestion.point[1] == pytest.approx(0.8, abs=0.1)


@both
def test_each_tree_has_a_search_of_its_own(method):
    forest = Forest({'exclusive': True, 'a': {'x': unit, 'y': unit}, 'b': {'x': unit, 'y': unit}})
    one, other = SamplerRun(method, forest), SamplerRun(method, forest)
    points_of(one, forest.tree(0), 30)
    assert points_of(other, forest.tree(1), 30) == points_of(one, forest.tree(1), 30)


@both
def test_what_others_tried_is_where_a_new_search_begins(method):
    forest = Forest({f'x{number}': unit for number in range(5)})
    run, tree, best = SamplerRun(method, forest), forest.tree(0), np.full(5, 0.9)
    for point, known in ((np.full(5, 0.2), 3.0), (best, 0.1), (np.full(5, 0.4), 2.0)):
        run.add(tree, point, known)
    distances = [np.linalg.norm(point - best) for point in points_of(run, tree, 24)[-16:]]
    assert np.median(distances) < 0.75  # chance: 1.07
