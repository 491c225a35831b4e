"""The original's rule, for every number of trees and classes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadho import Search, spaces
from shadho.forest import Forest
from shadho.ledger import Ledger
from shadho.records import ClassesChanged, ComputeClass, Trial, TrialState
from shadho.scheduling import PolicyContext
from shadho.scheduling.ranked import Ranked, pair

CLASSES = [
    ComputeClass('4-core', 50, {'cores': 4}),
    ComputeClass('16-core', 20, {'cores': 16}),
    ComputeClass('8-core', 25, {'cores': 8}),
]
X = spaces.uniform(0, 1)
# From the least to the most complex.
FOREST = Forest({'exclusive': True, **{f'tree{i}': {f'x{j}': X for j in range(i + 1)} for i in range(4)}})

numbers = st.integers(1, 60)


def test_four_trees_are_laid_along_three_classes_as_published():
    assert pair(4, 3) == [[0, 1], [0, 1, 2, 3], [2, 3]]


@pytest.mark.parametrize(
    ('trees', 'classes', 'expected'),
    [
        (3, 1, [[0, 1, 2]]),
        (1, 3, [[0], [0], [0]]),
        (2, 2, [[0, 1], [0, 1]]),
        (3, 3, [[0], [0, 1, 2], [1, 2]]),
        (6, 2, [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]),
        (2, 3, [[0, 1], [0, 1], [0, 1]]),
        (4, 5, [[0, 1], [0, 1], [1, 2], [1, 2, 3], [2, 3]]),
        (0, 2, [[], []]),
        (2, 0, []),
    ],
)
def test_few_trees_and_classes_are_paired_like_this(trees, classes, expected):
    assert pair(trees, classes) == expected


@given(numbers, numbers)
def test_every_class_has_a_tree(trees, classes):
    placed = pair(trees, classes)
    assert len(placed) == classes and all(placed)
    assert set().union(*placed) == set(range(trees))


@given(numbers, numbers)
def test_every_tree_is_on_at_least_two_neighbouring_classes_where_there_are_two(trees, classes):
    placed = pair(trees, classes)
    for tree in range(trees):
        own = [number for number, ranks in enumerate(placed) if tree in ranks]
        assert len(own) >= min(2, classes)
        assert own == list(range(own[0], own[-1] + 1))


@given(numbers, numbers)
def test_the_order_of_the_trees_is_kept_along_the_classes(trees, classes):
    placed = pair(trees, classes)
    for ranks in placed:
        assert ranks == sorted(set(ranks))
    assert [ranks[0] for ranks in placed] == sorted(ranks[0] for ranks in placed)
    assert [ranks[-1] for ranks in placed] == sorted(ranks[-1] for ranks in placed)


@given(numbers, numbers)
def test_the_longer_list_is_walked_as_in_the_original(trees, classes):
    longer, shorter = max(trees, classes), min(trees, classes)
    step, limit, place = longer / shorter, longer / shorter - 1, 0
    for number in range(longer):
        if number > math.ceil(limit - 1e-9):
            place, limit = place + 1, limit + step
        tree, own = (number, place) if trees >= classes else (place, number)
        assert tree in pair(trees, classes)[own]


def append(history, policy, index, loss=0.5, compute_class='only', seconds=1.0, point=None):
    tree = policy.forest.tree(index)
    state = TrialState.FAILED if math.isnan(loss) else TrialState.DONE
    point = tuple([0.5] * len(tree) if point is None else point)
    history.ask(index)
    told = None if math.isnan(loss) else loss
    trial = Trial(history.asked - 1, index, point, {}, compute_class, state=state, loss=told, seconds=seconds)
    history.append(trial, loss)
    policy.on(trial.result(), trial)


def make(classes=CLASSES, forest=FOREST, seed=0):
    ledger = Ledger()
    policy = Ranked(PolicyContext(forest, ledger, seed))
    change(policy, classes)
    return policy, ledger.history


def change(policy, classes):
    event = ClassesChanged(classes, 0.0)
    policy.on(event, policy.ledger.apply(event))


def shares(policy, history, compute_class, number=2000):
    """Return which share of so many picks each tree gets."""
    picked = []
    for _ in range(number):
        picked.append(policy.pick(compute_class, 0.0).index)
        history.ask(picked[-1])
    return np.bincount(picked, minlength=policy.forest.count) / number


def placed(policy):
    return {plan.name: {index for index, _ in plan.trees} for plan in policy.placement}


def test_before_any_result_the_most_complex_trees_are_on_the_class_with_the_most_cores():
    policy, _ = make()
    policy.pick('4-core', 0.0)
    assert placed(policy) == {'16-core': {2, 3}, '8-core': {0, 1, 2, 3}, '4-core': {0, 1}}


def test_a_class_with_a_gpu_comes_before_those_with_cores_only():
    classes = [ComputeClass('cpu', 1, {'cores': 64}), ComputeClass('gpu', 1, {'cores': 2, 'gpus': ['V100']}), *CLASSES]
    policy, _ = make(classes, Forest({'exclusive': True, **{f'tree{i}': list(range(i + 1)) for i in range(10)}}))
    policy.pick('gpu', 0.0)
    assert 9 in placed(policy)['gpu'] and 9 not in placed(policy)['4-core'] | placed(policy)['16-core']


def test_within_a_class_a_tree_is_picked_by_its_place():
    policy, history = make([ComputeClass('only', 4)])
    expected = np.exp(-np.array([3, 2, 1, 0]) / 2)
    assert shares(policy, history, 'only') == pytest.approx(expected / expected.sum(), abs=0.03)


def test_each_class_picks_from_its_own_trees():
    policy, history = make()
    expected = np.exp([0, 0, -0.5, 0]) * [0, 0, 1, 1]
    assert shares(policy, history, '16-core') == pytest.approx(expected / expected.sum(), abs=0.03)


def test_uncertain_trees_come_before_those_that_are_understood():
    policy, history = make([ComputeClass('only', 4)])
    rng = np.random.default_rng(0)
    for _ in range(20):
        append(history, policy, 3, loss=0.5)
        append(history, policy, 0, loss=rng.random(), point=rng.random(1))
    order = np.argsort(-shares(policy, history, 'only'))
    assert order.tolist() == [2, 1, 0, 3]


def test_ranks_change_after_every_ten_results():
    policy, history = make([ComputeClass('only', 4)])
    before = policy.pick('only', 0.0)
    plans = []
    for _ in range(20):
        append(history, policy, 3)
        policy.pick('only', 0.0)
        plans.append(policy.placement[0].trees[0][0])
    assert before is not None
    assert plans == [3] * 9 + [2] * 11


def test_classes_are_ordered_by_their_speed_once_it_is_known():
    policy, history = make()
    seconds = {'4-core': 1.0, '8-core': 2.0, '16-core': 4.0}
    for number in range(60):
        name = list(seconds)[number % 3]
        append(history, policy, number // 3 % 4, number % 2, name, seconds[name] * 10 ** (number // 3 % 4))
    policy.pick('4-core', 0.0)
    order = [len(trees) for trees in (placed(policy)['4-core'], placed(policy)['8-core'], placed(policy)['16-core'])]
    assert order == [2, 4, 2]
    fast = max(policy._ranked.index(policy.forest.tree(index)) for index in placed(policy)['4-core'])
    assert fast == 1


def test_a_class_that_gets_the_long_trees_does_not_count_as_slow():
    classes = [ComputeClass('a', 1, {'cores': 1}), ComputeClass('b', 1, {'cores': 2})]
    policy, history = make(classes)
    for number in range(80):
        # Tree 3 takes a hundred times as long, runs mostly on a, and takes half of b's seconds there.
        name = 'ab'[number % 8 == 0] if number % 2 == 0 else 'ba'[number % 7 == 0]
        index = 3 if number % 2 == 0 else 0
        append(history, policy, index, 0.5, name, (100.0 if index == 3 else 1.0) * (1 if name == 'a' else 2))
    assert [each.name for each in policy._speeds.order(classes)] == ['a', 'b']


def test_failed_trials_say_nothing_of_speed():
    policy, history = make()
    for number in range(60):
        append(history, policy, number % 4, math.nan, CLASSES[number % 3].name, 10.0 ** (number % 3))
    assert [each.name for each in policy._speeds.order(CLASSES)] == ['16-core', '8-core', '4-core']


def test_a_class_all_of_whose_trees_are_exhausted_takes_others():
    policy, _ = make()
    policy.pick('16-core', 0.0)
    for index in placed(policy)['16-core']:
        policy.exclude(policy.forest.tree(index))
    assert policy.pick('16-core', 0.0).index in {0, 1}
    assert placed(policy) == {name: {0, 1} for name in ('4-core', '8-core', '16-core')}


def test_an_exhausted_tree_leaves_the_plan_at_once():
    policy, _ = make()
    policy.pick('16-core', 0.0)
    policy.exclude(policy.forest.tree(3))
    assert all(3 not in trees for trees in placed(policy).values())


def test_classes_without_slots_take_part_in_nothing():
    policy, _ = make([*CLASSES, ComputeClass('empty', 0, {'cores': 99})])
    policy.pick('4-core', 0.0)
    assert placed(policy) == {'16-core': {2, 3}, '8-core': {0, 1, 2, 3}, '4-core': {0, 1}}
    assert policy.pick('empty', 0.0) is not None


def test_the_plan_says_which_share_of_its_time_a_class_spends_on_each_tree():
    policy, history = make([ComputeClass('only', 4)])
    for number in range(8):
        append(history, policy, number % 4, seconds=10.0 if number % 4 == 3 else 1.0)
    change(policy, [])
    change(policy, [ComputeClass('only', 4)])
    (plan,) = policy.placement
    assert (plan.name, plan.slots, plan.price) == ('only', 4, 0.0)
    weights = {3: 10.0, 2: math.exp(-0.5), 1: math.exp(-1), 0: math.exp(-1.5)}
    total = sum(weights.values())
    assert dict(plan.trees) == pytest.approx({index: weight / total for index, weight in weights.items()})
    assert [index for index, _ in plan.trees] == [3, 2, 1, 0]


def test_of_many_trees_the_plan_names_the_first_ones_and_their_shares():
    forest = Forest({f'part{i}': {'optional': True, 'x': X} for i in range(300)})
    policy, _ = make(forest=forest)
    policy.pick('8-core', 0.0)
    for plan in policy.placement:
        values = [share for _, share in plan.trees]
        assert values == sorted(values, reverse=True) and sum(values) == pytest.approx(1)


def test_picks_are_a_function_of_the_seed_and_their_number():
    picks = []
    for seed in (1, 1, 2):
        policy, history = make(seed=seed)
        picks.append([])
        for _ in range(40):
            picks[-1].append(policy.pick('8-core', 0.0).index)
            history.ask(picks[-1][-1])
    assert picks[0] == picks[1] != picks[2]


def test_a_search_in_series_repeats_exactly():
    def losses(seed):
        search = Search(FOREST.space, policy='ranked', seed=seed)
        for number in range(60):
            trial = search.ask()
            search.tell(trial, sum(trial.point), seconds=0.1 * (number % 3))
        return search.history.losses().tolist()

    assert losses(5) == losses(5) != losses(6)


def test_trees_of_an_earlier_run_are_ranked_too():
    forest = Forest({f'part{i}': {'optional': True, 'x': X} for i in range(40)})
    policy, history = make(forest=forest)
    append(history, policy, 2**40 - 1)
    change(policy, [])
    change(policy, CLASSES)
    assert policy.pick('16-core', 0.0) is not None
    assert policy._ranked[0].index == 2**40 - 1


def test_a_pick_costs_little_with_ten_thousand_trees(calls):
    forest = Forest({f'part{i}': {'optional': True, 'x': X} for i in range(20)})
    classes = [ComputeClass(f'class{number}', 250, {'cores': 1 + number}) for number in range(20)]
    policy, history = make(classes, forest)
    policy.pick('class0', 0.0)

    def pick(number):
        name = classes[number % 20].name
        append(history, policy, policy.pick(name, 0.0).index, number % 7, name)

    assert calls(lambda: [pick(number) for number in range(300)]) < 300 * 10_000  # less than one for each tree
