"""History: what has happened so far, as columns."""

from __future__ import annotations

import math

import attrs
import numpy as np

from shadho import Trial, TrialState
from shadho.history import History


def history(count: int = 6) -> History:
    past = History()
    for number in range(count):
        tree = number % 2
        past.ask(tree)
        point = (number / 10,) * (tree + 1)
        trial = Trial(number, tree, number // 2, point, {}, 'ab'[number % 3 == 0], seconds=float(number))
        failed = number == 4
        state = TrialState.FAILED if failed else TrialState.DONE
        past.append(attrs.evolve(trial, state=state), math.nan if failed else -float(number))
    return past


def test_losses_and_seconds_come_in_order_of_completion_of_one_tree_or_of_all() -> None:
    past = history()
    np.testing.assert_array_equal(past.losses(), [0, -1, -2, -3, math.nan, -5])
    np.testing.assert_array_equal(past.losses(0), [0, -2, math.nan])
    assert past.seconds(1).tolist() == [1, 3, 5]
    assert past.losses(7).tolist() == []


def test_points_have_a_row_for_each_finished_trial_of_a_tree() -> None:
    past = history()
    assert past.points(0).tolist() == [[0.0], [0.2], [0.4]]
    assert past.points(1).tolist() == [[0.1, 0.1], [0.3, 0.3], [0.5, 0.5]]
    assert past.points(7).shape == (0, 0)


def test_a_trial_is_known_by_when_it_finished() -> None:
    tree, point, loss = history().trial(3)
    assert (tree, point.tolist(), loss) == (1, [0.3, 0.3], -3.0)


def test_classes_and_counts() -> None:
    past = history()
    assert [past.classes[number] for number in past.compute_classes()] == ['b', 'a', 'a', 'b', 'a', 'a']
    assert (len(past), past.asked, past.asked_in(1), past.asked_in(7)) == (6, 6, 3, 0)
    assert (past.states[TrialState.DONE], past.states[TrialState.FAILED]) == (5, 1)
    assert past.trees == [0, 1]


def test_what_was_returned_does_not_hinder_or_follow_later_trials() -> None:
    past = history()
    before = past.losses(), past.losses(0), past.points(0)
    copies = [array.copy() for array in before]
    past.append(Trial(9, 0, 9, (0.9,), {}, state=TrialState.DONE, seconds=1.0), 7.0)
    for array, copy in zip(before, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert past.losses(0)[-1] == 7.0
