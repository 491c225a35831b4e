"""Stragglers: which running trials idle slots begin anew, and what a whole search gains from that."""

from __future__ import annotations

import logging
import math
import re
from typing import Any

import attrs
import pytest

from shadho import ComputeClass, Shadho, Trial, TrialState, hookimpl, spaces
from shadho.backends import Simulated
from shadho.errors import ConfigurationError
from shadho.records import Result, TrialError
from shadho.scheduling import Slot
from shadho.scheduling.runtime import RuntimeModel
from shadho.scheduling.stragglers import Stragglers
from shadho.storage.memory import Memory
from shadho.table import Table

FAST, SLOW = ComputeClass('fast', 2, {'cores': 16}), ComputeClass('slow', 2, {'cores': 4})
MIDDLE = ComputeClass('middle', 1, {'cores': 8})
SECONDS = {'fast': 10.0, 'middle': 40.0, 'slow': 200.0}


class Cluster:
    """Stragglers of one tree, which takes 10, 40 and 200 seconds in three classes, as was seen ten times."""

    def __init__(self, classes=(FAST, MIDDLE, SLOW), seen=tuple(SECONDS)):
        self.classes = classes
        self.history = Table()
        self.runtime = RuntimeModel(lambda tree: 0.0)
        self.stragglers = Stragglers(self.history)
        for own in seen:
            for _ in range(10):
                self.tell(own, SECONDS[own])

    def tell(self, own, seconds, kind=None):
        error = None if kind is None else TrialError(kind, 'no luck')
        state = TrialState.DONE if error is None else TrialState.FAILED
        self.runtime.tell(Trial(0, 0, (), {}, own, state=state, error=error, seconds=seconds))

    def run(self, *trials):
        for own, started in trials:
            number = len(self.history.running)
            self.history.running[number] = Trial(number, 0, (), {}, own, started=started)
        return self

    def find(self, own, now, trial_timeout=math.inf):
        slot = Slot(own, may_move=True, trial_timeout=trial_timeout)
        return self.stragglers.find(slot, self.classes, self.runtime, now)

    def take(self, own, now):
        """Begin what is found anew; return its number."""
        found = self.find(own, now)
        if found is None:
            return None
        self.stragglers.moved(found)
        self.runtime.cut_off(found, now)
        return found.id


def test_an_idle_slot_takes_over_what_would_go_on_for_long_elsewhere():
    cluster = Cluster().run(('slow', 0.0))
    assert cluster.take('fast', 100.0) == 0


def test_what_ends_about_as_soon_where_it_runs_is_left_alone():
    cluster = Cluster([FAST, MIDDLE]).run(('middle', 0.0))
    assert cluster.take('fast', 35.0) is None


def test_a_trial_is_begun_anew_where_it_ends_soonest_if_there_are_idle_slots():
    cluster = Cluster().run(('slow', 0.0))
    assert cluster.take('middle', 50.0) is None
    assert cluster.take('fast', 50.0) == 0
    full = Cluster().run(('slow', 0.0), ('fast', 49.0), ('fast', 49.0))
    assert full.take('middle', 50.0) == 0


def test_those_that_would_end_last_come_first_and_each_idle_slot_takes_one():
    cluster = Cluster([FAST, ComputeClass('slow', 4)]).run(*(('slow', started) for started in (0.0, 60.0, 20.0, 40.0)))
    assert [cluster.take('fast', 61.0) for _ in range(3)] == [1, 3, None]


def test_a_trial_is_begun_anew_once_at_most():
    cluster = Cluster().run(('slow', 0.0))
    assert cluster.take('fast', 50.0) == 0
    cluster.history.running[0] = attrs.evolve(cluster.history.running[0], started=50.0)  # on a slow slot again
    assert [cluster.take('fast', now) for now in (60.0, 100.0, 500.0)] == [None] * 3


def test_a_trial_that_has_ended_since_is_not_named():
    cluster = Cluster([FAST, ComputeClass('slow', 2)]).run(('slow', 0.0), ('slow', 0.0))
    assert cluster.take('fast', 50.0) == 0
    del cluster.history.running[1]
    assert cluster.take('fast', 50.5) is None


def test_slots_of_the_same_class_gain_nothing():
    assert Cluster([ComputeClass('slow', 2)]).run(('slow', 0.0)).take('slow', 100.0) is None


def test_where_no_trial_of_the_tree_has_finished_none_is_begun_anew():
    assert Cluster(seen=('slow', 'middle')).run(('slow', 0.0)).take('fast', 100.0) is None


@pytest.mark.parametrize('kind', ['memory', 'crash'])
def test_where_one_did_not_fit_none_is_begun_anew(kind):
    cluster = Cluster().run(('slow', 0.0))
    cluster.tell('fast', 1.0, kind)
    assert cluster.take('fast', 100.0) is None


def test_a_trial_that_goes_on_far_longer_than_others_is_expected_to_take_long_elsewhere_too():
    model = Cluster().runtime
    running = [Trial(0, 0, (), {}, 'slow', started=0.0)]
    (soon,), ((_, soon_anew),) = model.remaining(running, ['slow', 'fast'], 10.0)
    (late,), ((_, late_anew),) = model.remaining(running, ['slow', 'fast'], 2000.0)
    assert 150 < soon < 250 and 8 < soon_anew < 13
    assert late > 0 and late_anew > 8 * soon_anew


def test_a_trial_whose_time_is_nearly_over_is_left_to_its_end():
    cluster = Cluster().run(('slow', 0.0))
    assert cluster.find('fast', 100.0, 105.0) is None
    assert cluster.find('fast', 102.0, 1e6) is not None


def test_a_slow_class_stays_known_as_slow_when_its_trials_are_taken_over():
    cluster = Cluster([FAST, SLOW], seen=('fast',))
    cluster.tell('slow', 40.0)  # the one that finished was a short one
    cluster.run(('slow', 0.0), ('slow', 0.0))
    before = cluster.runtime.predict([0], ['slow'], cluster.history.running.values(), 300.0)
    assert [cluster.take('fast', 300.0) for _ in range(2)] == [0, 1]
    cluster.history.running.clear()
    assert cluster.runtime.predict([0], ['slow'], [], 400.0) == pytest.approx(before)
    assert before > 2 * Cluster([FAST, SLOW], seen=('fast', 'slow')).runtime.predict([0], ['fast'])


def test_remaining_seconds_are_numbers_whatever_has_elapsed():
    model = Cluster().runtime
    running = [
        Trial(number, number % 3, (), {}, 'slow', started=started) for number, started in enumerate([0, 1e9, None])
    ]
    left, anew = model.remaining(running, ['slow', 'fast'], 1e9)
    assert left.shape == (3,) and (left >= 0).all()
    assert anew.shape == (3, 2) and (anew > 0).all()


# --- in a whole search -----------------------------------------------------------------------------

CLASSES = [ComputeClass('fast', 4, {'cores': 16}), ComputeClass('slow', 4, {'cores': 4})]


def seconds(params: Any, own: ComputeClass) -> float:
    return (10.0 if own.name == 'fast' else 200.0) * (1 + params['x'])


def search(cluster: Simulated | None = None, **options: Any) -> Shadho:
    own = {'backend': cluster or Simulated(CLASSES, seconds), 'storage': None, 'seed': 0, 'display': False, **options}
    return Shadho('stragglers', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, 'random', **own)


class Dispatched:
    def __init__(self) -> None:
        self.trials: list[Trial] = []

    @hookimpl
    def shadho_trial_dispatched(self, trial: Trial) -> None:
        self.trials.append(trial)


@pytest.mark.parametrize('limit', [{'max_tasks': 40}, {'trials_per_tree': 40}])
def test_a_search_ends_sooner_when_idle_slots_take_trials_over(limit):
    dispatched = Dispatched()
    ended = {
        restarts: search(
            policy_options={'restart_stragglers': restarts}, plugins=[dispatched] * restarts, **limit
        ).run()
        for restarts in (True, False)
    }
    assert ended[True].elapsed < 0.7 * ended[False].elapsed
    for result in ended.values():
        assert sorted(trial.id for trial in result) == list(range(40))
        assert {trial.state for trial in result} == {TrialState.DONE}
    again = dispatched.trials[40:]
    assert {(trial.compute_class, dispatched.trials[trial.id].compute_class) for trial in again} == {('fast', 'slow')}
    assert {result.id: result.compute_class for result in ended[True]}.items() >= {
        own.id: 'fast' for own in again
    }.items()


def test_the_first_attempt_is_recorded_as_cancelled_and_told_of(caplog):
    storage = Memory()
    with caplog.at_level(logging.INFO, 'shadho'):
        search(storage=storage, max_tasks=40).run()
    records = [record for _, record in storage.read()]
    (first, *_) = [own for own in records if isinstance(own, Result) and own.state is TrialState.CANCELLED]
    of_it = [own for own in records if first.trial in (getattr(own, 'trial', None), getattr(own, 'id', None))]
    assert first.reason == 'moved'
    assert [own.state if isinstance(own, Result) else own.compute_class for own in of_it] == [
        'slow', TrialState.CANCELLED, 'fast', TrialState.DONE
    ]  # fmt: skip
    assert first.started == of_it[0].started <= first.finished == of_it[2].started
    assert f'trial {first.trial} moves from slow to fast' in caplog.text


def test_slots_are_busy_for_as_long_as_trials_are_in_them():
    result = search(max_tasks=40).run()
    fast, slow = result.classes
    assert 0 < fast.busy_seconds <= fast.slot_seconds == pytest.approx(4 * result.elapsed)
    assert 0 < slow.busy_seconds <= slow.slot_seconds


def test_a_search_that_ends_with_such_a_trial_goes_on_with_it(tmp_path):
    storage = tmp_path / 'search.db'
    whole = search(max_tasks=40).run()
    search(storage=storage, max_tasks=40, timeout=whole.elapsed - 1).run()
    result = search(storage=storage, max_tasks=40).run()
    assert sorted(trial.id for trial in result) == list(range(40))


def test_without_a_limit_of_trials_no_slot_idles_and_none_is_begun_anew():
    dispatched = Dispatched()
    result = search(timeout=2000, plugins=[dispatched]).run()
    assert len(dispatched.trials) == len({trial.id for trial in dispatched.trials}) >= len(result)


def test_slots_that_idle_for_want_of_trials_that_are_allowed_take_none_over(tmp_path, caplog):
    classes = [ComputeClass('slow', 4), ComputeClass('fast', 4)]
    storage = tmp_path / 'search.db'
    search(Simulated(classes, seconds), storage=storage, max_tasks=40, timeout=5).run()
    with caplog.at_level(logging.INFO, 'shadho'):
        result = search(Simulated(classes, seconds), storage=storage, max_tasks=6).run()
    assert len(result) == 6
    told = [re.search(r'trial (\d+) moves from', record.getMessage()) for record in caplog.records]
    assert {int(found[1]) for found in told if found} <= {trial.id for trial in result}


@pytest.mark.parametrize('given', [1, 'yes', None])
def test_the_option_is_true_or_false(given):
    message = rf"policy='market': restart_stragglers must be True or False; got {given!r}"
    with pytest.raises(ConfigurationError, match=message):
        search(max_tasks=1, policy_options={'restart_stragglers': given})
