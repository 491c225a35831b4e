"""The market: where trees are placed, how often each is tried, and when a search with quotas ends."""

from __future__ import annotations

import math
from collections import Counter

import attrs
import numpy as np
import pytest

from shadho import ComputeClass, Search, Shadho, hookimpl, spaces
from shadho.backends import Simulated
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.ledger import Ledger
from shadho.plugins import Registry
from shadho.records import Attempt, ClassesChanged, Result, Trial, TrialError, TrialState
from shadho.samplers.random import Random
from shadho.scheduling import Heuristic, PolicyContext, planner
from shadho.scheduling.complexity import Complexity
from shadho.scheduling.market import Market
from shadho.scheduling.promise import Promise
from shadho.testing import PolicySuite
from shadho.testing.spaces import SPACES

X = spaces.uniform(0, 1)
GPU, CPU = ComputeClass('gpu', 4, {'cores': 4, 'gpus': 1}), ComputeClass('cpu', 8, {'cores': 4})
ONLY = ComputeClass('only', 10, {'cores': 4})
SECONDS = {'net': {'gpu': 10.0, 'cpu': 100.0}, 'svm': {'gpu': 10.0, 'cpu': 12.0}}
NETS = {'exclusive': True, 'net': {'x': X}, 'svm': {'x': X}}


class TestMarket(PolicySuite):
    def make(self, context):
        return Market(context)


class TestMarketWithOtherOptions(PolicySuite):
    def make(self, context):
        return Market(context, fairness=1.0, floor=0.0, heuristics={Complexity(): 2.0, Promise(): 1})


class TestMarketWithQuotas(PolicySuite):
    @pytest.fixture(params=[name for name, space in SPACES.items() if Forest(space).count < 1000])
    def forest(self, request):
        """A forest all of whose trees could ever get their number of trials."""
        return Forest(SPACES[request.param])

    def make(self, context):
        return Market(attrs.evolve(context, trials_per_tree=100_000))


def trees(number):
    return {'exclusive': True, **{f'tree{index}': {'x': X} for index in range(number)}}


def chosen(params):
    """Return the name of the part of an exclusive scope, and its parameter."""
    ((name, own),) = params.items()
    return name, own['x']


def seconds_of(table):
    """Return seconds of a cluster: those of a table, by tree and class, times 0.5 to 1.5."""

    def seconds(params, compute_class):
        name, x = chosen(params)
        return table[name][compute_class.name] * (0.5 + x)

    return seconds


def search(space, classes, seconds, objective=lambda params: 1.0, cluster=None, **options):
    backend = Simulated(classes, seconds, **(cluster or {}))
    own = {'backend': backend, 'storage': None, 'seed': 0, 'display': False, 'method': 'random', **options}
    return Shadho('market', objective, space, **own).run()


def per_tree(result):
    return Counter(trial.tree for trial in result)


def per_pair(result):
    return Counter((trial.tree, trial.compute_class) for trial in result)


def make(forest, classes, seed=0, **options):
    quota = options.pop('trials_per_tree', None)
    context = PolicyContext(Forest(forest), Ledger(), seed, quota)
    policy = Market(context, **options)
    change(policy, classes)
    return policy, context.ledger.history


def change(policy, classes):
    event = ClassesChanged(classes, 0.0)
    policy.on(event, policy.ledger.apply(event))


def begin(policy, own, now=0.0):
    """Begin a trial of the tree that is picked for a class; return the tree."""
    tree = policy.pick(own, now)
    if tree is not None:
        number = policy.history.asked
        trial = Trial(number, tree.index, (0.5,) * len(tree), {}, own, started=now)
        policy.on(trial, policy.ledger.apply(trial))
    return tree


def finish(policy, history, tree, own, seconds=1.0, loss=0.5, kind=None):
    """Let a trial that was not picked finish."""
    history.ask(tree)
    error = None if kind is None else TrialError(kind, 'no luck')
    state, loss = (TrialState.DONE, loss) if kind is None else (TrialState.FAILED, math.nan)
    number = history.asked - 1
    point = (0.5,) * len(policy.forest.tree(tree))
    trial = Trial(number, tree, point, {}, own, state=state, error=error, seconds=seconds, started=0.0)
    history.append(trial, loss)
    policy.on(Result(number, state, trial.loss), trial)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'fairness': 2}, "policy='market': fairness must be a number from 0 to 1; got 2"),
        ({'fairness': -0.1}, 'fairness must be a number from 0 to 1; got -0.1'),
        ({'fairness': math.nan}, 'fairness must be a number from 0 to 1; got nan'),
        ({'fairness': True}, 'fairness must be a number from 0 to 1; got True'),
        ({'fairness': 'much'}, "fairness must be a number from 0 to 1; got 'much'"),
        ({'floor': 1.5}, "policy='market': floor must be a number from 0 to 1; got 1.5"),
        ({'heuristics': {'promise': -1}}, "such as {'promise': 1.5}; got .*promise.*: -1"),
        ({'heuristics': {'promise': math.inf}}, 'got .*promise.*: inf'),
        ({'heuristics': {'promise': 'high'}}, "got .*promise.*: 'high'"),
        ({'heuristics': {'promise': True}}, 'got .*promise.*: True'),
        ({'heuristics': {5: 1.0}}, 'heuristics must be a dict of heuristics .*got 5: 1.0'),
        ({'heuristics': ['promise']}, r"heuristics must be a dict of names .*got \['promise'\] \(list\)"),
        ({'heuristics': {'promse': 1.0}}, "no such heuristic; did you mean 'promise'"),
        ({'fairnes': 1.0}, "policy='market' has no option 'fairnes'; its options: fairness, heuristics, floor"),
        ({'seed': 1}, "policy='market' has no option 'seed'"),
        ('fairness', "policy_options must be a dict of options by name, such as {'fairness': 1.0}; got 'fairness'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_the_reason(options, message):
    with pytest.raises(ConfigurationError, match=message):
        Search(NETS, policy_options=options)
    with pytest.raises(ConfigurationError, match=message):
        Shadho('market', lambda params: 0, NETS, max_tasks=1, storage=None, policy_options=options)


def test_options_reach_the_policy():
    options = {'fairness': 0, 'floor': 1, 'heuristics': {'complexity': 2, 'promise': 0.5}}
    policy = Search(NETS, policy_options=options).policy
    assert (policy._planner.fairness, policy._planner.floor) == (0.0, 1.0)
    assert {type(own): power for own, power in policy.heuristics.items()} == {Complexity: 2, Promise: 0.5}
    assert [type(own) for own in Search(NETS).policy.heuristics] == [Promise]


class Favourite(Heuristic):
    """Scores tree 2 as high as can be."""

    name = 'favourite'

    def scores(self, trees, history):
        return np.array([1.0 if tree.index == 2 else 0.01 for tree in trees])


def test_a_heuristic_of_a_plugin_is_used_by_its_name():
    class Plugin:
        @hookimpl
        def shadho_register_heuristics(self):
            return [Favourite]

    options = {'plugins': [Plugin()], 'policy_options': {'heuristics': {'favourite': 1.0}}}
    counts = per_tree(search(trees(4), [ONLY], lambda params, own: 1.0, max_tasks=400, **options))
    assert counts[2] > 0.85 * 400
    assert set(counts) == {0, 1, 2, 3}


def test_a_heuristic_may_be_given_as_an_object():
    registry = Registry([])
    own = Search(
        trees(4), Random, policy=Market, seed=0, registry=registry, policy_options={'heuristics': {Favourite(): 1.0}}
    )
    counts = Counter(own.ask().tree for _ in range(200))
    assert counts[2] > 0.8 * 200


def test_without_heuristics_all_trees_have_the_same_priority():
    counts = per_tree(
        search(
            trees(4), [ONLY], lambda params, own: 1.0, lambda params: float(chosen(params)[0][-1]), max_tasks=400,
            policy_options={'heuristics': {}},
        )
    )  # fmt: skip
    assert all(90 <= counts[tree] <= 110 for tree in range(4))


def test_a_sampler_that_knows_what_its_trees_promise_is_believed():
    class Knowing(Random):
        name = 'knowing'
        asked = 0

        def promise(self, trees):
            Knowing.asked += 1
            return np.array([5.0 if tree.index == 1 else 0.05 for tree in trees])

    counts = per_tree(search(trees(4), [ONLY], lambda params, own: 1.0, max_tasks=400, method=Knowing))
    assert Knowing.asked > 1
    assert counts[1] > 0.85 * 400


def test_promise_is_not_asked_of_the_sampler_when_it_does_not_matter():
    class Broken(Random):
        name = 'broken'

        def promise(self, trees):
            raise AssertionError

    options = {'method': Broken, 'policy_options': {'heuristics': {'complexity': 1.0}}}
    assert len(search(trees(2), [ONLY], lambda params, own: 1.0, max_tasks=50, **options)) == 50


# --- which tree, and how often -------------------------------------------------------------------


def test_trees_are_placed_where_they_gain_most_and_far_more_is_done():
    results = {
        policy: search(NETS, [GPU, CPU], seconds_of(SECONDS), timeout=4000, policy=policy)
        for policy in ('market', 'fcfs')
    }
    pairs = per_pair(results['market'])
    assert pairs[0, 'gpu'] > 50 * pairs[0, 'cpu']
    assert pairs[1, 'cpu'] > 50 * pairs[1, 'gpu']
    assert all(count > 1.4 * per_tree(results['fcfs'])[tree] for tree, count in per_tree(results['market']).items())


def test_with_equal_priorities_no_trials_follow_one_that_is_out_for_long_while_others_came_back_elsewhere():
    begun = Begun()
    seconds = {**SECONDS, 'net': {'gpu': 10.0, 'cpu': 2000.0}}
    search(NETS, [GPU, CPU], seconds_of(seconds), timeout=2000, policy_options={'heuristics': {}}, plugins=[begun])
    pairs = Counter((trial.tree, trial.compute_class) for trial in begun.trials)
    assert pairs[0, 'cpu'] == 0
    assert min(pairs[0, 'gpu'], pairs[1, 'cpu']) > 300


def test_with_equal_priorities_a_class_that_comes_late_is_not_left_to_the_tree_that_is_known_least():
    begun = Begun()
    classes, cluster = [ONLY, ComputeClass('late', 0, {'cores': 4})], {'changes': [(500, 'late', 100)]}
    search(trees(4), classes, late, cluster=cluster, timeout=505, policy_options={'heuristics': {}}, plugins=[begun])
    there = Counter(trial.tree for trial in begun.trials if trial.compute_class == 'late')
    assert sum(there.values()) == 100
    assert there[3] < 50


def late(params, own):
    return {'tree0': 100.0, 'tree1': 120.0, 'tree2': 150.0, 'tree3': 8000.0}[chosen(params)[0]]


def test_what_was_learned_is_given_up_when_a_class_turns_out_otherwise():
    # The first trials on the CPU are misleading: later ones take twenty times as long.
    def seconds(params, compute_class):
        name, x = chosen(params)
        if name == 'svm' and compute_class.name == 'gpu':
            return 10.0 if len(seen) < 50 else 1.0
        seen.append(x)
        return 10.0

    seen = []
    result = list(search(NETS, [GPU, CPU], seconds, max_tasks=3000))
    early, late = result[:100], result[-500:]
    share = [sum(own.tree == 1 and own.compute_class == 'gpu' for own in part) / len(part) for part in (early, late)]
    assert share[1] > 0.7 > share[0]


@pytest.mark.parametrize(('fairness', 'ratio'), [(0.0, 16.0), (0.5, 4.0), (1.0, 1.0)])
def test_fairness_says_how_the_mix_follows_from_seconds(fairness, ratio):
    counts = Counter()
    for seed in range(3):
        result = search(
            NETS, [ONLY], lambda params, own: 1.0 if 'net' in params else 16.0, timeout=300, seed=seed,
            policy_options={'fairness': fairness, 'heuristics': {}, 'floor': 0.0},
        )  # fmt: skip
        counts += per_tree(result)
    assert counts[0] / counts[1] == pytest.approx(ratio, rel=0.12)


@pytest.mark.parametrize('floor', [0.05, 0.5, 1.0])
def test_no_tree_starves(floor):
    counts = per_tree(
        search(
            trees(4), [ONLY], lambda params, own: 1.0, lambda params: 5 * (chosen(params)[0] != 'tree0') + chosen(params)[1],
            max_tasks=2000, policy_options={'floor': floor},
        )
    )  # fmt: skip
    assert min(counts.values()) >= 0.9 * floor / 4 * 2000
    assert len(counts) == 4


def test_more_trials_go_where_the_best_results_come_from():
    result = search(
        trees(5),
        [GPU, CPU],
        lambda params, own: 1.0,
        lambda params: chosen(params)[1] + (chosen(params)[0] != 'tree3'),
        max_tasks=1500,
    )
    counts = per_tree(result)
    assert counts[3] > 0.6 * 1500
    assert min(counts.values()) > 5


def test_within_a_class_the_mix_is_followed_without_luck():
    policy, _ = make(trees(4), [ComputeClass('only', 4)], heuristics={})
    picked = [begin(policy, 'only').index for _ in range(40)]
    for first in range(37):
        assert len(set(picked[first : first + 4])) >= 3
    assert set(Counter(picked).values()) == {10}


def test_a_trial_of_an_unknown_tree_takes_its_seconds_from_the_others():
    policy, history = make(trees(3), [GPU, CPU])
    for _ in range(10):
        for tree in (0, 1):
            finish(policy, history, tree, 'gpu', 10.0)
            finish(policy, history, tree, 'cpu', 40.0)
    change(policy, [GPU, CPU])
    gpu, cpu = policy.runtime.predict([2], ['gpu', 'cpu'])[0]
    assert 5 < gpu < 30 and cpu > 1.5 * gpu


# --- the same again ------------------------------------------------------------------------------


def test_in_series_a_search_repeats_exactly_whatever_seconds_it_measures():
    def asked(seconds, seed=3):
        own = Search(trees(5), 'tpe', seed=seed)
        found = []
        for number in range(120):
            trial = own.ask(now=float(number) * seconds)
            found.append(trial.params)
            own.tell(trial, chosen(trial.params)[1], seconds=seconds * (1 + 99 * (trial.tree == 2)))
        return found

    assert asked(1.0) == asked(1e-3) == asked(5e3)
    assert asked(1.0) != asked(1.0, seed=4)


def test_in_parallel_on_a_clock_that_repeats_a_search_repeats_too():
    first, second = (
        search(trees(4), [GPU, CPU], lambda params, own: 1 + chosen(params)[1], max_tasks=300) for _ in range(2)
    )
    assert [(own.params, own.compute_class, own.started) for own in first] == [
        (own.params, own.compute_class, own.started) for own in second
    ]


# --- what does not fit ---------------------------------------------------------------------------

SMALL = ComputeClass('small', 50, {'cores': 4, 'memory': 8000})
LARGE = ComputeClass('large', 10, {'cores': 4, 'memory': 200_000})


def memory_of(params):
    return 100_000 if 'tree1' in params else 1000


@pytest.mark.parametrize('seed', range(3))
def test_few_trials_run_out_of_memory_however_many_slots_there_are(seed):
    result = search(
        trees(3), [SMALL, LARGE], lambda params, own: 10 * (0.5 + chosen(params)[1]), cluster={'memory': memory_of},
        max_tasks=2500, seed=seed,
    )  # fmt: skip
    failed = Counter((own.tree, own.compute_class) for own in result if own.error is not None)
    assert set(failed) == {(1, 'small')}
    assert failed[1, 'small'] <= 5
    assert per_pair(result)[1, 'large'] > 100
    assert all(use.utilisation > 0.85 for use in result.classes)


def test_a_class_where_nothing_fits_stays_idle_while_others_work():
    cluster = {'memory': lambda params: 50_000}
    result = search(trees(2), [SMALL, LARGE], lambda params, own: 10.0, cluster=cluster, max_tasks=400)
    use = {own.compute_class.name: own.utilisation for own in result.classes}
    assert use['small'] < 0.1 and use['large'] > 0.95
    assert sum(own.error is not None for own in result) <= 2 * 5


@pytest.mark.parametrize('slots', [1, 5, 50])
def test_a_single_class_never_idles_even_if_nothing_fits(slots):
    own = ComputeClass('small', slots, {'cores': 4, 'memory': 8000})
    for number in (1, 3):
        result = search(
            trees(number), [own], lambda params, own: 10.0, cluster={'memory': lambda params: 9000}, max_tasks=400
        )
        assert result.history.states[TrialState.FAILED] == 400
        assert result.elapsed == 5.0 * 400 / slots


def test_where_nothing_fits_anywhere_the_search_still_ends():
    classes = [ComputeClass('a', 3, {'cores': 1, 'memory': 100}), ComputeClass('b', 3, {'cores': 1, 'memory': 200})]
    result = search(trees(2), classes, lambda params, own: 1.0, cluster={'memory': lambda params: 900}, max_tasks=60)
    assert (len(result), result.stopped) == (60, 'max_tasks')


def test_trials_that_fail_for_other_reasons_make_nothing_infeasible():
    def objective(params):
        raise ValueError

    result = search(trees(2), [SMALL, LARGE], lambda params, own: 10.0, objective, max_tasks=600)
    assert all(use.utilisation > 0.85 for use in result.classes)


# --- classes come and go -------------------------------------------------------------------------


def test_classes_that_come_and_go_are_used_while_they_are_there():
    changes = [(300, 'gpu', 0), (600, 'gpu', 12), (900, 'cpu', 0)]
    result = search(NETS, [GPU, CPU], seconds_of(SECONDS), cluster={'changes': changes}, timeout=1200)
    assert result.elapsed == 1200
    assert all(use.utilisation > 0.97 for use in result.classes)
    for begin, end, there in (
        (0, 300, {'gpu', 'cpu'}),
        (300, 600, {'cpu'}),
        (600, 900, {'gpu', 'cpu'}),
        (900, 1200, {'gpu'}),
    ):
        assert {own.compute_class for own in result if begin <= own.started < end} == there
    assert {own.tree for own in result if 310 < own.started < 600} == {0, 1}


def test_bids_and_credits_of_what_stays_are_kept_when_a_class_comes():
    policy, history = make(NETS, [GPU, CPU])
    for _ in range(20):
        for tree, name in ((0, 'net'), (1, 'svm')):
            for own in (GPU, CPU):
                finish(policy, history, tree, own.name, SECONDS[name][own.name])
    change(policy, [CPU, ComputeClass('new', 5, {'cores': 9}), GPU])
    plans = {own.name: own.trees[0] for own in policy.placement}
    assert plans['gpu'][0] == 0 and plans['cpu'][0] == 1
    assert set(plans) == {'gpu', 'cpu', 'new'}


def test_a_class_without_slots_is_not_planned():
    policy, _ = make(NETS, [GPU, ComputeClass('empty', 0)])
    assert policy.pick('empty', 0.0) is None
    assert policy.pick('gpu', 0.0) is not None
    assert [own.name for own in policy.placement] == ['gpu']


# --- the placement -------------------------------------------------------------------------------


@pytest.mark.parametrize('classes', [[ONLY], [GPU, CPU], [GPU, CPU, SMALL, LARGE]])
def test_prices_are_shares_that_add_up_over_all_slots(classes):
    result = search(NETS, classes, lambda params, own: 1 + chosen(params)[1] / own.slots, max_tasks=300)
    plans = [use.plan for use in result.classes]
    assert sum(plan.price * plan.slots for plan in plans) == pytest.approx(1)
    assert all(plan.price > 0 for plan in plans)
    assert [(plan.name, plan.slots) for plan in plans] == [(own.name, own.slots) for own in classes]


def test_the_bottleneck_has_the_highest_price():
    result = search(NETS, [GPU, CPU], seconds_of(SECONDS), timeout=2000)
    gpu, cpu = (use.plan for use in result.classes)
    assert gpu.price > 2 * cpu.price
    assert gpu.trees[0][0] == 0 and cpu.trees[0][0] == 1


def test_the_plan_names_the_trees_by_their_share_of_the_class():
    policy, _ = make(trees(12), [ONLY])
    (plan,) = policy.placement
    shares = [share for _, share in plan.trees]
    assert len(shares) == 5 and shares == sorted(shares, reverse=True)
    assert shares == pytest.approx([1 / 12] * 5)


def test_a_plan_is_replaced_only_when_it_is_made_anew():
    policy, history = make(trees(3), [ONLY])
    before = policy.placement
    for _ in range(5):
        policy.pick('only', 0.0)
        begin(policy, 'only')
    assert policy.placement is before
    for _ in range(10):
        finish(policy, history, 0, 'only')
    assert policy.placement is not before


# --- what the first results say -----------------------------------------------------------------


class Begun:
    """An observer that notes what begins after the first wave."""

    def __init__(self):
        self.trials = []

    @hookimpl
    def shadho_trial_dispatched(self, trial):
        if trial.started > 0:
            self.trials.append(trial)


LENGTHS = {'tree0': 4.0, 'tree1': 12.0, 'tree2': 36.0, 'tree3': 108.0}
SLOWER = {'a': 1, 'b': 2, 'c': 3}


def costly(params, own):
    """Return seconds of trees that cost 27 : 9 : 3 : 1, on uniformly slower classes, with an eightfold range in each tree."""
    name, x = chosen(params)
    return LENGTHS[name] * SLOWER[own.name] * 8**x * math.log(8) / 7


def sized(*slots):
    return [ComputeClass(name, number, {'cores': 4}) for name, number in zip(SLOWER, slots)]


def test_a_dear_tree_keeps_its_share_of_fast_slots_though_cheap_ones_return_first():
    def begun(policy):
        """Return how many trials of the dearest tree began on the fastest class in 100 seconds, after the first wave."""
        own = Begun()
        for seed in range(4):
            search(
                trees(4), sized(20, 25, 50), costly, lambda params: chosen(params)[1],
                timeout=100, seed=seed, policy=policy, plugins=[own],
            )  # fmt: skip
        return sum(trial.tree == 3 and trial.compute_class == 'a' for trial in own.trials)

    assert begun('market') > 0.55 * begun('fcfs')


@pytest.mark.parametrize(('running', 'low', 'high'), [(0, 0.0, 0.1), (500, 0.3, 0.5)])
def test_a_tree_is_not_judged_by_its_first_results_while_most_of_its_trials_still_run(running, low, high):
    policy, history = make(trees(2), sized(20), fairness=1.0)
    for number in range(60):
        finish(policy, history, 0, 'a', loss=0.1 + 0.001 * number)
    for number in range(20):
        finish(policy, history, 1, 'a', loss=0.5 + 0.001 * number)
    for _ in range(running):
        history.ask(1)
    change(policy, sized(21))
    assert low <= sum(begin(policy, 'a').index for _ in range(200)) / 200 <= high


def test_trees_that_are_known_leave_an_unknown_one_its_share_of_every_class():
    policy, history = make(trees(3), sized(20, 20), heuristics={}, fairness=1.0)
    for _ in range(300):  # which puts tree 0 on the first class, tree 1 on the second
        for tree, own, seconds in ((0, 'a', 1.0), (0, 'b', 8.0), (1, 'a', 1.0), (1, 'b', 1.0)):
            finish(policy, history, tree, own, seconds)
    change(policy, sized(20, 21))
    on_a, on_b = (dict(plan.trees) for plan in policy.placement)
    assert on_a[0] > 0.6 and on_b[1] > 0.6
    assert on_a[2] > 0.2 and on_b[2] > 0.2


# --- quotas --------------------------------------------------------------------------------------


@pytest.mark.parametrize('policy', ['market', 'ranked', 'fcfs'])
def test_every_tree_gets_exactly_its_number_of_trials_failed_ones_included(policy):
    def objective(params):
        return 1 / 0 if chosen(params)[1] < 0.3 else 1.0

    result = search(
        trees(5), [GPU, CPU], lambda params, own: 1 + chosen(params)[1], objective, trials_per_tree=20, policy=policy
    )
    assert per_tree(result) == dict.fromkeys(range(5), 20)
    assert result.stopped == 'finished'
    assert result.history.states[TrialState.FAILED] > 10


def test_a_tree_that_fits_nowhere_gets_its_number_of_failed_trials():
    cluster = {'memory': lambda params: 10**9 if 'tree1' in params else 1}
    result = search(trees(3), [SMALL, LARGE], lambda params, own: 1.0, cluster=cluster, trials_per_tree=12)
    assert per_tree(result) == {0: 12, 1: 12, 2: 12}


def test_asked_by_hand_a_search_ends_when_every_tree_has_its_number():
    own = Search(trees(4), trials_per_tree=6, seed=0)
    asked = []
    while (trial := own.ask()) is not None:
        asked.append(trial.tree)
        own.tell(trial, 1.0)
    assert own.finished
    assert Counter(asked) == dict.fromkeys(range(4), 6)


def test_a_grid_that_is_smaller_than_the_number_ends_sooner():
    own = Search({'exclusive': True, 'a': {'x': spaces.grid([1, 2])}, 'b': {'x': X}}, trials_per_tree=6, seed=0)
    asked = Counter()
    while (trial := own.ask()) is not None:
        asked[trial.tree] += 1
        own.tell(trial, 1.0)
    assert asked == {0: 2, 1: 6}


def test_a_larger_number_lets_a_finished_search_go_on():
    options = {'storage': 'market.db', 'max_tasks': None}
    first = search(trees(3), [GPU, CPU], lambda params, own: 1.0, trials_per_tree=4, **options)
    again = search(trees(3), [GPU, CPU], lambda params, own: 1.0, trials_per_tree=4, **options)
    larger = search(trees(3), [GPU, CPU], lambda params, own: 1.0, trials_per_tree=9, **options)
    assert (len(first), len(again), len(larger)) == (12, 12, 27)
    assert per_tree(larger) == dict.fromkeys(range(3), 9)


def test_a_search_with_quotas_ends_nearly_as_soon_as_can_be(least_makespan):
    names, slots = 'abc', np.array([4, 10, 20])
    classes = [ComputeClass(name, int(number), {'cores': 4}) for name, number in zip(names, slots)]
    ratios = {'market': [], 'fcfs': []}
    for seed in (0, 2):
        rng = np.random.default_rng(seed)
        table = 10 * np.exp(rng.normal(0, 0.5, (5, 1)) + rng.normal(0, 0.7, (5, 3)))
        for policy, found in ratios.items():
            result = search(
                trees(5), classes, lambda params, own, table=table: table[int(chosen(params)[0][4:]), names.index(own.name)],
                trials_per_tree=200, seed=seed, policy=policy,
            )  # fmt: skip
            found.append(result.elapsed / least_makespan(200, table, slots))
    assert max(ratios['market']) < 1.15
    assert min(ratios['fcfs']) > 1.3


def test_with_quotas_the_longest_trials_come_first_once_each_tree_has_some():
    lengths = {'tree0': 1.0, 'tree1': 4.0, 'tree2': 16.0}
    result = search(trees(3), [ONLY], lambda params, own: lengths[chosen(params)[0]], trials_per_tree=40)
    begun = [trial.tree for trial in sorted(result, key=lambda trial: trial.id)]
    assert min(Counter(begun[:30]).values()) >= 3
    assert set(begun[-30:]) == {0}
    mean_place = {index: np.mean([place for place, tree in enumerate(begun) if tree == index]) for index in range(3)}
    assert mean_place[2] < 45 < 75 < mean_place[0]


@pytest.mark.parametrize('policy', ['market', 'fcfs'])
def test_with_quotas_short_trials_fill_the_end(policy):
    work, speed = 100 * sum(LENGTHS.values()), 4 / 1 + 5 / 2 + 10 / 3
    found = [
        search(trees(4), sized(4, 5, 10), costly, trials_per_tree=100, seed=seed, policy=policy).elapsed
        / (work / speed)
        for seed in range(3)
    ]
    assert (np.mean(found) < 1.1) == (policy == 'market')


# --- large forests, and what it costs ------------------------------------------------------------


def test_a_forest_of_a_trillion_trees_is_searched_by_few_of_them():
    space = {f'part{i}': {'exclusive': True, **{f'{j}': {'x': X} for j in range(10)}} for i in range(12)}
    result = search(space, [GPU, CPU], lambda params, own: 1.0, lambda params: params['part0'] is None, max_tasks=300)
    assert result.forest.count == 10**12
    assert len(result) == 300
    assert 30 < len(per_tree(result)) <= 100


def test_exhausted_trees_of_a_large_forest_are_replaced():
    space = {f'part{i}': {'optional': True, 'k': spaces.grid([1])} for i in range(40)}
    own = Search(space, seed=0)
    seen = set()
    for _ in range(200):
        trial = own.ask()
        seen.add(trial.tree)
        own.tell(trial, 1.0)
    assert len(seen) == 200


def calls_of(monkeypatch, run):
    """Return how often the equilibrium is computed in a run."""
    calls = []
    compute = planner.equilibrium
    monkeypatch.setattr(planner, 'equilibrium', lambda *args, **options: calls.append(1) or compute(*args, **options))
    run()
    return len(calls)


@pytest.mark.parametrize(('trials', 'slots', 'most'), [(1000, 10, 300), (5000, 10, 450), (1000, 200, 110)])
def test_plans_become_rarer_while_the_search_goes_on_and_with_more_slots(monkeypatch, trials, slots, most):
    own = ComputeClass('only', slots, {'cores': 4})
    run = lambda: search(trees(4), [own], lambda params, own: 1 + chosen(params)[1], max_tasks=trials)  # noqa: E731
    assert 5 < calls_of(monkeypatch, run) < most


def test_trees_that_are_exhausted_one_after_another_do_not_each_cost_a_plan(monkeypatch):
    space = {'exclusive': True, **{f'tree{index}': {'x': spaces.grid([1, 2])} for index in range(300)}}
    run = lambda: search(space, [ONLY], lambda params, own: 1.0)  # noqa: E731
    assert calls_of(monkeypatch, run) < 300  # fewer than trees, of 600 trials


def test_a_pick_costs_little_with_a_thousand_trees_and_many_classes(calls):
    classes = [ComputeClass(f'class{number}', 25, {'cores': 1 + number}) for number in range(20)]
    policy, history = make({f'part{i}': {'optional': True, 'x': X} for i in range(20)}, classes)

    def pick(number):
        name = classes[number % 20].name
        finish(policy, history, policy.pick(name, 0.0).index, name, 1 + number % 7)

    assert calls(lambda: [pick(number) for number in range(300)]) < 300 * 1000  # less than one for each tree


def test_a_trial_that_was_taken_back_counts_no_longer_as_one_that_runs():
    classes = [ComputeClass('large', 4, {'memory': 8000}), ComputeClass('small', 4, {'memory': 1000})]
    policy, _ = make(trees(2), classes)
    ledger = policy.ledger
    while begin(policy, 'small') is not None:  # until enough of both run to tell whether they fit
        pass
    assert 2 <= len(ledger.running) < 20
    lost = Result(0, TrialState.LOST)
    trial = ledger.apply(lost)
    policy.on(lost, trial)
    assert policy.pick('small', 0.0).index == trial.tree
    again = Attempt(0, 1, 'small', {}, 0.0)
    policy.on(again, ledger.apply(again))
    assert policy.pick('small', 0.0) is None
