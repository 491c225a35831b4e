"""Objectives that take their trial: reports, rungs, and folders that travel from worker to worker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shadho import SearchResult, Shadho, TrialState, load_result, spaces
from shadho.records import Report, Result
from shadho_worker.files import output_name
from shadho_workqueue.driver import backend
from shadho_workqueue.driver.engine import Engine

SPACE = {'x': spaces.uniform(0, 1)}


def make(function: Callable[..., Any], own: Any, exp_key: str = 'trials', **options: Any) -> Shadho:
    given = {'max_tasks': 8, 'max_steps': 9, 'fidelity': 'asha', 'seed': 1, 'display': False, **options}
    return Shadho(exp_key, function, SPACE, 'random', backend=own, **given)


def events(result: SearchResult) -> list[Any]:
    return [event for _, event in result.storage.read() if isinstance(event, (Report, Result))]


def folders(exp_key: str = 'trials') -> set[str]:
    return {path.name for path in Path(f'{exp_key}-folders').iterdir()}


def test_trials_go_on_from_large_folders_on_any_worker(staffed: Any) -> None:
    def objective(params: Any, trial: Any) -> None:
        import hashlib
        import os

        def digest(content: bytes) -> str:
            return hashlib.sha256(content).hexdigest()

        saved = trial.folder / 'deep ☃' / 'weights'
        if trial.step:
            assert {path.name for path in trial.folder.rglob('*')} == {'deep ☃', f'{trial.step}', 'weights'}
            (trial.folder / f'{trial.step}').unlink()
            content = saved.read_bytes()
        else:
            assert list(trial.folder.iterdir()) == []
            content = os.urandom(20 * 2**20)
            saved.parent.mkdir()
            saved.write_bytes(content)
        worker = os.environ['TMPDIR'].rpartition('/slot-')[0]
        for step in trial.steps():
            if not trial.report(loss=params['x'], content=digest(content), worker=worker):
                (trial.folder / f'{step}').touch()

    result = make(objective, staffed({'name': 'a', 'cores': 1}, {'name': 'b', 'cores': 1}), max_tasks=12).run()
    assert [trial.error for trial in result if trial.error] == []
    assert {trial.step for trial in result} == {1, 3, 9}
    for trial, curve in result.reports().items():
        assert len({report.results['content'] for report in curve}) == 1, trial
        times = [report.time for report in curve]
        assert times == sorted(times)
    assert len({report.results['worker'] for curve in result.reports().values() for report in curve}) == 2
    assert result.best is not None
    paused = {str(trial.id) for trial in result if trial.state is TrialState.PAUSED}
    assert folders() == paused | {str(result.best.id)}


def test_a_trial_whose_worker_vanishes_is_repeated_from_its_last_step_with_its_folder(
    staffed: Any, tmp_path: Path
) -> None:
    def objective(params: Any, trial: Any) -> None:
        import time

        import psutil

        file = trial.folder / 'done.json'
        done = json.loads(file.read_text()) if trial.step else []
        for step in trial.steps():
            done.append(step)
            file.write_text(json.dumps(done))
            if step == 2 and not (tmp_path / 'lost').exists():
                (tmp_path / 'lost').touch()
                psutil.Process().parent().kill()
                time.sleep(60.0)
            trial.report(loss=params['x'], done=done)

    result = make(objective, staffed({'name': 'a'}, {'name': 'b'})).run()
    assert [trial.error for trial in result if trial.error] == []
    assert all(trial.results['done'] == list(range(1, trial.step + 1)) for trial in result)
    (lost,) = [event for event in events(result) if isinstance(event, Result) and event.state is TrialState.LOST]
    again = [event for event in events(result) if event.trial == lost.trial and event.attempt == lost.attempt + 1]
    assert [event.step for event in again] == [2, 3, again[-1].step]


def test_reports_have_the_times_at_which_they_were_made_also_those_of_a_crash(staffed: Any) -> None:
    def objective(params: Any, trial: Any) -> None:
        import os
        import time

        for step in trial.steps():
            time.sleep(0.4)
            trial.report(loss=params['x'])
            if trial.id == 1 and step == 2:
                os._exit(3)

    result = make(objective, staffed({}), fidelity='full', max_steps=3, max_tasks=2).run()
    curve, crashed = result.reports()[0], result.reports()[1]
    (trial,) = (own for own in result if own.id == 0)
    assert [report.step for report in curve] == [1, 2, 3]
    assert [report.step for report in crashed] == [1, 2]
    assert trial.started is not None
    assert trial.finished is not None
    assert curve[-1].time - curve[0].time > 0.3
    assert trial.started <= curve[0].time < curve[-1].time <= trial.finished


def test_a_folder_that_cannot_be_packed_fails_its_trial_alone(staffed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = output_name(0)

    def objective(params: Any, trial: Any) -> None:
        (trial.folder / 'saved').touch()
        if trial.id == 1:
            (trial.folder.parent / in_the_way).mkdir()
        for _ in trial.steps():
            trial.report(loss=params['x'])

    def pack(folder: Path, archive: Path, root: Path) -> None:
        if folder.name == '2':
            raise OSError('no space left')
        pack_folder(folder, archive, root)

    pack_folder = backend.pack_folder
    monkeypatch.setattr(backend, 'pack_folder', pack)
    opt = make(objective, staffed({}), max_tasks=4, max_steps=2, fidelity_options={'eta': 2})
    trials = {trial.id: trial for trial in opt.run()}
    assert trials[1].error is not None
    assert trials[1].error.kind == 'result'
    assert trials[1].error.message.startswith('the folder of the trial could not be packed: ')
    assert 'the folder of the trial could not be packed: no space left' in {
        trial.error.message for trial in trials.values() if trial.error
    }
    assert TrialState.DONE in {trial.state for trial in trials.values()}


DRIVER = """
import json, time
from shadho import Shadho, spaces
from shadho_workqueue import WorkQueue

def objective(params, trial):
    file = trial.folder / 'done.json'
    done = json.loads(file.read_text()) if trial.step else []
    for step in trial.steps():
        time.sleep(0.05)
        done.append(step)
        trial.report(loss=params['x'], done=done)
    if trial.is_paused:
        file.with_name(f'{step}.json').write_text(json.dumps(done))
        file.write_text(json.dumps(done))

Shadho('cut', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=16, seed=1, max_steps=9, fidelity='asha',
       backend=WorkQueue(), display=False).run()
"""


def test_a_search_whose_driver_was_killed_goes_on_from_the_folders(
    crew: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    script = tmp_path / 'driver.py'
    script.write_text(DRIVER)
    crew.start('-M', 'cut', cores=2)
    with subprocess.Popen([sys.executable, str(script)]) as process:
        wait_until(lambda: len([*Path('cut-folders').glob('[0-9]*')]) > 6, 'the folders of some trials', 120)
        process.kill()
    before = {trial.id: trial.step for trial in load_result('cut.db')}
    assert len(before) < 16
    (Path('cut-folders') / '.incoming' / '1').mkdir(parents=True, exist_ok=True)  # as the engine may have left it
    with subprocess.Popen([sys.executable, str(script)]) as process:
        assert process.wait(120) == 0
    result = load_result('cut.db')
    assert len(result) == 16
    assert [trial.error for trial in result if trial.error] == []
    assert all(trial.results['done'] == list(range(1, trial.step + 1)) for trial in result)
    assert any(trial.step > before.get(trial.id, trial.step) > 0 for trial in result)
    assert '.incoming' not in folders('cut')


# --- workers that send what no trial has left ------------------------------------------------


def forge(outcome: dict[str, Any], trial: int) -> None:
    """Change what a worker sends of the first attempt at a trial."""
    if trial == 0:
        outcome['reports'] = [[1, {'loss': 1.0}, 0.0], None, [0, {}, 0.0], [2**70, {}, 0.0], ['2', {}, 0.0], [2, [], 0.0],
                              [2, {}, -1.0], [2, {}, float('nan')], [2, {}, None], [True, {}, 0.0], [2, {}], 7, [1, {}, 0.0],
                              [2, {'loss': {'$array': 5}}, 0.0], [3, {'loss': 3.0}, 1e9]]  # fmt: skip
    elif trial == 1:
        outcome['reports'] = {'1': 1}
        outcome['archives'] = [0, 7, 'x']
    elif trial == 2:
        outcome['state'] = 'stopped'
    elif trial == 3:
        outcome['step'] = 9
    elif trial == 4:
        outcome['step'] = 0


class ForgingEngine(Engine):
    """Changes the first result of each trial."""

    seen: ClassVar[set[int]] = set()

    def wait(self, timeout: float | None) -> Iterator[dict[str, Any]]:
        for message in super().wait(timeout):
            if message['say'] == 'done':
                outcome = json.loads(message['text'])
                if outcome['trial'] not in self.seen:
                    self.seen.add(outcome['trial'])
                    forge(outcome, outcome['trial'])
                message['text'] = json.dumps(outcome)
            yield message


def test_reports_and_ends_that_cannot_be_do_no_harm(staffed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def objective(params: Any, trial: Any) -> None:
        for step in trial.steps():
            trial.report(loss=params['x'] + step)

    monkeypatch.setattr(backend, 'Engine', ForgingEngine)
    result = make(objective, staffed({}), max_tasks=6).run()
    ends = {
        number: [
            (event.state, event.attempt)
            for event in events(result)
            if isinstance(event, Result) and event.trial == number
        ]
        for number in range(6)
    }
    curve = result.reports()[0]
    assert [report.step for report in curve][:3] == [1, 2, 3]
    assert curve[1].results['loss'] == "(cannot be read: TypeError: 'int' object is not subscriptable)"
    assert ends[0][0] == (TrialState.PAUSED, 0)
    assert ends[1][0] == (TrialState.FAILED, 0)
    for number in (2, 3, 4):
        assert ends[number][0] == (TrialState.LOST, 0)
        assert ends[number][1][0] in (TrialState.PAUSED, TrialState.DONE)
    assert {trial.state for trial in result if trial.id != 1} <= {TrialState.PAUSED, TrialState.DONE}
