"""Uncertainty depends on the data: which trees are understood, and which are not yet."""

import math

import numpy as np
import pytest

from shadho import spaces
from shadho.forest import Forest
from shadho.records import Trial, TrialState
from shadho.scheduling.uncertainty import Uncertainty
from shadho.table import Table

DIMENSIONS = 3
FOREST = Forest(
    {
        'exclusive': True,
        **{f'tree{i}': {f'x{j}': spaces.uniform(0, 1) for j in range(DIMENSIONS)} for i in range(4)},
    }
)
TREES = list(FOREST)


def smooth(point, rng):
    return float(np.square(np.array(point) - 0.3).sum())


def noise(point, rng):
    return float(rng.random())


def constant(point, rng):
    return 0.7


def append(history, index, point, loss):
    state = TrialState.FAILED if math.isnan(loss) else TrialState.DONE
    history.append(Trial(len(history), index, tuple(point), {}, state=state), loss)


def history_of(*functions, trials=40, seed=0, change=lambda loss: loss):
    """Return a history in which tree number i has losses by function number i."""
    rng, history = np.random.default_rng(seed), Table()
    for _ in range(trials):
        for index, function in enumerate(functions):
            point = rng.random(DIMENSIONS).tolist()
            append(history, index, point, change(function(point, rng)))
    return history


def scores(history, trees=TREES):
    return Uncertainty().scores(trees, history)


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('trials', [12, 40, 200])
def test_noise_is_more_uncertain_than_a_smooth_curve(trials, seed):
    understood, not_understood = scores(history_of(smooth, noise, trials=trials, seed=seed))[:2]
    assert understood < 0.75 * not_understood


def test_constant_losses_are_certain():
    assert scores(history_of(constant, noise, smooth))[0] == 0.0
    assert scores(history_of(constant))[0] == 0.0


def test_trees_with_fewer_than_three_results_are_as_uncertain_as_can_be():
    history = history_of(noise, trials=30)
    for index in (1, 2, 2):
        append(history, index, [0.5] * DIMENSIONS, 0.5)
    before = scores(history)
    assert before[1:].tolist() == [1.0, 1.0, 1.0] and before[0] <= 1.0
    append(history, 2, [0.4] * DIMENSIONS, 0.5)
    assert scores(history)[2] == 0.0


def test_a_smooth_curve_is_understood_better_with_every_tenfold_of_results():
    values = [scores(history_of(smooth, trials=trials))[0] for trials in (4, 12, 60)]
    assert values[0] > values[1] > values[2]


def test_the_same_losses_at_other_points_are_less_certain():
    history, shuffled = history_of(smooth, noise), Table()
    rng = np.random.default_rng(1)
    for index in (0, 1):
        for point, loss in zip(history.points(index), rng.permutation(history.losses(index))):
            append(shuffled, index, point, loss)
    assert scores(shuffled)[0] > 2 * scores(history)[0]


@pytest.mark.parametrize(
    'change',
    [lambda loss: loss + 1000, lambda loss: loss - 7, lambda loss: 1e6 * loss, lambda loss: 1e-9 * loss + 2],
    ids=['+ 1000', '- 7', '* 1e6', '* 1e-9 + 2'],
)
def test_shifting_and_scaling_all_losses_changes_nothing(change):
    functions = (smooth, noise, constant)
    np.testing.assert_allclose(scores(history_of(*functions, change=change)), scores(history_of(*functions)), atol=1e-5)


def test_losses_that_vary_little_beside_those_of_other_trees_are_hardly_uncertain():
    faint = lambda point, rng: 0.5 + 1e-3 * rng.random()  # noqa: E731
    assert 0 < scores(history_of(noise, faint))[1] < 0.01 < 0.5 < scores(history_of(faint))[0]


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_where_trials_fail_is_understood_or_not(bad):
    corner = lambda point, rng: bad if point[0] > 0.5 else 0.1 * point[1]  # noqa: E731
    anywhere = lambda point, rng: bad if rng.random() > 0.5 else 0.1 * point[1]  # noqa: E731
    values = scores(history_of(corner, anywhere, smooth))
    assert values[0] < 0.8 * values[1]


def test_a_failed_trial_counts_as_the_worst_seen():
    def history(outcome):
        return history_of(
            lambda point, rng: outcome if point[0] > 0.6 else smooth(point, rng), smooth, smooth, lambda point, rng: 1.5
        )

    assert scores(history(math.nan))[0] == pytest.approx(scores(history(1.5))[0], rel=0.1)
    assert scores(history(math.nan))[0] > 1.2 * scores(history(1.0))[0]


def test_one_absurd_loss_does_not_make_all_else_look_certain():
    history = history_of(smooth, noise)
    before = scores(history)[1]
    append(history, 2, [0.5] * DIMENSIONS, 1e30)
    assert scores(history)[1] == pytest.approx(before, rel=0.3)


def test_different_categories_are_equally_far_apart():
    forest = Forest({'letter': ['p', 'q', 'r', 's', 't', 'u', 'v', 'w']})
    rng, by_letter = np.random.default_rng(0), Table()
    losses = [0.0, 1.0, 0.2, 0.9, 0.1, 0.7, 0.3, 1.0]
    renamed = Table()
    for u in rng.random(60).tolist():
        letter = int(8 * u)
        append(by_letter, 0, [u], losses[letter])
        append(renamed, 0, [(losses.index(losses[letter]) * 3 % 8 + 0.5) / 8], losses[letter])
    first, second = scores(by_letter, list(forest))[0], scores(renamed, list(forest))[0]
    assert first == pytest.approx(second, rel=0.2)
    assert first < 0.4


def test_a_tree_without_dimensions_is_as_uncertain_as_its_losses_vary():
    forest = Forest({'extra': {'optional': True, 'x': spaces.uniform(0, 1)}})
    rng, same, varied = np.random.default_rng(0), Table(), Table()
    for _ in range(30):
        append(same, 0, [], 0.5)
        append(varied, 0, [], rng.random())
    assert scores(same, [forest.tree(0)])[0] == 0.0
    assert scores(varied, [forest.tree(0)])[0] > 0.9


def test_one_heuristic_may_be_asked_about_several_histories():
    heuristic = Uncertainty()
    for functions in ((smooth, noise), (noise, smooth)):
        history = history_of(*functions)
        assert heuristic.scores(TREES, history).tolist() == scores(history).tolist()


def test_new_results_are_taken_up():
    heuristic, history = Uncertainty(), history_of(constant, noise)
    assert heuristic.scores(TREES, history)[0] == 0.0
    rng = np.random.default_rng(5)
    for _ in range(10):
        append(history, 0, rng.random(DIMENSIONS).tolist(), rng.random())
    assert heuristic.scores(TREES, history)[0] > 0.1


def test_a_result_costs_little_whatever_the_number_of_trials(calls):
    def cost(trials):
        heuristic, history = Uncertainty(), history_of(smooth, noise, trials=trials)
        heuristic.scores(TREES, history)
        rng = np.random.default_rng(5)

        def add(number):
            append(history, number % 2, rng.random(DIMENSIONS).tolist(), rng.random())
            heuristic.scores(TREES, history)

        return calls(lambda: [add(number) for number in range(500)])

    assert cost(3000) < 1.5 * cost(300)
