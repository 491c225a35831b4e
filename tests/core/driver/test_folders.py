"""The folders of trials: their bound, what becomes of trials that lose theirs, and what a driver that was killed has left."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from shadho import SearchResult, Shadho, load_result, spaces
from shadho.checks import check_size
from shadho.errors import ConfigurationError
from shadho.execution import folders as folders_module
from shadho.execution.folders import Folders, folders_in, size_of
from shadho.ledger import Ledger
from shadho.records import Attempt, FolderRemoved, Report, Result, Trial, TrialState
from shadho.storage.sqlite import SQLite

SIZE = 1000
"""Bytes of a checkpoint."""


def objective(params: Any, trial: Any) -> None:
    """Go on from the folder, which is empty at first, and holds every step once."""
    file = trial.folder / 'done.json'
    assert file.exists() == (trial.step > 0)
    done = json.loads(file.read_text()) if trial.step else []
    assert done == list(range(1, trial.step + 1))
    for step in trial.steps():
        done.append(step)
        trial.report(loss=params['x'] + 1 / step)
    if trial.is_paused:
        file.write_text(json.dumps(done).ljust(SIZE))


def make(function: Any = objective, **options: Any) -> Shadho:
    given = {
        'max_tasks': 60, 'max_steps': 9, 'fidelity': 'asha', 'seed': 1, 'backend': 'inline', 'display': False, 'folders': 5 * SIZE,
        **options,
    }  # fmt: skip
    return Shadho('bound', function, {'x': spaces.uniform(0, 1)}, 'random', **given)


def events() -> list[Any]:
    return [event for _, event in SQLite('bound.db').read()]


def removed() -> list[int]:
    return [event.trial for event in events() if isinstance(event, FolderRemoved)]


def kept() -> set[int]:
    return {number for number, _ in folders_in(Path('bound-folders'))}


def paused(result: SearchResult) -> set[int]:
    return {trial.id for trial in result if trial.state is TrialState.PAUSED}


def test_the_folders_of_paused_trials_stay_within_the_bound_and_the_worst_go_first() -> None:
    result = make().run()
    assert not any(trial.error for trial in result)
    assert result.best is not None
    assert len(removed()) > 20
    ledger, resting = Ledger(), dict[int, Trial]()
    for event in events():
        ended = ledger.apply(event)
        if isinstance(event, Attempt):
            resting.pop(event.trial, None)
        elif isinstance(event, Result) and ended is not None and ended.state is TrialState.PAUSED:
            resting[ended.id] = ended
            assert len(resting) <= 6
        elif isinstance(event, FolderRemoved):
            assert event.trial == max(resting.values(), key=lambda trial: (*ledger.goal.rank(trial), trial.id)).id
            del resting[event.trial]
    assert kept() == resting.keys() | {result.best.id}
    assert len(resting) == 5


def test_a_trial_without_its_folder_begins_again_at_its_first_step_after_all_others() -> None:
    result = make(max_tasks=200, folders=0).run()
    assert not any(trial.error for trial in result)
    ledger, began_again = Ledger(), set[int]()
    for event in events():
        without = set(ledger.without_folder)
        trial = ledger.apply(event)
        if isinstance(event, Attempt) and event.trial in without:
            assert trial is not None
            assert trial.step == 0
            began_again.add(event.trial)
    assert began_again
    curves = result.reports()
    assert all([report.step for report in curves[number]][:3] == [1, 2, 3] for number in began_again)
    assert sum(trial.state is TrialState.DONE for trial in result) > 0


def test_the_folder_of_the_best_trial_is_never_removed() -> None:
    for limit in (3, 4, 10, 30):
        result = make(max_tasks=limit, folders=0).run()
        assert result.best is not None
        assert kept() == {result.best.id}


@pytest.mark.parametrize('folders', ['5 kB', 0])
def test_a_bounded_search_that_is_cut_off_goes_on_as_if_it_had_not_been(folders: Any) -> None:
    whole = make(storage=None, max_tasks=40, folders=folders).run()
    for limit in range(1, 41):
        pieces = make(max_tasks=limit, folders=folders).run()
    assert [(trial.id, trial.step, trial.loss) for trial in pieces.leaders] == [
        (trial.id, trial.step, trial.loss) for trial in whole.leaders
    ]


def test_the_run_says_once_that_folders_are_removed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, 'shadho'):
        make().run()
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        'the folders of paused trials take more than 5.0 kB: those of the worst trials are removed'
    )


def test_a_smaller_bound_holds_from_the_begin_of_a_run() -> None:
    first = make(folders=None).run()
    assert kept() >= paused(first)
    assert not removed()
    make(folders=2 * SIZE, max_tasks=60).run()
    assert len(removed()) == len(paused(first)) - 2


def test_a_folder_is_measured_once_when_its_trial_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    monkeypatch.setattr(folders_module, 'size_of', lambda path: measured.append(path) or size_of(path))
    make().run()
    assert len(measured) == sum(isinstance(event, Result) and event.state is TrialState.PAUSED for event in events())


def test_without_a_bound_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(folders_module, 'size_of')
    make(folders=None).run()


def test_a_trial_that_never_had_a_folder_goes_on_where_it_was_paused() -> None:
    def again(params: Any, trial: Any) -> None:
        for step in trial.steps(start=0):
            if step > trial.step:
                trial.report(loss=params['x'] + 1 / step)

    result = make(again, folders=0, keep_folders=False).run()
    assert not removed()
    assert not Path('bound-folders').exists()
    assert not any(trial.error for trial in result)


def test_only_the_best_folder_is_kept_at_the_end_where_no_other_is_to_be() -> None:
    first = make(folders=None, keep_folders=False).run()
    assert first.best is not None
    assert kept() == {first.best.id}
    assert set(removed()) == paused(first) - kept()
    second = make(folders=None, keep_folders=False, max_tasks=150).run()
    assert not any(trial.error for trial in second)


def test_the_next_run_removes_what_a_killed_one_has_left() -> None:
    result = make().run()
    before = kept()
    ended = next(trial.id for trial in result if trial.state is TrialState.DONE and trial != result.best)
    for number in (ended, removed()[0]):
        (Path('bound-folders') / str(number)).mkdir()
    make(max_tasks=60).run()
    assert kept() == before


def test_a_new_search_takes_no_folder_of_an_earlier_one_for_its_own(caplog: pytest.LogCaptureFixture) -> None:
    make(folders=None).run()
    before = kept()
    Path('bound.db').unlink()
    result = make(folders=None).run()
    assert not any(trial.error for trial in result)
    assert {number for number, _ in folders_in(Path('bound-folders-1'))} == before
    assert 'bound-folders holds folders of an earlier search, whose storage is gone' in caplog.text


def test_the_best_paused_trial_keeps_its_folder_while_others_go(tmp_path: Path) -> None:
    ledger = Ledger()
    folders = Folders(tmp_path, ledger, None, most=2 * SIZE)
    trials = [Trial(number, 0, (), {}, state=TrialState.PAUSED, loss=1.0 - number, step=1) for number in range(4)]
    for trial in trials:
        folders.path(trial.id).mkdir()
        (folders.path(trial.id) / 'checkpoint').write_bytes(bytes(SIZE))
        folders.rest(trial)
    assert folders.make_room(best=trials[0]) == [1, 2]
    folders.resume(3)  # it runs: its folder does not count
    folders.rest(trials[3])
    assert not folders.exceed
    assert {number for number, _ in folders_in(tmp_path)} == {0, 1, 2, 3}  # until the log says that they are gone
    folders.remove()
    assert {number for number, _ in folders_in(tmp_path)} == {0, 3}


def test_the_log_says_how_long_it_took_to_save_and_to_load() -> None:
    result = make(folders=None).run()
    first, later = [], []
    ledger = Ledger()
    for event in events():
        trial = ledger.apply(event)
        if isinstance(event, Result):
            assert trial is not None
            (later if trial.attempt else first).append(event)
    assert {frozenset(own.timing) for own in first} == {frozenset({'setup'}), frozenset({'setup', 'save'})}
    assert {frozenset(own.timing) for own in later} == {frozenset({'load'}), frozenset({'load', 'save'})}
    assert all(('save' in own.timing) == (own.state is TrialState.PAUSED) for own in [*first, *later])
    assert all(0 <= seconds < own.seconds for own in [*first, *later] for seconds in own.timing.values())
    assert {part: count for part, (count, _) in ledger.timings.items()} == {
        'setup': len(result), 'load': len(later), 'save': sum(own.state is TrialState.PAUSED for own in [*first, *later])
    }  # fmt: skip


@pytest.mark.parametrize('timing', [{'save': -1.0}, {'save': float('nan')}, {'nap': 1.0}, {'save': '1'}, [1.0], None])
def test_seconds_that_a_trial_has_made_up_are_an_invalid_result(timing: Any) -> None:
    outcome = {'state': 'done', 'loss': 1.0, 'results': {}, 'error': None, 'timing': timing}
    result = Result.of(0, outcome)
    assert result.error is not None
    assert (result.state, result.error.kind, result.timing) == (TrialState.FAILED, 'result', {})
    assert 'timing is ' in result.error.message


def test_a_search_may_be_read_while_trials_begin_again() -> None:
    result = make(folders=0, max_tasks=100).run()
    read = load_result('bound.db')
    assert list(read) == list(result)
    assert read.best == result.best
    reports = [event for event in events() if isinstance(event, Report)]
    assert len(reports) > sum(len(curve) for curve in result.reports().values())


@pytest.mark.parametrize('size', ['10', 'much', '-1 GB', -1, 1.5, True, '1 EB', '1 iB', 'GB'])
def test_a_bound_that_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(ConfigurationError, match="folders must be a size, such as '10 GB'"):
        make(folders=size)


@pytest.mark.parametrize(
    ('size', 'count'), [('10 GB', 10**10), ('500MB', 5 * 10**8), ('0.5 kb', 500), ('2 GiB', 2**31), ('7 B', 7)]
)
def test_a_size_has_a_unit(size: str, count: int) -> None:
    assert check_size('folders', size) == count
