"""Shadho: configuration and running, in this process."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shadho import ComputeClass, Shadho, Trial, TrialState, hookimpl, spaces
from shadho.backends import Backend, Job, Simulated
from shadho.backends.inline import Inline
from shadho.errors import BackendError, ConfigurationError
from shadho.records import Result, RunEnded
from shadho.scheduling.fcfs import FirstComeFirstServed
from shadho.storage.memory import Memory

X = {'x': spaces.uniform(-1, 1)}


def square(params: dict[str, float]) -> float:
    return params['x'] ** 2


def search(objective: Any = square, space: Any = X, **options: Any) -> Shadho:
    return Shadho(
        'test',
        objective,
        space,
        **{'backend': 'inline', 'storage': None, 'seed': 0, 'max_tasks': 20, 'display': False, **options},
    )


def test_a_function_is_minimised() -> None:
    result = search(max_tasks=200).run()
    assert len(result) == len(list(result)) == 200
    assert result.best.loss == min(trial.loss for trial in result) < 0.001
    assert result.best.params['x'] ** 2 == result.best.loss
    assert result.stopped == 'max_tasks'


def test_the_slides_first_example_works_word_for_word() -> None:
    import numpy as np

    def objective(params: dict[str, float]) -> float:
        x = params['x']
        y = params['y']
        return np.sin(x) * np.cos(y)

    search_space = {
        'x': spaces.uniform(0, 2 * math.pi),
        'y': spaces.exhaustive(np.linspace(0, 2 * math.pi, 1000).tolist()),
    }
    opt = Shadho('convex-tutorial', objective, search_space, method='random', timeout=0.3)
    opt.run()
    assert Path('convex-tutorial.db').exists()


def test_the_constructor_leaves_no_trace() -> None:
    before = set(threading.enumerate())
    Shadho('test', square, X, max_tasks=1)
    assert list(Path().iterdir()) == []
    assert set(threading.enumerate()) == before


def test_a_timeout_ends_the_run() -> None:
    result = search(max_tasks=None, timeout=0.1).run()
    assert result.stopped == 'timeout'
    assert result.elapsed >= 0.1
    assert len(result) > 0


def test_a_space_of_grids_needs_no_limit() -> None:
    result = search(lambda params: params['a'], {'a': spaces.grid([3, 1, 2])}, max_tasks=None).run()
    assert (result.stopped, len(result), result.best.params) == ('finished', 3, {'a': 1})


@pytest.mark.parametrize(
    'space', [X, {'exclusive': True, 'few': spaces.randint(0, 3), 'many': X}, {'a': spaces.grid([1, 2]), **X}]
)
def test_a_search_that_would_never_end_is_refused(space: Any) -> None:
    with pytest.raises(
        ConfigurationError, match='would never end: give timeout=<seconds>, max_tasks=<trials>, or both'
    ):
        search(space=space, max_tasks=None)


def test_every_kind_of_failure_is_recorded_and_stops_nothing() -> None:
    def objective(params: dict[str, str]) -> Any:
        kind = params['kind']
        if kind == 'raise':
            raise ValueError('no')
        if kind == 'exit':
            raise SystemExit(3)
        return {'none': None, 'text': 'abc', 'dict': {'accuracy': 1}, 'nan': math.nan, 'inf': math.inf, 'int': 3}[kind]

    kinds = ['raise', 'exit', 'none', 'text', 'dict', 'nan', 'inf', 'int']
    result = search(objective, {'kind': spaces.grid(kinds)}, max_tasks=None).run()
    outcomes = {trial.params['kind']: trial for trial in result}
    assert len(result) == len(outcomes) == 8
    assert result.best.loss == 3
    assert outcomes['inf'].loss == math.inf
    assert {kind: trial.error.kind for kind, trial in outcomes.items() if trial.error} == {
        'raise': 'exception', 'exit': 'exception', 'none': 'result', 'text': 'result', 'dict': 'result', 'nan': 'result',
    }  # fmt: skip
    assert "raise ValueError('no')" in outcomes['raise'].error.traceback
    assert outcomes['raise'].loss is None
    assert outcomes['dict'].results == {'accuracy': 1}
    assert 'failures:\n    1 x ' in result.summary()


def test_max_tasks_counts_the_whole_search_not_each_tree() -> None:
    space = {'exclusive': True, **{name: {'x': spaces.uniform(0, 1)} for name in 'abcd'}}
    result = search(lambda params: next(iter(params.values()))['x'], space).run()
    assert len(result) == 20
    assert len(result.history.trees) == 4


def test_what_an_objective_does_to_its_parameters_stays_with_it() -> None:
    def objective(params: dict[str, Any]) -> float:
        params['layers'].append('more')
        return float(params.pop('x'))

    result = search(objective, {'x': spaces.uniform(0, 1), 'layers': spaces.repeat([1, 2], 2)}, storage=Memory()).run()
    assert all(trial.params['x'] == trial.loss and 'more' not in trial.params['layers'] for trial in result)
    assert 'x' in result.best.params


def test_maximising_another_key_than_loss() -> None:
    result = search(
        lambda params: {'accuracy': 1 - params['x'] ** 2}, direction='maximize', loss_key='accuracy', max_tasks=100
    ).run()
    assert result.best.loss == max(trial.loss for trial in result) == result.best.results['accuracy'] > 0.99


@pytest.mark.parametrize(
    'options, name',
    [
        ({'loss_key': 'accuracy', 'direction': 'maximize'}, 'accuracy'),
        ({'loss_key': 'error'}, 'error'),
        ({'direction': 'maximize'}, 'score'),
        ({}, 'loss'),
    ],
)
def test_what_is_optimised_is_called_by_its_key_and_never_a_loss_where_it_is_maximised(
    options: dict[str, str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = options.get('loss_key', 'loss')
    space = {'x': spaces.grid([0.25, 0.25, 0.25])}
    result = search(lambda params: {key: params['x']}, space, max_tasks=3, repeats=3, display=None, **options).run()
    summary = result.summary()
    assert f'\nbest {name} 0.25, trial 0 (all)\n' in summary
    assert f'  best {name}   mean seconds' in summary
    assert repr(result).endswith(f'best {name} 0.25>')
    assert ('loss' in summary + capsys.readouterr().err) == (name == 'loss')


def test_losses_are_shown_to_six_digits_everywhere_and_one_trial_is_not_trials() -> None:
    result = search(lambda params: -0.999998, {'x': spaces.grid([0])}, max_tasks=1).run()
    head, best, _, _, row, *_ = result.summary().splitlines()
    assert head.startswith('test: 1 trial in ')
    assert best == 'best loss -0.999998, trial 0 (all)'
    assert row.split()[:4] == ['all', '1', '0', '-0.999998']
    assert repr(result) == "<SearchResult of 'test': 1 trial, best loss -0.999998>"


def test_the_table_of_trees_leaves_room_for_long_losses() -> None:
    result = search(lambda params: -0.0000383486, {'x': spaces.grid([0])}, max_tasks=1).run()
    _, _, _, head, row, *_ = result.summary().splitlines()
    assert '-3.83486e-05 ' in row
    assert head.index('mean seconds') + len('mean seconds') == len(row)


@pytest.mark.parametrize('direction', ['minimize', 'maximize'])
def test_the_top_are_the_best_trials_however_many_are_wanted(direction: str) -> None:
    def objective(params: dict[str, float]) -> float:
        if params['x'] > 0.9:
            raise ValueError('no')
        return round(params['x'], 1)

    result = search(objective, max_tasks=100, storage='test.db', method='random', direction=direction).run()
    ranked = sorted(
        (trial for trial in result if trial.error is None), key=lambda trial: trial.loss * (1 if direction == 'minimize' else -1)
    )  # fmt: skip
    for n in (0, 1, 30, 31, 1000):
        assert [trial.id for trial in result.top(n)] == [trial.id for trial in ranked][:n]
    assert [trial.params for trial in result.top(40)] == [trial.params for trial in ranked[:40]]


def test_the_top_of_less_than_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match='n must be an integer of 0 or more; got -1'):
        search().run().top(-1)


def test_notebooks_show_tables_of_results_and_trials_in_which_nothing_is_markup() -> None:
    evil = '<script>alert(1)</script>'

    def objective(params: dict[str, Any]) -> dict[str, float]:
        if params['n'] == 2:
            raise ValueError(evil)
        return {evil: params['n']}

    space = {evil: [evil], 'n': spaces.grid([1, 2, 3])}
    result = search(objective, space, max_tasks=3, loss_key=evil, method='grid').run()
    pages = [result._repr_html_(), *(trial._repr_html_() for trial in result)]
    assert all('&lt;script&gt;' in page and '<script' not in page for page in pages)
    assert pages[0].count('<tr>') == 1 + 2
    assert '<td>n</td><td>1</td>' in pages[1]
    assert 'exception: ValueError' in pages[2]


def test_a_result_without_trials_that_are_done_has_no_table() -> None:
    assert '<table>' not in search(lambda params: None, max_tasks=1).run()._repr_html_()


def test_objects_in_choices_reach_the_objective_and_come_back() -> None:
    functions = [math.sin, math.cos]
    for storage in (None, 'objects.db'):
        result = search(lambda params: params['f'](0.0), {'f': functions}, storage=storage).run()
        assert {trial.params['f'] for trial in result} == set(functions)


def test_results_hold_arrays_and_all_else_that_was_returned() -> None:
    import numpy as np

    def objective(params: dict[str, float]) -> dict[str, Any]:
        return {'loss': np.float32(0.5), 'matrix': np.eye(2, dtype=np.int8), 'note': 'fine', 'shape': (1, 2)}

    trial = next(iter(search(objective, max_tasks=1, storage='test.db').run()))
    assert trial.loss == 0.5
    assert (trial.results['note'], trial.results['shape'], trial.results['matrix'].dtype) == ('fine', (1, 2), np.int8)


def test_the_dataframe_has_a_row_for_each_trial_and_columns_of_nested_parameters() -> None:
    space = {'net': {'layers': spaces.repeat({'width': [8, 16]}, 2, split=False)}, 'x': spaces.uniform(0, 1)}
    frame = search(lambda params: {'loss': params['x'], 'accuracy': 0.5}, space).run().to_dataframe()
    assert len(frame) == 20
    assert {
        'trial',
        'loss',
        'params.net.layers[0].width',
        'params.net.layers[1].width',
        'params.x',
        'results.accuracy',
    } <= set(frame)


def test_the_summary_names_the_best_trial_every_tree_and_every_class() -> None:
    space = {'exclusive': True, 'small': {'x': spaces.uniform(0, 1)}, 'large': {'x': spaces.uniform(5, 6)}}
    text = search(lambda params: next(iter(params.values()))['x'], space).run().summary()
    assert text.startswith('test: 20 trials in ')
    assert '(20 done, 0 failed), stopped: max_tasks' in text
    (line,) = (line for line in text.splitlines() if 'small.x = ' in line)
    assert float(line.partition('small.x = ')[2]) < 0.1
    *_, head, small, large, _, own, bound = text.splitlines()
    assert bound.startswith('driver-bound: ')
    assert head.split() == ['tree', 'trials', 'failed', 'best', 'loss', 'mean', 'seconds']
    assert [line.split()[0] for line in (small, large)] == ['small', 'large']
    assert own.split()[:2] == ['inline', '1']


def test_a_storage_file_is_readable_by_anybody_with_sqlite() -> None:
    search(storage='test.db').run()
    rows = sqlite3.connect('test.db').execute('SELECT min(loss), count(*) FROM results WHERE state = "done"').fetchall()
    assert rows[0][1] == 20


@pytest.mark.parametrize(
    ('storage', 'left'),
    [(None, []), (':memory:', []), ('r.json', ['r.json']), ('s.db', ['s.db']), ('jsonl', ['test.jsonl'])],
)
def test_the_storage_is_chosen_by_name_or_ending(storage: str | None, left: list[str]) -> None:
    assert len(search(storage=storage).run()) == 20
    assert [path.name for path in Path().iterdir()] == left


class Flaky(Backend):
    """A backend of this test, two of whose attempts at trial 1 lose their worker."""

    name = 'flaky'

    def __init__(self, losses: int, state: TrialState = TrialState.LOST) -> None:
        self.losses = losses
        self.state = state
        self.waiting: list[Trial] = []

    @classmethod
    def affinity(cls, job: Job) -> int:
        return 0

    def open(self, job: Job) -> None:
        self.job = job

    def close(self) -> None:
        pass

    def discover(self) -> Sequence[ComputeClass]:
        return [ComputeClass('a', 2), ComputeClass('b', 1)]

    def start(self, trial: Trial) -> None:
        self.waiting.append(trial)

    def stop(self, trial: Trial) -> None:
        self.waiting.remove(trial)

    def poll(self, timeout: float | None) -> list[Result]:
        trial = self.waiting.pop()
        if trial.id == 1 and self.losses:
            self.losses -= 1
            return [Result(trial.id, self.state, started=self.now(), finished=self.now(), host='gone')]
        return [
            Result.of(
                trial.id, self.job.objective.evaluate(trial.params, trial.id), started=self.now(), finished=self.now()
            )
        ]


def test_a_lost_trial_runs_again_and_counts_once() -> None:
    storage = Memory()
    result = search(backend=Flaky(losses=2), storage=storage).run()
    assert sorted(trial.id for trial in result) == list(range(20))
    assert all(trial.state is TrialState.DONE for trial in result)
    lost = [record for _, record in storage.read() if getattr(record, 'state', None) is TrialState.LOST]
    assert len(lost) == 2


def test_a_trial_that_had_not_begun_when_its_worker_left_runs_again_and_was_no_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = Memory()
    result = search(backend=Flaky(losses=9, state=TrialState.CANCELLED), storage=storage, max_retries=0).run()
    assert sorted(trial.id for trial in result) == list(range(20))
    assert all(trial.state is TrialState.DONE for trial in result)
    assert 'lost its worker' not in caplog.text


def test_a_trial_that_is_lost_too_often_has_failed() -> None:
    result = search(backend=Flaky(losses=9), max_retries=2).run()
    failed = [trial for trial in result if trial.state is TrialState.FAILED]
    assert [(trial.id, trial.error.kind) for trial in failed] == [(1, 'lost')]
    assert len(result) == 20


def test_no_class_ever_runs_more_trials_than_it_has_slots() -> None:
    class Counting(Flaky):
        most = 0

        def start(self, trial: Trial) -> None:
            super().start(trial)
            in_b = sum(other.compute_class == 'b' for other in self.waiting)
            assert (len(self.waiting) - in_b <= 2) and in_b <= 1
            self.most = max(self.most, len(self.waiting))

    backend = Counting(losses=0)
    search(backend=backend).run()
    assert backend.most == 3


def test_trials_record_where_they_ran_and_what_they_asked_for() -> None:
    result = search(backend=Flaky(losses=0)).run()
    assert {trial.compute_class for trial in result} == {'a', 'b'}
    assert all(trial.resources == {'cores': 1} for trial in result)
    assert all(0 <= trial.started <= trial.finished <= result.elapsed for trial in result)


def test_an_observer_sees_every_trial_after_it_was_recorded() -> None:
    class Observer:
        def __init__(self) -> None:
            self.seen: list[str] = []

        @hookimpl
        def shadho_search_started(self, search: Any) -> None:
            self.seen.append(f'started {search.exp_key} {search.method}')

        @hookimpl
        def shadho_trial_dispatched(self, trial: Trial) -> None:
            self.seen.append(f'dispatched {trial.id}')

        @hookimpl
        def shadho_trial_finished(self, trial: Trial) -> None:
            rows = sqlite3.connect('test.db').execute('SELECT count(*) FROM results WHERE trial = ?', (trial.id,))
            self.seen.append(f'finished {trial.id}, rows {rows.fetchone()[0]}')

        @hookimpl
        def shadho_search_finished(self, result: Any) -> None:
            self.seen.append(f'ended {len(result)}')

    observer = Observer()
    search(storage='test.db', max_tasks=2, plugins=[observer]).run()
    assert observer.seen == [
        'started test auto (gp and tpe in turn; cmaes where a tree has 300 trials)', 'dispatched 0', 'finished 0, rows 1', 'dispatched 1', 'finished 1, rows 1', 'ended 2',
    ]  # fmt: skip


def test_a_plugin_can_end_the_search() -> None:
    class Enough:
        @hookimpl
        def shadho_should_stop(self, trial: Trial) -> bool:
            return trial.id == 4

    result = search(plugins=[Enough()]).run()
    assert (result.stopped, len(result)) == ('plugin', 5)


def test_what_was_never_submitted_is_not_cancelled_at_the_backend() -> None:
    class Enough:
        @hookimpl
        def shadho_should_stop(self, trial: Trial) -> bool:
            return True

    storage = Memory()
    result = search(backend=Flaky(losses=0), plugins=[Enough()], storage=storage).run()  # it refuses to cancel others
    assert (result.stopped, len(result)) == ('plugin', 1)
    cancelled = [record.trial for _, record in storage.read() if getattr(record, 'state', None) is TrialState.CANCELLED]
    assert len(cancelled) == 3
    assert len(search(storage=storage).run()) == 20


def test_an_undivided_class_that_nothing_can_serve_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    opt = search()
    opt.add_compute_class('huge', 'cores', 4096, max_tasks=20)
    with caplog.at_level(logging.WARNING, 'shadho'):
        assert len(opt.run()) == 20
    assert "no connected worker can serve the compute class 'huge' (cores >= 4096); connected: inline:" in caplog.text


def test_parameters_that_cannot_be_computed_are_a_failed_trial() -> None:
    z = spaces.choice([1, 2, 0, 4])
    space = {'z': z, 'y': spaces.dependent(z, callback=lambda value: 1 / value)}
    result = search(lambda params: params['y'], space, max_tasks=40, repeats=15, storage='test.db').run()
    trials = list(result)
    assert [trial.id for trial in trials] == list(range(40))
    failed = [trial for trial in trials if trial.error]
    assert 0 < len(failed) < 40
    assert {trial.error.message for trial in failed} == {
        'the callback of the dependent value at y raised ZeroDivisionError: division by zero; it was called with 0'
    }
    assert all(trial.params is None and trial.state is TrialState.FAILED for trial in failed)
    assert len(search(lambda params: params['y'], space, max_tasks=50, repeats=15, storage='test.db').run()) == 50


def test_an_error_is_raised_as_it_was_whatever_fails_after_it_and_the_end_is_recorded() -> None:
    class Broken(FirstComeFirstServed):
        """Fails with the first result."""

        def on(self, event: Any, trial: Any) -> None:
            if isinstance(event, Result):
                failed.append(event)
                raise RuntimeError('the first error')

    class Clumsy(Simulated):
        """Cannot stop what it runs."""

        def stop(self, trial: Trial) -> None:
            if failed:
                raise KeyError(trial.id)
            super().stop(trial)

    failed: list[Result] = []
    storage = Memory()
    backend = Clumsy([ComputeClass('a', 3)], lambda params, compute_class: 1.0 + params['x'])
    opt = Shadho(
        'broken', lambda params: 1.0, {'x': spaces.uniform(0, 1)}, policy=Broken, backend=backend, storage=storage, max_tasks=9, seed=0, display=False
    )  # fmt: skip
    with pytest.raises(RuntimeError, match='the first error'):
        opt.run()
    events = [event for _, event in storage.read()]
    assert [event.reason for event in events if isinstance(event, RunEnded)] == ['error']
    assert sorted(event.trial for event in events if isinstance(event, Result)) == [0, 1, 2]


def test_a_callback_that_always_raises_ends_at_the_limits_of_the_search() -> None:
    x = spaces.uniform(0, 1)
    space = {'x': x, 'y': spaces.dependent(x, callback=lambda value: 1 / 0)}
    assert [trial.state for trial in search(space=space, max_tasks=5).run()] == [TrialState.FAILED] * 5
    assert search(space=space, max_tasks=None, timeout=0.2).run().stopped == 'timeout'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'exp_key': 'a/b'}, 'exp_key must be a name'),
        ({'exp_key': ''}, 'exp_key must be a name'),
        ({'objective': ''}, 'the objective is an empty command'),
        ({'objective': 3}, 'must be a function of the parameters, or a shell command as a string; got 3'),
        ({'timeout': -1}, 'timeout must be a number of seconds greater than 0, or None; got -1'),
        ({'timeout': math.nan}, 'timeout must be a number'),
        ({'timeout': '30'}, "timeout must be a number of seconds greater than 0, or None; got '30'"),
        ({'max_tasks': 0}, 'max_tasks must be an integer of 1 or more, or None; got 0'),
        ({'max_tasks': 1.5}, 'max_tasks must be an integer'),
        ({'max_retries': -1}, 'max_retries must be an integer of 0 or more'),
        ({'trial_timeout': 0}, 'trial_timeout must be'),
        ({'backend': 'inlin'}, "backend='inlin': no such backend; did you mean 'inline'"),
        ({'method': 'tpee'}, "method='tpee': no such sampler"),
        ({'storage': 'results.csv'}, "storage='results.csv': no storage has this name or file ending"),
        ({'storage': 'x' * 300 + '.db'}, "storage: a part of 'xxxxxxxxxxxxxxxxxxxx'... is 303 bytes long"),
        ({'storage': '\ud800.db'}, 'no file can have this name, as it holds half a character'),
        ({'storage': 'folder\0/search.db'}, 'no file can have a null character in its name'),
        ({'durability': 'some'}, "durability must be 'normal' or 'full'"),
        ({'direction': 'up'}, 'direction must be'),
        ({'resources': {'tpus': 1}}, "unknown resource 'tpus'; known: cores, gpus, memory"),
        ({'resources': {'cores': 0}}, 'resources: cores must be an integer of 1 or more; got 0'),
        ({'resources': {'memory': '2GB'}}, "memory must be an integer of 0 or more; got '2GB'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(arguments: dict[str, Any], message: str) -> None:
    given = {'exp_key': 'test', 'objective': square, 'space': X, 'max_tasks': 1, 'storage': 'test.db', **arguments}
    with pytest.raises(ConfigurationError, match=message):
        Shadho(**given)
    assert list(Path().iterdir()) == []


def test_a_trial_timeout_needs_a_backend_that_can_end_a_trial() -> None:
    with pytest.raises(ConfigurationError, match="cannot end a trial after trial_timeout.*use backend='local'"):
        search(trial_timeout=1.0).run()


def test_max_tasks_per_child_needs_a_backend_that_starts_processes() -> None:
    with pytest.raises(ConfigurationError, match="cannot start new processes.*use backend='local'"):
        search(max_tasks_per_child=1).run()
    with pytest.raises(ConfigurationError, match='max_tasks_per_child must be an integer of 1 or more, or None; got 0'):
        search(max_tasks_per_child=0)


def test_a_search_within_a_trial_cannot_use_the_backend_that_runs_the_trial() -> None:
    backend = Inline()
    refused: list[str] = []

    def objective(params: dict[str, float]) -> float:
        try:
            search(backend=backend).run()
        except BackendError as error:
            refused.append(str(error))
        search(max_tasks=1).run()  # with a backend of its own
        return params['x']

    result = search(objective, backend=backend, max_tasks=3).run()
    assert [trial.loss for trial in result] == [trial.params['x'] for trial in result]
    assert ['runs another search already' in text for text in refused] == [True] * 3


def test_a_search_cannot_be_run_while_it_runs() -> None:
    def objective(params: dict[str, float]) -> float:
        opt.run()
        return params['x']

    opt = search(objective, max_tasks=1)
    (trial,) = opt.run()
    assert trial.error is not None
    assert "the search 'test' of this object runs already" in trial.error.message


def test_a_backend_serves_another_search_when_one_has_ended_in_whatever_way() -> None:
    backend = Inline()
    with pytest.raises(ConfigurationError):
        search(backend=backend, trial_timeout=1.0).run()
    for _ in range(2):
        assert len(search(backend=backend).run()) == 20


def test_declared_classes_are_checked() -> None:
    opt = search()
    opt.add_compute_class('a', 'cores', 2)
    for arguments, message in [
        (('a', 'cores', 4), "there is a class 'a' already"),
        (('b', 'cores', 0), 'cores must be a number above 0'),
        (('b', 'cores', 4, 0), 'max_tasks must be an integer of 1 or more'),
        (('', 'cores', 4), 'name must be a name'),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            opt.add_compute_class(*arguments)
