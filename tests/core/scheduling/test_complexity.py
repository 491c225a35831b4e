"""Complexity grows with what there is to search, and never overflows."""

import math
import timeit

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from shadho import spaces
from shadho.forest import Forest
from shadho.scheduling.complexity import Complexity, complexity
from shadho.table import Table


def of(space):
    return complexity(Forest(space).tree(0))


def test_a_discrete_domain_counts_its_values():
    assert of({'x': ['a', 'b', 'c', 'd']}) == pytest.approx(math.log1p(4))
    assert of({'x': spaces.randint(10, 50, 10)}) == pytest.approx(math.log1p(4))
    assert of({'x': spaces.grid([1, 2, 3, 4])}) == pytest.approx(math.log1p(4))


def test_a_continuous_domain_counts_the_width_of_its_central_99_percent():
    assert of({'x': spaces.normal(7, 1)}) == pytest.approx(math.log1p(5.15), abs=0.01)
    assert of({'x': spaces.uniform(-10, 90)}) == pytest.approx(math.log1p(99))
    assert of({'x': spaces.log10_uniform(-5, 8)}) == pytest.approx(math.log1p(10**7.935), rel=1e-6)
    assert of({'x': scipy.stats.expon()}) == pytest.approx(math.log1p(math.log(0.995 / 0.005)))


def test_a_tree_adds_up_its_leaves():
    parts = {'a': spaces.uniform(0, 3), 'b': {'c': ['u', 'v'], 'd': spaces.normal(0, 1)}}
    assert of(parts) == pytest.approx(of({'a': parts['a']}) + of(parts['b']))


def test_a_tree_without_leaves_has_none():
    assert of({'extra': {'optional': True, 'x': spaces.uniform(0, 1)}}) == 0.0


def test_constants_and_dependent_values_add_nothing():
    x = spaces.uniform(0, 1)
    assert of({'x': x, 'fixed': 3, 'twice': spaces.dependent(x, callback=lambda value: 2 * value)}) == of({'x': x})


def test_every_further_leaf_makes_a_tree_more_complex():
    x = spaces.uniform(0, 1e-3)
    forest = Forest({'layers': spaces.repeat({'x': x}, 6)})
    sizes = [complexity(tree) for tree in forest]
    assert sizes == sorted(sizes) and len(set(sizes)) == 6


@given(st.floats(1e-300, 1e307), st.integers(1, 40))
def test_no_width_and_no_number_of_leaves_overflows(width, leaves):
    value = of({f'x{number}': spaces.uniform(0, width) for number in range(leaves)})
    assert 0 <= value <= 710 * leaves


@pytest.mark.parametrize(
    'distribution',
    [scipy.stats.cauchy(0, 1e307), scipy.stats.pareto(0.001), scipy.stats.levy(0, 1e305)],
    ids=lambda distribution: distribution.dist.name,
)
def test_a_distribution_with_an_immeasurable_tail_counts_as_a_wide_one(distribution):
    with np.errstate(all='ignore'):
        assert 20 < of({'x': distribution}) < 710


def test_a_scored_tree_is_not_worked_out_again():
    forest = Forest({'layers': spaces.repeat({'x': spaces.uniform(0, 1), 'y': ['a', 'b']}, 50)})
    trees, heuristic, history = list(forest), Complexity(), Table()
    expected = [complexity(tree) for tree in trees]
    assert heuristic.scores(trees, history).tolist() == expected
    again = min(timeit.repeat(lambda: heuristic.scores(trees, history), number=10, repeat=5))
    assert again < min(timeit.repeat(lambda: [complexity(tree) for tree in trees], number=10, repeat=5)) / 4


def test_the_results_do_not_matter():
    forest = Forest({'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': ['u', 'v', 'w']})
    history = Table()
    before = Complexity().scores(list(forest), history)
    history.ask(0)
    assert Complexity().scores(list(forest), history).tolist() == before.tolist()
