"""The market's equilibrium: slots for budgets, at prices at which nobody could do better."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from shadho.scheduling.equilibrium import equilibrium

ALL = settings(max_examples=150)


@st.composite
def markets(draw, may_be_infinite=True):
    """Draw budgets of up to 12 trees, their seconds in up to 4 classes, and the slots of these."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    trees, classes = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    seconds = np.exp(rng.normal(0, draw(st.floats(0, 2)), (trees, classes)))
    if may_be_infinite:
        seconds[rng.random(seconds.shape) < draw(st.sampled_from([0, 0.2, 0.5]))] = np.inf
    slots = rng.integers(0, 50, classes) if draw(st.booleans()) else rng.integers(1, 4, classes)
    return rng.random(trees) + 0.01, seconds, slots.astype(float)


def speeds(seconds):
    return np.where(np.isfinite(seconds), 1 / seconds, 0.0)


def served(seconds, slots):
    """Return which trees fit in a class that has slots."""
    return (speeds(seconds) @ slots) > 0


# --- what holds in every market ------------------------------------------------------------------


@ALL
@given(markets())
def test_a_class_is_never_oversold_and_sold_out_where_anybody_can_use_it(market):
    budgets, seconds, slots = market
    found = equilibrium(budgets, seconds, slots)
    assert (found.slots >= 0).all()
    usable = np.isfinite(seconds).any(axis=0)
    assert found.slots.sum(axis=0) == pytest.approx(np.where(usable, slots, 0.0))


@ALL
@given(markets())
def test_every_tree_that_fits_anywhere_spends_its_whole_budget(market):
    budgets, seconds, slots = market
    found = equilibrium(budgets, seconds, slots)
    expected = np.where(served(seconds, slots), budgets, 0.0)
    assert found.bids.sum(axis=1) == pytest.approx(expected)
    assert float(found.prices @ slots) == pytest.approx(expected.sum())


@ALL
@given(markets())
def test_no_tree_gets_slots_where_it_cannot_run(market):
    budgets, seconds, slots = market
    found = equilibrium(budgets, seconds, slots)
    assert (found.slots[np.isinf(seconds)] == 0).all()
    assert (found.bids[np.isinf(seconds)] == 0).all()


@ALL
@given(markets())
def test_rates_follow_from_slots(market):
    budgets, seconds, slots = market
    found = equilibrium(budgets, seconds, slots)
    assert found.rates == pytest.approx((found.slots * speeds(seconds)).sum(axis=1))


@ALL
@given(markets())
def test_every_tree_does_at_least_as_well_as_with_its_share_of_every_class(market):
    budgets, seconds, slots = market
    found = equilibrium(budgets, seconds, slots)
    fits = served(seconds, slots)
    shares = budgets / budgets.sum() * (speeds(seconds) @ slots)
    assert (found.rates[fits] >= 0.97 * shares[fits]).all()


@ALL
@given(markets(), st.floats(1e-3, 1e3))
def test_the_unit_of_budgets_and_of_seconds_does_not_matter(market, unit):
    budgets, seconds, slots = market
    found = equilibrium(budgets, seconds, slots)
    for other in (equilibrium(budgets * unit, seconds, slots), equilibrium(budgets, seconds * unit, slots)):
        assert other.slots == pytest.approx(found.slots, rel=1e-3, abs=1e-6)


@ALL
@given(markets())
def test_a_warm_start_ends_where_a_cold_one_does(market):
    budgets, seconds, slots = market
    cold = equilibrium(budgets, seconds, slots, most=5000, tolerance=1e-9)
    for seed in range(3):
        bids = np.random.default_rng(seed).random(seconds.shape)
        warm = equilibrium(budgets, seconds, slots, bids=bids, most=5000, tolerance=1e-9)
        assert welfare(warm, budgets) == pytest.approx(welfare(cold, budgets), abs=2e-3 * budgets.sum())


def welfare(found, budgets):
    return float((budgets * np.log(np.where(found.rates > 0, found.rates, 1.0))).sum())


# --- known optima --------------------------------------------------------------------------------


@ALL
@given(markets())
def test_in_a_class_of_its_own_a_tree_gets_slots_by_its_budget(market):
    budgets, seconds, _slots = market
    found = equilibrium(budgets, np.where(np.isfinite(seconds), seconds, 1.0)[:, :1], np.array([7.0]))
    assert found.slots[:, 0] == pytest.approx(7 * budgets / budgets.sum())


@pytest.mark.parametrize('slower', [(1, 2, 3), (1, 4, 12), (1, 1, 1)])
def test_where_classes_are_equally_slower_for_all_trees_each_gets_its_budgets_share_of_the_whole(slower):
    budgets, slots = np.array([1.0, 2.0, 5.0]), np.array([20.0, 25.0, 50.0])
    seconds = np.outer([3.0, 1.0, 0.1], slower)
    found = equilibrium(budgets, seconds, slots)
    assert found.rates == pytest.approx(budgets / budgets.sum() * (speeds(seconds) @ slots), rel=1e-3)
    assert found.prices == pytest.approx(found.prices[0] / np.array(slower), rel=1e-3)


def test_a_tree_sits_where_it_gains_most_over_the_others():
    # Both are faster on the GPU, but only the first by much: the second buys what a price of 10/9 leaves of it.
    seconds = np.array([[10.0, 1.0], [1.25, 1.0]])
    found = equilibrium(np.ones(2), seconds, np.ones(2), tolerance=1e-6)
    assert found.prices == pytest.approx([8 / 9, 10 / 9], rel=1e-3)
    assert found.slots == pytest.approx(np.array([[0.0, 0.9], [1.0, 0.1]]), abs=0.01)


def test_a_tree_with_a_large_budget_takes_the_rest_of_its_money_elsewhere():
    seconds = np.array([[10.0, 1.0], [1.0, 1.0]])
    budgets = np.array([1.0, 3.0])
    found = equilibrium(budgets, seconds, np.ones(2), tolerance=1e-6)
    # At prices of 2 each the second tree is indifferent: it fills what the first leaves.
    assert found.prices == pytest.approx([2.0, 2.0], rel=1e-3)
    assert found.slots == pytest.approx(np.array([[0.0, 0.5], [1.0, 0.5]]), abs=0.01)


def test_the_scarce_class_has_the_higher_price():
    seconds = np.array([[8.0, 1.0], [8.0, 1.0]])
    few, many = (equilibrium(np.ones(2), seconds, np.array([16.0, gpus])).prices for gpus in (1.0, 4.0))
    assert few[1] / few[0] == pytest.approx(8, rel=1e-3)
    assert many[1] < few[1]


@pytest.mark.parametrize('seed', range(8))
def test_the_optimum_is_that_of_a_general_solver(seed):
    rng = np.random.default_rng(seed)
    trees, classes = 4, 3
    seconds = np.exp(rng.normal(0, 1, (trees, classes)))
    if seed % 2:
        seconds[0, 0] = np.inf
    budgets, slots = rng.random(trees) + 0.2, rng.integers(1, 9, classes).astype(float)
    speed = speeds(seconds)

    def cost(shares):
        return -float(budgets @ np.log(np.maximum((speed * shares.reshape(trees, classes)) @ slots, 1e-12)))

    sums = [{'type': 'eq', 'fun': lambda shares, own=own: shares[own::classes].sum() - 1} for own in range(classes)]
    start = np.full(trees * classes, 1 / trees)
    solved = minimize(
        cost, start, bounds=[(0, 1)] * len(start), constraints=sums, method='SLSQP', options={'ftol': 1e-10}
    )
    assert solved.success
    found = equilibrium(budgets, seconds, slots)
    assert welfare(found, budgets) == pytest.approx(-solved.fun, abs=5e-3 * budgets.sum())


@pytest.mark.parametrize('seed', range(8))
def test_prices_are_what_one_more_slot_is_worth(seed):
    rng = np.random.default_rng(seed)
    seconds, budgets = np.exp(rng.normal(0, 1, (6, 3))), rng.random(6) + 0.2
    slots = np.full(3, 20.0)
    exact = {'most': 20_000, 'tolerance': 1e-12}
    found = equilibrium(budgets, seconds, slots, **exact)
    for own in range(3):
        more = slots + 0.01 * (np.arange(3) == own)
        gain = welfare(equilibrium(budgets, seconds, more, **exact), budgets) - welfare(found, budgets)
        assert found.prices[own] == pytest.approx(gain / 0.01, rel=0.05)


# --- quotas --------------------------------------------------------------------------------------


@pytest.mark.parametrize('seed', range(20))
def test_with_quotas_all_trees_finish_together_and_nearly_as_soon_as_can_be(seed, least_makespan):
    rng = np.random.default_rng(seed)
    trees, classes = rng.integers(1, 13), rng.integers(1, 5)
    seconds = np.exp(rng.normal(0, 1, (trees, classes)))
    slots = rng.integers(1, 50, classes).astype(float)
    remaining = rng.integers(2000, 20_000, trees).astype(float)
    found = equilibrium(remaining * seconds.mean(axis=1), seconds, slots, remaining=remaining)
    ends = remaining / found.rates
    assert ends.max() <= 1.05 * least_makespan(remaining, seconds, slots)
    assert ends.min() >= 0.85 * ends.max()
    assert found.slots.sum(axis=0) == pytest.approx(slots)


def test_a_tree_that_needs_no_more_trials_leaves_the_slots_to_the_others():
    found = equilibrium(np.ones(2), np.ones((2, 1)), np.array([10.0]), remaining=np.array([0.0, 1000.0]))
    assert found.slots[1, 0] > 9.9


# --- odd markets ---------------------------------------------------------------------------------


def test_a_class_without_slots_and_a_tree_that_fits_nowhere_take_part_in_nothing():
    seconds = np.array([[1.0, 1.0, np.inf], [np.inf, 2.0, np.inf], [np.inf, np.inf, np.inf], [np.inf, np.inf, 1.0]])
    found = equilibrium(np.ones(4), seconds, np.array([3.0, 3.0, 0.0]))
    assert found.rates.tolist() == [found.rates[0], found.rates[1], 0.0, 0.0]
    assert (found.rates[:2] > 0).all()
    assert np.isfinite(found.bids).all() and np.isfinite(found.slots).all() and np.isfinite(found.prices).all()


@pytest.mark.parametrize('shape', [(0, 3), (3, 0), (0, 0)])
def test_an_empty_market_is_empty(shape):
    found = equilibrium(np.ones(shape[0]), np.ones(shape), np.ones(shape[1]))
    assert (found.slots.shape, found.rates.shape, found.prices.shape) == (shape, shape[:1], shape[1:])


def test_seconds_and_budgets_of_all_magnitudes_are_finite_in_the_end():
    rng = np.random.default_rng(0)
    seconds, budgets = 10.0 ** rng.uniform(-6, 6, (30, 4)), 10.0 ** rng.uniform(-9, 3, 30)
    found = equilibrium(budgets, seconds, np.array([1.0, 10.0, 100.0, 1000.0]))
    assert np.isfinite(found.bids).all() and (found.rates > 0).all()


def test_a_tree_comes_back_to_a_class_that_has_become_fast_for_it():
    slow, fast = np.array([[1.0, 1000.0], [1.0, 1.0]]), np.array([[1.0, 0.01], [1.0, 1.0]])
    bids = None
    for _ in range(50):
        bids = equilibrium(np.ones(2), slow, np.ones(2), bids=bids).bids
    assert bids[0, 1] < 1e-6
    warm = equilibrium(np.ones(2), fast, np.ones(2), bids=bids)
    assert warm.slots == pytest.approx(equilibrium(np.ones(2), fast, np.ones(2)).slots, abs=0.03)
    assert warm.slots[0, 1] > 0.95


def test_a_tree_that_fitted_nowhere_comes_back_too():
    nowhere, somewhere = np.array([[np.inf, np.inf], [1.0, 1.0]]), np.array([[np.inf, 1.0], [1.0, 1.0]])
    bids = equilibrium(np.ones(2), nowhere, np.ones(2)).bids
    assert bids[0].tolist() == [0.0, 0.0]
    warm = equilibrium(np.ones(2), somewhere, np.ones(2), bids=bids)
    assert warm.slots == pytest.approx(equilibrium(np.ones(2), somewhere, np.ones(2)).slots, abs=0.03)
    assert warm.slots[0, 1] > 0.9


def test_a_thousand_trees_in_twenty_classes_settle_in_a_few_hundred_sweeps(calls):
    rng = np.random.default_rng(0)
    seconds = np.exp(rng.normal(0, 1, (1000, 20)))
    slots = rng.integers(1, 100, 20).astype(float)
    assert calls(lambda: equilibrium(rng.random(1000), seconds, slots)) < 15_000
