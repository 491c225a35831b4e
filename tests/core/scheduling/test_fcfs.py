"""What is special about first come, first served: evenness, and picks that are a function of the seed and their number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho import Search, spaces
from shadho.forest import Forest
from shadho.ledger import Ledger
from shadho.scheduling import PolicyContext
from shadho.scheduling.chance import below
from shadho.scheduling.fcfs import FirstComeFirstServed


def forest_of(count):
    return Forest({'exclusive': True, **{f'tree{number}': number for number in range(count)}})


def picks(policy, number, history):
    """Pick so many times, as a search does."""
    picked = []
    for _ in range(number):
        tree = policy.pick('any', 0.0)
        picked.append(tree.index)
        history.ask(tree.index)
    return picked


def make(count, seed=1):
    ledger = Ledger()
    return FirstComeFirstServed(PolicyContext(forest_of(count), ledger, seed)), ledger.history


@pytest.mark.parametrize('count', [2, 4, 18])
def test_trees_are_picked_evenly(count):
    policy, history = make(count)
    shares = np.bincount(picks(policy, 300 * count, history), minlength=count) / 300
    assert (abs(shares - 1) < 0.25).all()


def test_the_nth_pick_is_a_function_of_the_seed_and_n():
    policy, history = make(10)
    whole = picks(policy, 40, history)
    resumed, history = make(10)
    for _ in range(25):
        history.ask(0)
    assert picks(resumed, 15, history) == whole[25:]
    other, history = make(10, seed=2)
    assert picks(other, 40, history) != whole


def test_a_pick_does_not_depend_on_the_class():
    policy, _ = make(10)
    assert len({policy.pick(name, 0.0).index for name in ('one', 'another', '16-core')}) == 1


def test_a_parallel_search_evaluates_the_same_trials_as_a_serial_one():
    space = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'x': spaces.uniform(0, 1)}, 'c': 1}

    def params(at_once):
        search = Search(space, 'random', seed=5)
        pending, seen = [], []
        while len(seen) < 30:
            while len(pending) < at_once and len(seen) < 30:
                pending.append(search.ask())
                seen.append(repr(pending[-1].params))
            search.tell(pending.pop(), 1.0)
        return seen

    assert params(1) == params(7)


@pytest.mark.parametrize('left', [1, 2, 5])
def test_the_few_trees_that_are_left_of_many_are_picked_evenly(left):
    policy, history = make(400)
    for index in range(400 - left):
        policy.exclude(policy.forest.tree(index))
    shares = np.bincount(picks(policy, 300 * left, history), minlength=400)[-left:] / 300
    assert (abs(shares - 1) < 0.25).all()


def test_trees_are_excluded_also_when_only_few_are_left():
    policy, history = make(400)
    for index in range(397):
        policy.exclude(policy.forest.tree(index))
    assert set(picks(policy, 60, history)) == {397, 398, 399}
    policy.exclude(policy.forest.tree(398))
    policy.exclude(policy.forest.tree(398))
    assert set(picks(policy, 60, history)) == {397, 399}
    for index in (397, 399):
        policy.exclude(policy.forest.tree(index))
    assert policy.pick('any', 0.0) is None


@given(st.integers(1, 2**300), st.integers(0, 2**32))
def test_numbers_below_any_count_are_drawn(count, seed):
    assert 0 <= below(np.random.default_rng(seed), count) < count


def test_numbers_below_a_count_of_more_than_64_bits_are_evenly_spread():
    rng = np.random.default_rng(0)
    drawn = np.array([below(rng, 3 * 2**70) / (3 * 2**70) for _ in range(2000)])
    assert (abs(np.histogram(drawn, 4, (0, 1))[0] / 500 - 1) < 0.15).all()
