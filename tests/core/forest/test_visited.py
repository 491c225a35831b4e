"""Which settings of finite trees were asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho import spaces
from shadho.forest import Forest, Visited, snap


def test_a_tree_knows_how_many_settings_it_has() -> None:
    assert Forest({'a': [1, 2, 3], 'b': spaces.randint(0, 4)}).tree(0).size == 12
    assert Forest({'a': [1, 2, 3], 'x': spaces.uniform(0, 1)}).tree(0).size == math.inf
    assert Forest({'constant': 1}).tree(0).size == 1
    huge = Forest({f'a{number}': spaces.randint(0, 2**40) for number in range(40)}).tree(0)
    assert huge.size == 2**1600


def test_points_are_snapped_to_the_middles_of_cells_and_continuous_coordinates_stay() -> None:
    points = np.array([[0.1, 0.99, 0.3], [0.5, 1.0, 0.7]])
    assert snap(points, np.array([2, 4, 0])).tolist() == [[0.25, 0.875, 0.3], [0.75, 0.875, 0.7]]
    assert points[0, 0] == 0.1


@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3), repeats=st.integers(1, 2), seed=st.integers(0, 9))
def test_asking_for_one_point_again_and_again_visits_every_setting_equally_often(
    sizes: list[int], repeats: int, seed: int
) -> None:
    tree = Forest({f'a{place}': spaces.choice(range(size)) for place, size in enumerate(sizes)}).tree(0)
    visited, rng = Visited(repeats), np.random.default_rng(seed)
    asked = []
    for _ in range(repeats * int(tree.size)):
        point = visited.unvisited(tree, np.full(len(tree), 0.5), rng)
        visited.add(tree, point)
        asked.append(tuple(tree.decode(point).values()))
    assert {asked.count(one) for one in asked} == {repeats}
    assert len(set(asked)) == tree.size


def test_an_unvisited_setting_is_close_to_the_one_that_was_asked_for() -> None:
    tree = Forest({'a': spaces.randint(0, 100), 'b': spaces.randint(0, 100)}).tree(0)
    visited, point = Visited(), np.array([0.505, 0.505])
    visited.add(tree, point)
    for seed in range(20):
        other = visited.unvisited(tree, point, np.random.default_rng(seed))
        assert np.abs(other - point).max() == pytest.approx(0.01)


def test_points_of_continuous_trees_stay_as_they_are() -> None:
    tree = Forest({'x': spaces.uniform(0, 1)}).tree(0)
    visited, point = Visited(), np.array([0.5])
    visited.add(tree, point)
    assert visited.unvisited(tree, point, np.random.default_rng(0)) is point


def test_a_setting_is_new_until_it_was_asked_for_or_is_known() -> None:
    forest = Forest({'a': [1, 2, 3], 'b': [True, False]})
    tree, visited = forest.tree(0), Visited()
    points = np.array([tree.encode({'a': a, 'b': b}) for a in (1, 2, 3) for b in (True, False)])
    assert visited.are_new(tree, points).all()
    visited.add(tree, points[0])
    visited.know(tree, points[3] + 0.01)  # anywhere in its cell
    assert visited.are_new(tree, points).tolist() == [False, True, True, False, True, True]


def test_a_known_setting_may_be_asked_for() -> None:
    tree, visited = Forest({'a': [1, 2]}).tree(0), Visited()
    visited.know(tree, [0.25])
    point = np.array([0.25])
    assert visited.unvisited(tree, point, np.random.default_rng(0)) is point


def test_points_of_a_continuous_tree_are_all_new() -> None:
    tree, visited = Forest({'x': spaces.uniform(0, 1)}).tree(0), Visited()
    visited.add(tree, [0.5])
    assert visited.are_new(tree, np.array([[0.5], [0.25]])).tolist() == [True, True]
