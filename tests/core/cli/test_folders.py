"""``shadho folders``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shadho import Shadho, load_result, spaces


def objective(params: Any, trial: Any) -> None:
    for step in trial.steps():
        trial.report(loss=params['x'] + 1 / step)
    if trial.is_paused:
        (trial.folder / 'checkpoint').write_bytes(bytes(1500))


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The file of a search with paused trials."""
    path = tmp_path / 'steps.db'
    Shadho(
        'steps', objective, {'x': spaces.uniform(0, 1)}, max_tasks=20, max_steps=9, fidelity='asha', seed=0, backend='inline',
        storage=path, display=False,
    ).run()  # fmt: skip
    return path


def test_folders_are_listed_with_the_trials_that_they_belong_to(shadho: Any, storage: Path) -> None:
    trials = {trial.id: trial for trial in load_result(storage)}
    kept = sorted(int(path.name) for path in storage.with_name('steps-folders').iterdir())
    told = json.loads(shadho('folders', storage, '--json').output)
    assert [own['trial'] for own in told] == kept
    for own in told:
        trial = trials[own['trial']]
        assert (own['state'], own['step'], own['loss']) == (trial.state.value, trial.step, trial.loss)
        assert (own['size'], own['path']) == (1500, str(storage.with_name('steps-folders') / str(trial.id)))
    lines = shadho('folders', storage).output.splitlines()
    assert lines[0].split() == ['trial', 'state', 'step', 'loss', 'size', 'path']
    assert lines[1].split()[:3] == [str(kept[0]), trials[kept[0]].state.value, str(trials[kept[0]].step)]
    assert '1.5 kB' in lines[1]
    assert lines[-1].startswith('their last attempts took on average ')
    assert lines[-1].endswith(' s to load')


def test_folders_are_copied_and_nothing_is_overwritten(shadho: Any, storage: Path, tmp_path: Path) -> None:
    kept = [own['trial'] for own in json.loads(shadho('folders', storage, '--json').output)]
    one, *_ = json.loads(shadho('folders', storage, '--copy', tmp_path / 'to', '--trial', kept[1], '--json').output)
    assert (one['trial'], one['path']) == (kept[1], str(tmp_path / 'to' / str(kept[1])))
    assert (tmp_path / 'to' / str(kept[1]) / 'checkpoint').stat().st_size == 1500
    answer = shadho('folders', storage, '--copy', tmp_path / 'to', '--trial', kept[1])
    assert answer.exit_code == 1
    assert 'exists already' in answer.output
    assert shadho('folders', storage, '--copy', tmp_path / 'all').exit_code == 0
    assert sorted(int(path.name) for path in (tmp_path / 'all').iterdir()) == kept


def test_a_trial_without_a_folder_is_named(shadho: Any, storage: Path) -> None:
    answer = shadho('folders', storage, '--trial', 999)
    assert answer.exit_code == 1
    assert 'trial 999 has no folder in' in answer.output


def test_a_search_without_folders_has_an_empty_list(shadho: Any, recorded: Path) -> None:
    assert json.loads(shadho('folders', recorded, '--json').output) == []
    assert shadho('folders', recorded).output.split() == ['trial', 'state', 'step', 'loss', 'size', 'path']


def test_a_folder_of_a_trial_that_waits_or_is_unknown_is_listed_as_such(shadho: Any, storage: Path) -> None:
    (storage.with_name('steps-folders') / '777').mkdir()
    told = json.loads(shadho('folders', storage, '--trial', 777, '--json').output)
    assert [(own['state'], own['step'], own['loss'], own['size']) for own in told] == [('unknown', None, None, 0)]
