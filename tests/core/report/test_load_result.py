"""Results of searches, loaded from their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import shadho
from shadho import SearchResult, Shadho, spaces
from shadho.errors import StorageError
from shadho.records import Result, RunBegan

SPACE = {'x': spaces.uniform(-1, 1), 'of': [np.sin, np.cos]}


def searched(path: Path, **options: object) -> SearchResult:
    options = {'max_tasks': 10, 'seed': 0, 'backend': 'inline', 'display': False, **options}
    return Shadho('loaded', lambda params: params['x'] ** 2, SPACE, storage=path, **options).run()


@pytest.mark.parametrize('name', ['a.db', 'a.json'])
def test_a_loaded_result_says_what_the_run_returned(tmp_path: Path, name: str) -> None:
    ran = searched(tmp_path / name)
    loaded = shadho.load_result(tmp_path / name)
    columns = ['trial', 'state', 'loss', 'tree', 'label', 'compute_class', 'started', 'finished', 'seconds', 'params.x']
    assert loaded.to_dataframe()[columns].equals(ran.to_dataframe()[columns])
    assert (loaded.best.id, loaded.best.loss) == (ran.best.id, ran.best.loss)
    assert (loaded.stopped, loaded.seed, loaded.direction, loaded.exp_key) == ('max_tasks', 0, 'minimize', 'loaded')
    [own], [theirs] = loaded.classes, ran.classes
    assert (own.compute_class, own.utilisation) == (theirs.compute_class, theirs.utilisation)


@pytest.mark.parametrize('name', ['a.db', 'a.json'])
def test_the_seconds_of_a_trial_that_went_on_are_those_of_all_its_attempts(tmp_path: Path, name: str) -> None:
    def objective(params: dict[str, float], trial: shadho.TrialHandle) -> None:
        for step in trial.steps():
            trial.report(loss=params['x'] ** 2 + 1 / step)

    options = {'max_steps': 9, 'fidelity': 'asha', 'max_tasks': 20, 'seed': 0, 'backend': 'inline', 'display': False}
    ran = Shadho('loaded', objective, SPACE, storage=tmp_path / name, **options).run()
    taken: dict[int, float] = {}
    for _, event in ran.storage.read():
        if isinstance(event, Result):
            taken[event.trial] = taken.get(event.trial, 0.0) + event.seconds
    loaded = shadho.load_result(tmp_path / name)
    assert any(trial.attempt for trial in loaded)
    assert {trial.id: trial.seconds for trial in loaded} == taken
    assert {trial.id: trial.seconds for trial in loaded.trials(range(20))} == taken
    assert sorted(loaded.history.seconds()) == sorted(ran.history.seconds()) == sorted(taken.values())
    assert loaded.best.seconds == ran.best.seconds == taken[ran.best.id]


def test_what_json_has_no_form_for_is_loaded_as_a_text(tmp_path: Path) -> None:
    searched(tmp_path / 'a.db')
    found = {trial.params['of'] for trial in shadho.load_result(tmp_path / 'a.db')}
    assert found == {"<ufunc 'sin'> (ufunc)", "<ufunc 'cos'> (ufunc)"}


def test_a_search_that_runs_is_loaded_as_far_as_it_is(tmp_path: Path) -> None:
    seen = []

    class Looks:
        @shadho.hookimpl
        def shadho_trial_finished(self, trial: object) -> None:
            result = shadho.load_result(tmp_path / 'a.db')
            seen.append((len(result), result.stopped))

    searched(tmp_path / 'a.db', max_tasks=3, plugins=[Looks()])
    assert seen == [(1, 'running'), (2, 'running'), (3, 'running')]


def test_a_search_that_goes_on_has_not_stopped(tmp_path: Path) -> None:
    searched(tmp_path / 'a.db')
    storage = shadho.load_result(tmp_path / 'a.db').storage
    searched(tmp_path / 'a.db', max_tasks=12)
    assert storage.index().stopped == 'max_tasks'
    with storage:
        storage.append(RunBegan(storage.index().latest))  # a driver that is killed leaves no more
    assert shadho.load_result(tmp_path / 'a.db').stopped == 'killed'


def test_a_file_that_is_not_there_or_holds_no_search_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match='there is no file'):
        shadho.load_result(tmp_path / 'none.db')
    with pytest.raises(StorageError, match='there is no file'):
        shadho.load_result(tmp_path / ('x' * 5000))
    (tmp_path / 'empty.db').touch()
    with pytest.raises(StorageError):
        shadho.load_result(tmp_path / 'empty.db')
