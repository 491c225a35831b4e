"""Going on with a search: after its end, after Ctrl-C, after being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shadho import Shadho, Trial, TrialState, spaces
from shadho.errors import ConfigurationError, StorageError
from shadho.records import Result
from shadho.storage.sqlite import SQLite

SPACE = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'k': [1, 2, 3], 'x': spaces.uniform(0, 1)}}


def loss(params: dict[str, Any]) -> float:
    return next(iter(params.values()))['x']


def search(**options: Any) -> Shadho:
    return Shadho(
        'test', loss, **{'space': SPACE, 'backend': 'inline', 'seed': 7, 'max_tasks': 10, 'display': False, **options}
    )


@pytest.mark.parametrize('storage', ['test.db', 'test.json'])
def test_a_second_run_goes_on_where_the_first_ended(storage: str) -> None:
    first = search(storage=storage, policy='fcfs').run()
    both = search(storage=storage, policy='fcfs', max_tasks=25).run()
    whole = search(storage=None, policy='fcfs', max_tasks=25).run()
    assert len(first) == 10
    assert [trial.params for trial in both] == [trial.params for trial in whole]
    assert [trial.id for trial in both] == list(range(25))
    assert both.best.params == whole.best.params
    assert list(both)[12].started >= list(both)[9].finished
    assert both.elapsed > first.elapsed


@pytest.mark.parametrize('runs', [(25,), (1, 9, 25), (12, 25)])
def test_with_the_market_a_search_that_goes_on_keeps_the_order_within_each_tree(runs: tuple[int, ...]) -> None:
    whole = search(storage=None, max_tasks=60, method='random').run()
    for limit in runs:
        result = search(max_tasks=limit, method='random').run()
    assert [trial.id for trial in result] == list(range(25))
    for tree in (0, 1):
        own = [trial.params for trial in result if trial.tree == tree]
        assert len(own) >= 5
        assert own == [trial.params for trial in whole if trial.tree == tree][: len(own)]


METHODS = ['random', 'sobol', 'tpe', 'gp', 'rf', 'cmaes', 'pso', 'hyperopt', 'auto']


@pytest.mark.parametrize(('method', 'policy'), [*((own, 'market') for own in METHODS), ('random', 'ranked')])
def test_a_search_in_series_goes_on_as_if_it_had_never_ended(method: str, policy: str) -> None:
    def interrupted(params: dict[str, Any]) -> float:
        if len(seen) == 5:  # while a trial runs
            os.kill(os.getpid(), signal.SIGINT)
        seen.append(params)
        return loss(params)

    def run(storage: str | None, trials: int, objective: Any = loss) -> list[Any]:
        result = Shadho(
            'test', objective, SPACE, method, policy=policy, backend='inline', seed=7, max_tasks=trials, storage=storage,
            display=False,
        ).run()  # fmt: skip
        return [(trial.id, trial.tree, trial.point) for trial in result]

    seen: list[Any] = []
    whole = run(None, 24)
    run('parts.db', 6)
    run('parts.db', 11)
    run('parts.db', 24, interrupted)
    assert len(seen) < 24 - 11
    assert run('parts.db', 24) == whole


def test_a_search_in_series_repeats_exactly_although_its_trials_never_take_the_same_time() -> None:
    first, second = (search(storage=None, max_tasks=60).run() for _ in range(2))
    assert [trial.seconds for trial in first] != [trial.seconds for trial in second]
    assert [trial.params for trial in first] == [trial.params for trial in second]


def test_a_search_that_is_complete_runs_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    search().run()
    again = Shadho(
        'test', lambda params: pytest.fail('evaluated again'), SPACE, backend='inline', max_tasks=10, display=False
    ).run()
    assert (len(again), again.stopped) == (10, 'max_tasks')
    assert 'nothing was evaluated: the storage already holds all requested trials (10 trials, 0 failed)' in caplog.text


def test_the_seed_of_the_first_run_is_kept() -> None:
    first = search(seed=None).run()
    assert search(seed=None, max_tasks=20).run().seed == first.seed


def test_running_twice_on_one_object_goes_on() -> None:
    opt = search(max_tasks=None, timeout=0.05)
    first, second = opt.run(), opt.run()
    assert len(second) > len(first) > 0


def test_a_changed_space_is_refused_with_the_difference() -> None:
    search().run()
    changed = {**SPACE, 'b': {'k': [1, 2, 4], 'x': spaces.uniform(0, 1)}}
    with pytest.raises(StorageError, match='belongs to another search space') as caught:
        search(space=changed).run()
    assert "-        'k': choice([1, 2, 3]),\n+        'k': choice([1, 2, 4]),\n" in str(caught.value)
    assert len(search().run()) == 10


def test_a_difference_that_people_are_not_shown_is_shown_in_full() -> None:
    values = list(range(100))
    search(space={'n': values}).run()
    values[50] = -1
    with pytest.raises(StorageError, match=r'-\s+50,\n\+\s+-1,'):
        search(space={'n': values}).run()


@pytest.mark.parametrize('option', [{'direction': 'maximize'}, {'loss_key': 'error'}])
def test_losses_that_cannot_be_compared_are_refused(option: dict[str, str]) -> None:
    search().run()
    with pytest.raises(StorageError, match='cannot be compared'):
        search(**option).run()


@pytest.mark.parametrize('second', [{'method': 'random'}, {'method': 'grid', 'grid_points': 5}])
def test_a_grid_that_has_changed_is_refused(second: dict[str, Any]) -> None:
    search(method='grid', grid_points=3).run()
    with pytest.raises(StorageError, match='not the first points of this grid'):
        search(**second).run()


def test_a_search_that_never_ran_a_trial_may_change() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(ConfigurationError, match='cannot be sent to another process'):
        Shadho('test', lambda params: lock.locked(), SPACE, max_tasks=1, backend='local', display=False).run()
    assert (
        len(
            Shadho(
                'test',
                lambda params: params['x'],
                {'x': spaces.uniform(0, 1)},
                max_tasks=10,
                backend='inline',
                resume=False,
                display=False,
            ).run()
        )
        == 10
    )


def test_objects_come_back_as_objects_after_resuming() -> None:
    space = {'f': [abs, len], 'x': spaces.uniform(0, 1)}

    def run(count: int) -> Any:
        return Shadho('test', lambda params: params['x'], space, max_tasks=count, backend='inline', display=False).run()

    run(5)
    again = run(6)
    assert again.best.params['f'] in (abs, len)
    assert {trial.params['f'] for trial in again} <= {abs, len}


def test_callbacks_and_objects_do_not_hinder_resuming() -> None:
    def space() -> dict[str, Any]:
        x = spaces.uniform(0, 1)
        return {'a': {'x': x, 'y': spaces.dependent(x, callback=lambda value: value * 2), 'f': [sorted, object()]}}

    search(space=space()).run()
    both = search(space=space(), max_tasks=15).run()
    assert len(list(both)) == 15
    assert all(trial.params['a']['y'] == 2 * trial.params['a']['x'] for trial in both)


def test_another_objective_under_the_same_key_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    search().run()
    Shadho('test', print, SPACE, backend='inline', max_tasks=10, display=False).run()
    assert 'was recorded with the objective loss, and continues with print' in caplog.text


def test_a_finished_search_leaves_one_file_also_after_reading_it() -> None:
    assert len(list(search().run())) == 10
    assert [path.name for path in Path().iterdir()] == ['test.db']


def test_resume_false_refuses_to_touch_a_recorded_search() -> None:
    search(resume=False).run()
    before = list(SQLite('test.db').read())
    with pytest.raises(StorageError, match='already holds a search, and resume=False'):
        search(resume=False).run()
    assert list(SQLite('test.db').read()) == before


def test_a_second_driver_is_refused_and_told_who_the_first_is() -> None:
    with SQLite('test.db'), pytest.raises(StorageError, match=f'in use by process {os.getpid()} on '):
        search().run()
    assert len(search().run()) == 10


def test_trials_that_were_running_are_run_first() -> None:
    search(max_tasks=5).run()
    with SQLite('test.db') as storage:
        lost = Trial(id=5, tree=0, point=(0.125,), params={'a': {'x': 0.125}})
        cancelled = Trial(id=6, tree=0, point=(0.25,), params={'a': {'x': 0.25}})
        for record in (lost, cancelled, Result(6, TrialState.CANCELLED)):
            storage.append(record)
    result = list(search(max_tasks=8).run())
    assert [trial.id for trial in result] == [0, 1, 2, 3, 4, 6, 5, 7]  # of the two, 6 has waited longer
    assert [trial.params for trial in result[5:7]] == [{'a': {'x': 0.25}}, {'a': {'x': 0.125}}]


DRIVER = """
import sys, time
from shadho import Shadho, spaces

def objective(params):
    if params['x'] > 0.9:
        print('slow', flush=True)
        time.sleep(60)
    return params['x']

opt = Shadho('test', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=100, seed=3, backend='inline')
result = opt.run()
print('after', result.stopped, len(result), flush=True)
"""


def start_driver() -> subprocess.Popen[str]:
    Path('driver.py').write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, 'driver.py'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == 'slow\n'  # it waits in a trial
    return driver


def recorded() -> list[int]:
    return [
        record.trial
        for _, record in SQLite('test.db').read()
        if isinstance(record, Result) and record.state is TrialState.DONE
    ]


def test_a_killed_driver_loses_nothing_that_was_recorded() -> None:
    driver = start_driver()
    driver.kill()
    driver.communicate()
    before = recorded()
    assert len(before) >= 1
    result = Shadho(
        'test', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, max_tasks=100, backend='inline', display=False
    ).run()
    assert len(result) == 100
    assert recorded()[: len(before)] == before
    assert sorted(recorded()) == list(range(100))


def test_ctrl_c_ends_the_search_with_its_summary_and_the_script_goes_on() -> None:
    driver = start_driver()
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate()
    assert driver.returncode == 0
    assert out == f'after interrupted {len(recorded())}\n'
    assert 'stopped: interrupted' in err
    assert 'Traceback' not in err
    states = [record.state for _, record in SQLite('test.db').read() if isinstance(record, Result)]
    assert states[-1] is TrialState.CANCELLED


def test_sigterm_ends_the_process_after_the_state_is_saved() -> None:
    driver = start_driver()
    driver.send_signal(signal.SIGTERM)
    out, err = driver.communicate()
    assert driver.returncode == 128 + signal.SIGTERM
    assert out == ''
    assert 'stopped: terminated' in err
    assert len(recorded()) >= 1
