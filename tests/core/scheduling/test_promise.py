"""Promise: which tree is the most likely to come up with one of the very best results."""

import math

import numpy as np
import pytest

from shadho.forest import Forest
from shadho.records import Trial, TrialState
from shadho.scheduling.promise import Promise
from shadho.table import Table
from shadho.testing import HeuristicSuite

FOREST = Forest({'exclusive': True, **{f'tree{number}': {} for number in range(8)}})
TREES = [FOREST.tree(index) for index in range(8)]


class TestPromise(HeuristicSuite):
    def make(self):
        return Promise()


def append(history, tree, loss):
    history.ask(tree)
    state = TrialState.FAILED if math.isnan(loss) else TrialState.DONE
    history.append(Trial(history.asked - 1, tree, (), {}, state=state, seconds=1.0), loss)


def history_of(*results):
    """Return a history of (tree, loss) in this order."""
    history = Table()
    for tree, loss in results:
        append(history, tree, loss)
    return history


def mixed(losses, seed=0):
    """Return a history of the losses of each tree, in random order."""
    results = [(tree, loss) for tree, own in losses.items() for loss in own]
    return history_of(*(results[place] for place in np.random.default_rng(seed).permutation(len(results))))


def scores(history, number=2):
    return Promise().scores(TREES[:number], history)


def test_before_any_result_all_trees_promise_the_same():
    assert len(set(scores(Table(), 8))) == 1


def test_the_tree_with_the_best_results_promises_most():
    rng = np.random.default_rng(0)
    first, second, third = scores(mixed({0: rng.random(60) + 0.5, 1: rng.random(60), 2: rng.random(60) + 1.0}), 3)
    assert second > 3 * first > 3 * third


def test_a_tree_of_many_bad_results_and_some_of_the_best_beats_one_of_many_mediocre_ones():
    wide = [*np.linspace(0.0, 0.1, 10), *np.linspace(5.0, 9.0, 90)]
    mediocre = np.linspace(0.4, 0.6, 100)
    assert np.mean(wide) > 10 * np.mean(mediocre)
    first, second = scores(mixed({0: wide, 1: mediocre}))
    assert first > 3 * second


def test_with_an_equal_share_of_the_best_the_tree_of_fewer_trials_promises_more():
    first, second = scores(mixed({0: [*np.linspace(0, 1, 5), *[9.0] * 15], 1: [*np.linspace(0, 1, 5), *[9.0] * 95]}))
    assert first > 2 * second


@pytest.mark.parametrize('change', [lambda loss: 1e6 * loss - 5, lambda loss: loss**3, np.exp, np.arctan])
def test_only_the_order_of_losses_matters(change):
    losses = np.random.default_rng(1).normal(size=(3, 70))
    before, after = (scores(mixed(dict(enumerate(values))), 3) for values in (losses, change(losses)))
    assert before.tolist() == after.tolist()


def test_a_tree_without_results_promises_somewhat_more_than_all_together():
    rng = np.random.default_rng(0)
    good, bad, unknown = scores(mixed({0: rng.random(50), 1: rng.random(50) + 0.6}), 3)
    assert bad < unknown < 2 * good
    (alone, other) = scores(mixed({0: rng.random(100)}))
    assert alone < other < 4 * alone


def test_equal_losses_promise_the_same():
    assert len(set(scores(mixed({0: [1.0] * 40, 1: [1.0] * 40, 2: [1.0] * 5}), 4).round(9))) == 1


def test_failed_trials_count_as_trials_that_reached_nothing():
    rng = np.random.default_rng(0)
    losses = rng.random(40)
    sound, failing = scores(mixed({0: losses[:20], 1: [*losses[20:], *[math.nan] * 60]}))
    assert sound > 2 * failing
    assert scores(mixed({0: losses, 1: [math.nan] * 20}))[1] < 0.2 * scores(mixed({0: losses}))[1]


def test_infinite_losses_are_as_bad_as_failures():
    losses = np.random.default_rng(0).random(40)
    failing, infinite = (scores(mixed({0: losses, 1: [value] * 20})) for value in (math.nan, math.inf))
    assert failing.tolist() == infinite.tolist()


@pytest.mark.parametrize('seed', range(5))
def test_following_a_history_gives_what_reading_it_anew_gives(seed):
    rng = np.random.default_rng(seed)
    history, follower = Table(), Promise()
    for number in range(400):
        append(history, int(rng.integers(8)), math.nan if rng.random() < 0.1 else float(rng.normal()))
        if rng.random() < 0.3:
            follower.scores(TREES, history)
        if number > 40 and history_is_at_a_new_level(follower, history):
            assert follower.scores(TREES, history).tolist() == Promise().scores(TREES, history).tolist()


def history_is_at_a_new_level(promise, history):
    """Return whether the next scores set the levels anew, as those of a new object always do."""
    return len(history) >= 1.1 * promise._set_at


@pytest.mark.parametrize('seed', range(5))
def test_between_two_levels_a_follower_is_near_what_reading_anew_gives(seed):
    rng = np.random.default_rng(seed)
    history, follower = Table(), Promise()
    for _ in range(600):
        tree = int(rng.integers(8))
        append(history, tree, float(rng.normal()) + 0.3 * tree)
        followed = follower.scores(TREES, history)
    anew = Promise().scores(TREES, history)
    assert np.corrcoef(np.log(followed), np.log(anew))[0, 1] > 0.9
    assert np.argmax(followed) == np.argmax(anew)


def test_a_tree_that_appears_later_is_scored_too():
    history, promise = mixed({0: np.linspace(0, 1, 50)}), Promise()
    promise.scores(TREES[:1], history)
    for _ in range(50):
        append(history, 7, -1.0)
    first, last = promise.scores([TREES[0], TREES[7]], history)
    assert last > 2 * first


def test_another_history_begins_anew():
    rng = np.random.default_rng(0)
    one, other = mixed({0: rng.random(60), 1: rng.random(60) + 1}), mixed({0: rng.random(30) + 1, 1: rng.random(30)})
    promise = Promise()
    promise.scores(TREES[:2], one)
    assert promise.scores(TREES[:2], other).tolist() == scores(other).tolist()
    assert promise.scores(TREES[:2], one).tolist() == scores(one).tolist()


def test_the_trees_that_are_asked_for_do_not_matter():
    history = mixed({tree: np.random.default_rng(tree).random(30) for tree in range(8)})
    whole = Promise().scores(TREES, history)
    assert Promise().scores(TREES[2:5], history).tolist() == whole[2:5].tolist()


def test_numbers_of_trees_may_be_of_any_size():
    forest = Forest({f'part{number}': {'optional': True, 'x': {}} for number in range(90)})
    trees = [forest.tree(forest.count - 1 - number * 2**70) for number in range(40)]
    history = Table()
    for number in range(400):
        append(history, trees[number % 40].index, float(number % 40))
    found = Promise().scores(trees, history)
    assert np.argmax(found) == 0 and (found > 0).all()


def test_the_next_of_the_best_come_from_the_tree_that_promises_most():
    # Losses of different shapes: of which tree the best of many more trials come, was told by a few.
    shapes = {0: lambda rng: rng.normal(0, 1), 1: lambda rng: rng.normal(0, 3), 2: lambda rng: rng.normal(-0.5, 0.5)}
    hits = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        promised = scores(mixed({tree: [draw(rng) for _ in range(60)] for tree, draw in shapes.items()}, seed), 3)
        hits += np.argmax(promised) == 1
    assert hits >= 18
