"""Settings run in the classes in which they fit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shadho import ComputeClass, Search, SearchResult, Shadho, Trial, TrialState, spaces
from shadho.backends import Simulated
from shadho.forest import Forest
from shadho.records import Result, TrialError
from shadho.scheduling import Slot
from shadho.scheduling.effects import Effects
from shadho.scheduling.layout import Layout
from shadho.scheduling.memory import MemoryLimits
from shadho.scheduling.planner import Plan
from shadho.storage.memory import Memory

SPACE = {
    'width': spaces.loguniform(16, 1024),
    'batch': spaces.loguniform(8, 256),
    'kind': ['a', 'b', 'c'],
    'rate': spaces.loguniform(1e-4, 1e-1),
}
TREES = {
    'width': SPACE['width'],
    'batch': SPACE['batch'],
    'model': {'exclusive': True, **{f'model{number}': {'rate': SPACE['rate']} for number in range(5)}},
}
CLASSES = [ComputeClass('small', 6), ComputeClass('large', 4)]
FLAT = Forest(SPACE)

Fails = Callable[[Any], bool]


def size(params: Any) -> float:
    """Return the logarithm of width times batch, from 0 to 2."""
    return math.log(params['width'] / 16) / math.log(64) + math.log(params['batch'] / 8) / math.log(32)


SHAPES: dict[str, Fails] = {
    'number': lambda params: params['width'] > 256,
    'product': lambda params: size(params) > 1.18,
    'choice': lambda params: params['kind'] == 'c',
}


def by_chance(params: Any) -> bool:
    return bool(np.random.default_rng(int(1e6 * params['rate'])).random() < 0.3)


def simulated(
    fails: Fails, *, classes: Any = CLASSES, space: Any = SPACE, kind: str = 'memory', **options: Any
) -> SearchResult:
    """Return a search in which settings fail in the class 'small'."""

    def failures(params: Any, compute_class: ComputeClass) -> str | None:
        return kind if compute_class.name == 'small' and fails(params) else None

    options = {'method': 'random', 'seed': 0, 'max_tasks': 400, 'storage': None, **options}
    backend = Simulated(classes, lambda params, own: 10 + math.log(params['batch']), failures=failures)
    return Shadho('memory', lambda params: params['width'], space, backend=backend, display=False, **options).run()


def failed(result: SearchResult) -> Counter[str]:
    return Counter(trial.compute_class for trial in result if trial.error is not None)


def settings(result: SearchResult) -> list[Any]:
    return [trial.params for trial in sorted(result, key=lambda trial: trial.id)]


def share(result: SearchResult, name: str, has: Fails) -> float:
    """Return the share of a class's trials, after the first ones, that have something."""
    return float(np.mean([has(trial.params) for trial in result if trial.compute_class == name and trial.id >= 100]))


# --- whole searches ------------------------------------------------------------------------------


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('shape', SHAPES)
def test_few_trials_of_a_flat_space_run_out_of_memory(shape: str, seed: int) -> None:
    result = simulated(SHAPES[shape], seed=seed)
    assert failed(result)['small'] <= 12
    assert failed(simulated(SHAPES[shape], seed=seed, policy='fcfs'))['small'] > 60
    assert all(use.utilisation > 0.95 for use in result.classes)
    overall = np.mean([SHAPES[shape](params) for params in settings(result)])
    assert overall == pytest.approx(1 / 3, abs=0.09)  # the others have run in the large class


def test_settings_at_the_edge_run_where_they_fit() -> None:
    at_the_edge = np.mean([
        share(simulated(SHAPES['number'], seed=seed), 'small', lambda params: params['width'] > 128) for seed in range(4)
    ])  # fmt: skip
    assert at_the_edge == pytest.approx(1 / 4, abs=0.05)


@pytest.mark.parametrize('seed', range(3))
def test_trees_that_share_leaves_learn_from_each_other(seed: int) -> None:
    result = simulated(SHAPES['product'], space=TREES, seed=seed)
    assert failed(result)['small'] <= 14
    assert all(use.utilisation > 0.95 for use in result.classes)
    assert share(result, 'large', SHAPES['product']) > 0.5


def test_a_process_that_dies_for_lack_of_memory_is_learned_from_as_well() -> None:
    assert failed(simulated(SHAPES['number'], kind='crash'))['small'] <= 12


@pytest.mark.parametrize('kind', ['exception', 'result'])
def test_other_failures_hold_nothing_back(kind: str) -> None:
    blind, seen = (simulated(SHAPES['number'], kind=kind, policy=policy) for policy in ('fcfs', 'market'))
    assert settings(blind) == settings(seen)


@pytest.mark.parametrize('seed', range(3))
def test_failures_by_chance_hold_nothing_back(seed: int) -> None:
    result = simulated(by_chance, seed=seed, kind='crash')
    for has, expected in [(SHAPES['number'], 1 / 3), (SHAPES['choice'], 1 / 3), (SHAPES['product'], 1 / 3)]:
        assert share(result, 'small', has) == pytest.approx(expected, abs=0.1)


def test_where_all_settings_fail_the_tree_is_infeasible() -> None:
    result = simulated(lambda params: True)
    assert failed(result)['small'] == 6  # as many as began before the first one failed
    assert len(result) == 400


@pytest.mark.parametrize('method', ['random', 'tpe'])
def test_where_nothing_fails_the_sampler_has_its_way(method: str) -> None:
    blind, seen = (
        simulated(lambda params: False, policy=policy, method=method, max_tasks=150) for policy in ('fcfs', 'market')
    )
    assert settings(blind) == settings(seen)


def test_a_setting_that_fits_nowhere_is_begun_where_it_is_least_likely_to_fail() -> None:
    def failures(params: Any, compute_class: ComputeClass) -> str | None:
        limit = {'small': 128, 'large': 512}[compute_class.name]
        return 'memory' if params['width'] > limit else None

    backend = Simulated(CLASSES, lambda params, own: 10.0, failures=failures)
    result = Shadho(
        'memory', lambda params: params['width'], SPACE, 'random', backend=backend, seed=0, max_tasks=400, storage=None,
        display=False,
    ).run()  # fmt: skip
    assert len(result) == 400
    assert failed(result)['small'] <= 12
    hopeless = [trial for trial in result if trial.params['width'] > 512]
    assert len(hopeless) == pytest.approx(400 / 6, abs=25)
    assert {trial.compute_class for trial in hopeless if trial.id > 100} == {'large'}


def test_every_setting_of_a_finite_space_is_begun_and_few_of_them_where_they_do_not_fit() -> None:
    space = {'width': [16, 32, 64, 128, 256, 512], 'batch': [8, 16, 32, 64, 128], 'kind': ['a', 'b', 'c']}
    for method in ('random', 'grid'):
        result = simulated(SHAPES['number'], space=space, method=method)
        assert len({str(params) for params in settings(result)}) == 90 == len(result)
        assert failed(result)['small'] <= 10


@pytest.mark.parametrize('slow', [1, 8])
def test_quotas_are_met_where_what_does_not_fit_must_end_on_a_slow_slot(slow: int) -> None:
    backend = Simulated(
        [ComputeClass('small', 6), ComputeClass('large', 2)],
        lambda params, own: (10 + math.log(params['batch'])) * (slow if own.name == 'large' else 1),
        failures=lambda params, own: 'memory' if own.name == 'small' and SHAPES['number'](params) else None,
    )
    result = Shadho(
        'memory', lambda params: params['width'], TREES, 'random', backend=backend, seed=0, trials_per_tree=30, storage=None,
        display=False,
    ).run()  # fmt: skip
    assert len(result) == 150
    assert failed(result)['small'] <= 14


@pytest.mark.parametrize('method', ['tpe', 'cmaes', 'pso'])
def test_methods_that_learn_are_given_the_settings_that_fit(method: str) -> None:
    result = simulated(SHAPES['number'], method=method, max_tasks=200)
    assert failed(result)['small'] <= 10


def test_a_class_where_the_first_settings_did_not_fit_is_given_another_chance() -> None:
    search = Search(SPACE, 'random', seed=0)
    search.plan([ComputeClass('small', 1), ComputeClass('large', 1)], 0.0)
    for _ in range(3):
        fail(search, begin(search, 'small'))
    assert search.ask('small') is None
    for _ in range(120):
        succeed(search, begin(search, 'large'))
    assert search.ask('small') is not None


@pytest.mark.parametrize('method', ['random', 'tpe'])
def test_a_log_brings_back_what_is_held_back(method: str) -> None:
    storage = Memory()
    opt = Shadho(
        'memory', lambda params: params['width'], TREES, method, storage=storage, seed=0, max_tasks=150, display=False,
        backend=Simulated(
            CLASSES, lambda params, own: 10 + math.log(params['batch']), changes=[(100, 'small', 3), (130, 'large', 6)],
            failures=lambda params, own: 'memory' if own.name == 'small' and SHAPES['number'](params) else None,
        ),
    )  # fmt: skip
    opt.run()
    searches = [opt._new_search(0), opt._new_search(0)]
    for _, event in storage.read():
        for search in searches:
            search.apply(event)
        for name in ('small', 'large'):  # asking changes nothing
            searches[0].policy.choose(Slot(name), searches[0].ledger.time)
    choices = [[search.choose(Slot(name), search.ledger.time) for name in search.classes] for search in searches]
    assert choices[0] == choices[1]
    means = [search.policy._memory._limits['small'].mean for search in searches]
    assert means[0].tolist() == means[1].tolist()
    assert len(means[0]) > 1


# --- ask and tell --------------------------------------------------------------------------------


def begin(search: Search, name: str) -> Trial:
    trial = search.ask(name)
    assert trial is not None
    return trial


def fail(search: Search, trial: Trial) -> None:
    error = TrialError('memory', 'too large')
    search.record(Result(trial.id, TrialState.FAILED, error=error, attempt=trial.attempt))


def succeed(search: Search, trial: Trial) -> None:
    search.tell(trial, 1.0, seconds=1.0)


def told(space: Any = SPACE, count: int = 60) -> Search:
    """Return a search that knows the number beyond which settings do not fit in the class 'small'."""
    search = Search(space, 'random', seed=0)
    search.plan(CLASSES, 0.0)
    for number in range(count):
        own = CLASSES[number % 2].name
        trial = begin(search, own)
        (fail if own == 'small' and SHAPES['number'](trial.params) else succeed)(search, trial)
    return search


def test_settings_that_do_not_fit_wait_for_a_class_where_they_do() -> None:
    search = told()
    passed = [begin(search, 'small').params['width'] for _ in range(30)]
    waiting = [begin(search, 'large').params['width'] for _ in range(5)]
    assert max(passed) < 400
    assert sorted(waiting)[1] > 200


def test_a_tree_of_which_too_many_settings_wait_comes_first_where_they_fit() -> None:
    search = told(TREES, 150)
    assert not search.policy.context.crowded
    while not search.policy.context.crowded:
        begin(search, 'small')
    [crowded] = search.policy.context.crowded
    trial = begin(search, 'large')
    assert (trial.tree, SHAPES['number'](trial.params)) == (crowded, True)


@pytest.mark.parametrize(('width', 'fits'), [(0.1, True), (0.95, False)])
def test_a_paused_trial_goes_on_where_it_fits(width: float, fits: bool) -> None:
    search = told()
    trial = Trial(0, 0, (width, 0.5, 0.1, 0.5), {})
    assert search.policy.fits(trial, 'small') is fits
    assert search.policy.fits(trial, 'large') is True


def test_a_trial_of_a_class_that_is_gone_runs_again_where_it_fits() -> None:
    search = told()
    while not SHAPES['number']((trial := begin(search, 'large')).params):
        pass
    search.cancel(trial)
    search.plan([CLASSES[0], ComputeClass('new', 1)], 1.0)
    assert begin(search, 'small').id != trial.id
    assert begin(search, 'new').id == trial.id


def test_a_class_alone_is_given_whatever_is_suggested() -> None:
    search = told()
    search.plan([CLASSES[0]], 0.0)
    assert any(begin(search, 'small').params['width'] > 256 for _ in range(6))


# --- the model -----------------------------------------------------------------------------------


class Learner:
    """A model of two classes that is told trials of a flat space."""

    def __init__(self) -> None:
        self.model = MemoryLimits(Effects(FLAT))
        self.model.lay_out(Plan(Layout(CLASSES, [FLAT.tree(0)])))
        self.count = 0

    def tell(self, width: float, fits: bool, times: int = 1, kind: str = 'memory') -> None:
        rng = np.random.default_rng(self.count)
        for _ in range(times):
            error = None if fits else TrialError(kind, '')
            state = TrialState.DONE if fits else TrialState.FAILED
            point = (width, *rng.random(3))
            self.model.ended(Trial(self.count, 0, point, {}, 'small', state=state, error=error))
            self.count += 1

    def fits(self, width: float, name: str = 'small') -> bool:
        return bool(self.model.fits(0, [(width, 0.5, 0.5, 0.5)], name)[0])

    def begin(self, width: float) -> Trial:
        trial = Trial(1000 + self.count, 0, (width, 0.5, 0.5, 0.5), {}, 'small')
        self.count += 1
        self.model.begun(trial)
        return trial


def learned() -> Learner:
    learner = Learner()
    for width in np.random.default_rng(0).permutation(np.linspace(0, 1, 61)):
        learner.tell(width, bool(width < 0.66))
    return learner


def test_risks_follow_from_the_parameters_and_are_of_the_class_alone() -> None:
    learner = learned()
    assert [learner.fits(width) for width in (0.1, 0.5, 0.8, 1.0)] == [True, True, False, False]
    assert learner.fits(1.0, 'large')
    small, large = learner.model.risks(0, [(1.0, 0.5, 0.5, 0.5)])[0]
    assert (small > 0.9, large) == (True, 0.0)


@pytest.mark.parametrize('kind', ['lost', 'exception', 'timeout'])
def test_only_failures_that_hardware_may_cause_count(kind: str) -> None:
    learner = Learner()
    for width in np.linspace(0, 1, 31):
        learner.tell(width, bool(width < 0.66), kind=kind)
    assert learner.fits(1.0)


def test_at_most_one_trial_that_may_fail_runs_at_a_time() -> None:
    learner = learned()
    learner.tell(0.1, True, times=100 * 21)  # the class has been quiet for long: one of any risk may run
    assert learner.fits(1.0)
    trial = learner.begin(1.0)
    assert not learner.fits(1.0)
    assert learner.fits(0.1)
    learner.model.ended(trial)  # it was cut off
    assert learner.fits(1.0)


def test_a_setting_that_was_held_back_wrongly_is_found_to_fit_in_the_end() -> None:
    learner = Learner()
    learner.tell(0.3, True, times=20)
    learner.tell(0.9, False, times=3)  # a machine was out of order
    assert not learner.fits(0.9)
    begun = 0
    for _ in range(1500):
        is_begun = learner.fits(0.9)
        begun += is_begun
        learner.tell(0.9 if is_begun else 0.3, True)
    assert begun > 100
    assert learner.fits(0.9)


def test_spaces_of_any_size_can_be_learned_from() -> None:
    many = Forest({f'x{number}': spaces.uniform(0, 1) for number in range(500)})
    model, rng = MemoryLimits(Effects(many)), np.random.default_rng(0)
    model.lay_out(Plan(Layout(CLASSES, [many.tree(0)])))
    for number in range(40):
        point = rng.random(500)
        error = TrialError('memory', '') if point[0] > 0.6 else None
        state = TrialState.DONE if error is None else TrialState.FAILED
        model.ended(Trial(number, 0, tuple(point), {}, 'small', state=state, error=error))
    assert np.isfinite(model.risks(0, rng.random((8, 500)))).all()
