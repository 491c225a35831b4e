"""Compute classes in a whole search: how busy each was, what is told of it, and what is recorded."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from shadho import ComputeClass, SearchResult, Shadho, Trial, hookimpl, spaces
from shadho.backends import Simulated
from shadho.records import Attempt
from shadho.result import ClassUse
from shadho.scheduling import ClassPlan
from shadho.storage.memory import Memory
from shadho.storage.sqlite import SQLite

A = ComputeClass('a', 2, {'cores': 4})
B = ComputeClass('b', 1, {'cores': 8})
TREES = {'exclusive': True, 'rbf': {'x': spaces.uniform(0, 1)}, 'linear': {'x': spaces.uniform(0, 1)}}


def seconds(params: Any, own: ComputeClass) -> float:
    return {'a': 4.0, 'b': 10.0}[own.name]


def search(cluster: Simulated, space: Any = None, **options: Any) -> Shadho:
    space = {'x': spaces.uniform(0, 1)} if space is None else space
    own = {'backend': cluster, 'storage': None, 'seed': 0, 'display': False, **options}
    return Shadho('classes', lambda params: 1.0, space, **own)


def uses(result: SearchResult) -> dict[str, tuple[int, float, float]]:
    return {
        own.compute_class.name: (own.compute_class.slots, own.slot_seconds, own.busy_seconds) for own in result.classes
    }


# --- how busy ------------------------------------------------------------------------------------


def test_the_time_of_slots_and_of_trials_in_them_is_added_up() -> None:
    result = search(Simulated([A, B], seconds), max_tasks=3).run()
    assert result.elapsed == 10.0
    assert uses(result) == {'a': (2, 20.0, 8.0), 'b': (1, 10.0, 10.0)}
    assert [own.utilisation for own in result.classes] == [0.4, 1.0]


def test_slots_that_come_and_go_count_while_they_are_there() -> None:
    cluster = Simulated([A, B], seconds, changes=[(20, 'a', 4), (40, 'b', 0)])
    result = search(cluster, timeout=60).run()
    assert uses(result) == {'a': (4, 20 * 2 + 40 * 4, 200.0), 'b': (1, 40.0, 40.0)}


def test_a_class_that_comes_later_counts_from_then_on() -> None:
    cluster = Simulated([A, ComputeClass('b', 0, {'cores': 8})], seconds, changes=[(30, 'b', 1)])
    result = search(cluster, timeout=50).run()
    assert uses(result) == {'a': (2, 100.0, 100.0), 'b': (1, 20.0, 20.0)}


def test_time_before_a_trial_starts_is_none_in_which_its_slot_is_busy() -> None:
    result = search(Simulated([B], seconds, overhead=2.5), max_tasks=4).run()
    assert (result.elapsed, uses(result)) == (50.0, {'b': (1, 50.0, 40.0)})
    assert result.classes[0].assigned_seconds == 50.0


def test_each_run_counts_for_itself() -> None:
    options = {'storage': 'classes.db', 'policy': 'fcfs'}
    search(Simulated([A], seconds), max_tasks=10, **options).run()
    result = search(Simulated([A, B], seconds), max_tasks=13, **options).run()
    assert uses(result) == {'a': (2, 20.0, 8.0), 'b': (1, 10.0, 10.0)}
    assert result.elapsed == 30.0


def test_trials_that_are_short_beside_the_rest_leave_a_search_driver_bound() -> None:
    result = search(Simulated([B], seconds, overhead=90.0), max_tasks=4).run()
    *_, row, note = result.summary().splitlines()
    assert row.split()[:5] == ['b', '1', '10%', '4', 'driver-bound']
    assert note.startswith('driver-bound: trials ran 10% of the time of slots;')
    assert len(note) <= 80
    assert result.classes[0].plan is not None and result.classes[0].plan.price > 0


def test_slots_without_trials_leave_no_search_driver_bound() -> None:
    result = search(Simulated([A, B], seconds), max_tasks=3, policy='fcfs').run()
    assert 'driver-bound' not in result.summary()


def test_a_run_that_evaluates_nothing_shows_neither_busy_slots_nor_what_one_more_is_worth() -> None:
    for _ in range(2):
        result = search(Simulated([A], seconds), max_tasks=10, storage='classes.db').run()
    assert result.summary().splitlines()[-1].split()[:5] == ['a', '2', '-', '10', '-']


def test_microseconds_of_trials_make_no_process_busy() -> None:
    opt = Shadho(
        'quick', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, 'random', backend='inline', max_tasks=300,
        storage=None, seed=0, display=False,
    )  # fmt: skip
    result = opt.run()
    assert result.classes[0].busy_seconds == pytest.approx(sum(trial.seconds or 0.0 for trial in result))
    assert 'driver-bound' in result.summary()


def test_a_class_that_was_never_there_was_busy_for_none_of_its_time() -> None:
    assert ClassUse(A).utilisation == 0.0


# --- what is told --------------------------------------------------------------------------------


def test_the_summary_has_a_row_for_each_class() -> None:
    options = {'cores': 2, 'gpus': 1}
    classes = [ComputeClass('gpu node', 2, {'cores': 8, 'memory': 65536, 'gpus': 2}, options), B]
    cluster = Simulated(classes, lambda params, own: 10.0 if own.name == 'b' else 1.0 + 9 * ('linear' in params))
    result = search(cluster, TREES, max_tasks=400, method='random').run()
    gpu, own = (use.plan for use in result.classes)
    assert gpu is not None and own is not None
    *_, head, first, second = result.summary().splitlines()
    assert head == 'compute class  slots  busy  trials  +1 slot  each asks for   trees by their time'
    trials = sum(trial.compute_class == 'gpu node' for trial in result)
    assert first.startswith(
        f'gpu node           2  {result.classes[0].utilisation:>4.0%}  {trials:>6}  {gpu.price:>+7.1%}  '
    )
    assert '2 cores, 1 GPU  rbf ' in first
    assert second.startswith('b                  1 ')
    assert f'  {400 - trials:>6}  {own.price:>+7.1%}  1 core          linear' in second
    assert gpu.trees[0][0] == 0 and own.trees[0][0] == 1


@pytest.mark.parametrize('asked', [{}, {'cores': 16, 'memory': 65536, 'gpus': 4}], ids=['one core', 'much'])
@pytest.mark.parametrize('count', [1, 5])
@pytest.mark.parametrize(
    'name',
    ['nvidia_a100_sxm4_80gb_x16cores', 'gpu', 'the machines in the cellar that nobody has counted, and their names'],
)
def test_whatever_classes_are_called_and_ask_for_no_line_of_the_summary_is_longer_than_80(
    name: str, count: int, asked: dict[str, int]
) -> None:
    hardware = {'cores': 64, 'memory': 2**20, 'gpus': 8}
    classes = [ComputeClass(f'{name}{number}', 2, hardware, asked) for number in range(count)]
    space = {'exclusive': True, **{f'layers of kind {kind}': {'x': spaces.uniform(0, 1)} for kind in range(6)}}
    result = search(Simulated(classes, lambda params, own: 2.0), space, max_tasks=60).run()
    lines = result.ending().splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert sum(line.startswith(name[:40]) for line in lines) == count
    assert ('each asks for' in result.summary()) == bool(asked)
    if name != 'gpu':
        assert sum(line.startswith('    trees by their time: layers of kind ') for line in lines) == count


def test_trees_that_have_no_room_beside_a_class_go_on_in_the_next_line() -> None:
    space = {'exclusive': True, **{f'kind {kind}': {'x': spaces.uniform(0, 1)} for kind in range(6)}}
    result = search(Simulated([A], lambda params, own: 2.0), space, max_tasks=60).run()
    head, row, more, *_ = result.summary().partition('\ncompute class')[2].splitlines()
    start = ('compute class' + head).index('trees by their time')
    assert row[start - 2 : start + 5] == more[start - 2 : start + 5] == '  kind '


def test_of_a_policy_that_does_not_plan_no_trees_and_no_price_are_told() -> None:
    result = search(Simulated([A, B], seconds), max_tasks=3, policy='fcfs').run()
    assert [own.plan for own in result.classes] == [None, None]
    assert result.summary().splitlines()[-2:] == [
        'a                  2   40%       2        -  -',
        'b                  1  100%       1        -  -',
    ]


def test_of_many_classes_the_summary_shows_the_first_twenty() -> None:
    classes = [ComputeClass(f'class {number}', 1, {'cores': 1 + number}) for number in range(23)]
    lines = search(Simulated(classes, lambda params, own: 1.0), max_tasks=30).run().summary().splitlines()
    assert lines[-2].startswith('class 19  ')
    assert lines[-1] == '... and 3 more classes'


def test_a_plan_is_told_to_observers_when_it_changes_and_only_then() -> None:
    class Observer:
        def __init__(self) -> None:
            self.plans: list[tuple[tuple[ComputeClass, ...], tuple[ClassPlan, ...]]] = []
            self.dispatched = 0

        @hookimpl
        def shadho_plan_changed(self, classes: tuple[ComputeClass, ...], placement: tuple[ClassPlan, ...]) -> None:
            self.plans.append((classes, placement))

        @hookimpl
        def shadho_trial_dispatched(self, trial: Trial) -> None:
            self.dispatched += 1
            assert trial.compute_class in {own.name for own in self.plans[-1][1]}

    observer = Observer()
    search(Simulated([A, B], seconds, changes=[(100, 'a', 5)]), TREES, max_tasks=500, plugins=[observer]).run()
    assert observer.dispatched >= 500
    assert 5 < len(observer.plans) < 200
    for before, after in zip(observer.plans, observer.plans[1:]):
        assert before[0] != after[0] or before[1] is not after[1]
    assert {own.slots for classes, _ in observer.plans for own in classes if own.name == 'a'} == {2, 5}


# --- what is warned of ---------------------------------------------------------------------------


def warned(caplog: pytest.LogCaptureFixture, name: str) -> int:
    return sum(f"can serve the compute class '{name}'" in record.getMessage() for record in caplog.records)


def declared(changes: list[tuple[float, str, int]], timeout: float = 100.0) -> Shadho:
    opt = search(Simulated([A, B], lambda params, own: 5.0, changes=changes), timeout=timeout)
    opt.add_compute_class('wide', 'cores', 8)
    return opt


def test_a_class_that_nothing_serves_is_warned_of_once_whatever_else_changes(caplog: pytest.LogCaptureFixture) -> None:
    opt = declared([(20, 'a', 3), (40, 'a', 1), (60, 'a', 2)])
    opt.add_compute_class('huge', 'cores', 99)
    with caplog.at_level(logging.WARNING, 'shadho'):
        opt.run()
    assert (warned(caplog, 'huge'), warned(caplog, 'wide')) == (1, 0)


def test_a_class_is_warned_of_again_after_it_has_been_served(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, 'shadho'):
        result = declared([(20, 'b', 0), (30, 'a', 3), (40, 'b', 1), (60, 'b', 0), (70, 'a', 2)]).run()
    assert warned(caplog, 'wide') == 2
    assert {own.compute_class for own in result} == {'4-core', 'wide'}


# --- what is recorded ----------------------------------------------------------------------------


def test_every_trial_is_recorded_with_its_class_and_what_it_asked_for() -> None:
    classes = [
        ComputeClass('a', 2, {'cores': 4}, {'cores': 2, 'memory': 512}),
        ComputeClass('b', 1, {'cores': 8}, {'cores': 8}),
    ]
    asked = {'a': {'cores': 2, 'memory': 512}, 'b': {'cores': 8}}
    for storage in (Memory(), SQLite('classes.db')):
        search(Simulated(classes, seconds), max_tasks=40, storage=storage).run()
        reader = storage if isinstance(storage, Memory) else SQLite('classes.db')
        trials = [record for _, record in reader.read() if isinstance(record, Trial)]
        assert {own.compute_class for own in trials} == {'a', 'b'}
        assert len(trials) >= 40
        assert all(own.resources == asked[own.compute_class] for own in trials)


def test_a_trial_that_runs_again_elsewhere_is_recorded_with_what_it_asks_for_there() -> None:
    classes = [ComputeClass('a', 1, {'cores': 4}, {'cores': 2}), ComputeClass('b', 1, {'cores': 8}, {'cores': 8})]
    storage = Memory()
    search(Simulated(classes, lambda params, own: 10.0, changes=[(5, 'a', 0)]), timeout=40, storage=storage).run()
    events = [event for _, event in storage.read()]
    [first] = [event for event in events if isinstance(event, Trial) and event.id == 0]
    [second] = [event for event in events if isinstance(event, Attempt)]
    assert (second.trial, second.number) == (0, 1)
    assert [(own.compute_class, own.resources) for own in (first, second)] == [('a', {'cores': 2}), ('b', {'cores': 8})]
