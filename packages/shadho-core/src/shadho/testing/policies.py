"""What every policy must do."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import pytest

from shadho import spaces
from shadho.forest import Forest, Tree
from shadho.ledger import Ledger
from shadho.records import Attempt, ClassesChanged, ComputeClass, Event, Result, Trial, TrialError, TrialState
from shadho.scheduling import Move, New, Policy, PolicyContext, Run, Slot
from shadho.search import Search
from shadho.testing.spaces import SPACES

__all__ = ['PolicySuite']

_CLASSES = [
    ComputeClass('16-core', 2, {'cores': 16}),
    ComputeClass('8-core', 4, {'cores': 8}),
    ComputeClass('4-core', 8, {'cores': 4}),
]
_ONE = [ComputeClass('only', 4, {'cores': 4})]


class PolicySuite(ABC):
    """Tests of the contract of `shadho.scheduling.Policy`.

    A policy picks trees of its forest, however many there are, never one that was excluded, and
    None once all are. While there is one compute class, and a tree that is not excluded, it picks
    one. Its choices depend on nothing but its seed and the events that it was told: asking it changes nothing.
    """

    @abstractmethod
    def make(self, context: PolicyContext) -> Policy:
        """Return a new policy."""

    @pytest.fixture(params=list(SPACES))
    def forest(self, request: pytest.FixtureRequest) -> Forest:
        """The forest that a test runs on: one for each of `shadho.testing.SPACES`."""
        return Forest(SPACES[request.param])

    def test_picks_are_trees_of_the_forest(self, forest: Forest) -> None:
        for tree in _Search(self, forest, _CLASSES).picks(60):
            assert tree is None or tree is forest.tree(tree.index)

    def test_one_class_never_stays_idle_while_there_are_trees(self, forest: Forest) -> None:
        assert None not in _Search(self, forest, _ONE).picks(60)

    def test_the_same_seed_gives_the_same_picks(self, forest: Forest) -> None:
        first, second = (_Search(self, forest, _CLASSES, seed=4).picks(60) for _ in range(2))
        assert first == second

    def test_an_excluded_tree_is_never_picked_again(self) -> None:
        forest = Forest({'layers': spaces.repeat({'exclusive': True, 'a': 1, 'b': 2, 'c': 3}, 3)})
        search = _Search(self, forest, _CLASSES)
        excluded: set[int] = set()
        for step in range(forest.count):
            assert not excluded & {tree.index for tree in search.picks(9) if tree is not None}
            excluded.add(step * 7 % forest.count)
            search.policy.exclude(forest.tree(step * 7 % forest.count))
        assert len(excluded) == forest.count
        assert search.picks(9) == [None] * 9

    def test_the_last_tree_left_is_picked(self, forest: Forest) -> None:
        indices = range(min(forest.count, 500))
        last = indices[-1] if forest.count == len(indices) else None
        search = _Search(self, forest, _ONE)
        for index in indices:
            if index != last:
                search.policy.exclude(forest.tree(index))
        picked = {tree.index for tree in search.picks(12) if tree is not None}
        assert picked == {last} if last is not None else picked.isdisjoint(indices)

    def test_excluding_a_tree_twice_is_harmless(self, forest: Forest) -> None:
        search = _Search(self, forest, _ONE)
        for _ in range(2):
            search.policy.exclude(forest.tree(0))
        picks = search.picks(12)
        assert (None in picks) == (forest.count == 1)

    def test_classes_may_come_and_go(self, forest: Forest) -> None:
        search = _Search(self, forest, [])
        for classes in ([], _CLASSES, _CLASSES[:1], [], [ComputeClass('empty', 0)], _ONE):
            search.replan(classes)
            picks = search.picks(12)
        assert None not in picks

    def test_trials_may_fail(self, forest: Forest) -> None:
        search = _Search(self, forest, _ONE, state=TrialState.FAILED)
        search.picks(30)
        search.replan(_ONE)
        assert None not in search.picks(30)

    def test_a_trial_that_waits_is_run_before_a_new_one(self, forest: Forest) -> None:
        search = _Search(self, forest, _CLASSES)
        search.picks(6)
        trial = search.begin('4-core')
        search.tell(Result(trial.id, TrialState.LOST, attempt=0))
        for may_begin in (True, False):
            choice = search.policy.choose(Slot('4-core', may_begin), search.now)
            assert isinstance(choice, Run)
            assert choice.trial.id == trial.id
        search.tell(Attempt(trial.id, 1, '4-core', {}, search.now))
        assert search.policy.choose(Slot('4-core', may_begin=False), search.now) is None

    def test_a_trial_moves_to_another_class_and_once_at_most(self, forest: Forest) -> None:
        search = _Search(self, forest, _CLASSES)
        search.picks(60)
        trial = search.begin('4-core')
        moved = 0
        for step in range(4):
            for compute_class in _CLASSES:
                slot = Slot(compute_class.name, may_begin=False, may_move=True)
                choice = search.policy.choose(slot, 1e6 + step)
                if choice is not None:
                    assert isinstance(choice, Move)
                    assert choice.trial.id == trial.id
                    assert choice.trial.compute_class != compute_class.name
                    moved += 1
                    ended = Result(trial.id, TrialState.CANCELLED, finished=1e6 + step, reason='moved')
                    search.tell(ended)
                    search.tell(Attempt(trial.id, moved, compute_class.name, {}, 1e6 + step))
        assert moved <= 1
        assert search.policy.choose(Slot('4-core', may_begin=False), 1e7) is None

    def test_asking_changes_nothing(self, forest: Forest) -> None:
        curious, other = (_Search(self, forest, _CLASSES, seed=4) for _ in range(2))
        for _ in range(40):
            for compute_class in (*_CLASSES, *_CLASSES):
                curious.policy.choose(Slot(compute_class.name, may_move=True), curious.now)
            assert curious.picks(2) == other.picks(2)

    def test_a_log_brings_every_choice_back_though_trials_run_at_once_and_classes_come_and_go(
        self, forest: Forest
    ) -> None:
        search = _Search(self, forest, _CLASSES, seed=4)
        chance = random.Random(0)
        for step in range(120):
            if step % 40 == 39:
                search.replan([_CLASSES[:2], [*_CLASSES, *_ONE], _CLASSES][step // 40])
            name = chance.choice(search.classes).name
            choice = search.policy.choose(Slot(name), search.now)
            if isinstance(choice, New) and len(search.ledger.running) < 12:
                search.start(choice.tree, name)
            elif isinstance(choice, Run):
                search.tell(Attempt(choice.trial.id, choice.trial.attempt + 1, name, {}, search.now))
            elif search.ledger.running:
                search.end(chance.choice(list(search.ledger.running.values())), chance)
        resumed = _Search(self, forest, [], seed=4, events=search.events)
        assert resumed.policy.placement == search.policy.placement
        for now in (search.now, search.now + 100.0):
            for compute_class in search.classes:
                slot = Slot(compute_class.name)
                assert resumed.policy.choose(slot, now) == search.policy.choose(slot, now)
        assert resumed.picks(20) == search.picks(20)

    def test_a_search_of_grids_visits_every_combination_once(self) -> None:
        grid = spaces.grid([1, 2, 3])
        space = {'exclusive': True, 'a': {'x': grid}, 'b': {'x': grid, 'y': spaces.grid(['u', 'v'])}, 'c': 0}
        search = Search(space, policy=cast(Any, self.make), seed=2)
        seen = []
        while (trial := search.ask()) is not None:
            seen.append(trial.params)
            search.tell(trial, 1.0)
        assert search.finished
        expected = [{'a': {'x': x}} for x in (1, 2, 3)] + [{'b': {'x': x, 'y': y}} for x in (1, 2, 3) for y in 'uv']
        assert sorted(map(repr, seen)) == sorted(map(repr, [*expected, {'c': 0}]))


class _Search:
    """A policy with its ledger, in which each pick becomes a finished trial."""

    def __init__(
        self,
        suite: PolicySuite,
        forest: Forest,
        classes: list[ComputeClass],
        *,
        seed: int = 1,
        state: TrialState = TrialState.DONE,
        events: Sequence[Event] = (),
    ) -> None:
        self.ledger = Ledger()
        self.state = state
        self.events: list[Event] = []
        self.policy = suite.make(PolicyContext(forest, self.ledger, seed))
        for event in events:
            self.tell(event)
        self.classes = list(self.ledger.classes.values())
        if not events:
            self.replan(classes)

    @property
    def now(self) -> float:
        """A clock that does not run backwards."""
        return self.ledger.time

    def tell(self, event: Event) -> Trial | None:
        """Apply an event to the ledger, and tell the policy."""
        self.events.append(event)
        trial: Trial | None = self.ledger.apply(event)
        self.policy.on(event, trial)
        return trial

    def replan(self, classes: list[ComputeClass]) -> None:
        self.classes = classes
        self.tell(ClassesChanged(classes, self.now))

    def picks(self, number: int) -> list[Tree | None]:
        """Pick for the classes in turn, so many times; none while there is no class."""
        picked = []
        for step in range(number if self.classes else 0):
            name = self.classes[step % len(self.classes)].name
            tree = self.policy.pick(name, self.now)
            picked.append(tree)
            if tree is not None:
                trial = self.start(tree, name)
                loss = trial.id % 7 / 7 if self.state is TrialState.DONE else None
                self.tell(Result(trial.id, self.state, loss, finished=self.now + 1.0, seconds=1.0 + tree.index % 3))
        return picked

    def begin(self, compute_class: str) -> Trial:
        """Begin a trial, of the first tree, that does not finish."""
        return self.start(self.policy.forest.tree(0), compute_class)

    def start(self, tree: Tree, compute_class: str) -> Trial:
        number = self.ledger.history.asked
        trial = Trial(number, tree.index, (0.5,) * len(tree), {}, compute_class, started=self.now)
        self.tell(trial)
        return trial

    def end(self, trial: Trial, chance: random.Random) -> None:
        """End an attempt in one way or another."""
        state = chance.choice([TrialState.DONE] * 4 + [TrialState.FAILED, TrialState.LOST, TrialState.CANCELLED])
        loss = chance.random() if state is TrialState.DONE else None
        error = TrialError('memory', 'too large') if state is TrialState.FAILED else None
        seconds = chance.random() * (1 + trial.tree % 5)
        self.tell(Result(trial.id, state, loss, {}, error, trial.started or 0.0, self.now + chance.random(), seconds))
