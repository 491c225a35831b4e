"""Domains: what each constructor draws, from which end to which, and what samplers are told."""

from __future__ import annotations

import math
import random
import statistics
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from shadho import spaces
from shadho.errors import SpaceError
from shadho.spaces.domains import Domain
from shadho.spaces.structure import as_node

quantiles = st.floats(0.0, 1.0)
quick = settings(max_examples=200)


@pytest.mark.parametrize(
    ('domain', 'low', 'middle', 'high'),
    [
        (spaces.uniform(-2, 4), -2.0, 1.0, 4.0),
        (spaces.ln_uniform(0, 2), 1.0, math.e, math.exp(2)),
        (spaces.log2_uniform(-1, 3), 0.5, 2.0, 8.0),
        (spaces.log10_uniform(-5, -1), 1e-5, 1e-3, 1e-1),
        (spaces.log10_uniform(-5, 8), 1e-5, 10**1.5, 1e8),
        (spaces.loguniform(1e-4, 1e-2), 1e-4, 1e-3, 1e-2),
    ],
)
def test_a_uniform_domain_goes_from_one_end_to_the_other(
    domain: Domain, low: float, middle: float, high: float
) -> None:
    drawn = domain.decode(0.0), domain.decode(0.5), domain.decode(1.0)
    assert drawn == pytest.approx((low, middle, high), rel=1e-12)


def test_rounding_leads_no_value_out_of_loguniform() -> None:
    domain = spaces.loguniform(0.1, 0.7)
    assert 0.1 <= domain.decode(0.0) < domain.decode(1.0) <= 0.7


@pytest.mark.parametrize(
    ('domain', 'median', 'one_deviation_above'),
    [
        (spaces.normal(3, 2), 3.0, 5.0),
        (spaces.ln_normal(0, 1), 1.0, math.e),
        (spaces.log2_normal(1, 2), 2.0, 8.0),
        (spaces.log10_normal(-2, 1), 0.01, 0.1),
    ],
)
def test_a_normal_domain_has_its_median_and_spread(domain: Domain, median: float, one_deviation_above: float) -> None:
    above = statistics.NormalDist().cdf(1.0)
    assert domain.decode(0.5) == pytest.approx(median)
    assert domain.decode(above) == pytest.approx(one_deviation_above)


@pytest.mark.parametrize('domain', [spaces.normal(0, 1), spaces.distribution(scipy.stats.norm(0, 1))])
def test_the_ends_of_an_unbounded_domain_are_finite(domain: Domain) -> None:
    assert -9 < domain.decode(0.0) < -8 < 8 < domain.decode(1.0) < 9


def test_draws_differ_and_follow_the_distribution() -> None:
    rng = random.Random(0)
    drawn = [spaces.log10_uniform(-5, -1).decode(rng.random()) for _ in range(2000)]
    assert len(set(drawn)) == 2000
    below = sum(value < 1e-3 for value in drawn)
    assert 900 < below < 1100
    assert 1e-5 <= min(drawn) < 1.1e-5
    assert 0.9e-1 < max(drawn) <= 1e-1


@pytest.mark.parametrize(
    ('domain', 'values'),
    [
        (spaces.randint(1, 10), [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (spaces.randint(1, 10, step=2), [1, 3, 5, 7, 9]),
        (spaces.randint(0, 10, 3), [0, 3, 6, 9]),
        (spaces.randint(-3, -1), [-3, -2]),
        (spaces.randint(5, 6), [5]),
        (spaces.log2_randint(4, 10), [16, 32, 64, 128, 256, 512]),
        (spaces.log2_randint(4, 10, 2), [16, 64, 256]),
        (spaces.log10_randint(0, 4), [1, 10, 100, 1000]),
        (spaces.ln_randint(0, 4), [1, 3, 7, 20]),
        (spaces.log2_randint(-2, 1), [0.25, 0.5, 1.0]),
        (spaces.choice(['rbf', 'poly']), ['rbf', 'poly']),
        (spaces.choice(range(3)), [0, 1, 2]),
        (spaces.choice(iter('ab')), ['a', 'b']),
        (spaces.choice(np.array([0.5, 1.5])), [0.5, 1.5]),
        (spaces.grid([3, 1, 2]), [3, 1, 2]),
        (spaces.exhaustive(np.linspace(0, 1, 3)), [0.0, 0.5, 1.0]),
        (spaces.grid(spaces.randint(0, 3)), [0, 1, 2]),
        (spaces.grid(range(6, 0, -2)), [2, 4, 6]),
        (as_node([1, 'a', None]), [1, 'a', None]),
        (as_node(range(2, 8, 3)), [2, 5]),
        (as_node(np.array([1, 2])), [1, 2]),
    ],
)
def test_a_discrete_domain_gives_each_value_an_equal_stretch(domain: Any, values: list[Any]) -> None:
    n = len(values)
    assert domain.size == n
    for stretch in [(0.001, 0.5, 0.999), (0.25, 0.75)]:
        for within in stretch:
            drawn = [domain.decode((index + within) / n) for index in range(n)]
            assert [(type(value), value) for value in drawn] == [(type(value), value) for value in values]
    assert (domain.decode(0.0), domain.decode(1.0)) == (values[0], values[-1])


@pytest.mark.parametrize(
    ('domain', 'kind'),
    [
        (spaces.uniform(0, 1), 'continuous'),
        (spaces.log10_normal(0, 1), 'continuous'),
        (spaces.distribution(scipy.stats.beta(2, 5)), 'continuous'),
        (spaces.randint(0, 5), 'integer'),
        (spaces.log2_randint(4, 10), 'integer'),
        (spaces.choice([1, 2, 10]), 'integer'),
        (spaces.choice([0.1, 0.5]), 'integer'),
        (spaces.choice([np.float64(0.1), np.float64(0.5)]), 'integer'),
        (spaces.choice([3, 1, 2]), 'categorical'),
        (spaces.choice([1, 1]), 'categorical'),
        (spaces.choice([False, True]), 'categorical'),
        (spaces.choice(['a', 'b']), 'categorical'),
        (spaces.choice([1, 'a']), 'categorical'),
        (spaces.choice([1, math.nan]), 'categorical'),
        (spaces.choice([1]), 'categorical'),
        (spaces.grid([1, 2]), 'integer'),
    ],
)
def test_numbers_in_increasing_order_are_ordered_and_all_else_is_not(domain: Domain, kind: str) -> None:
    assert domain.kind == kind


def test_only_grids_are_grids() -> None:
    assert not spaces.choice([1, 2]).grid
    assert not spaces.uniform(0, 1).grid
    assert spaces.grid([1, 2]).grid
    assert spaces.exhaustive([1, 2]).grid
    assert spaces.grid(spaces.log2_randint(0, 3)).grid


def test_a_grid_of_a_domain_leaves_the_domain_as_it_was() -> None:
    domain = spaces.randint(0, 3)
    spaces.grid(domain)
    assert not domain.grid


def test_a_frozen_distribution_of_scipy_is_a_domain() -> None:
    frozen = scipy.stats.beta(2, 5)
    for domain in (spaces.distribution(frozen), as_node(frozen)):
        assert domain.decode(0.3) == frozen.ppf(0.3)
        assert type(domain.decode(0.3)) is float


def test_a_discrete_distribution_of_scipy_draws_integers() -> None:
    domain = spaces.distribution(scipy.stats.poisson(4))
    values = [domain.decode(u) for u in (0.0, 0.5, 0.9)]
    assert values == [0, 4, 7]
    assert {type(value) for value in values} == {int}
    assert [domain.decode(domain.encode(value)) for value in values] == values


def test_numpy_numbers_are_arguments_like_any() -> None:
    assert repr(spaces.uniform(np.float32(0.5), Fraction(3, 2))) == 'uniform(0.5, 1.5)'
    domain = spaces.randint(np.int64(1), np.uint8(4))
    assert [type(domain.decode(u)) for u in (0.1, 0.9)] == [int, int]


def test_values_of_a_list_are_handed_on_as_they_are() -> None:
    value, array = np.float32(0.1), np.arange(3)
    domain = spaces.choice([value, array])
    assert domain.decode(0.1) is value
    assert domain.decode(0.9) is array


@pytest.mark.parametrize(
    ('values', 'value', 'index'),
    [
        ([True, 1, 1.0], 1, 1),
        ([True, 1, 1.0], 1.0, 2),
        ([1, 2], np.int64(2), 1),
        (['a', None], None, 1),
        ([0.0, math.nan], float('nan'), 1),
        ([np.arange(2), np.arange(3)], np.arange(3), 1),
        ([[1, 2], [3]], [3], 1),
        ([(1, 2), (3,)], (3,), 1),
    ],
)
def test_a_value_is_found_by_type_first_and_by_equality_then(values: list[Any], value: Any, index: int) -> None:
    domain = spaces.choice(values)
    assert domain.encode(value) == domain.coordinate(index)


CONTINUOUS = [
    spaces.uniform(-1000, 2000),
    spaces.uniform(1e300, 1.5e300),
    spaces.ln_uniform(-3, 3),
    spaces.log2_uniform(-1000, 1000),
    spaces.log10_uniform(-5, 8),
    spaces.loguniform(1e-300, 1e300),
    spaces.normal(-3, 0.1),
    spaces.ln_normal(0, 5),
    spaces.log10_normal(2, 1),
    spaces.distribution(scipy.stats.expon(scale=3)),
]


@pytest.mark.parametrize('domain', CONTINUOUS, ids=repr)
def test_a_real_number_leads_back_to_its_quantile(domain: Domain) -> None:
    @quick
    @given(u=quantiles)
    def check(u: float) -> None:
        value = domain.decode(u)
        assert math.isfinite(value)
        assert math.isclose(domain.decode(domain.encode(value)), value, rel_tol=1e-6, abs_tol=1e-9)

    check()


@pytest.mark.parametrize('domain', CONTINUOUS[:-1], ids=repr)
def test_a_number_drawn_at_random_leads_back_to_itself_exactly(domain: Domain) -> None:
    rng = random.Random(1)
    values = [domain.decode(rng.random()) for _ in range(300)]
    again = [domain.decode(domain.encode(value)) for value in values]
    assert sum(one == other for one, other in zip(values, again)) >= 297
    assert again == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize('size', [2**50, 2**49 + 12345, 3])
def test_every_value_of_a_wide_range_leads_back_to_itself(size: int) -> None:
    domain = spaces.randint(10, 10 + size)
    rng = random.Random(2)
    values = [10, 9 + size, *(rng.randrange(10, 10 + size) for _ in range(1000))]
    assert [domain.decode(domain.encode(value)) for value in values] == values


@pytest.mark.parametrize(
    ('domain', 'value'),
    [
        (spaces.uniform(0, 1), 1.5),
        (spaces.uniform(0, 1), -0.001),
        (spaces.uniform(0, 1), math.nan),
        (spaces.uniform(0, 1), math.inf),
        (spaces.uniform(0, 1), 10**400),
        (spaces.uniform(0, 1), '0.5'),
        (spaces.uniform(0, 1), None),
        (spaces.log10_uniform(-2, 2), 0.0),
        (spaces.log10_uniform(-2, 2), -1.0),
        (spaces.normal(0, 1), math.nan),
        (spaces.normal(0, 1), 50.0),
        (spaces.distribution(scipy.stats.poisson(4)), 2.5),
        (spaces.randint(0, 10, 2), 3),
        (spaces.randint(0, 10), 10),
        (spaces.randint(0, 10), -1),
        (spaces.randint(0, 10), 2.5),
        (spaces.randint(0, 10), math.nan),
        (spaces.randint(0, 10), math.inf),
        (spaces.randint(0, 10), 'a'),
        (spaces.log2_randint(4, 10), 1024),
        (spaces.log2_randint(4, 10), 17),
        (spaces.log2_randint(4, 10), math.nan),
        (spaces.log2_randint(4, 10), 'a'),
        (spaces.choice(['a', 'b']), 'c'),
        (spaces.choice([np.arange(2)]), np.arange(3)),
    ],
)
def test_a_value_outside_the_domain_is_refused(domain: Domain, value: Any) -> None:
    with pytest.raises(SpaceError, match=r'lies outside|is not a value of'):
        domain.encode(value)


def test_the_message_names_the_value_and_the_domain() -> None:
    with pytest.raises(SpaceError, match=r"^'c' is not a value of choice\(\['a', 'b'\]\)$"):
        spaces.choice(['a', 'b']).encode('c')
    with pytest.raises(SpaceError, match=r'^-1\.0 lies outside log10_uniform\(-2\.0, 2\.0\)$'):
        spaces.log10_uniform(-2, 2).encode(-1.0)
