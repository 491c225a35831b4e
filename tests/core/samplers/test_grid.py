"""Grid search: every combination once, widely spread from the start."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho import Search, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.samplers.grid import Grid, combination
from shadho.testing import SamplerRun

sizes_of_grids = st.lists(st.integers(1, 7), min_size=1, max_size=4)


def widest_gap(total, count):
    """Return the widest stretch of a grid of `total` that its first `count` places leave out."""
    places = sorted(combination([total], k)[0] for k in range(count))
    return max(b - a for a, b in itertools.pairwise([*places, places[0] + total]))


@given(sizes_of_grids)
def test_the_order_is_a_permutation_of_all_combinations(sizes):
    seen = [tuple(combination(sizes, k)) for k in range(math.prod(sizes))]
    assert sorted(seen) == list(itertools.product(*map(range, sizes)))


@given(sizes_of_grids, st.integers(0, 10_000))
def test_after_the_last_combination_it_begins_anew(sizes, k):
    assert combination(sizes, k) == combination(sizes, k + math.prod(sizes))


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=30), st.integers(0, 10**9))
def test_grids_of_any_size_have_combinations(sizes, k):
    digits = combination(sizes, k)
    assert len(digits) == len(sizes)
    assert all(0 <= digit < size for digit, size in zip(digits, sizes))


@given(st.integers(9, 10**9), st.integers(2, 200))
def test_its_beginning_covers_the_whole_grid_coarsely(total, count):
    count = min(count, math.isqrt(total))
    assert widest_gap(total, count) <= 3.5 * total / count


@given(st.integers(2, 12), st.integers(2, 12))
def test_every_value_of_every_domain_is_tried_early(first, second):
    early = [combination([first, second], k) for k in range(4 * max(first, second))]
    assert {digits[0] for digits in early} == set(range(first))
    assert {digits[1] for digits in early} == set(range(second))


@pytest.mark.parametrize('repeats', [1, 2, 3])
def test_every_combination_of_every_tree_is_tried_as_often_as_asked(repeats):
    space = {'exclusive': True, 'a': {'x': [1, 2, 3], 'y': spaces.randint(0, 4, 1)}, 'b': {'z': ['u', 'v']}}
    search = Search(space, method='grid', seed=1, repeats=repeats)
    seen = []
    while (trial := search.ask()) is not None:
        seen.append(repr(trial.params))
        search.tell(trial, 1.0)
    expected = [{'a': {'x': x, 'y': y}} for x in (1, 2, 3) for y in range(4)] + [{'b': {'z': z}} for z in 'uv']
    assert sorted(seen) == sorted([repr(params) for params in expected] * repeats)
    assert search.finished


def test_continuous_domains_take_evenly_spaced_quantiles():
    search = Search({'x': spaces.uniform(0, 1)}, method='grid', grid_points=4)
    assert sorted(search.ask().params['x'] for _ in range(4)) == [0.125, 0.375, 0.625, 0.875]
    assert search.ask() is None


def test_a_continuous_domain_without_a_number_of_points_is_an_error():
    with pytest.raises(ConfigurationError, match=r'cannot list the values of layer\.rate, .*grid_points=n'):
        Search({'layer': {'rate': spaces.uniform(0, 1)}}, method='grid')


def test_the_number_of_points_must_be_positive():
    with pytest.raises(ConfigurationError, match='grid_points must be an integer of 1 or more, or None; got 0'):
        Search({'x': spaces.uniform(0, 1)}, method='grid', grid_points=0)


def test_the_length_of_a_huge_grid_is_exact():
    forest = Forest({str(number): list(range(10)) for number in range(40)})
    run = SamplerRun(Grid, forest, repeats=3)
    assert run.sampler.length(forest.tree(0)) == 3 * 10**40
    assert all(0.0 < u < 1.0 for u in run.ask(forest.tree(0)).point)
