"""The suites find what they are there to find: each class here breaks its contract in one way."""

import inspect
import math
import random
from types import SimpleNamespace

import attrs
import numpy as np
import pytest

import shadho_worker
from shadho.backends.inline import Inline
from shadho.fidelity import Decision
from shadho.fidelity.asha import ASHA
from shadho.forest import Forest
from shadho.records import ComputeClass, Result, TrialState
from shadho.samplers.random import Random
from shadho.scheduling.complexity import Complexity
from shadho.scheduling.fcfs import FirstComeFirstServed
from shadho.storage.jsonl import JSONLines
from shadho.storage.memory import Memory
from shadho.testing import (
    SPACES,
    BackendSuite,
    DurableStorageSuite,
    FidelitySuite,
    HeuristicSuite,
    PolicySuite,
    SamplerSuite,
    StorageSuite,
)

BROKEN = []


def breaks(suite, test, **arguments):
    """Note that a class must fail a test of a suite."""

    def note(cls):
        BROKEN.append(pytest.param(suite, cls, test, arguments, id=f'{cls.__name__}-{test[5:]}'))
        return cls

    return note


@breaks(SamplerSuite, 'test_points_lie_in_the_unit_cube_of_the_tree_that_was_asked_for')
class Outside(Random):
    def point(self, tree, k):
        return super().point(tree, k) * 2


@breaks(SamplerSuite, 'test_points_lie_in_the_unit_cube_of_the_tree_that_was_asked_for')
class TooShort(Random):
    def point(self, tree, k):
        return super().point(tree, k)[:1]


@breaks(SamplerSuite, 'test_the_same_seed_gives_the_same_suggestions')
@breaks(SamplerSuite, 'test_chance_comes_from_the_seed_alone')
class GlobalChance(Random):
    def point(self, tree, k):
        return np.array([random.random() for _ in range(len(tree))])


@breaks(SamplerSuite, 'test_another_seed_gives_other_suggestions')
class SeedIgnored(Random):
    def __init__(self, context):
        super().__init__(attrs.evolve(context, seed=0))


@breaks(SamplerSuite, 'test_any_loss_can_be_told')
class NanRefused(Random):
    def tell(self, suggestion, loss):
        assert loss == loss


@breaks(SamplerSuite, 'test_the_same_number_gives_the_same_suggestion_as_long_as_no_trial_begins')
@breaks(SamplerSuite, 'test_a_resumed_sampler_goes_on_where_the_earlier_one_ended')
class OwnCount(Random):
    asked = 0

    def ask(self, tree, number):
        self.asked += 1
        return super().ask(tree, self.asked)


@breaks(SamplerSuite, 'test_a_tree_gives_as_many_suggestions_as_its_length_says')
class EndlessInSpiteOfItsLength(Random):
    def length(self, tree):
        return 3

    def ask(self, tree, number):
        return super().ask(tree, number % 3)


@breaks(SamplerSuite, 'test_a_suggestion_stays_as_it_was_made')
class OneBuffer(Random):
    def point(self, tree, k):
        self.buffer = getattr(self, 'buffer', np.empty(len(tree)))
        self.buffer[:] = super().point(tree, k)
        return self.buffer


@breaks(SamplerSuite, 'test_results_of_no_trial_use_up_no_suggestion')
class CountsResults(Random):
    told = 0

    def length(self, tree):
        return 4

    def ask(self, tree, number):
        return super().ask(tree, number + self.told)

    def tell(self, suggestion, loss):
        self.told += 1


@breaks(PolicySuite, 'test_an_excluded_tree_is_never_picked_again')
class NoExclusion(FirstComeFirstServed):
    def exclude(self, tree):
        pass


@breaks(PolicySuite, 'test_the_same_seed_gives_the_same_picks', forest=Forest(SPACES['unequal trees']))
class OwnChance(FirstComeFirstServed):
    def pick(self, compute_class, now):
        self.seed = random.getrandbits(30)
        return super().pick(compute_class, now)


@breaks(PolicySuite, 'test_one_class_never_stays_idle_while_there_are_trees')
class Idle(FirstComeFirstServed):
    def pick(self, compute_class, now):
        return None if self.history.asked == 5 else super().pick(compute_class, now)


@breaks(HeuristicSuite, 'test_any_number_of_trees_is_scored')
class OneScore(Complexity):
    def scores(self, trees, history):
        return super().scores(trees[:1], history)


@breaks(HeuristicSuite, 'test_trees_are_scored_whatever_came_of_their_trials', loss=lambda number: math.nan)
class NanScored(Complexity):
    def scores(self, trees, history):
        return super().scores(trees, history) + history.losses().sum()


@breaks(HeuristicSuite, 'test_trees_are_scored_whatever_came_of_their_trials', loss=lambda number: -1.0)
class NegativeScores(Complexity):
    def scores(self, trees, history):
        return super().scores(trees, history) + history.losses().sum()


@breaks(HeuristicSuite, 'test_no_trees_have_no_scores')
class NoTrees(Complexity):
    def scores(self, trees, history):
        return np.ones(max(len(trees), 1))


@breaks(HeuristicSuite, 'test_the_order_of_the_trees_does_not_matter')
class ByPlace(Complexity):
    def scores(self, trees, history):
        return np.arange(len(trees), dtype=float)


@breaks(HeuristicSuite, 'test_the_same_history_gives_the_same_scores')
@breaks(HeuristicSuite, 'test_asking_twice_gives_the_same_scores')
class RandomScores(Complexity):
    def scores(self, trees, history):
        return np.array([random.random() for _ in trees])


@breaks(HeuristicSuite, 'test_the_history_stays_as_it_is')
class Counting(Complexity):
    def scores(self, trees, history):
        history.ask(0)
        return super().scores(trees, history)


@breaks(BackendSuite, 'test_every_trial_gives_exactly_one_result')
class Twice(Inline):
    def poll(self, timeout):
        return [result for result in super().poll(timeout) for _ in range(2)]


@breaks(BackendSuite, 'test_every_trial_gives_exactly_one_result')
class Never(Inline):
    def poll(self, timeout):
        return [result for result in super().poll(timeout) if result.trial != 5]


@breaks(BackendSuite, 'test_every_number_is_a_loss')
class FiniteOnly(Inline):
    def poll(self, timeout):
        return [attrs.evolve(own, loss=max(own.loss, -1e300)) for own in super().poll(timeout)]


@breaks(BackendSuite, 'test_a_trial_without_a_usable_loss_has_failed')
@breaks(BackendSuite, 'test_a_trial_that_raises_has_failed')
class FailedLastTrialNotTold(Inline):
    def poll(self, timeout):
        return [
            Result(own.trial, TrialState.DONE, loss=1.0) if own.trial == 4 else own for own in super().poll(timeout)
        ]


@breaks(BackendSuite, 'test_an_objective_cannot_change_the_parameters_of_its_trial')
class Uncopied(Inline):
    def poll(self, timeout):
        trial = self._waiting.popleft()
        return [Result.of(trial.id, shadho_worker.outcome(self._job.objective.function(trial.params)))]


@breaks(BackendSuite, 'test_a_stopped_trial_gives_no_result_and_frees_its_slot')
class CancelIgnored(Inline):
    def stop(self, trial):
        pass


@breaks(BackendSuite, 'test_a_quick_trial_is_done_under_a_time_limit_or_the_limit_refused')
class TimeLimitIgnored(Inline):
    def open(self, job):
        super().open(attrs.evolve(job, trial_timeout=None))


@breaks(BackendSuite, 'test_classes_have_names_of_their_own_and_slots')
class SameName(Inline):
    def discover(self):
        return [ComputeClass('one'), ComputeClass('one')]


@breaks(BackendSuite, 'test_the_clock_does_not_run_backwards')
class Backwards(Inline):
    def now(self):
        return -super().now()


@breaks(StorageSuite, 'test_records_are_read_in_the_order_in_which_they_were_appended')
class Reversed(Memory):
    def read(self, after=0):
        return iter(list(super().read(after))[::-1])


@breaks(StorageSuite, 'test_reading_can_begin_after_any_position')
class AfterIgnored(Memory):
    def read(self, after=0):
        return super().read()


@breaks(StorageSuite, 'test_values_come_back_as_they_were', name='tuples')
class TuplesLost(Memory):
    def append(self, record):
        if hasattr(record, 'params'):
            record = attrs.evolve(record, params={'value': list(record.params['value'])})
        super().append(record)


@breaks(DurableStorageSuite, 'test_a_killed_process_loses_nothing_that_was_flushed')
class NoFlush(JSONLines):
    def flush(self):
        pass


@breaks(DurableStorageSuite, 'test_a_second_writer_is_refused_and_told_who_the_first_is')
class NoLock(JSONLines):
    def __init__(self, path):
        super().__init__(path)
        self._lock.acquire = self._lock.release = lambda: None


@breaks(FidelitySuite, 'test_trials_that_never_report_hold_nobody_up', chance=random.Random(0))
class Barrier(ASHA):
    def judge(self, trial, report):
        return Decision.PAUSE

    def promotable(self):
        if not self.ledger.running:
            yield from super().promotable()


@breaks(FidelitySuite, 'test_one_slot_is_enough', chance=random.Random(0))
class PromotesBesideOthers(Barrier):
    def promotable(self):
        if self.ledger.running:
            yield from ASHA.promotable(self)


def make(cls, *given):
    """Make an object of any kind, as its suite's `make` would."""
    if issubclass(cls, (Complexity, Inline, Memory)):
        return cls()
    if issubclass(cls, JSONLines):
        return cls(given[0].with_suffix('.json'))
    return cls(*given)


@pytest.mark.parametrize(('suite', 'cls', 'test', 'arguments'), BROKEN)
def test_a_broken_class_fails(tmp_path, suite, cls, test, arguments):
    class Tested(suite):
        patience = 1.0

        def make(self, *given):
            return make(cls, *given)

    known = {
        'forest': Forest(SPACES['every domain']),
        'any_forest': Forest(SPACES['every domain']),
        'place': tmp_path / 'search',
        'tmp_path': tmp_path,
        'losses': [math.nan],
        'trees': list(Forest(SPACES['unequal trees'])),
        **arguments,
    }
    method = getattr(Tested(), test)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        method(**{name: known[name] for name in inspect.signature(method).parameters})


@pytest.mark.parametrize(('is_expensive', 'spaces'), [(False, list(SPACES)), (True, ['every domain', 'unequal trees'])])
def test_samplers_whose_suggestions_are_expensive_run_on_few_spaces(is_expensive, spaces):
    class Tested(SamplerSuite):
        expensive = is_expensive
        make = None

    given = []
    metafunc = SimpleNamespace(fixturenames=['forest'], parametrize=lambda name, values, **_: given.extend(values))
    Tested().pytest_generate_tests(metafunc)
    assert given == spaces
