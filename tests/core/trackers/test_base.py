"""What all trackers share: each trial is noted once, whatever fails."""

from __future__ import annotations

import logging

import pytest

from shadho import spaces
from shadho.trackers import Tracker
from shadho.trackers.base import distinct, hyperparameters, values_of
from shadho.words import column


class Noting(Tracker):
    """Keeps the numbers of trials, and fails when it is told to."""

    def __init__(self, held=(), failing=()):
        super().__init__()
        self.held = set(held)
        self.failing = set(failing)
        self.noted = []
        self.ended = 0

    def begin(self, search):
        return set(self.held)

    def note(self, trial):
        if trial.id in self.failing:
            self.failing.discard(trial.id)
            raise OSError('no space left on device')
        self.noted.append(trial.id)

    def end(self, result):
        self.ended += 1


def test_each_trial_is_noted_once_in_the_order_of_completion(search):
    tracker = Noting()
    result = search(tracker)
    assert tracker.noted == [trial.id for trial in result]
    assert tracker.ended == 1


def test_trials_that_are_held_already_are_not_noted_again(search):
    search(max_tasks=10)
    tracker = Noting(held=range(10))
    search(tracker, max_tasks=15)
    assert tracker.noted == list(range(10, 15))


def test_trials_of_earlier_runs_that_are_missing_are_noted_at_the_end(search):
    search(max_tasks=10)
    tracker = Noting()
    search(tracker, max_tasks=12)
    assert tracker.noted == [10, 11, *range(10)]


def test_a_trial_that_could_not_be_noted_is_tried_again_at_the_end(search, caplog):
    tracker = Noting(failing=[3])
    with caplog.at_level(logging.ERROR, 'shadho.plugins'):
        assert len(search(tracker, max_tasks=6)) == 6
    assert tracker.noted == [0, 1, 2, 4, 5, 3]
    assert caplog.messages == ['shadho_trial_finished of the plugin Noting failed']


def test_a_tracker_that_cannot_begin_is_silent_and_the_search_goes_on(search, caplog):
    class Unable(Noting):
        def begin(self, search):
            raise OSError('unplugged')

    tracker = Unable()
    with caplog.at_level(logging.ERROR, 'shadho.plugins'):
        assert len(search(tracker, max_tasks=6)) == 6
    assert (tracker.noted, tracker.ended) == ([], 0)
    assert caplog.messages == ['shadho_search_started of the plugin Unable failed']


def test_a_tracker_can_be_used_for_one_search_after_another(search, tmp_path):
    tracker = Noting()
    for name in ('a.db', 'b.db'):
        search(tracker, storage=tmp_path / name, max_tasks=3)
    assert tracker.noted == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ('space', 'columns'),
    [
        (spaces.uniform(0, 1), ['params']),
        ((spaces.uniform(0, 1), [1, 2]), ['params[0]', 'params[1]']),
        ({'a': {'optional': True, 'b': [1, 2]}, 'c': 3}, ['params.a.b']),
        ({'a.b': [1, 2], 'a': {'b': [3, 4]}, '[0]': [5, 6]}, ["params['a.b']", 'params.a.b', "params['[0]']"]),
        ({'r': spaces.repeat((spaces.uniform(0, 1), [1, 2]), 2)}, [f'params.r[{i}][{j}]' for i in (0, 1) for j in (0, 1)]),
    ],
)  # fmt: skip
def test_columns_cover_all_that_varies(space, columns):
    assert [column(('params', *path)) for path, _ in hyperparameters(space)] == columns


def test_values_that_a_tree_lacks_are_left_out():
    columns = {'a': ('a', 'b'), 'second': ('r', 1), 'first': ('r', 0)}
    assert values_of({'a': None, 'r': [7]}, columns) == {'first': 7}
    assert values_of(None, columns) == {}


def test_names_that_would_become_one_get_numbers_and_those_that_are_taken_as_they_are_stay_so():
    found = distinct(
        ['a/b', 'a_b', 'a b', 'abcdefg', 'abcdefh'], lambda name: name.replace('/', '_').replace(' ', '_'), 6
    )
    assert found == {'a_b': 'a_b', 'a/b': 'a_b-2', 'a b': 'a_b-3', 'abcdefg': 'abcdef', 'abcdefh': 'abcd-2'}
