"""Active trees: as many as the search can use, of forests of every size."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho import spaces
from shadho.forest import Forest
from shadho.scheduling.active import ActiveTrees

X = spaces.uniform(0, 1)


def parts(number):
    """Return a forest of 2**number trees."""
    return Forest({f'part{i}': {'optional': True, 'x': X} for i in range(number)})


def options(number):
    return Forest({'exclusive': True, **{f'tree{i}': i for i in range(number)}})


def grown(forest, trials=0, slots=1, seed=3):
    active = ActiveTrees(forest, seed=seed)
    active.grow(trials, slots)
    return active


def indices(active):
    return [tree.index for tree in active.trees]


@pytest.mark.parametrize('count', [1, 2, 63, 64])
def test_all_trees_of_a_small_forest_are_active_by_number(count):
    assert indices(grown(options(count))) == list(range(count))


def test_with_enough_slots_all_of_ten_thousand_trees_are_active():
    assert indices(grown(options(10_000), slots=5_000)) == list(range(10_000))


@pytest.mark.parametrize('bits', [7, 40, 300])
def test_the_number_grows_like_the_square_root_of_the_number_of_trials(bits):
    active = ActiveTrees(parts(bits), seed=0)
    sizes = []
    for trials in (0, 256, 400, 900):
        active.grow(trials, 1)
        sizes.append(len(active))
    assert sizes == [64, 64, 80, 120]


def test_there_are_two_trees_for_each_slot():
    assert len(grown(parts(40), slots=95)) == 190


def test_trees_that_are_active_stay_so_in_their_order():
    active = grown(parts(8))
    before = indices(active)
    assert active.grow(900, 1)
    assert indices(active)[:64] == before and len(set(indices(active))) == 120
    assert active.grow(10**6, 1)
    assert indices(active)[:64] == before and sorted(indices(active)) == list(range(256))


def test_nothing_changes_when_there_are_enough():
    active = grown(parts(40))
    before = indices(active)
    assert not active.grow(0, 1)
    assert not active.grow(200, 10)
    assert indices(active) == before


@pytest.mark.parametrize('bits', [8, 300])
def test_what_is_drawn_is_a_function_of_the_seed(bits):
    forest = parts(bits)
    assert indices(grown(forest)) == indices(grown(forest))
    assert indices(grown(forest)) != indices(grown(forest, seed=4))


def test_the_more_complex_come_sooner_but_none_is_ruled_out():
    forest = Forest({'exclusive': True, **{f'tree{i}': list(range(i + 1)) for i in range(1000)}})
    means, simple = [], 0
    for seed in range(20):
        places = indices(grown(forest, seed=seed))
        means.append(np.mean(places))
        simple += sum(place < 250 for place in places)
    assert 600 < np.mean(means) < 730
    assert 20 < simple < 160


def test_an_excluded_tree_is_replaced_by_another():
    active = grown(parts(40))
    gone = active.trees[5]
    before = indices(active)
    active.exclude(gone)
    assert indices(active) == before[:5] + before[6:]
    assert active.grow(0, 1)
    assert len(active) == 64 and gone.index not in active
    active.add(gone.index)
    assert gone not in active.trees


def test_a_tree_may_be_excluded_before_it_is_active_and_twice():
    forest = options(10)
    active = ActiveTrees(forest, seed=0)
    for _ in range(2):
        active.exclude(forest.tree(4))
    active.grow(0, 1)
    assert indices(active) == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_a_tree_with_trials_of_an_earlier_run_is_active_once():
    active = ActiveTrees(parts(300), seed=0)
    for index in (7, 2**200, 7):
        active.add(index)
    active.grow(0, 1)
    assert indices(active)[:2] == [7, 2**200] and len(set(indices(active))) == len(active) == 64


@given(st.integers(1, 300), st.data())
def test_whatever_is_excluded_all_trees_that_are_left_have_their_turn(count, data):
    forest = options(count)
    active = ActiveTrees(forest, seed=data.draw(st.integers(0, 5)))
    left, chance = set(range(count)), random.Random(data.draw(st.integers(0, 10_000)))
    while left:
        active.grow(data.draw(st.integers(0, 1000)), data.draw(st.integers(0, 50)))
        assert set(indices(active)) <= left and len(active) >= min(len(left), 64)
        assert len(active) == len(set(indices(active)))
        among = sorted(left) if data.draw(st.booleans()) else indices(active)
        for index in chance.sample(among, min(len(among), data.draw(st.integers(1, 80)))):
            active.exclude(forest.tree(index))
            left.discard(index)
    assert not active.grow(10**6, 50) and active.trees == []


def test_growing_costs_as_much_as_there_are_parts_however_many_trees_they_make(calls):
    few, many = ActiveTrees(parts(30), seed=3), ActiveTrees(parts(300), seed=3)
    assert calls(lambda: many.grow(0, 500)) < 12 * calls(lambda: few.grow(0, 500))
    assert len(few) == len(many) == 1000 and max(indices(many)) > 2**290


def test_growing_costs_next_to_nothing_while_there_are_enough_trees(calls):
    active = grown(parts(40), slots=500)
    assert calls(lambda: [active.grow(trials, 500) for trials in range(1000)]) < 20 * 1000


def test_trees_are_used_up_one_by_one_at_the_same_cost_each(calls):
    def use_up(count):
        active = grown(options(count))
        for _ in range(count):
            active.exclude(active.trees[0])
            active.grow(10_000, 1)
        assert active.trees == []

    assert calls(lambda: use_up(3000)) < 4 * calls(lambda: use_up(1000))
