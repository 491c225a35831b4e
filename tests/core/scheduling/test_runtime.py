"""Seconds of a trial of each tree in each class, as they are learned."""

import math

import numpy as np
import pytest

from shadho.records import Trial, TrialError, TrialState
from shadho.scheduling.runtime import RuntimeModel


def trial(tree, own='a', seconds=1.0, kind=None, **more):
    error = None if kind is None else TrialError(kind, 'no luck')
    state = TrialState.DONE if error is None else TrialState.FAILED
    return Trial(0, tree, (), {}, own, state=state, error=error, seconds=seconds, **more)


def running(tree, own='a', started=0.0):
    return Trial(0, tree, (), {}, own, started=started)


class Model(RuntimeModel):
    """A model that is told a few trials in a line."""

    def __init__(self, complexity=lambda tree: 0.0):
        super().__init__(complexity)

    def learn(self, tree, own='a', seconds=1.0, kind=None, times=1):
        for _ in range(times):
            self.tell(trial(tree, own, seconds, kind))
        return self


# --- one trial moves more than its pair ----------------------------------------------------------


def test_before_any_trial_all_pairs_are_equal_and_finite():
    seconds = Model().predict([3, 1, 2], ['b', 'a'])
    assert seconds.shape == (3, 2)
    assert len(np.unique(seconds)) == 1 and np.isfinite(seconds).all() and (seconds > 0).all()


def test_no_trees_or_no_classes_have_no_seconds():
    model = Model().learn(0)
    assert model.predict([], ['a']).shape == (0, 1)
    assert model.predict([0, 1], []).shape == (2, 0)


def test_one_trial_moves_its_tree_in_every_class():
    model = Model().learn(1, seconds=1.0, times=10)
    before = model.predict([0, 1], ['a', 'b', 'c'])
    after = model.learn(0, 'b', 100.0).predict([0, 1], ['a', 'b', 'c'])
    assert (after[0] > 5 * before[0]).all()
    assert after[0, 1] == after[0].max()
    assert (after[0] / before[0] > 5 * after[1] / before[1]).all()
    assert after[1, 0] == pytest.approx(before[1, 0], rel=0.02)


def test_one_trial_moves_its_class_for_every_tree():
    model = Model().learn(0, seconds=10.0, times=5).learn(1, seconds=1.0, times=5)
    before = model.predict([0, 1], ['a', 'b'])
    after = model.learn(0, 'b', 500.0, times=2).predict([0, 1], ['a', 'b'])
    assert (after[:, 1] > 2 * before[:, 1]).all()


def test_an_unseen_pair_borrows_from_its_tree_and_its_class():
    model = Model()
    for tree, seconds in enumerate((1.0, 5.0, 20.0)):
        model.learn(tree, 'a', seconds, times=20).learn(tree, 'b', 4 * seconds, times=20)
    model.learn(3, 'a', 5.0, times=20)
    assert 14 < model.predict([3], ['b'])[0, 0] < 21
    model.learn(4, 'b', 100.0, times=20)
    assert 15 < model.predict([4], ['a'])[0, 0] < 60


def test_a_pair_with_many_trials_believes_them_whatever_the_others_say():
    model = Model()
    for tree in range(4):
        for own in 'ab':
            model.learn(tree, own, 1.0 if (tree, own) != (2, 'b') else 50.0, times=100)
    seconds = model.predict(range(4), ['a', 'b'])
    assert seconds[2, 1] == pytest.approx(50, rel=0.05)
    assert np.delete(seconds.ravel(), 5) == pytest.approx(1, rel=0.05)


def test_few_trials_are_drawn_to_what_is_known_of_the_others():
    model, rng = Model(), np.random.default_rng(0)
    for number in range(120):
        model.learn(number % 6, 'a', math.exp(rng.normal()))
    once = model.learn(6, 'a', 1000.0).predict([6], ['a'])[0, 0]
    often = model.learn(6, 'a', 1000.0, times=50).predict([6], ['a'])[0, 0]
    assert 10 < once < 500
    assert 900 < often < 1100


def test_order_does_not_matter():
    rng = np.random.default_rng(0)
    told = [(int(rng.integers(5)), 'abc'[rng.integers(3)], float(rng.exponential())) for _ in range(60)]
    models = [Model(), Model()]
    for model, order in zip(models, (told, told[::-1])):
        for one in order:
            model.learn(*one)
    first, second = (model.predict(range(5), ['a', 'b', 'c']) for model in models)
    assert first == pytest.approx(second, rel=1e-9)


# --- how well it is learned ----------------------------------------------------------------------


@pytest.mark.parametrize(('trials', 'typical', 'worst'), [(30, 0.6, 2.0), (300, 0.17, 0.6), (3000, 0.06, 0.2)])
def test_expected_seconds_come_near_the_truth(trials, typical, worst):
    errors = np.concatenate([_errors(seed, trials, interaction=0.5).ravel() for seed in range(6)])
    assert np.sqrt(np.mean(errors**2)) < typical
    assert abs(errors).max() < worst


def test_a_pair_that_was_never_seen_is_predicted_from_the_others():
    errors = [_errors(seed, 300, interaction=0.0, hidden=(0, 0))[0, 0] for seed in range(12)]
    assert np.sqrt(np.mean(np.square(errors))) < 0.3


def test_what_is_expected_is_the_mean_not_the_median():
    rng = np.random.default_rng(0)
    model = Model()
    told = np.exp(rng.normal(0, 1.5, 2000))
    for seconds in told:
        model.learn(0, 'a', seconds)
    assert model.predict([0], ['a'])[0, 0] == pytest.approx(told.mean(), rel=0.02)
    assert told.mean() > 2.5 * np.median(told)


def _errors(seed, trials, interaction, hidden=None, spread=0.4):
    """Return by how much expected seconds are off, in logarithms, after so many trials at random."""
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 1, (8, 1)) + rng.normal(0, 1, 3) + rng.normal(0, interaction, (8, 3))
    model = Model()
    for _ in range(trials):
        tree, own = int(rng.integers(8)), int(rng.integers(3))
        if (tree, own) != hidden:
            model.learn(tree, 'abc'[own], math.exp(means[tree, own] + rng.normal(0, spread)))
    return np.log(model.predict(range(8), ['a', 'b', 'c'])) - means - spread**2 / 2


# --- complexity is the prior ---------------------------------------------------------------------


def test_trees_that_were_not_seen_are_expected_to_take_as_long_as_their_complexity_says():
    model = Model(float)
    for tree in range(0, 10, 2):
        model.learn(tree, 'a', 2.0**tree, times=5)
    seconds = model.predict([1, 5, 9], ['a'])[:, 0]
    assert seconds[0] < seconds[1] < seconds[2]
    assert seconds[2] > 8 * seconds[0]


def test_complexity_counts_for_nothing_where_seconds_do_not_follow_it():
    model = Model(float)
    for tree in range(10):
        model.learn(tree, 'a', 10.0 if tree % 2 else 1.0, times=20)
    first, last = model.predict([10, 1000], ['a'])[:, 0]
    assert 0.1 < last / first < 10


# --- running trials ------------------------------------------------------------------------------


def test_a_tree_whose_first_trial_still_runs_is_slow():
    model = Model().learn(1, seconds=1.0, times=20)
    expected = [model.predict([0], ['a'], [running(0)], now)[0, 0] for now in (0.0, 1.0, 5.0, 50.0, 500.0)]
    assert expected[0] == expected[1] == pytest.approx(1, rel=0.1)
    assert expected[1] < expected[2] < expected[3] < expected[4]
    assert expected[3] > 20 and expected[4] > 200


def test_several_trials_that_still_run_say_more_than_one():
    model = Model().learn(1, seconds=1.0, times=20)
    one, three = (model.predict([0], ['a'], [running(0)] * number, 50.0)[0, 0] for number in (1, 3))
    assert three > one


@pytest.mark.parametrize('slots', [1, 20])
def test_trials_of_an_unknown_tree_that_have_run_equally_long_do_not_make_classes_look_alike(slots):
    model = Model()
    for tree in (1, 2, 3):
        model.learn(tree, 'fast', 1.0, times=20).learn(tree, 'slow', 3.0, times=20)
    for now in (5.0, 30.0, 100.0):
        own = [running(0, name) for name in ('fast', 'slow') for _ in range(slots)]
        fast, slow = model.predict([0], ['fast', 'slow'], own, now)[0]
        assert 2.2 < slow / fast < 3.2
        assert 0.9 * now < fast < 1.3 * now


def test_trials_that_run_long_in_one_class_say_little_of_another_where_they_finished():
    model = Model().learn(0, 'a', 1.0, times=10).learn(1, 'a', 1.0, times=10).learn(1, 'b', 1.0, times=10)
    a, b = model.predict([0], ['a', 'b'], [running(0, 'b')] * 8, 30.0)[0]
    assert a < 2
    assert b > 15


def test_trials_that_run_as_long_as_expected_change_nothing():
    model = Model().learn(0, seconds=10.0, times=5).learn(1, seconds=1.0, times=5)
    idle = model.predict([0, 1], ['a'], [], 100.0)
    assert model.predict([0, 1], ['a'], [running(0, started=95.0)], 100.0).tolist() == idle.tolist()


def test_a_running_trial_moves_little_what_many_finished_ones_say():
    model = Model().learn(0, seconds=1.0, times=200)
    assert model.predict([0], ['a'], [running(0)], 10.0)[0, 0] == pytest.approx(1, rel=0.2)


def test_running_trials_are_not_learned():
    model = Model().learn(0, times=5)
    before = model.predict([0], ['a']).tolist()
    model.predict([0], ['a'], [running(0)] * 5, 1e6)
    assert model.predict([0], ['a']).tolist() == before


def test_a_trial_that_runs_for_ages_gives_finite_seconds():
    model = Model().learn(1, seconds=1e-6, times=20)
    seconds = model.predict([0, 1], ['a', 'b'], [running(0), running(1, 'b')], 1e12)
    assert np.isfinite(seconds).all()


# --- failures ------------------------------------------------------------------------------------


def test_three_trials_that_run_out_of_memory_make_a_pair_infeasible_and_no_other():
    model = Model().learn(1, times=5)
    finite = [np.isfinite(model.learn(0, kind='memory').predict([0, 1], ['a', 'b'])).tolist() for _ in range(3)]
    assert finite == [[[True, True]] * 2, [[True, True]] * 2, [[False, True], [True, True]]]


def test_a_pair_that_ever_succeeded_is_never_infeasible_but_costs_what_failures_waste():
    model = Model().learn(0, seconds=10.0, times=20)
    before = model.predict([0], ['a'])[0, 0]
    after = model.learn(0, kind='memory', times=20).predict([0], ['a'])[0, 0]
    assert after == pytest.approx(2 * before)


def test_a_success_proves_a_pair_that_seemed_infeasible():
    model = Model().learn(0, kind='memory', times=5)
    assert np.isinf(model.predict([0], ['a']))
    assert np.isfinite(model.learn(0, seconds=2.0).predict([0], ['a']))


def test_an_infeasible_pair_is_tried_again_rarely_and_ever_more_rarely():
    model = Model().learn(0, kind='memory', times=3)
    retries = []
    for finished in range(12_000):
        model.learn(1)
        if np.isfinite(model._where_feasible(np.ones((2, 1)))[0, 0]):
            retries.append(finished + 1)
            model.learn(0, kind='memory')
    assert retries == [100, 1100, 11_100]


@pytest.mark.parametrize('kind', ['exception', 'result'])
def test_a_failure_that_the_parameters_caused_fits_and_does_not_make_the_tree_look_quick(kind):
    model = Model().learn(0, seconds=8.0, times=50).learn(0, seconds=0.01, kind=kind, times=50)
    assert model.predict([0], ['a'])[0, 0] == pytest.approx(8, rel=0.05)
    assert Model().learn(0, seconds=0.01, kind=kind).has_fitted([0], ['a']).tolist() == [[True]]


def test_a_trial_that_was_ended_took_its_limit_at_least():
    model = Model().learn(0, seconds=8.0, kind='timeout', times=50)
    assert model.predict([0], ['a'])[0, 0] == pytest.approx(8, rel=0.05)
    assert model.has_fitted([0], ['a']).tolist() == [[True]]


def test_crashes_may_be_the_hardwares_doing():
    model = Model().learn(0, 'a', times=5).learn(0, 'b', 0.01, 'crash', times=2)
    assert np.isfinite(model.predict([0], ['b'])).all()
    assert np.isinf(model.learn(0, 'b', 0.01, 'crash').predict([0], ['b'])).all()


def test_a_trial_that_was_lost_says_nothing():
    model = Model().learn(0, times=5)
    before = model.predict([0, 1], ['a', 'b']).tolist()
    assert model.learn(1, 'b', 1000.0, 'lost', times=5).predict([0, 1], ['a', 'b']).tolist() == before
    assert not model.has_fitted([1], ['b']).any()


def test_failures_and_successes_are_told_for_each_pair():
    model = Model().learn(0, 'a').learn(1, 'b', kind='memory', times=2)
    assert model.has_fitted([1, 0], ['a', 'b']).tolist() == [[False, False], [True, False]]
    assert model.failures([1, 0], ['a', 'b']).tolist() == [[0, 2], [0, 0]]


# --- extremes and size ---------------------------------------------------------------------------


@pytest.mark.parametrize('seconds', [0.0, None])
def test_trials_that_take_no_time_are_short(seconds):
    model = Model().learn(1, seconds=60.0, times=10).learn(0, seconds=seconds, times=10)
    short, long = model.predict([0, 1], ['a'])[:, 0]
    assert 0 < short < 1e-3 < 50 < long < 70


def test_seconds_of_all_magnitudes_are_learned():
    model = Model()
    truth = [1e-5, 1.0, 1e9]
    for tree, seconds in enumerate(truth):
        model.learn(tree, seconds=seconds, times=50)
    assert model.predict([0, 1, 2], ['a'])[:, 0] == pytest.approx(truth, rel=0.1)


def test_what_is_kept_does_not_grow_with_the_number_of_trials():
    def size(model):
        kept = {name: value for name, value in vars(model).items() if hasattr(value, '__len__')}
        return {name: getattr(value, 'nbytes', len(value)) for name, value in kept.items()}

    model = Model()
    rng = np.random.default_rng(0)
    sizes = []
    for count in range(5000):
        model.tell(trial(int(rng.integers(6)), 'abc'[rng.integers(3)], float(rng.exponential())))
        if count in (499, 4999):
            sizes.append(size(model))
    assert sizes[0] == sizes[1]


def test_many_trees_and_classes_may_come_in_any_order():
    rng = np.random.default_rng(0)
    model = Model()
    pairs = [(int(tree), f'class{own}') for tree in rng.permutation(300) for own in rng.permutation(9)[:3]]
    for tree, own in pairs:
        model.learn(tree * 10**20, own, 2.0 ** (tree % 5), times=4)
    trees = [tree * 10**20 for tree in range(300)]
    seconds = model.predict(trees, [f'class{own}' for own in range(9)])
    assert seconds.shape == (300, 9)
    assert seconds == pytest.approx(np.repeat([[2.0 ** (tree % 5)] for tree in range(300)], 9, axis=1), rel=0.4)


def test_how_unlucky_a_trial_may_be_is_learned_from_how_far_trials_of_a_pair_lie_apart():
    steady, wild = Model(), Model()
    for z in np.random.default_rng(0).normal(size=300):
        steady.learn(0, seconds=10 * math.exp(0.05 * z))
        wild.learn(0, seconds=10 * math.exp(0.8 * z))
    assert 1.0 < steady.unlucky() < 1.15
    assert wild.unlucky() == pytest.approx(math.exp(1.2816 * 0.8 - 0.32), rel=0.1)
