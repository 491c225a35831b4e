"""Search: ask and tell."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from shadho import ComputeClass, Search, ShadhoError, TrialState, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Tree
from shadho.records import Event, Result, Trial
from shadho.samplers import Suggestion
from shadho.samplers.random import Random
from shadho.scheduling import Choice, New, Slot
from shadho.scheduling.fcfs import FirstComeFirstServed

X = {'x': spaces.uniform(0, 1)}
KERNELS = {
    'exclusive': True,
    'linear': {'C': spaces.log10_uniform(-3, 3)},
    'rbf': {'C': spaces.log10_uniform(-3, 3), 'gamma': spaces.log10_uniform(-5, 1)},
}


def ask_params(search: Search, count: int) -> list[object]:
    return [search.ask().params for _ in range(count)]


def test_a_trial_is_asked_told_and_becomes_the_best() -> None:
    search = Search(X, seed=0)
    worse, better = search.ask(), search.ask()
    search.tell(worse, 2.0)
    told = search.tell(better, {'loss': 1.0, 'accuracy': 0.9}, seconds=3.0)
    assert search.best == told
    assert (told.loss, told.results, told.state, told.seconds) == (
        1.0,
        {'loss': 1.0, 'accuracy': 0.9},
        TrialState.DONE,
        3.0,
    )


def test_trials_are_told_in_any_order_while_others_are_pending() -> None:
    search = Search(X, seed=0)
    trials = [search.ask() for _ in range(10)]
    for trial in reversed(trials[3:]):
        search.tell(trial, float(trial.id))
    assert search.best.id == 3
    assert sorted(search.pending) == [0, 1, 2]
    assert search.history.losses().tolist() == [9, 8, 7, 6, 5, 4, 3]


def test_telling_twice_or_a_foreign_trial_is_an_error() -> None:
    search = Search(X, seed=0)
    trial = search.ask()
    search.tell(trial, 1.0)
    with pytest.raises(ShadhoError, match='trial 0 already has a result'):
        search.tell(trial, 2.0)
    with pytest.raises(ShadhoError, match='trial 99 was never returned by ask'):
        search.record(Result(99, TrialState.DONE, 1.0))


@pytest.mark.parametrize('returned', [None, 'nought', math.nan, {'accuracy': 1}, [1.0], np.ones(2)])
def test_an_unusable_loss_fails_the_trial_and_is_told_as_nan(returned: object) -> None:
    search = Search(X, seed=0)
    told = search.tell(search.ask(), returned)
    assert (told.state, told.loss, told.error.kind) == (TrialState.FAILED, None, 'result')
    assert math.isnan(search.history.losses()[0])
    assert search.best is None


def test_an_infinite_loss_is_a_bad_result_not_a_failure() -> None:
    search = Search(X, seed=0)
    search.tell(search.ask(), math.inf)
    assert search.best.loss == math.inf
    search.tell(search.ask(), 5)
    assert search.best.loss == 5


def test_maximising_keeps_the_users_sign() -> None:
    search = Search(X, seed=0, direction='maximize', loss_key='accuracy')
    for accuracy in (0.5, 0.9, 0.7):
        search.tell(search.ask(), {'accuracy': accuracy})
    assert search.best.loss == 0.9
    assert search.history.losses().tolist() == [-0.5, -0.9, -0.7]


def test_the_earliest_of_equals_is_the_best() -> None:
    search = Search(X, seed=0)
    for _ in range(3):
        search.tell(search.ask(), 1.0)
    assert search.best.id == 0


def test_the_same_seed_suggests_the_same_trials() -> None:
    for method in ('random', 'sobol'):
        assert ask_params(Search(KERNELS, method, seed=3), 40) == ask_params(Search(KERNELS, method, seed=3), 40)
        assert ask_params(Search(KERNELS, method, seed=3), 5) != ask_params(Search(KERNELS, method, seed=4), 5)


def test_without_a_seed_one_is_drawn_and_told() -> None:
    first, second = Search(KERNELS), Search(KERNELS)
    assert first.seed != second.seed
    assert ask_params(first, 5) == ask_params(Search(KERNELS, seed=first.seed), 5)


def test_what_is_suggested_does_not_depend_on_when_results_come() -> None:
    eager, lazy = Search(KERNELS, 'random', seed=1), Search(KERNELS, 'random', seed=1)
    asked = []
    for _ in range(20):
        trial = eager.ask()
        asked.append(trial.params)
        eager.tell(trial, 1.0)
    assert asked == ask_params(lazy, 20)


def test_every_tree_gets_its_share() -> None:
    search = Search(KERNELS, seed=0)
    trees = Counter(search.ask().tree for _ in range(400))
    assert set(trees) == {0, 1}
    assert min(trees.values()) > 150


def test_grid_domains_are_visited_once_each_while_others_are_sampled() -> None:
    search = Search({'a': spaces.grid([1, 2, 3]), 'b': spaces.grid(['u', 'v']), 'x': spaces.uniform(0, 1)}, seed=0)
    for _ in range(3):
        round_of = [search.ask().params for _ in range(6)]
        assert {(params['a'], params['b']) for params in round_of} == {(a, b) for a in (1, 2, 3) for b in 'uv'}
    assert not search.finished
    assert len({params['x'] for params in round_of}) == 6


def test_a_space_of_grids_ends_by_itself() -> None:
    search = Search({'a': spaces.exhaustive([1, 2, 3]), 'b': spaces.grid(spaces.randint(0, 2))}, seed=0)
    seen = []
    while not search.finished:
        seen.append(search.ask().params)
    assert sorted((params['a'], params['b']) for params in seen) == [(a, b) for a in (1, 2, 3) for b in (0, 1)]
    assert search.ask() is None


def test_repeats_visit_every_combination_so_often() -> None:
    search = Search({'a': spaces.grid([1, 2, 3])}, seed=0, repeats=2)
    assert Counter(params['a'] for params in ask_params(search, 6)) == {1: 2, 2: 2, 3: 2}
    assert search.finished


def test_the_grid_method_lists_every_discrete_value_of_every_tree() -> None:
    space = {
        'exclusive': True,
        'a': {'k': ['x', 'y'], 'n': spaces.randint(0, 3)},
        'b': {'m': spaces.log2_randint(0, 2)},
    }
    search = Search(space, 'grid', seed=0)
    seen = []
    while not search.finished:
        seen.append(repr(search.ask().params))
    assert len(seen) == len(set(seen)) == 2 * 3 + 2


def test_the_grid_method_takes_quantiles_of_continuous_domains() -> None:
    search = Search({'x': spaces.uniform(0, 1), 'n': spaces.normal(0, 1)}, 'grid', seed=0, grid_points=4)
    seen = []
    while not search.finished:
        seen.append(search.ask().params)
    assert sorted({params['x'] for params in seen}) == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert len(seen) == 16


def test_the_grid_method_without_points_for_a_continuous_domain_says_so() -> None:
    with pytest.raises(
        ConfigurationError, match='cannot list the values of layer.x, which is continuous; give grid_points=n'
    ):
        Search({'layer': X}, 'grid')


def test_a_tree_of_constants_is_one_trial() -> None:
    search = Search({'exclusive': True, 'none': {}, 'some': {'x': spaces.grid([1, 2])}}, seed=0)
    seen = []
    while not search.finished:
        seen.append(search.ask().params)
    assert sorted(map(repr, seen)) == ["{'none': {}}", "{'some': {'x': 1}}", "{'some': {'x': 2}}"]


def test_a_cancelled_trial_is_suggested_again_first() -> None:
    search = Search(X, seed=0)
    first, second = search.ask(), search.ask()
    search.cancel(first)
    again = search.ask()
    assert (again.id, again.params) == (first.id, first.params)
    assert search.ask().id == second.id + 1


def test_restoring_a_log_goes_on_as_if_nothing_had_happened() -> None:
    for method in ('random', 'sobol', 'grid'):
        space = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1), 'k': [1, 2, 3]}, 'b': {'k': ['u', 'v']}}
        options = {'method': method, 'policy': 'fcfs', 'seed': 5, 'grid_points': 3 if method == 'grid' else None}
        whole = Search(space, **options)
        log = []
        for count in range(6):
            trial = whole.ask()
            log.append(trial)
            if count != 2:  # this one is still running when the log ends
                result = Result(trial.id, TrialState.DONE, float(count))
                log.append(result)
                whole.record(result)
        restored = Search(space, **options)
        restored.restore(log)
        assert restored.best == whole.best
        assert restored.ask().params == log[4].params
        assert ask_params(restored, 4) == ask_params(whole, 4)


def test_with_the_market_a_restored_search_goes_on_within_each_tree() -> None:
    space = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1), 'k': [1, 2, 3]}, 'b': {'x': spaces.uniform(0, 1)}}
    for method in ('random', 'sobol'):
        whole, log = Search(space, method, seed=5), []
        for count in range(6):
            log.append(whole.ask())
            log.append(Result(log[-1].id, TrialState.DONE, float(count)))
            whole.record(log[-1])
        restored = Search(space, method, seed=5)
        restored.restore(log)
        both = [[search.ask() for _ in range(40)] for search in (whole, restored)]
        for tree in (0, 1):
            one, other = ([trial.params for trial in trials if trial.tree == tree] for trials in both)
            shorter = min(len(one), len(other))
            assert shorter > 5
            assert one[:shorter] == other[:shorter]


def test_finished_trials_are_learned_as_their_log_would_be() -> None:
    trials = [Trial(number, 0, (number / 4,), {'x': number / 4}, started=number // 2, finished=2.0 - number % 2,
                    state=TrialState.DONE, loss=abs(number - 1.5), seconds=1.0) for number in range(4)]  # fmt: skip
    search = Search(X, seed=0)
    search.restore(sorted(trials, key=lambda trial: trial.finished))
    assert (len(search.history), search.waiting, search.best) == (4, 0, trials[1])
    assert search.ask().id == 4


@pytest.mark.parametrize(
    ('numbers', 'message'),
    [
        ([1, 2], r'is trial 1, and there is no trial 0 before.*result.storage.read\(\)'),
        ([0, 2], 'is trial 2, and there is no trial 1'),
    ],
)
def test_finished_trials_of_which_one_is_missing_are_refused(numbers: list[int], message: str) -> None:
    trials = [Trial(number, 0, (0.5,), {'x': 0.5}, state=TrialState.DONE, loss=1.0) for number in numbers]
    with pytest.raises(ShadhoError, match=message):
        Search(X, seed=0).restore(trials)


def test_only_events_can_be_restored() -> None:
    with pytest.raises(ShadhoError, match=r'takes events of a log; got \(1, .*for _, event in storage.read'):
        Search(X, seed=0).restore([(1, Search(X, seed=0).ask())])


def test_what_a_search_gives_is_the_callers_to_change() -> None:
    space = {'model': ['svm', 'forest'], 'layers': [[1, 2], [3]], 'weights': [np.zeros(2)], 'C': spaces.uniform(0, 1)}
    search = Search(space, seed=0)
    for _ in range(3):
        trial = search.ask()
        del trial.params['model']
        trial.params['layers'].clear()
        trial.params['weights'] += 1
        told = search.tell(trial, {'loss': trial.params['C'], 'curve': [1]})
        told.params.clear()
        told.results['curve'].append(2)
        search.best.params.clear()
    assert list(search.best.params) == ['model', 'layers', 'weights', 'C']
    assert search.best.results['curve'] == [1]
    assert search.best.params['layers'] in ([1, 2], [3])
    assert search.best.params['weights'].tolist() == [0, 0]


def test_what_a_callback_does_to_a_list_does_not_change_the_space() -> None:
    widths = spaces.choice([[8], [8, 16]])
    space = {'widths': widths, 'sum': spaces.dependent(widths, callback=lambda own: own.append(1) or sum(own))}
    search = Search(space, seed=0, repeats=5)
    for _ in range(5):
        params = search.ask().params
        assert params['sum'] == sum(params['widths']) + 1


def test_a_finished_grid_is_finished_after_restoring() -> None:
    space = {'a': spaces.grid([1, 2])}
    search = Search(space, seed=0)
    log = [search.ask(), search.ask()]
    restored = Search(space, seed=0)
    restored.restore([*log, *[Result(trial.id, TrialState.DONE, 0.0) for trial in log]])
    assert restored.finished


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'method': 'radom'}, "method='radom': no such sampler; did you mean 'random'"),
        ({'policy': 'fcs'}, "did you mean 'fcfs'"),
        ({'seed': -1}, 'seed must be an integer of 0 or more'),
        ({'seed': 'one'}, 'seed must be an integer'),
        ({'seed': np.array([1, 2])}, r'seed must be an integer of 0 or more, or None; got array\(\[1, 2\]\)'),
        ({'direction': 'up'}, "direction must be 'minimize' or 'maximize'; got 'up'"),
        ({'direction': np.array([1, 2])}, r"direction must be 'minimize' or 'maximize'; got array\(\[1, 2\]\)"),
        ({'repeats': 0}, 'repeats must be an integer of 1 or more; got 0'),
        ({'grid_points': 3}, "method='auto' has no option 'grid_points'"),
        ({'options': {'depth': 3}}, "method='auto' has no option 'depth'"),
        ({'method': 'grid', 'grid_points': 0}, 'grid_points must be an integer of 1 or more, or None; got 0'),
    ],
)
def test_bad_options_are_refused_with_the_reason(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Search(X, **arguments)


def test_more_trials_per_tree_than_a_float_can_hold_are_as_good_as_no_limit() -> None:
    search = Search(X, seed=0, trials_per_tree=10**400)
    assert search.tell(search.ask(), 1.0).loss == 1.0
    assert not search.finished


def test_asking_from_a_forest_of_a_trillion_trees_takes_no_listing() -> None:
    space = {
        f'part {i}': {'exclusive': True, **{f'{j}': {'x': spaces.uniform(0, 1)} for j in range(10)}} for i in range(12)
    }
    search = Search(space, seed=0)
    assert search.forest.count == 10**12
    assert len({search.ask().tree for _ in range(50)}) == 50


def test_asking_passes_over_parameters_that_cannot_be_computed() -> None:
    z = spaces.choice([1, 0])
    search = Search({'z': z, 'y': spaces.dependent(z, callback=lambda value: 1 / value)}, seed=0, repeats=20)
    assert {search.ask().params['y'] for _ in range(20)} == {1.0}
    assert search.history.states[TrialState.FAILED] > 0


def test_asking_gives_up_when_nothing_can_be_computed() -> None:
    x = spaces.uniform(0, 1)
    search = Search({'x': x, 'y': spaces.dependent(x, callback=lambda value: 1 / 0)}, seed=0)
    with pytest.raises(
        ShadhoError, match='100 suggestions in a row could not be computed; the last: .* ZeroDivisionError'
    ):
        search.ask()


def test_a_continuous_domain_in_any_tree_is_refused_by_the_grid_method() -> None:
    with pytest.raises(ConfigurationError, match='cannot list the values of b.x'):
        Search({'exclusive': True, 'a': {'c': [1, 2]}, 'b': {'x': spaces.uniform(0, 1)}}, 'grid')


@pytest.mark.parametrize('seconds', [-1.0, 1e15, 1e300, math.inf, math.nan, 'abc', None, True])
def test_seconds_that_are_none_are_refused(seconds):
    search = Search({'x': spaces.uniform(0, 1)})
    trial = search.ask()
    with pytest.raises(ConfigurationError, match='seconds must be a number of 0 or more'):
        search.tell(trial, 1.0, seconds=seconds)
    assert search.tell(trial, 1.0, seconds=2).seconds == 2


@pytest.mark.parametrize('loss', [0.5, -0.0, math.inf, -math.inf, math.nan])
def test_a_loss_is_recorded_alike_as_a_number_of_any_kind_and_in_a_dict(loss):
    told = []
    for result in (loss, np.float64(loss), {'loss': loss}):
        search = Search({'x': spaces.uniform(0, 1)}, seed=0)
        trial = search.tell(search.ask(now=1.0), result, seconds=2.0)
        told.append((trial.state, repr(trial.loss), trial.started, trial.finished, trial.seconds))
        if not math.isnan(loss):
            assert list(trial.results.items()) == [('loss', loss)]
    assert told[0] == told[1] == told[2]


def test_two_classes_of_one_name_are_refused():
    search = Search({'x': spaces.uniform(0, 1)})
    with pytest.raises(ConfigurationError, match='different names; got a, a'):
        search.plan([ComputeClass('a', 1), ComputeClass('a', 2)], 0.0)


def test_what_is_the_searchs_own_is_no_option_of_the_policy():
    for option in ('sampler', 'trials_per_tree'):
        with pytest.raises(
            ConfigurationError, match=f'has no option {option!r}; its options: fairness, heuristics, floor'
        ):
            Search({'x': spaces.uniform(0, 1)}, policy_options={option: 2})


@pytest.mark.parametrize('policy', ['market', 'ranked'])
def test_a_log_of_more_trees_than_are_kept_is_restored(policy):
    space = {f'part{number}': {'optional': True, 'x': spaces.uniform(0, 1)} for number in range(20)}
    first = Search(space, 'random', policy='fcfs', seed=1, trials_per_tree=1)
    records = []
    for _ in range(4300):
        trial = first.ask()
        records += [trial, first.tell(trial, 1.0, seconds=1.0).result()]
    second = Search(space, 'random', policy=policy, seed=1, trials_per_tree=1)
    second.restore(records)
    assert second.ask().tree not in {record.tree for record in records[::2]}


FINITE = {'depth': spaces.randint(1, 5), 'kind': ['p', 'q', 'r']}


@pytest.mark.parametrize('method', ['tpe', 'random', 'sobol', 'gp', 'rf', 'cmaes', 'pso', 'auto', 'grid'])
def test_every_setting_of_a_finite_space_is_tried_once_and_then_the_search_is_done(method: str) -> None:
    search, asked = Search(FINITE, method, seed=0), []
    while not search.finished:
        trials = [search.ask() for _ in range(4)]
        for trial in trials:
            asked.append(tuple(trial.params.values()))
            search.tell(trial, math.nan if trial.params['kind'] == 'q' else float(trial.params['depth']))
    assert len(asked) == len(set(asked)) == 12
    assert search.ask() is None


@pytest.mark.parametrize('policy', ['market', 'ranked', 'fcfs'])
def test_a_tree_whose_settings_are_all_tried_leaves_the_trials_to_the_others(policy: str) -> None:
    space = {'exclusive': True, 'knn': {'k': [1, 3, 5]}, 'mean': {}, 'svm': {'C': spaces.uniform(0, 1)}}
    search, asked = Search(space, policy=policy, seed=0), Counter()
    for _ in range(30):
        trial = search.ask()
        asked[next(iter(trial.params))] += 1
        search.tell(trial, 1.0 - ('knn' in trial.params))
    assert asked['knn'] <= 3 and asked['mean'] <= 1
    assert not search.finished


def test_settings_of_grids_and_of_other_choices_are_tried_together() -> None:
    space = {'seed': spaces.grid([1, 2, 3]), 'depth': spaces.randint(0, 4)}
    search = Search(space, 'random', seed=0)
    asked = [(trial.params['seed'], trial.params['depth']) for trial in iter(search.ask, None)]
    assert len(asked) == len(set(asked)) == 12
    assert sorted(seed for seed, _ in asked[:3]) == [1, 2, 3]


def test_repeats_says_how_often_each_setting_is_tried() -> None:
    search = Search({'depth': [1, 2, 3]}, 'tpe', seed=0, repeats=2)
    assert Counter(trial.params['depth'] for trial in iter(search.ask, None)) == {1: 2, 2: 2, 3: 2}


def test_a_restored_search_does_not_try_a_setting_again() -> None:
    search, records = Search(FINITE, seed=0), []
    for _ in range(8):
        trial = search.ask()
        records += [trial, Result(trial.id, TrialState.DONE, 1.0)]
        search.tell(trial, 1.0)
    again = Search(FINITE, 'random', seed=5)
    again.restore(records)
    asked = [tuple(trial.params.values()) for trial in iter(again.ask, None)]
    assert len(asked) == 4
    assert not set(asked) & {tuple(record.params.values()) for record in records if hasattr(record, 'params')}


def test_a_loop_of_ones_own_goes_on_after_each_kill() -> None:
    """The log is appended to by the search; a trial that was asked for, and not told, comes back."""
    log: list[Event] = []
    for finished in range(4):
        search = Search(X, 'random', seed=5)
        search.restore(list(log), log.append)
        assert (len(search.history), len(search.ledger.waiting)) == (finished, min(finished, 1))
        trial = search.ask()
        search.tell(trial, trial.params['x'])
        search.ask()  # and the process is killed
    search = Search(X, 'random', seed=5)
    search.restore(log)
    assert [trial.id for trial in search.ledger.waiting] == [4]
    assert search.ask().attempt == 1


def test_a_log_of_what_ask_returned_is_restored_though_trials_were_asked_for_again() -> None:
    log: list[Event] = []
    for _ in range(3):
        search = Search(X, 'random', seed=5)
        search.restore(list(log))
        log.append(search.ask())
    assert [event.attempt for event in log] == [0, 1, 2]
    log.append(Result(0, TrialState.DONE, 0.5))
    search = Search(X, 'random', seed=5)
    search.restore(log)
    assert (len(search.history), search.best.loss) == (1, 0.5)


def test_finished_trials_of_several_classes_bring_their_classes() -> None:
    trials = [
        Trial(number, 0, (0.5,), {'x': 0.5}, 'ab'[number % 2], state=TrialState.DONE, loss=1.0) for number in range(4)
    ]
    search = Search(X, seed=0)
    search.restore(trials)
    assert list(search.classes) == ['a', 'b']
    alone = Search(X, seed=0)
    alone.restore([Trial(0, 0, (0.5,), {'x': 0.5}, 'inline', state=TrialState.DONE, loss=1.0)])
    assert alone.ask().compute_class == 'inline'


def test_cancelling_an_attempt_that_has_ended_leaves_the_next_one() -> None:
    search = Search(X, seed=0)
    first = search.ask()
    search.cancel(first)
    second = search.ask()
    search.cancel(first)
    assert (second.id, second.attempt, list(search.pending)) == (first.id, 1, [first.id])


def test_a_tree_that_its_sampler_ends_is_ended_in_the_log_too() -> None:
    class Twice(Random):
        """Has two suggestions for each tree, and does not say so beforehand."""

        def ask(self, tree: Tree, number: int) -> Suggestion | None:
            return super().ask(tree, number) if number < 2 else None

    log: list[Event] = []
    search = Search({'exclusive': True, 'a': X, 'b': X}, Twice, seed=0)
    search.restore([], log.append)
    while (trial := search.ask()) is not None:
        search.tell(trial, trial.point[0])
    assert search.finished
    again = Search({'exclusive': True, 'a': X, 'b': X}, Twice, seed=0)
    again.replay(log)
    assert (again.finished, len(again.history)) == (True, 4)


def test_a_choice_that_may_not_be_is_dropped() -> None:
    class Eager(FirstComeFirstServed):
        """Begins new trials whatever the slot may."""

        def choose(self, slot: Slot, now: float) -> Choice | None:
            return New(self.forest.tree(0))

    search = Search(X, policy=Eager, seed=0)
    assert search.fill(Slot('default', may_begin=False), 0.0) is None
    assert search.fill(Slot('default'), 0.0) is not None
