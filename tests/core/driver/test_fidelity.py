"""A search whose trials report, pause, stop and go on: through storage, resume and readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shadho import ComputeClass, SearchResult, Shadho, load_result, plugins, spaces
from shadho.backends import Simulated
from shadho.backends.inline import Inline
from shadho.errors import ConfigurationError, StorageError
from shadho.interrupts import Interrupts
from shadho.records import Report, TrialState

SPACE = {'x': spaces.uniform(0, 1)}


def objective(params: Any, trial: Any) -> None:
    """Go on from the folder, of which every step is noted there once."""
    file = trial.folder / 'done.json'
    done = json.loads(file.read_text()) if trial.step else []
    assert done == list(range(1, trial.step + 1))
    for step in trial.steps():
        done.append(step)
        trial.report(loss=params['x'] + 1 / step, seed=trial.seed)
    if trial.is_paused:
        file.write_text(json.dumps(done))


def make(function: Any = objective, exp_key: str = 'rungs', **options: Any) -> Shadho:
    own = {
        'max_tasks': 30,
        'max_steps': 9,
        'fidelity': 'asha',
        'seed': 1,
        'backend': 'inline',
        'display': False,
        **options,
    }
    return Shadho(exp_key, function, SPACE, 'random', **own)


def folders() -> set[str]:
    return {path.name for path in Path('rungs-folders').iterdir()}


def states(result: SearchResult) -> dict[str, int]:
    return {str(state): count for state, count in result.history.states.items() if count}


def test_paused_trials_count_and_are_read_with_their_last_report() -> None:
    result = make().run()
    trials = list(result)
    assert len(result) == len(trials) == 30
    paused = [trial for trial in trials if trial.state is TrialState.PAUSED]
    done = [trial for trial in trials if trial.state is TrialState.DONE]
    assert {trial.step for trial in done} == {9}
    assert {trial.step for trial in paused} == {1, 3}
    assert all(trial.loss == pytest.approx(trial.params['x'] + 1 / trial.step) for trial in trials)
    assert result.best is not None
    assert result.best.id == min(done, key=lambda trial: trial.loss or 0.0).id
    read = load_result('rungs.db')
    assert list(read) == trials
    assert read.best == result.best
    assert [trial.id for trial in read.top(30)] == [trial.id for trial in result.top(30)]
    assert states(read) == states(result) == {'done': len(done), 'paused': len(paused)}
    assert f'({len(done)} done, 0 failed, {len(paused)} paused)' in result.summary()


@pytest.mark.parametrize('runs', [[30], [10, 20, 30, 60]])
def test_folders_of_paused_trials_stay_and_of_those_that_ended_the_best(runs: list[int]) -> None:
    for limit in runs:
        result = make(max_tasks=limit).run()
    assert result.best is not None
    paused = {str(trial.id) for trial in result if trial.state is TrialState.PAUSED}
    assert folders() == paused | {str(result.best.id)}


def test_a_larger_max_tasks_promotes_paused_trials_which_go_on_from_their_folders() -> None:
    first = make(max_tasks=5, seed=4).run()
    paused = {trial.id: trial.step for trial in first if trial.state is TrialState.PAUSED}
    second = make(max_tasks=90, seed=4).run()
    assert len(second) == 90
    assert not any(trial.error for trial in second)
    assert any(trial.id in paused and trial.step > paused[trial.id] for trial in second)


def test_a_search_that_is_cut_off_goes_on_as_if_it_had_not_been(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(storage=None).run()
    for limit in range(1, 31):
        pieces = make(max_tasks=limit).run()
    assert [(trial.id, trial.params) for trial in pieces.leaders] == [
        (trial.id, trial.params) for trial in whole.leaders
    ]


def test_a_lost_attempt_is_repeated_and_its_reports_count_once() -> None:
    cluster = Simulated(
        [ComputeClass('node', 2)], lambda params, own: 9.0, changes=[(0.5, 'node', 1), (2.5, 'node', 2)]
    )
    result = make(
        lambda params, trial: [trial.report(loss=params['x']) for _ in trial.steps()] and None, backend=cluster
    ).run()
    reports = [event for _, event in result.storage.read() if isinstance(event, Report)]
    assert {report.attempt for report in reports} > {0}
    for trial, curve in result.reports().items():
        assert [report.step for report in curve] == list(range(1, len(curve) + 1)), trial
    assert not any(trial.error for trial in result)


@pytest.mark.parametrize('slots', [1, 3])
def test_at_the_limit_of_trials_only_those_that_deserve_it_go_on_in_a_finite_space_too(slots: int) -> None:
    cluster = Simulated([ComputeClass('node', slots)], lambda params, own: 9.0)

    def function(params: Any, trial: Any) -> None:
        for _ in trial.steps():
            trial.report(loss=float(params['n']))

    result = Shadho(
        'rungs', function, {'n': [*range(9)]}, 'random', max_tasks=9, max_steps=9, fidelity='asha', seed=1,
        backend=cluster, display=False,
    ).run()  # fmt: skip
    assert len(result) == 9
    assert result.best is not None
    assert (result.best.step, result.best.loss) == (9, 0.0)
    assert sum(trial.step == 1 for trial in result) >= 4


@pytest.mark.parametrize('fidelity', ['asha', 'hyperband', 'median'])
def test_a_slow_trial_holds_up_no_other_slot(fidelity: str) -> None:
    """There is no barrier: while a trial lasts as long as the whole search, the other slots are never idle."""
    cluster = Simulated([ComputeClass('node', 4)], lambda params, own: 1e6 if params['x'] > 0.9 else 9.0)
    result = make(
        lambda params, trial: [trial.report(loss=params['x']) for _ in trial.steps()] and None,
        fidelity=fidelity, max_tasks=None, timeout=90, backend=cluster,
    ).run()  # fmt: skip
    assert result.best is not None
    assert result.best.step == 9
    [use] = result.classes
    assert use.assigned_seconds == pytest.approx(use.slot_seconds)


def test_a_slot_is_used_again_as_soon_as_its_trial_is_stopped() -> None:
    cluster = Simulated([ComputeClass('node', 2)], lambda params, own: 9.0)
    result = make(
        lambda params, trial: [trial.report(loss=params['x']) for _ in trial.steps()] and None,
        fidelity='median', max_tasks=None, timeout=180, backend=cluster,
    ).run()  # fmt: skip
    stopped = [trial for trial in result if trial.state is TrialState.STOPPED]
    begun = {trial.started for trial in result}
    assert len(stopped) > 5
    assert all(trial.finished in begun for trial in stopped if (trial.finished or 0.0) < 180 - 9)


def test_seeds_differ_between_trials_and_not_between_attempts() -> None:
    reports = make().run().reports()
    seeds = {trial: {report.results['seed'] for report in curve} for trial, curve in reports.items()}
    assert {len(own) for own in seeds.values()} == {1}
    assert len(set.union(*seeds.values())) == len(seeds)


def test_what_is_returned_counts_where_a_trial_ends_by_itself() -> None:
    def function(params: Any, trial: Any) -> float | None:
        for _ in trial.steps():
            trial.report(loss=2.0)
            if params['x'] < 0.5:
                return 1.0
        return None

    result = make(function, fidelity='full', max_tasks=20).run()
    early = [trial for trial in result if trial.params['x'] < 0.5]
    assert {(trial.state, trial.loss, trial.step) for trial in early} == {(TrialState.DONE, 1.0, 1)}
    assert result.best is not None
    assert result.best.loss == 1.0


@pytest.mark.parametrize('backend', ['inline', 'local'])
def test_odd_reports_have_clear_outcomes(backend: str) -> None:
    def function(params: Any, trial: Any) -> None:
        kind = trial.id % 4
        if kind == 0:  # never a number
            for _ in trial.steps():
                trial.report(loss=float('nan'))
        elif kind == 1:  # never reports
            return
        elif kind == 2:  # out of order, and of what no JSON holds
            trial.report(loss=1.0, step=2, what=object())
            trial.report(loss=0.5, step=1)
            trial.report(object())
        else:
            trial.report({'loss': 0.25}, step=9)

    one_slot = Inline() if backend == 'inline' else plugins.load().get('backend', backend)(workers=1)
    result = make(function, max_tasks=8, backend=one_slot).run()
    found = {trial.id % 4: trial for trial in result}
    assert (found[0].state, found[0].loss, found[0].step) == (TrialState.PAUSED, None, 1)
    assert found[1].error is not None
    assert 'the objective has neither reported nor returned a loss' in found[1].error.message
    assert (found[2].state, found[2].loss, found[2].step) == (TrialState.PAUSED, 1.0, 2)
    assert (found[3].state, found[3].loss, found[3].step) == (TrialState.DONE, 0.25, 9)


def test_a_function_of_one_argument_or_with_a_default_gets_no_handle() -> None:
    def function(params: Any, scale: float = 2.0) -> float:
        return float(scale * params['x'])

    result = make(function, fidelity='full', max_steps=None, max_tasks=3).run()
    assert {trial.state for trial in result} == {TrialState.DONE}
    assert not Path('rungs-folders').exists()


def test_a_fidelity_that_judges_needs_trials_that_can_report() -> None:
    with pytest.raises(
        ConfigurationError, match=r"fidelity='asha' judges trials by what they report.*def objective\(params, trial\)"
    ):
        make(lambda params: 1.0)


def test_what_judges_trials_is_recorded_with_them() -> None:
    result = make(max_tasks=3, fidelity='hyperband', fidelity_options={'eta': 2}).run()
    known = result.storage.metadata()
    assert {name: known[name] for name in ('fidelity', 'fidelity_options', 'max_steps', 'rungs')} == {
        'fidelity': 'hyperband', 'fidelity_options': {'eta': 2}, 'max_steps': 9, 'rungs': [1, 2, 4, 9],
    }  # fmt: skip


@pytest.mark.parametrize('options', [{'fidelity': 'median'}, {'max_steps': 27}, {'fidelity_options': {'eta': 2}}])
def test_a_search_that_was_judged_at_other_steps_is_refused(options: dict[str, Any]) -> None:
    make(max_tasks=3).run()
    with pytest.raises(StorageError, match='the recorded trials were judged at other steps'):
        make(max_tasks=4, **options).run()


def test_a_warm_start_takes_no_loss_of_an_early_step_for_a_final_one() -> None:
    make().run()
    later = make(
        exp_key='later',
        fidelity='full',
        max_steps=None,
        max_tasks=1,
        warm_start='rungs.db',
        function=lambda params: 1.0,
    )
    kept: list[Any] = []
    later._run(Interrupts(), kept.append)
    [search] = kept
    assert len(search.added) == sum(trial.state is TrialState.DONE for trial in load_result('rungs.db'))


def test_a_backend_without_folders_says_at_once_that_it_gives_no_handle() -> None:
    class Bare(Inline):
        name = 'bare'
        has_folders = False

    with pytest.raises(ConfigurationError, match="backend='bare' cannot run an objective that takes its trial"):
        make(backend=Bare())

    make('true', backend=Bare(), fidelity='full', max_steps=None)  # most commands report nothing
    with pytest.raises(ConfigurationError, match=r"backend='bare' cannot run .* or a command without max_steps"):
        make('true', backend=Bare())


SCRIPT = """
import json, shadho_worker
params = json.load(open('hyperparameters.json'))
trial = shadho_worker.trial()
for step in trial.steps():
    trial.report(loss=params['x'] + 1 / step)
"""


@pytest.mark.parametrize('backend', ['inline', 'local'])
def test_a_script_is_paused_and_promoted_as_a_function_is(backend: str) -> None:
    Path('script.py').write_text(SCRIPT)
    search = make('python3 script.py', max_tasks=9, backend=backend, storage=None)
    search.add_input_file('script.py')
    result = search.run()
    assert states(result).keys() == {'done', 'paused'}
    assert {trial.step for trial in result if trial.state is TrialState.PAUSED} <= {1, 3}
    assert all(trial.loss == pytest.approx(trial.params['x'] + 1 / trial.step) for trial in result)
    curves = result.reports()
    assert {trial.id: [report.step for report in curves[trial.id]] for trial in result} == {
        trial.id: list(range(1, trial.step + 1)) for trial in result
    }


def test_a_command_that_reports_nothing_is_run_to_its_end() -> None:
    result = make('echo 1 > result.json', max_tasks=3, storage=None).run()
    assert states(result) == {'done': 3}
