"""What is special about random and sobol: any point by its number, in any order."""

import random

import numpy as np
import pytest
from scipy.stats import kstest, qmc

from shadho import Search, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.samplers.random import Random
from shadho.samplers.sobol import Sobol
from shadho.testing import SamplerRun

x = spaces.uniform(0, 1)
FOREST = Forest({'exclusive': True, 'a': {'x': x, 'y': x}, 'b': {'x': x, 'y': x, 'z': x}})


def sampler_of(method, forest=FOREST):
    return SamplerRun(method, forest, seed=4).sampler


@pytest.mark.parametrize('method', [Random, Sobol])
def test_points_do_not_depend_on_the_order_in_which_they_are_asked_for(method):
    places = [(index, k) for index in (0, 1) for k in range(150)]
    inorder = sampler_of(method)
    points = {place: inorder.point(FOREST.tree(place[0]), place[1]).copy() for place in places}
    random.Random(0).shuffle(places)
    mixed = sampler_of(method)
    assert all(np.array_equal(mixed.point(FOREST.tree(index), k), points[index, k]) for index, k in places)


@pytest.mark.parametrize('method', [Random, Sobol])
def test_no_point_comes_twice(method):
    sampler = sampler_of(method)
    points = {tuple(sampler.point(FOREST.tree(index), k)[:2]) for index in (0, 1) for k in range(300)}
    assert len(points) == 600


@pytest.mark.parametrize('method', [Random, Sobol])
def test_coordinates_are_evenly_spread(method):
    sampler = sampler_of(method)
    points = np.array([sampler.point(FOREST.tree(1), k) for k in range(512)])
    assert all(kstest(column, 'uniform').pvalue > 0.001 for column in points.T)


@pytest.mark.parametrize('method', [Random, Sobol])
def test_many_trees_in_turn_keep_their_own_points(method):
    forest = Forest({f'part{number}': {'optional': True, 'x': x} for number in range(9)})
    one, other = sampler_of(method, forest), sampler_of(method, forest)
    inturn = {(index, k): one.point(forest.tree(index), k).copy() for k in range(2) for index in range(forest.count)}
    for index in range(forest.count):
        for k in range(2):
            assert np.array_equal(other.point(forest.tree(index), k), inturn[index, k])


def test_sobol_points_are_those_of_the_sequence():
    sampler = sampler_of(Sobol)
    engine = qmc.Sobol(3, rng=np.random.default_rng((4, 1)))
    points = np.array([sampler.point(FOREST.tree(1), k) for k in range(64)])
    assert np.array_equal(points, engine.random(64))


def test_sobol_points_far_along_are_reached_at_once():
    sampler = sampler_of(Sobol)
    engine = qmc.Sobol(2, rng=np.random.default_rng((4, 0)))
    engine.fast_forward(1_000_003)
    assert np.array_equal(sampler.point(FOREST.tree(0), 1_000_003), engine.random(1)[0])


def test_sobol_covers_better_than_random():
    def discrepancy(method):
        sampler = sampler_of(method)
        return qmc.discrepancy(np.array([sampler.point(FOREST.tree(0), k) for k in range(64)]))

    assert discrepancy(Sobol) < discrepancy(Random) / 4


def test_sobol_refuses_trees_of_too_many_dimensions():
    space = {'layers': spaces.repeat({'w': x}, 30_000, split=False)}
    with pytest.raises(ConfigurationError, match="at most 21201 dimensions; tree 0 has 30000. Use method='random'"):
        Search(space, method='sobol').ask()
