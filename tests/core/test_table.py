"""Table: what has happened so far, as columns."""

from __future__ import annotations

import math
from array import array

import attrs
import numpy as np

from shadho import Trial, TrialState, spaces
from shadho.forest import Forest, Path
from shadho.table import LeafColumns, Table


def history(count: int = 6) -> Table:
    past = Table()
    for number in range(count):
        tree = number % 2
        past.ask(tree)
        point = (number / 10,) * (tree + 1)
        trial = Trial(number, tree, point, {}, 'ab'[number % 3 == 0], seconds=float(number))
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
    copies = [kept.copy() for kept in before]
    past.append(Trial(9, 0, (0.9,), {}, state=TrialState.DONE, seconds=1.0), 7.0)
    for now, copy in zip(before, copies, strict=True):
        np.testing.assert_array_equal(now, copy)
    assert past.losses(0)[-1] == 7.0


def test_a_trial_that_ran_to_its_end_has_no_budget() -> None:
    past = history(2)
    past.add(0, [0.9], 1.0, budget=27.0)
    np.testing.assert_array_equal(past.budgets(), [math.nan, math.nan, 27.0])


def test_rows_that_are_added_are_no_trials_that_were_asked() -> None:
    past = history(2)
    past.add(0, [0.9], math.inf)
    assert (len(past), past.asked, past.states[TrialState.DONE], past.succeeded) == (3, 2, 2, 2)


def test_many_rows_at_once_are_as_if_they_had_been_appended_one_after_the_other() -> None:
    one, other = history(), Table()
    trees, points = [0, 1] * 3, [one.trial(row)[1] for row in range(6)]
    classes = [one.classes[number] for number in one.compute_classes()]
    flat = array('d', np.concatenate(points).tolist())
    losses, seconds, budgets = (array('d', column) for column in (one.losses(), one.seconds(), one.budgets()))
    other.extend(trees, losses, seconds, classes, flat, map(len, points), one.states, budgets)
    for name in ('losses', 'seconds', 'budgets', 'tree_numbers', 'compute_classes'):
        np.testing.assert_array_equal(getattr(one, name)(), getattr(other, name)())
    assert (one.states, one.trees, one.succeeded, one.asked) == (
        other.states,
        other.trees,
        other.succeeded,
        other.asked,
    )
    assert one.points(1).tolist() == other.points(1).tolist()


X = spaces.uniform(0, 1)
FOREST = Forest(
    {'x': X, 'model': {'exclusive': True, 'a': {'y': X, 'n': spaces.randint(0, 4)}, 'b': {'z': X}, 'c': {}}}
)


def leaves() -> LeafColumns:
    """Return a row that was added and four of trials, in three trees."""
    added, past = Table(), Table()
    added.add(1, [0.1, 0.2], 5.0)
    past.add(0, [0.3, 0.4, 0.5], 1.0)
    past.add(2, [0.6], math.nan)
    past.add(1, [0.7, 0.8], 2.0)
    past.add(0, [0.9, 0.95, 1.0], 3.0)
    return LeafColumns(FOREST, added, past)


def path_of(tree: int, place: int) -> Path:
    return FOREST.tree(tree).dimensions[place].path


def test_a_leaf_is_found_in_all_trees_that_have_it() -> None:
    for tree in range(3):
        for place in range(len(FOREST.tree(tree))):
            columns = leaves()
            rows, coordinates = columns.leaf(path_of(tree, place))
            expected = {}
            for row, (own, point) in enumerate(
                [(1, [0.1, 0.2]), (0, [0.3, 0.4, 0.5]), (2, [0.6]), (1, [0.7, 0.8]), (0, [0.9, 0.95, 1.0])]
            ):
                paths = [dimension.path for dimension in FOREST.tree(own).dimensions]
                if path_of(tree, place) in paths:
                    expected[row] = point[paths.index(path_of(tree, place))]
            assert dict(zip(rows.tolist(), coordinates.tolist(), strict=True)) == expected


def test_a_leaf_that_no_row_has_has_no_coordinates() -> None:
    rows, coordinates = leaves().leaf(('model', 'q'))
    assert (rows.tolist(), coordinates.tolist()) == ([], [])


def test_rows_of_all_tables_have_columns_of_all_leaves() -> None:
    columns = leaves()
    assert (len(columns), columns.succeeded, columns.count(1), columns.trees().tolist()) == (5, 4, 2, [1, 0, 2, 1, 0])
    assert columns.losses().tolist() == [5.0, 1.0, math.inf, 2.0, 3.0]
    points = columns.points()
    for row, tree in enumerate(columns.trees().tolist()):
        own = columns.columns_of(tree)
        assert np.flatnonzero(~np.isnan(points[row])).tolist() == sorted(own.tolist())
    rows, wanted = np.array([4, 0, 2]), columns.columns_of(1)[::-1]
    np.testing.assert_array_equal(columns.points(rows, wanted), points[np.ix_(rows, wanted)])
    assert columns.points_in(1).tolist() == [[0.1, 0.2], [0.7, 0.8]]


def test_the_points_of_a_single_tree_are_those_of_any_number() -> None:
    past = Table()
    for number in range(5):
        past.add(0, [number / 8, number / 9, 0.5], 0.0)
    columns = LeafColumns(FOREST, Table(), past)
    before = columns.points(np.array([3, 1]))
    past.add(2, [0.25], 0.0)
    np.testing.assert_array_equal(columns.points(np.array([3, 1])), before)
    assert before[:, columns.columns_of(0)].tolist() == [[3 / 8, 3 / 9, 0.5], [1 / 8, 1 / 9, 0.5]]


def test_a_tree_has_columns_before_it_has_a_row() -> None:
    past = Table()
    past.add(0, [0.5, 0.5, 0.5], 1.0)
    columns = LeafColumns(FOREST, past)
    assert np.isnan(columns.points(columns=columns.columns_of(1))).sum() == 1
    placed = columns.place([1, 2], [(0.1, 0.2), (0.3,)])
    assert placed[0, columns.columns_of(1)].tolist() == [0.1, 0.2]
    assert np.isnan(placed[1]).sum() == 3


def test_trees_may_have_numbers_beyond_any_fixed_width() -> None:
    forest = Forest({f'part{number}': {'optional': True, 'x': X} for number in range(70)})
    added, past = Table(), Table()
    added.add(1, [0.5], 1.0)
    past.add(2**63, [0.25], 1.0)
    past.add(2**69, [0.75], 1.0)
    columns = LeafColumns(forest, added, past)
    assert columns.trees().tolist() == [1, 2**63, 2**69]
    assert np.nansum(columns.points(), axis=1).tolist() == [0.5, 0.25, 0.75]
