"""The simulated cluster: its clock, its workers, and the ways in which trials end there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from shadho import ComputeClass, Shadho, Trial, TrialState, hookimpl, spaces
from shadho.backends import Job, Simulated
from shadho.errors import BackendError, ConfigurationError
from shadho.execution.objective import Function
from shadho.hardware.classes import DeclaredClass
from shadho.records import Result
from shadho.storage.memory import Memory
from shadho.testing import BackendSuite

LARGE = ComputeClass('large', 1, {'cores': 16, 'memory': 64_000})
SMALL = ComputeClass('small', 2, {'cores': 4, 'memory': 8_000})


class TestSimulated(BackendSuite):
    def make(self):
        return Simulated([LARGE, SMALL], lambda params, own: 1.5, overhead=0.5)


def loss(params: Any) -> float:
    return float(params['x'])


def per_core(params: Any, own: ComputeClass) -> float:
    return params['x'] / own.hardware.cores


def opened(
    seconds: Callable[[Any, ComputeClass], Any] = lambda params, own: params['x'],
    classes: Sequence[ComputeClass] = (SMALL,),
    objective: Callable[[Any], Any] = loss,
    job: dict[str, Any] | None = None,
    **options: Any,
) -> Simulated:
    cluster = Simulated(classes, seconds, **options)
    cluster.open(Job('test', Function(objective), **(job or {})))
    return cluster


def trial(number: int, x: float = 1.0, own: str = 'small') -> Trial:
    return Trial(number, 0, (), {'x': x}, own)


def outcome(result: Result) -> tuple[int, str, float, float]:
    return (result.trial, str(result.state), result.started, result.finished)


def search(cluster: Simulated, objective: Callable[[Any], Any] = loss, **options: Any) -> Shadho:
    return Shadho(
        'test',
        objective,
        {'x': spaces.uniform(0, 1)},
        **{'backend': cluster, 'storage': None, 'seed': 0, 'display': False, 'method': 'random', **options},
    )


def uneven(params: Any, own: ComputeClass) -> float:
    return 10 + 1000 * params['x'] / own.hardware.cores


# --- the clock -----------------------------------------------------------------------------------


def test_the_clock_goes_to_the_next_end_of_a_trial() -> None:
    cluster = opened()
    assert cluster.now() == 0.0
    cluster.start(trial(0, 7.0))
    cluster.start(trial(1, 3.0))
    assert [outcome(result) for result in cluster.poll(None)] == [(1, 'done', 0.0, 3.0)]
    assert cluster.now() == 3.0
    cluster.start(trial(2, 4.5))
    assert [outcome(result) for result in cluster.poll(None)] == [(0, 'done', 0.0, 7.0)]
    assert [outcome(result) for result in cluster.poll(None)] == [(2, 'done', 3.0, 7.5)]


def test_the_clock_goes_no_further_than_it_may() -> None:
    cluster = opened()
    cluster.start(trial(0, 2.5))
    for moment in (1.0, 2.0):
        assert list(cluster.poll(1.0)) == []
        assert cluster.now() == moment
    assert [outcome(result) for result in cluster.poll(1.0)] == [(0, 'done', 0.0, 2.5)]
    assert cluster.now() == 2.5


def test_trials_that_end_at_the_same_moment_come_together() -> None:
    cluster = opened()
    cluster.start(trial(0, 2.0))
    cluster.start(trial(1, 2.0))
    assert [result.trial for result in cluster.poll(5.0)] == [0, 1]


def test_waiting_for_nothing_takes_the_time_it_may_take_or_none() -> None:
    cluster = opened()
    assert list(cluster.poll(4.0)) == []
    assert cluster.now() == 4.0
    assert list(cluster.poll(None)) == []
    assert cluster.now() == 4.0


def test_even_a_rest_that_is_too_small_to_count_passes() -> None:
    cluster = opened()
    cluster.poll(1e9)
    cluster.poll(1e-12)
    assert cluster.now() > 1e9


def test_the_clock_goes_on_when_the_cluster_is_opened_again_and_trials_are_forgotten() -> None:
    cluster = opened(changes=[(6.0, 'small', 3)])
    cluster.start(trial(0, 4.0))
    cluster.poll(3.0)
    cluster.close()
    cluster.open(Job('test', Function(loss)))
    assert cluster.now() == 3.0
    cluster.start(trial(1, 2.0))
    cluster.start(trial(2, 9.0))
    assert [outcome(result) for result in cluster.poll(None)] == [(1, 'done', 3.0, 5.0)]
    assert list(cluster.poll(None)) == []
    assert (cluster.now(), cluster.discover()[0].slots) == (6.0, 3)


# --- seconds, hosts, objective -------------------------------------------------------------------


def test_how_long_a_trial_takes_depends_on_its_class() -> None:
    cluster = opened(per_core, [LARGE, SMALL])
    cluster.start(trial(0, 32.0, 'large'))
    cluster.start(trial(1, 32.0, 'small'))
    results = [*cluster.poll(None), *cluster.poll(None)]
    assert [(result.host, result.seconds) for result in results] == [('large-0', 2.0), ('small-0', 8.0)]


def test_a_trial_starts_after_the_overhead_and_holds_its_slot_meanwhile() -> None:
    cluster = opened(overhead=0.25)
    cluster.start(trial(0, 2.0))
    (result,) = cluster.poll(None)
    assert (result.started, result.finished, result.seconds) == (0.25, 2.25, 2.0)


def test_a_slow_worker_takes_longer() -> None:
    cluster = opened(slowdown={'small-1': 3.0})
    cluster.start(trial(0, 2.0))
    cluster.start(trial(1, 2.0))
    results = [*cluster.poll(None), *cluster.poll(None)]
    assert [(result.host, result.seconds) for result in results] == [('small-0', 2.0), ('small-1', 6.0)]


def test_durations_may_be_any_real_numbers() -> None:
    cluster = opened(lambda params, own: Fraction(1, 4))
    cluster.start(trial(0))
    assert [result.seconds for result in cluster.poll(None)] == [0.25]


def test_the_objective_is_evaluated_only_when_its_trial_finishes() -> None:
    seen = []

    def objective(params: Any) -> float:
        seen.append(params['x'])
        return -1.0

    cluster = opened(objective=objective, changes=[(3.0, 'small', 1)])
    first = trial(0, 1.0)
    cluster.start(first)
    cluster.stop(first)
    cluster.start(trial(1, 2.0))
    cluster.start(trial(2, 4.0))
    assert seen == []
    assert [result.loss for result in cluster.poll(None)] == [-1.0]
    assert [outcome(result) for result in cluster.poll(None)] == [(2, 'lost', 0.0, 3.0)]
    assert seen == [2.0]


def test_a_trial_that_raises_has_failed_at_its_end() -> None:
    def objective(params: Any) -> float:
        raise ValueError('no')

    cluster = opened(objective=objective)
    cluster.start(trial(0, 2.0))
    (result,) = cluster.poll(None)
    assert outcome(result) == (0, 'failed', 0.0, 2.0)
    assert result.error is not None
    assert result.error.kind == 'exception'


def test_a_cancelled_trial_frees_its_slot_at_once() -> None:
    cluster = opened(classes=[LARGE])
    first = trial(0, 5.0, 'large')
    cluster.start(first)
    cluster.poll(1.0)
    cluster.stop(first)
    cluster.start(trial(1, 5.0, 'large'))
    assert [outcome(result) for result in cluster.poll(None)] == [(1, 'done', 1.0, 6.0)]
    assert list(cluster.poll(None)) == []


def test_a_trial_that_runs_again_after_it_was_cancelled_ends_once() -> None:
    cluster = opened()
    again = trial(0, 5.0)
    cluster.start(again)
    cluster.poll(1.0)
    cluster.stop(again)
    cluster.start(again)
    assert [outcome(result) for result in cluster.poll(None)] == [(0, 'done', 1.0, 6.0)]
    assert list(cluster.poll(None)) == []


def test_a_class_without_a_free_slot_takes_no_trial() -> None:
    cluster = opened(classes=[LARGE])
    cluster.start(trial(0, 1.0, 'large'))
    with pytest.raises(BackendError, match="class 'large' has no free slot for trial 1"):
        cluster.start(trial(1, 1.0, 'large'))


def test_it_is_chosen_by_instance_only() -> None:
    assert Simulated.affinity(Job('test', Function(loss))) == 0
    with pytest.raises(ConfigurationError, match='simulated'):
        search('simulated', max_tasks=1)  # type: ignore[arg-type]


# --- trials that fail ----------------------------------------------------------------------------


def test_a_trial_that_needs_more_memory_than_its_slot_has_fails_halfway() -> None:
    cluster = opened(classes=[LARGE, SMALL], memory=lambda params: 1000 * params['x'])
    cluster.start(trial(0, 10.0, 'small'))
    cluster.start(trial(1, 10.0, 'large'))
    (small,) = cluster.poll(None)
    assert (small.state, small.seconds) == (TrialState.FAILED, 5.0)
    assert small.error is not None
    assert (small.error.kind, small.error.message) == (
        'memory', 'the trial needs 10000 MiB, and its slot has 8000 (simulated)',
    )  # fmt: skip
    assert [outcome(result) for result in cluster.poll(None)] == [(1, 'done', 0.0, 10.0)]


def test_what_a_class_asks_for_is_the_memory_of_its_slots() -> None:
    half = ComputeClass('half', 1, {'memory': 8_000}, {'cores': 1, 'memory': 4_000})
    cluster = opened(classes=[half], memory=lambda params: 5_000)
    cluster.start(trial(0, 1.0, 'half'))
    assert [result.state for result in cluster.poll(None)] == [TrialState.FAILED]


def test_memory_that_is_unknown_is_no_limit() -> None:
    cluster = opened(classes=[ComputeClass('any')], memory=lambda params: 1e12)
    cluster.start(trial(0, 1.0, 'any'))
    assert [result.state for result in cluster.poll(None)] == [TrialState.DONE]


@pytest.mark.parametrize('kind', ['exception', 'result', 'crash', 'timeout', 'memory'])
def test_a_trial_may_fail_in_every_way(kind: str) -> None:
    cluster = opened(failures=lambda params, own: kind if own.name == 'small' else None)
    cluster.start(trial(0, 2.0))
    (result,) = cluster.poll(None)
    assert outcome(result) == (0, 'failed', 0.0, 2.0)
    assert result.loss is None
    assert result.error is not None
    assert result.error.kind == kind


def test_a_trial_may_be_lost() -> None:
    cluster = opened(failures=lambda params, own: 'lost')
    cluster.start(trial(0, 2.0))
    assert [outcome(result) for result in cluster.poll(None)] == [(0, 'lost', 0.0, 2.0)]


def test_a_share_of_the_attempts_crashes_and_always_the_same_ones() -> None:
    def crashed(seed: int) -> list[int]:
        cluster = Simulated([ComputeClass('a', 50)], lambda params, own: 1.0, failures=0.2, seed=seed)
        result = search(cluster, max_tasks=1000).run()
        assert {own.error.kind for own in result if own.error} == {'crash'}
        return sorted(own.id for own in result if own.error)

    assert crashed(0) == crashed(0) != crashed(1)
    assert 150 < len(crashed(0)) < 250


@pytest.mark.parametrize(('probability', 'state'), [(0, TrialState.DONE), (1, TrialState.FAILED)])
def test_a_probability_may_be_certainty(probability: int, state: TrialState) -> None:
    result = search(Simulated([SMALL], per_core, failures=probability), max_tasks=20).run()
    assert {own.state for own in result} == {state}


def test_a_trial_is_ended_at_its_time_limit() -> None:
    cluster = opened(job={'trial_timeout': 3.0}, overhead=0.5)
    cluster.start(trial(0, 100.0))
    cluster.start(trial(1, 3.0))
    ended, done = cluster.poll(None)
    assert outcome(ended) == (0, 'failed', 0.5, 3.5)
    assert ended.error is not None
    assert (ended.error.kind, ended.seconds) == ('timeout', 3.0)
    assert done.state is TrialState.DONE


def test_a_trial_that_hangs_ends_at_its_time_limit_only() -> None:
    cluster = opened(lambda params, own: math.inf, job={'trial_timeout': 3.0})
    cluster.start(trial(0))
    assert [result.error and result.error.kind for result in cluster.poll(None)] == ['timeout']
    cluster = opened(lambda params, own: math.inf)
    with pytest.raises(ConfigurationError, match="seconds returned inf .* class 'small', which would never end"):
        cluster.start(trial(0))


# --- workers that come and go --------------------------------------------------------------------


def test_discovering_the_same_workers_costs_nothing() -> None:
    cluster = opened(changes=[(5.0, 'small', 3)])
    first = cluster.discover()
    cluster.start(trial(0, 2.0))
    cluster.poll(None)
    assert cluster.discover() is first
    cluster.poll(None)
    assert cluster.discover() is not first


def test_workers_join() -> None:
    cluster = opened(classes=[LARGE, ComputeClass('late', 0)], changes=[(9.0, 'late', 2), (4.0, 'large', 2)])
    assert [(own.name, own.slots) for own in cluster.discover()] == [('large', 1)]
    assert list(cluster.poll(None)) == []
    assert [(own.name, own.slots) for own in cluster.discover()] == [('large', 2)]
    assert list(cluster.poll(None)) == []
    assert cluster.now() == 9.0
    assert [(own.name, own.slots) for own in cluster.discover()] == [('large', 2), ('late', 2)]
    for number in range(2):
        cluster.start(trial(number, 1.0, 'late'))
    assert [result.host for result in cluster.poll(None)] == ['late-0', 'late-1']


def test_the_workers_with_the_highest_numbers_leave_and_lose_their_trials() -> None:
    cluster = opened(classes=[ComputeClass('a', 4), LARGE], changes=[(5.0, 'a', 2)])
    for number in range(4):
        cluster.start(trial(number, 9.0, 'a'))
    cluster.start(trial(4, 9.0, 'large'))
    lost = cluster.poll(None)
    assert [(result.trial, result.state, result.host, result.finished, result.seconds) for result in lost] == [
        (2, TrialState.LOST, 'a-2', 5.0, 5.0),
        (3, TrialState.LOST, 'a-3', 5.0, 5.0),
    ]
    assert [own.slots for own in cluster.discover()] == [2, 1]
    assert [result.trial for result in cluster.poll(None)] == [0, 1, 4]
    for number in (5, 6):
        cluster.start(trial(number, 1.0, 'a'))
    assert [result.host for result in cluster.poll(None)] == ['a-0', 'a-1']


def test_a_trial_is_lost_even_before_it_has_started() -> None:
    cluster = opened(overhead=10.0, changes=[(5.0, 'small', 0)])
    cluster.start(trial(0))
    assert [outcome(result) for result in cluster.poll(None)] == [(0, 'lost', 5.0, 5.0)]
    assert list(cluster.discover()) == []


def test_a_trial_that_ends_as_its_worker_leaves_has_ended() -> None:
    cluster = opened(changes=[(5.0, 'small', 0)])
    cluster.start(trial(0, 5.0))
    cluster.start(trial(1, 6.0))
    assert [outcome(result) for result in cluster.poll(None)] == [(0, 'done', 0.0, 5.0), (1, 'lost', 0.0, 5.0)]


def test_a_class_may_leave_and_come_back() -> None:
    cluster = opened(changes=[(1.0, 'small', 0), (1.0, 'small', 1), (2.0, 'small', 0), (3.0, 'small', 2)])
    seen = []
    for _ in range(3):
        cluster.poll(None)
        seen.append([own.slots for own in cluster.discover()])
    assert seen == [[1], [], [2]]


def test_a_change_at_the_beginning_is_there_from_the_beginning() -> None:
    assert [own.slots for own in opened(changes=[(0, 'small', 7)]).discover()] == [7]


# --- resources and declared classes --------------------------------------------------------------


def test_what_every_trial_asks_for_is_added_to_what_the_classes_ask_for() -> None:
    cluster = opened(job={'resources': {'memory': 500}})
    (own,) = cluster.discover()
    assert (own.name, own.slots, own.resources) == ('small', 2, {'cores': 1, 'memory': 500})


def test_declared_classes_group_the_workers_anew() -> None:
    seen = []

    def seconds(params: Any, own: ComputeClass) -> float:
        seen.append(own.name)
        return 1.0

    declared = (DeclaredClass('wide', 'cores', 8, max_tasks=5),)
    classes = [LARGE, ComputeClass('other', 3, {'cores': 24}), SMALL]
    cluster = opened(
        seconds, classes, job={'classes': declared, 'resources': {'cores': 8}}, changes=[(5.0, 'large', 0)]
    )
    # Of 2 + 3 x 3 slots five are wanted; a worker with 4 cores has none.
    assert [(own.name, own.slots) for own in cluster.discover()] == [('wide', 5), ('4-core 8GiB', 0)]
    for number in range(5):
        cluster.start(trial(number, 1.0, 'wide'))
    assert [result.host for result in cluster.poll(None)] == ['large-0', 'large-0', 'other-0', 'other-0', 'other-0']
    assert set(seen) == {'wide'}
    cluster.poll(None)
    cluster.start(trial(9, 1.0, 'wide'))
    assert [result.host for result in cluster.poll(None)] == ['other-0']


def test_a_worker_with_several_slots_loses_all_its_trials() -> None:
    declared = (DeclaredClass('all', 'cores', 4),)
    cluster = opened(classes=[ComputeClass('a', 2, {'cores': 16})], job={'classes': declared}, changes=[(1.0, 'a', 1)])
    assert [own.slots for own in cluster.discover()] == [8]
    for number in range(8):
        cluster.start(trial(number, 9.0, 'all'))
    assert [result.trial for result in cluster.poll(None)] == [4, 5, 6, 7]
    assert [own.slots for own in cluster.discover()] == [4]


def test_a_cluster_on_which_no_trial_will_ever_fit_is_refused() -> None:
    with pytest.raises(BackendError, match='no trial fits'):
        opened(classes=[ComputeClass('a', 0)])
    with pytest.raises(BackendError, match="no trial fits .*'cores': 32"):
        opened(job={'classes': (DeclaredClass('wide', 'cores', 8),), 'resources': {'cores': 32}})
    assert list(opened(classes=[ComputeClass('a', 0)], changes=[(5, 'a', 1)]).discover()) == []


# --- whole searches ------------------------------------------------------------------------------


CLUSTER = [
    ComputeClass('16-core', 20, {'cores': 16}),
    ComputeClass('8-core', 25, {'cores': 8}),
    ComputeClass('4-core', 50, {'cores': 4}),
]


def test_an_hour_of_many_machines_passes() -> None:
    result = search(Simulated(CLUSTER, uneven, overhead=0.5), timeout=3600).run()
    assert (result.stopped, result.elapsed) == ('timeout', 3600.0)
    assert len(result) > 95 * 10
    assert all(0.5 <= own.started <= own.finished <= 3600 for own in result)
    busy = Counter()
    for own in result:
        busy[own.compute_class] += own.finished - own.started + 0.5
    shares = {own.name: busy[own.name] / own.slots / 3600 for own in CLUSTER}
    assert all(0.9 < share <= 1.0 for share in shares.values())


def test_the_same_search_gives_the_same_trials_at_the_same_times() -> None:
    def run() -> list[Trial]:
        cluster = Simulated(
            CLUSTER, uneven, failures=0.1, changes=[(200, '8-core', 5), (300, '8-core', 30)], slowdown={'4-core-7': 2}
        )
        return list(search(cluster, timeout=600).run())

    assert run() == run()


def test_trials_of_lost_workers_run_again_and_none_is_missing() -> None:
    storage = Memory()
    changes = [(100, '4-core', 10), (150, '8-core', 0), (300, '4-core', 50)]
    result = search(Simulated(CLUSTER, uneven, changes=changes), max_tasks=1000, storage=storage).run()
    assert sorted(own.id for own in result) == list(range(1000))
    assert {own.state for own in result} == {TrialState.DONE}
    lost = [record for _, record in storage.read() if getattr(record, 'state', None) is TrialState.LOST]
    assert Counter(record.finished for record in lost) == {100.0: 40, 150.0: 25}
    assert all(own.finished <= 150 for own in result if own.compute_class == '8-core')


@pytest.mark.parametrize('names', [('fast', 'slow'), ('slow', 'fast')])
def test_no_new_trial_takes_the_place_of_a_lost_one_that_waits_for_its_class(names: Sequence[str]) -> None:
    cluster = Simulated(
        [ComputeClass(name, 2) for name in names],
        lambda params, own: 10.0 if own.name == 'fast' else 100.0,
        changes=[(50, 'slow', 1)],
    )
    result = search(cluster, max_tasks=4, policy_options={'restart_stragglers': False}).run()
    assert sorted(own.id for own in result) == [0, 1, 2, 3]
    assert [own.finished for own in result] == [10.0, 10.0, 100.0, 200.0]


def test_a_trial_that_is_lost_again_and_again_fails() -> None:
    cluster = Simulated(CLUSTER, uneven, failures=lambda params, own: 'lost' if params['x'] < 0.1 else None)
    result = search(cluster, max_tasks=200, max_retries=2).run()
    failed = [own for own in result if own.state is TrialState.FAILED]
    assert {own.error.kind for own in failed} == {'lost'}
    assert {own.id for own in failed} == {own.id for own in result if own.params['x'] < 0.1} != set()


def test_workers_that_join_are_used_from_that_moment() -> None:
    late = ComputeClass('late', 0, {'cores': 32})
    changes = [(500, 'late', 10), (250, '16-core', 21)]
    result = search(Simulated([*CLUSTER, late], uneven, changes=changes), timeout=1000).run()
    assert min(own.started for own in result if own.compute_class == 'late') == 500.0
    assert len({own.host for own in result if own.compute_class == 'late'}) == 10
    assert min(own.started for own in result if own.host == '16-core-20') == 250.0


def test_a_search_waits_for_its_first_workers() -> None:
    cluster = Simulated([ComputeClass('late', 0)], lambda params, own: 1.0, changes=[(42, 'late', 1)])
    assert [own.started for own in search(cluster, max_tasks=2).run()] == [42.0, 43.0]


def test_trials_fail_for_lack_of_memory_where_there_is_too_little() -> None:
    cluster = Simulated([LARGE, SMALL], uneven, memory=lambda params: 16_000 * params['x'])
    result = search(cluster, max_tasks=200).run()
    failed = {own.id for own in result if own.error is not None and own.error.kind == 'memory'}
    assert failed == {own.id for own in result if own.compute_class == 'small' and own.params['x'] > 0.5} != set()


def test_trials_are_ended_at_their_limit_in_a_search() -> None:
    result = search(Simulated([SMALL], uneven), max_tasks=50, trial_timeout=100).run()
    slow = {own.id for own in result if uneven(own.params, SMALL) > 100}
    assert {own.id for own in result if own.error and own.error.kind == 'timeout'} == slow != set()
    assert all(own.seconds <= 100 for own in result)


def test_a_search_that_goes_on_counts_its_seconds_on() -> None:
    options = {'storage': 'test.db', 'timeout': 1000}
    first = search(Simulated(CLUSTER, uneven), **options).run()
    earlier = {own.id: own for own in first}
    second = search(Simulated(CLUSTER, uneven), **options).run()
    assert (first.elapsed, second.elapsed) == (1000.0, 2000.0)
    assert {own.id: own for own in second if own.finished <= 1000} == earlier
    later = [own for own in second if own.finished > 1000]
    assert len(later) > 100
    assert min(own.started for own in later) == 1000.0


def test_one_cluster_serves_one_search_after_another() -> None:
    cluster = Simulated(CLUSTER, uneven)
    first, second = (search(cluster, timeout=1000).run() for _ in range(2))
    assert (first.elapsed, second.elapsed) == (1000.0, 1000.0)
    assert [own.params for own in first] == [own.params for own in second]
    assert cluster.now() == 2000.0


def test_an_interrupt_within_the_objective_ends_the_search_in_order() -> None:
    def objective(params: Any) -> float:
        if params['x'] > 0.9:
            raise KeyboardInterrupt
        return loss(params)

    storage = Memory()
    result = search(Simulated(CLUSTER, uneven), objective, timeout=3600, storage=storage).run()
    assert result.stopped == 'interrupted'
    finished = len(result)
    cancelled = [record for _, record in storage.read() if getattr(record, 'state', None) is TrialState.CANCELLED]
    assert len(cancelled) == 95
    again = search(Simulated(CLUSTER, uneven), timeout=100, storage=storage).run()
    assert len(again) > finished


def test_declared_classes_hand_out_no_more_than_they_may() -> None:
    opt = search(Simulated(CLUSTER, uneven), timeout=500)
    opt.add_compute_class('wide', 'cores', 8, max_tasks=10)
    result = opt.run()
    assert {own.compute_class for own in result} == {'wide', '4-core'}
    spans = [(own.started, own.finished) for own in result if own.compute_class == 'wide']
    assert max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans) == 10
    assert {own.resources['cores'] for own in result if own.compute_class == 'wide'} == {8}


def test_a_plugin_sees_the_workers_come_and_go() -> None:
    class Observer:
        def __init__(self) -> None:
            self.plans: list[dict[str, int]] = []

        @hookimpl
        def shadho_plan_changed(self, classes: Sequence[ComputeClass]) -> None:
            plan = {own.name: own.slots for own in classes}
            if self.plans[-1:] != [plan]:  # it is also called when only the placement changes
                self.plans.append(plan)

    observer = Observer()
    cluster = Simulated([LARGE, SMALL], uneven, changes=[(50, 'large', 3), (60, 'small', 0)])
    search(cluster, timeout=100, plugins=[observer]).run()
    assert observer.plans == [{'large': 1, 'small': 2}, {'large': 3, 'small': 2}, {'large': 3}]


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [-1, math.nan, None, 'soon', [1.0], -math.inf, 10**400])
@pytest.mark.parametrize('argument', ['seconds', 'memory'])
def test_a_function_that_returns_no_usable_number_is_named(argument: str, value: Any) -> None:
    functions = {'seconds': lambda params, own: 1.0, 'memory': lambda params: 1.0}
    functions[argument] = lambda *given: value
    cluster = opened(**functions)
    with pytest.raises(ConfigurationError, match=f"{argument} must return a number .* for trial 3 .* 'small'"):
        cluster.start(trial(3))


def test_an_unknown_way_to_fail_is_refused() -> None:
    cluster = opened(failures=lambda params, own: 'explosion')
    with pytest.raises(ConfigurationError, match="failures must return None or a kind .* got 'explosion'"):
        cluster.start(trial(0))


def test_what_a_function_raises_ends_the_search_as_it_is() -> None:
    def seconds(params: Any, own: ComputeClass) -> float:
        raise KeyError('no such row')

    with pytest.raises(KeyError, match='no such row'):
        search(Simulated(CLUSTER, seconds), max_tasks=5).run()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'classes': []}, 'at least one class'),
        ({'classes': SMALL}, 'brackets'),
        ({'classes': np.array(1)}, r'got array\(1\) \(ndarray\)'),
        ({'overhead': 10**400}, 'overhead must be a number of 0 or more; got 1000'),
        ({'classes': ['small']}, 'must be a ComputeClass'),
        ({'classes': [SMALL, SMALL]}, 'different names'),
        ({'seconds': 3.0}, r'seconds must be a function seconds\(params, compute_class\)'),
        ({'memory': 8000}, r'memory must be a function memory\(params\)'),
        ({'overhead': -1}, 'overhead must be a number of 0 or more; got -1'),
        ({'overhead': math.inf}, 'overhead'),
        ({'failures': 2}, 'failures must be a number of 0 to 1; got 2'),
        ({'failures': 'crash'}, 'failures'),
        ({'failures': True}, 'failures'),
        ({'slowdown': 2.0}, "slowdown must be a dict such as {'small-0': 2.0}"),
        ({'slowdown': {'smal-0': 2.0}}, "slowdown: 'smal-0' is no worker"),
        ({'slowdown': {'small': 2.0}}, "slowdown: 'small' is no worker"),
        ({'slowdown': {'small-0': 0}}, "slowdown of 'small-0' must be a factor above 0"),
        ({'changes': [(1, 'smal', 2)]}, "no class 'smal'; did you mean 'small'"),
        ({'changes': [(-1, 'small', 2)]}, 'changes: seconds must be a number of 0 or more'),
        ({'changes': [(1, 'small', -2)]}, 'changes: slots must be an integer of 0 or more; got -2'),
        ({'changes': [(1, 'small')]}, 'each of changes must be'),
        ({'changes': (1, 'small', 2)}, 'each of changes must be'),
        ({'changes': 5}, 'changes must be a list'),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Simulated(**{'classes': [SMALL], 'seconds': per_core, **options})


def test_a_cluster_that_all_workers_have_left_for_good_says_so() -> None:
    cluster = Simulated([ComputeClass('a', 2)], lambda params, own: 10.0, changes=[(25.0, 'a', 0)])
    opt = Shadho('left', lambda params: 1.0, {'x': spaces.uniform(0, 1)}, max_tasks=100, backend=cluster, storage=None,
                 display=False)  # fmt: skip
    with pytest.raises(BackendError, match='all workers have left'):
        opt.run()


def test_a_clock_moves_even_when_trials_take_no_time() -> None:
    cluster = Simulated([ComputeClass('a', 1)], lambda params, own: 0.0)
    search = {'timeout': 1e-6, 'backend': cluster, 'storage': None, 'display': False}
    assert 0 < len(Shadho('quick', lambda params: 1.0, {'x': spaces.uniform(0, 1)}, 'random', **search).run()) < 2000


def test_a_class_whose_memory_or_gpus_do_not_suffice_has_no_slots() -> None:
    classes = [ComputeClass('gpus', 1, {'gpus': 1}), ComputeClass('none', 5, {'cores': 8})]
    cluster = opened(classes=classes, job={'resources': {'gpus': 1}})
    assert [(own.name, own.slots) for own in cluster.discover()] == [('gpus', 1), ('none', 0)]
