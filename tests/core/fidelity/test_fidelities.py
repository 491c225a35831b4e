"""What each fidelity decides, and what a search makes of it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from shadho import Search, spaces
from shadho.errors import ConfigurationError, ShadhoError
from shadho.records import Result, TrialError, TrialState

SPACE = {'x': spaces.uniform(0, 1)}


def search_of(**options: Any) -> Search:
    return Search(SPACE, 'random', **{'seed': 1, 'max_steps': 9, 'fidelity': 'asha', **options})


def run(search: Search, loss: float, stride: int = 1) -> int:
    """Ask for a trial and report one loss every so many steps until it is to be left; return its id."""
    trial = search.ask()
    assert trial is not None
    step = trial.step + stride
    while search.report(trial, loss=loss, step=step):
        step += stride
    return trial.id


def test_a_trial_is_paused_at_a_rung_until_it_is_among_the_best() -> None:
    search = search_of()
    assert [run(search, loss) for loss in (0.3, 0.2)] == [0, 1]
    assert {trial.id: trial.step for trial in search.ledger.paused.values()} == {0: 1, 1: 1}
    # The third trial is the best of three, and goes on at once to the next rung.
    assert run(search, 0.1) == 2
    assert search.ledger.paused[2].step == 3
    assert run(search, 0.9) == 3
    # Five worse ones make room for the second best.
    assert [run(search, 0.9) for _ in range(2)] == [4, 5]
    trial = search.ask()
    assert trial is not None
    assert (trial.id, trial.step, trial.attempt, trial.until) == (1, 1, 1, 3)


def test_the_best_is_among_those_that_were_run_furthest() -> None:
    search = search_of()
    for loss in (0.5, 0.5, 0.4):
        run(search, loss)
    assert search.best is not None
    assert (search.best.id, search.best.step, search.best.state) == (2, 3, TrialState.PAUSED)
    run(search, 0.45)  # lower than others at its rung, but at an earlier step
    assert search.best.id == 2
    assert [trial.id for trial in search.leaders] == [2, 3, 0, 1]


def test_a_trial_that_ends_early_by_itself_is_done_and_may_be_the_best() -> None:
    search = search_of()
    for loss in (0.5, 0.5, 0.4):
        run(search, loss)
    trial = search.ask()
    assert trial is not None
    search.report(trial, loss=0.7)
    assert search.tell(trial.id, 0.6).state is TrialState.STOPPED  # it was paused: its last report counts
    trial = search.ask()
    assert trial is not None
    assert search.tell(trial, 0.6).state is TrialState.DONE
    assert search.best is not None
    assert (search.best.id, search.best.loss) == (trial.id, 0.6)


def test_after_its_last_step_a_trial_is_done_with_its_last_report() -> None:
    search = search_of(fidelity='full', max_steps=2)
    trial = search.ask()
    assert trial is not None
    assert search.report(trial, {'loss': 0.5}, step=1)
    assert not search.report(trial, {'loss': 0.4, 'accuracy': 0.9}, step=2)
    assert search.best is not None
    assert (search.best.state, search.best.loss, search.best.step) == (TrialState.DONE, 0.4, 2)
    assert search.best.results == {'loss': 0.4, 'accuracy': 0.9}


def test_a_complete_trial_may_be_told_more_results() -> None:
    search = search_of(fidelity='full', max_steps=1)
    trial = search.ask()
    assert trial is not None
    assert not search.report(trial, loss=0.5)
    told = search.tell(trial, {'loss': 0.5, 'size': 3})
    assert (told.state, told.results, told.step) == (TrialState.DONE, {'loss': 0.5, 'size': 3}, 1)
    assert search.best is not None
    assert search.best.results == told.results
    with pytest.raises(ShadhoError, match='trial 0 already has a result'):
        search.tell(trial, 0.5)


def test_trials_that_run_side_by_side_are_each_done_after_their_last_step() -> None:
    search = search_of(fidelity='full', max_steps=1)
    trials = [search.ask() for _ in range(3)]
    for number, trial in enumerate(trials):
        assert trial is not None
        assert not search.report(trial, loss=float(number))
    assert [trial.id for trial in search.leaders] == [0, 1, 2]
    assert not search.pending


def test_a_step_that_does_not_increase_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    search = search_of(fidelity='full')
    trial = search.ask()
    assert trial is not None
    assert search.report(trial, loss=0.5, step=3)
    assert search.report(trial, loss=0.1, step=3)
    assert 'trial 0: the report of step 3 comes after that of step 3, and is dropped' in caplog.text
    assert search.ledger.reports[0].results == {'loss': 0.5}


def test_a_paused_trial_takes_no_reports() -> None:
    search = search_of()
    run(search, 0.5)
    with pytest.raises(ShadhoError, match=r'trial 0 is paused, until ask\(\) returns it again'):
        search.report(0, loss=0.4)


def test_when_nothing_new_is_left_paused_trials_go_on_the_best_first() -> None:
    search = Search({'x': [1, 2, 3, 4]}, 'random', seed=1, max_steps=9, fidelity='asha')
    order = []
    while (trial := search.ask()) is not None:
        order.append(trial.id)
        step = trial.step + 1
        while search.report(trial, loss=float(trial.params['x']), step=step):
            step += 1
    assert search.finished
    assert search.history.states == Counter({TrialState.DONE: 4})
    assert search.best is not None
    assert search.best.params['x'] == 1
    assert set(order) == {0, 1, 2, 3}


def test_trials_that_report_at_unequal_steps_are_compared_at_the_rungs_that_they_have_passed() -> None:
    search = search_of(max_steps=27)
    for loss, stride in ((0.3, 1), (0.4, 2), (0.1, 5)):
        run(search, loss, stride)
    assert {trial.id: trial.step for trial in search.ledger.paused.values()} == {0: 1, 1: 2, 2: 5}
    assert search.fidelity.until(search.ledger.paused[2]) == 9  # its report of step 5 is that of rung 3, too
    for _ in range(3):
        run(search, 0.9)
    assert run(search, 0.3, 4) == 0
    assert search.ledger.paused[0].step == 5
    assert [table.succeeded for table in search.ledger.rungs.values()] == [6, 2, 0, 0]


def test_the_median_rule_compares_trials_that_report_at_unequal_steps() -> None:
    search = search_of(fidelity='median', max_steps=9, fidelity_options={'min_trials': 2})
    run(search, 0.1, 2)
    run(search, 0.2, 4)
    run(search, 0.3, 3)  # at step 3, the others had last reported step 2, and none
    run(search, 0.4, 5)
    run(search, 0.25, 9)
    states = {trial.id: (trial.state, trial.step) for trial in search.leaders}
    done = TrialState.DONE
    assert states == {
        0: (done, 10),
        1: (done, 12),
        2: (TrialState.STOPPED, 6),
        3: (TrialState.STOPPED, 5),
        4: (done, 9),
    }


def test_failed_trials_are_the_worst_rivals() -> None:
    search = search_of()
    run(search, 0.5)
    for _ in range(2):
        trial = search.ask()
        assert trial is not None
        search.tell(trial, math.nan)
    promoted = search.ask()
    assert promoted is not None
    assert (promoted.id, promoted.step) == (0, 1)


def test_hyperband_begins_at_several_rungs() -> None:
    search = search_of(fidelity='hyperband', max_steps=27)
    begun = Counter()
    for _ in range(200):
        trial = search.ask()
        assert trial is not None
        begun[trial.until] += trial.step == 0
        step = trial.step + 1
        while search.report(trial, loss=trial.params['x'], step=step):
            step += 1
    assert set(begun) == {1, 3, 9, 27}
    assert begun[1] > begun[3] > begun[9] > begun[27] > 0


def test_the_median_rule_stops_trials_that_are_worse_than_half_of_the_completed_ones() -> None:
    search = search_of(fidelity='median', max_steps=4)
    for loss in (0.1, 0.2, 0.3, 0.4, 0.5):
        run(search, loss)
    run(search, 0.6)
    run(search, 0.15)
    run(search, 0.25)
    states = {trial.id: (trial.state, trial.step) for trial in search.leaders}
    done, stopped = (TrialState.DONE, 4), (TrialState.STOPPED, 1)
    assert states == {**dict.fromkeys(range(5), done), 5: stopped, 6: done, 7: stopped}


@pytest.mark.parametrize(('max_steps', 'eta'), [(81, 3), (100, 3), (64, 2), (50, 4)])
def test_the_brackets_of_hyperband_have_the_steps_and_the_shares_of_the_paper(max_steps: int, eta: int) -> None:
    search = search_of(fidelity='hyperband', max_steps=max_steps, fidelity_options={'eta': eta})
    steps = list(search.fidelity.rungs)
    begun = Counter(search.fidelity.until(number) for number in range(10_000))
    assert list(begun) and sorted(step for step in begun if step) == steps
    expected = [eta**left / (left + 1) for left in reversed(range(len(steps)))]  # algorithm 1, lines 1 to 3, with R = 1
    for first, share in zip(steps, expected):
        assert begun[first] / 10_000 == pytest.approx(share / sum(expected), abs=1e-3)


@pytest.mark.parametrize('fidelity', ['asha', 'hyperband'])
def test_the_first_trials_are_not_run_to_their_end_without_rivals(fidelity: str) -> None:
    search = search_of(fidelity=fidelity, max_steps=27)
    for number in range(3):
        first = search.fidelity.until(number)
        assert run(search, 0.5) == number
        assert first == 27 or search.ledger.paused[number].step == first


def test_the_median_rule_stops_nobody_until_enough_trials_are_complete() -> None:
    search = search_of(fidelity='median', max_steps=4)
    for number in range(5):
        assert run(search, 0.1 + number) == number
    assert {trial.state for trial in search.leaders} == {TrialState.DONE}


@pytest.mark.parametrize('fidelity', ['asha', 'hyperband', 'median'])
def test_a_fidelity_that_judges_needs_max_steps(fidelity: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"fidelity='{fidelity}' ends trials on the way, so it needs max_steps"
    ):
        Search(SPACE, fidelity=fidelity)


def test_an_unknown_fidelity_or_option_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="fidelity='asah': no such fidelity; did you mean 'asha'"):
        search_of(fidelity='asah')
    with pytest.raises(ConfigurationError, match="fidelity='asha' has no option 'factor'"):
        search_of(fidelity_options={'factor': 3})
    with pytest.raises(ConfigurationError, match='max_steps must be'):
        search_of(max_steps=0)


@pytest.mark.parametrize('fidelity', ['asha', 'median'])
def test_trials_are_compared_within_their_tree(fidelity: str) -> None:
    x = spaces.uniform(0, 1)
    space = {'exclusive': True, 'quick': {'x': x}, 'slow': {'x': x}}  # slow ones begin worse, and end better
    search = Search(space, 'random', seed=1, max_steps=9, fidelity=fidelity)
    for _ in range(150):
        trial = search.ask()
        assert trial is not None
        step = trial.step + 1
        while search.report(
            trial, loss=1 / step if 'slow' in trial.params else 0.3 + trial.params['quick']['x'] / 10, step=step
        ):
            step += 1
    assert search.best is not None
    assert 'slow' in search.best.params


def test_a_paused_leader_that_fails_later_leads_no_longer() -> None:
    search = search_of()
    assert [run(search, loss) for loss in (0.3, 0.2, 0.1, 0.9, 0.9, 0.9)] == [0, 1, 2, 3, 4, 5]
    trial = search.ask()
    assert trial is not None
    assert (trial.id, trial.attempt) == (1, 1)
    assert 1 in [leader.id for leader in search.leaders]
    search.record(Result(1, TrialState.FAILED, error=TrialError('exception', 'raised'), attempt=1))
    assert [leader.id for leader in search.leaders] == [2, 0, 3, 4, 5]


@pytest.mark.parametrize('fidelity', ['asha', 'hyperband'])
def test_a_tree_with_fewer_settings_than_rivals_are_needed_brings_its_best_to_the_end(fidelity: str) -> None:
    space = {'exclusive': True, 'one': {'x': 0.5}, 'two': {'x': [0.25, 0.75]}, 'many': {'x': spaces.uniform(0, 1)}}
    search = Search(space, 'random', policy='fcfs', seed=1, max_steps=27, fidelity=fidelity)
    ended: Counter[str] = Counter()
    for _ in range(60):
        trial = search.ask()
        assert trial is not None
        [(name, params)] = trial.params.items()
        step = trial.step + 1
        while search.report(trial, loss=params['x'], step=step):
            step += 1
        ended[name] += step == 27
    assert ended['one'] == 1
    assert 1 <= ended['two'] <= 2
    if fidelity == 'asha':
        assert ended['two'] == 1
        assert {trial.params['two']['x'] for trial in search.ledger.paused.values() if 'two' in trial.params} == {0.75}
