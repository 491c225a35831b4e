"""What samplers do that search each tree by itself."""

import json

import attrs
import numpy as np
import pytest

from shadho import spaces
from shadho.forest import Forest
from shadho.samplers import Suggestion
from shadho.samplers.cmaes import CMAES
from shadho.samplers.pso import ParticleSwarm

unit = spaces.uniform(0, 1)
MIXED = Forest({'x': unit, 'y': unit, 'n': spaces.randint(0, 12), 'c': list('uvw')})
DISCRETE = Forest({'n': spaces.randint(0, 12), 'c': list('uvwxyz')})

both = pytest.mark.parametrize('method', [CMAES, ParticleSwarm])


def loss(point):
    return float(np.sum((point - 0.3) ** 2))


def run(sampler, tree, trials):
    """Ask and tell so many times; return the suggestions."""
    suggestions = []
    for _ in range(trials):
        suggestions.append(sampler.ask(tree))
        sampler.tell(suggestions[-1], loss(suggestions[-1].point))
    return suggestions


def stored(suggestion):
    """Return a suggestion as it comes back from a storage."""
    return attrs.evolve(suggestion, point=suggestion.point.copy(), meta=json.loads(json.dumps(suggestion.meta)))


@both
@pytest.mark.parametrize('forest', [MIXED, DISCRETE], ids=['mixed', 'discrete'])
@pytest.mark.parametrize('trials', [1, 50, 120])
def test_a_search_goes_on_after_an_interruption_as_if_there_had_been_none(method, forest, trials):
    tree = forest.tree(0)
    whole, rest = method(forest, seed=3), method(forest, seed=3)
    for suggestion in run(whole, tree, trials):
        rest.tell(stored(suggestion), loss(suggestion.point))
    after = [[suggestion.point.tolist() for suggestion in run(sampler, tree, 30)] for sampler in (whole, rest)]
    assert after[0] == after[1]


@both
def test_so_does_one_with_pending_trials(method):
    tree = MIXED.tree(0)
    whole, rest = method(MIXED, seed=3), method(MIXED, seed=3)
    pending = [whole.ask(tree) for _ in range(40)]
    for suggestion in pending[5:]:
        whole.tell(suggestion, loss(suggestion.point))
        rest.tell(stored(suggestion), loss(suggestion.point))
    for suggestion in pending[:5]:
        rest.adopt(stored(suggestion))
    assert [whole.ask(tree).point.tolist() for _ in range(9)] == [rest.ask(tree).point.tolist() for _ in range(9)]


@both
def test_pending_points_do_not_come_twice(method):
    tree = DISCRETE.tree(0)
    sampler = method(DISCRETE, seed=0)
    run(sampler, tree, 30)
    assert len({tuple(sampler.ask(tree).point) for _ in range(16)}) == 16


@both
def test_a_small_space_is_tried_out_before_anything_comes_twice(method):
    forest = Forest({'a': [1, 2, 3], 'b': list('uv')})
    suggestions = run(method(forest, seed=0), forest.tree(0), 9)
    assert len({tuple(suggestion.point) for suggestion in suggestions[:6]}) == 6


@both
def test_a_cancelled_point_may_come_again(method):
    forest = Forest({'a': [1, 2, 3]})
    sampler, tree = method(forest, seed=0), forest.tree(0)
    first = sampler.ask(tree)
    sampler.forget(first)
    assert sorted(sampler.ask(tree).point[0] for _ in range(3)) == pytest.approx([1 / 6, 3 / 6, 5 / 6])


@both
def test_discrete_coordinates_lie_in_the_middle_of_their_cells(method):
    for suggestion in run(method(MIXED, seed=0), MIXED.tree(0), 60):
        cells = suggestion.point[2:] * [12, 3]
        assert cells % 1 == pytest.approx(0.5)


@both
def test_coordinates_that_the_search_sets_are_left_alone(method):
    forest = Forest({'g': spaces.grid([1, 2, 3]), 'x': unit})
    sampler, tree = method(forest, seed=0), forest.tree(0)
    for number in range(60):
        suggestion = sampler.ask(tree)
        tried = attrs.evolve(suggestion, point=np.array([(number % 3 + 0.5) / 3, suggestion.point[1]]))
        sampler.tell(tried, (tried.point[1] - 0.8) ** 2)
    assert suggestion.point[0] == 0.5
    assert suggestion.point[1] == pytest.approx(0.8, abs=0.1)


@both
def test_each_tree_has_a_search_of_its_own(method):
    forest = Forest({'exclusive': True, 'a': {'x': unit, 'y': unit}, 'b': {'x': unit, 'y': unit}})
    one, other = method(forest, seed=0), method(forest, seed=0)
    run(one, forest.tree(0), 30)
    alone, beside = ([s.point.tolist() for s in run(sampler, forest.tree(1), 30)] for sampler in (other, one))
    assert alone == beside


@both
def test_what_others_tried_is_where_a_new_search_begins(method):
    forest = Forest({f'x{number}': unit for number in range(5)})
    sampler, tree, best = method(forest, seed=0), forest.tree(0), np.full(5, 0.9)
    for point, known in ((np.full(5, 0.2), 3.0), (best, 0.1), (np.full(5, 0.4), 2.0)):
        sampler.tell(Suggestion(-1, tree, point), known)
    first = run(sampler, tree, 24)
    distances = [np.linalg.norm(suggestion.point - best) for suggestion in first[-16:]]
    assert np.median(distances) < 0.75  # chance: 1.07
