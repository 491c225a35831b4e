"""What every policy must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import pytest

from shadho import spaces
from shadho.forest import Forest, Tree
from shadho.ledger import Ledger
from shadho.records import ComputeClass, Result, Trial, TrialState
from shadho.scheduling import Policy, PolicyContext
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
    one. Its choices depend on nothing but its seed, its plans, and the history.
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

    def test_a_straggler_runs_in_another_class_and_is_named_once_at_most(self, forest: Forest) -> None:
        search = _Search(self, forest, _CLASSES)
        search.picks(60)
        trial = search.begin('4-core')
        now = 1e6
        assert search.policy.straggler('4-core', now) is None
        named = [search.policy.straggler(own.name, now + step) for step in range(3) for own in _CLASSES[:2]]
        assert all(own is None or own is trial for own in named)
        assert sum(own is trial for own in named) <= 1

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
    ) -> None:
        self.ledger = Ledger()
        self.state = state
        self.policy = suite.make(PolicyContext(forest, self.ledger, seed))
        self.replan(classes)

    def replan(self, classes: list[ComputeClass]) -> None:
        self.classes = classes
        self.policy.plan(classes, float(self.ledger.history.asked))

    def picks(self, number: int) -> list[Tree | None]:
        """Pick for the classes in turn, so many times; none while there is no class."""
        picked = []
        for step in range(number if self.classes else 0):
            name = self.classes[step % len(self.classes)].name
            tree = self.policy.pick(name, float(self.ledger.history.asked))
            picked.append(tree)
            if tree is not None:
                self._finish(tree, name)
        return picked

    def begin(self, compute_class: str) -> Trial:
        """Begin a trial, of the first tree, that does not finish."""
        return self._begin(self.policy.forest.tree(0), compute_class, 0.0)

    def _begin(self, tree: Tree, compute_class: str, started: float) -> Trial:
        number = self.ledger.history.asked
        point = (0.5,) * len(tree)
        trial = self.ledger.apply(Trial(number, tree.index, point, {}, compute_class, started=started))
        self.policy.begin(trial)
        return trial

    def _finish(self, tree: Tree, compute_class: str) -> None:
        trial = self._begin(tree, compute_class, float(self.ledger.history.asked))
        loss = trial.id % 7 / 7 if self.state is TrialState.DONE else None
        trial = self.ledger.apply(Result(trial.id, self.state, loss, seconds=1.0 + tree.index % 3))
        self.policy.tell(trial, self.ledger.goal.minimised(loss))
