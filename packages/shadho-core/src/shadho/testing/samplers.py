"""What every sampler must do."""

from __future__ import annotations

import json
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, cast

import attrs
import numpy as np
import numpy.typing as npt
import pytest

from shadho.forest import Forest, Tree
from shadho.records import Result, Trial, TrialError, TrialState
from shadho.samplers import Sampler, Suggestion
from shadho.search import Search
from shadho.testing.spaces import SPACES, some_trees

__all__ = ['SamplerSuite']

_TYPICAL = ('every domain', 'unequal trees')
"""Spaces that stand for most searches: domains of every kind in one tree, and trees of unequal size."""


class SamplerSuite(ABC):
    """Tests of the contract of `shadho.samplers.Sampler`.

    A sampler suggests points inside the unit cube of whichever tree it is asked for; its choices
    depend on nothing but its seed and what it was asked and told. It accepts losses in any order,
    of suggestions that it made, that an earlier run made, or that nobody made.

    Attributes
    ----------
    seeded : bool, default True
        Whether another seed gives other suggestions; False for a sampler without chance.
    resumes : bool, default False
        Whether the k-th suggestion in a tree is a function of the seed, the tree and k alone, so
        that a resumed search suggests what an uninterrupted one would have.
    expensive : bool, default False
        Whether a suggestion takes more than about 10 ms of CPU time once losses are known. The
        tests of what a sampler learns then run on two spaces, 'every domain' and 'unequal trees',
        not on all; those that an unusual space may break run on every space, with fewer suggestions.
    """

    seeded: ClassVar[bool] = True
    resumes: ClassVar[bool] = False
    expensive: ClassVar[bool] = False

    @abstractmethod
    def make(self, forest: Forest, seed: int) -> Sampler:
        """Return a new sampler."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Let pytest run each test that takes a ``forest`` on all spaces, or on a few if suggestions are expensive."""
        if 'forest' in metafunc.fixturenames:
            metafunc.parametrize('forest', _TYPICAL if self.expensive else list(SPACES), indirect=True)

    @pytest.fixture
    def forest(self, request: pytest.FixtureRequest) -> Forest:
        """The forest that a test runs on: one for each of `shadho.testing.SPACES`, or for each typical one."""
        return Forest(SPACES[request.param])

    @pytest.fixture(params=list(SPACES))
    def any_forest(self, request: pytest.FixtureRequest) -> Forest:
        """The forest of a test that an unusual space may break: one for each space, whatever suggestions cost."""
        return Forest(SPACES[request.param])

    def test_points_lie_in_the_unit_cube_of_the_tree_that_was_asked_for(self, any_forest: Forest) -> None:
        sampler = self.make(any_forest, 1)
        for _ in range(6):
            for tree in some_trees(any_forest):
                suggestion = sampler.ask(tree)
                if suggestion is not None:
                    assert suggestion.tree is tree
                    _check(suggestion)
                    sampler.tell(suggestion, _loss(suggestion))

    def test_a_tree_gives_as_many_suggestions_as_its_length_says(self, any_forest: Forest) -> None:
        sampler, most = self.make(any_forest, 1), 12 if self.expensive else 40
        for tree in some_trees(any_forest):
            length = sampler.length(tree)
            assert length == math.inf or length == int(length)
            asked = _ask(sampler, tree, int(min(length, most)))
            assert len(asked) == min(length, most)
            if length <= most:
                assert [sampler.ask(tree), sampler.ask(tree)] == [None, None]

    def test_suggestions_of_a_tree_have_different_numbers(self, any_forest: Forest) -> None:
        sampler = self.make(any_forest, 1)
        for tree in some_trees(any_forest):
            numbers = [suggestion.id for suggestion in _ask(sampler, tree, 8)]
            assert all(type(number) is int and 0 <= number < 2**63 for number in numbers)
            assert len(set(numbers)) == len(numbers)

    def test_notes_are_made_of_the_types_of_json(self, any_forest: Forest) -> None:
        for suggestion in _ask(self.make(any_forest, 1), any_forest.tree(0), 3):
            assert json.loads(json.dumps(dict(suggestion.meta))) == suggestion.meta

    def test_the_same_seed_gives_the_same_suggestions(self, forest: Forest) -> None:
        first, second = (_story(self.make(forest, 5), some_trees(forest)) for _ in range(2))
        assert _same(first, second)

    def test_another_seed_gives_other_suggestions(self) -> None:
        forest = Forest(SPACES['every domain'])
        first, second = (_story(self.make(forest, seed), some_trees(forest)) for seed in (5, 6))
        assert _same(first, second) is not self.seeded

    def test_chance_comes_from_the_seed_alone(self, forest: Forest) -> None:
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        _story(self.make(forest, 5), some_trees(forest))
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]

    def test_seeds_may_be_zero_or_large(self, any_forest: Forest) -> None:
        for seed in (0, 2**70):
            for suggestion in _ask(self.make(any_forest, seed), any_forest.tree(0), 1):
                _check(suggestion)

    def test_a_suggestion_stays_as_it_was_made(self, any_forest: Forest) -> None:
        sampler = self.make(any_forest, 1)
        tree = any_forest.tree(any_forest.count - 1)
        first = _ask(sampler, tree, 1)[0]
        kept = first.point.copy()
        _story(sampler, [tree])
        assert np.array_equal(first.point, kept)

    def test_losses_may_be_told_in_any_order(self, forest: Forest) -> None:
        sampler = self.make(forest, 1)
        pending = [suggestion for tree in some_trees(forest) for suggestion in _ask(sampler, tree, 6)]
        random.Random(3).shuffle(pending)
        for suggestion in pending:
            sampler.tell(suggestion, _loss(suggestion))
        self._goes_on(sampler, forest)

    @pytest.mark.parametrize(
        'losses', [[math.nan], [math.inf], [-math.inf], [0.0], [1e308, -1e308], [math.nan, math.inf, -math.inf, 1.0]]
    )
    def test_any_loss_can_be_told(self, forest: Forest, losses: list[float]) -> None:
        sampler = self.make(forest, 1)
        for tree in some_trees(forest):
            for number, suggestion in enumerate(_ask(sampler, tree, 12)):
                sampler.tell(suggestion, losses[number % len(losses)])
        self._goes_on(sampler, forest)

    def test_losses_of_every_kind_can_be_told_in_any_space(self, any_forest: Forest) -> None:
        sampler = self.make(any_forest, 1)
        losses = [1.0, math.nan, 1e308, -1e308, math.inf, -math.inf]
        for tree in some_trees(any_forest):
            for suggestion, loss in zip(_ask(sampler, tree, len(losses)), losses):
                sampler.tell(suggestion, loss)
        self._goes_on(sampler, any_forest)

    def test_suggestions_of_nobody_can_be_told(self, forest: Forest) -> None:
        sampler = self.make(forest, 1)
        for tree in some_trees(forest):
            for loss in (0.5, math.nan, 0.25, 0.25):
                sampler.tell(Suggestion(-1, tree, np.full(len(tree), 0.5)), loss)
        self._goes_on(sampler, forest)

    def test_suggestions_of_nobody_use_up_no_suggestion_of_ones_own(self, any_forest: Forest) -> None:
        sampler = self.make(any_forest, 1)
        tree = any_forest.tree(0)
        sampler.tell(Suggestion(-1, tree, np.full(len(tree), 0.5)), 0.5)
        length = sampler.length(tree)
        assert len(_ask(sampler, tree, 10)) == min(length, 10)

    def test_suggestions_of_another_sampler_can_be_told(self, forest: Forest) -> None:
        other, sampler = self.make(forest, 9), self.make(forest, 1)
        for tree in some_trees(forest):
            for suggestion in _ask(other, tree, 5)[2:]:
                sampler.tell(attrs.evolve(suggestion, meta={}), _loss(suggestion))
        self._goes_on(sampler, forest)

    def test_a_point_may_be_told_back_changed(self, forest: Forest) -> None:
        """The search sets the coordinates of grid domains, and tells the point that was tried."""
        sampler = self.make(forest, 1)
        for tree in some_trees(forest):
            for suggestion in _ask(sampler, tree, 4):
                sampler.tell(attrs.evolve(suggestion, point=1.0 - suggestion.point), 1.0)
        self._goes_on(sampler, forest)

    def test_a_suggestion_can_be_forgotten(self, forest: Forest) -> None:
        sampler = self.make(forest, 1)
        for tree in some_trees(forest):
            for number, suggestion in enumerate(_ask(sampler, tree, 6)):
                if number % 2:
                    sampler.forget(suggestion)
                else:
                    sampler.tell(suggestion, _loss(suggestion))
        self._goes_on(sampler, forest)

    def test_a_forgotten_suggestion_can_be_taken_up_again(self, forest: Forest) -> None:
        sampler = self.make(forest, 1)
        for tree in some_trees(forest):
            for suggestion in _ask(sampler, tree, 3):
                sampler.forget(suggestion)
                sampler.adopt(attrs.evolve(suggestion, meta=dict(suggestion.meta)))
                sampler.tell(suggestion, _loss(suggestion))
        self._goes_on(sampler, forest)

    def test_suggestions_of_an_earlier_run_can_be_adopted_and_told(self, forest: Forest) -> None:
        earlier, sampler = self.make(forest, 1), self.make(forest, 1)
        for tree in some_trees(forest):
            for suggestion in _ask(earlier, tree, 4):
                sampler.adopt(suggestion)
                sampler.tell(suggestion, _loss(suggestion))
        self._goes_on(sampler, forest)

    @pytest.mark.parametrize('running', [2, 4])
    def test_a_resumed_sampler_goes_on_where_the_earlier_one_ended(self, forest: Forest, running: int) -> None:
        earlier, later = self.make(forest, 1), self.make(forest, 1)
        for tree in some_trees(forest):
            recorded = _ask(earlier, tree, 5)
            for suggestion in [*recorded[3:], *recorded[:3]]:
                if suggestion is recorded[running % len(recorded)]:
                    later.adopt(suggestion)
                else:
                    later.tell(suggestion, _loss(suggestion))
            old, new = _ask(earlier, tree, 5), _ask(later, tree, 5)
            for suggestion in new:
                _check(suggestion)
            if self.resumes:
                assert [suggestion.id for suggestion in new] == [suggestion.id for suggestion in old]
                assert _same([suggestion.point for suggestion in new], [suggestion.point for suggestion in old])

    def test_a_promise_is_one_number_for_each_tree(self, any_forest: Forest) -> None:
        sampler = self.make(any_forest, 1)
        trees = some_trees(any_forest)
        for told in range(2):
            promise = sampler.promise(trees)
            if promise is not None:
                assert promise.shape == (len(trees),)
                assert not np.isnan(promise).any()
            if not told:
                _story(sampler, trees)

    def test_a_search_can_use_it(self, any_forest: Forest) -> None:
        search = Search(any_forest, method=cast(Any, lambda forest, *, seed: self.make(forest, seed)), seed=3)
        waiting = []
        chance = random.Random(0)
        for step in range(24 if self.expensive else 40):
            trial = search.ask()
            if trial is not None:
                any_forest.tree(trial.tree).encode(trial.params)
                waiting.append(trial)
            if waiting and (step % 3 or trial is None):
                ended = waiting.pop(chance.randrange(len(waiting)))
                if chance.random() < 0.2:
                    search.cancel(ended)
                else:
                    search.tell(ended, math.nan if chance.random() < 0.2 else sum(ended.point))
        states = search.history.states
        assert states[TrialState.DONE] + states[TrialState.FAILED] == len(search.history) > 0

    def test_a_serial_search_that_was_interrupted_goes_on_as_if_it_had_not_been(self, forest: Forest) -> None:
        def search() -> Search:
            return Search(forest, method=cast(Any, lambda forest, *, seed: self.make(forest, seed)), seed=3)

        log: list[Trial | Result] = []
        whole = search()
        for _ in range(24):
            _evaluate(whole, log)
        for length in (6, 15):
            resumed, own = search(), log[: 2 * length]
            resumed.restore(own)
            for _ in range(length, 24):
                _evaluate(resumed, own)
            assert [(one.tree, one.point) for one in own if isinstance(one, Trial)] == [
                (one.tree, one.point) for one in log if isinstance(one, Trial)
            ]

    def test_what_is_asked_for_together_differs(self, forest: Forest) -> None:
        sampler = self.make(forest, 1)
        tree = max(some_trees(forest), key=len)
        for suggestion in _ask(sampler, tree, 30):
            sampler.tell(suggestion, _loss(suggestion))
        points = [tuple(suggestion.point.tolist()) for suggestion in _ask(sampler, tree, 16)]
        if any(kind.kind == 'continuous' for kind in tree.dimensions) and sampler.length(tree) == math.inf:
            assert len(set(points)) == len(points)

    def _goes_on(self, sampler: Sampler, forest: Forest) -> None:
        for tree in some_trees(forest):
            for suggestion in _ask(sampler, tree, 3):
                _check(suggestion)


def _evaluate(search: Search, log: list[Trial | Result]) -> None:
    """Ask for a trial and record what comes of it, a failure now and then; nothing at the end of a small space."""
    trial = search.ask()
    if trial is None:
        return
    loss = sum(trial.point) + trial.tree % 5
    failed = Result(trial.id, TrialState.FAILED, error=TrialError('exception', 'as asked for'))
    log += [trial, failed if trial.id % 7 == 5 else Result(trial.id, TrialState.DONE, loss=loss)]
    search.record(cast(Result, log[-1]))


def _ask(sampler: Sampler, tree: Tree, number: int) -> list[Suggestion]:
    """Ask so many times; fewer suggestions come when the tree is exhausted."""
    asked = (sampler.ask(tree) for _ in range(number))
    return [suggestion for suggestion in asked if suggestion is not None]


def _story(sampler: Sampler, trees: Sequence[Tree]) -> list[npt.NDArray[np.float64]]:
    """Ask in each tree in turn, one loss behind; return the points."""
    points = []
    behind: Callable[[], None] = lambda: None  # noqa: E731
    for _ in range(6):
        for tree in trees:
            for suggestion in _ask(sampler, tree, 1):
                points.append(suggestion.point.copy())
                behind()
                behind = _later(sampler, suggestion)
    return points


def _later(sampler: Sampler, suggestion: Suggestion) -> Callable[[], None]:
    return lambda: sampler.tell(suggestion, _loss(suggestion))


def _loss(suggestion: Suggestion) -> float:
    return float(np.sum((suggestion.point - 0.3) ** 2)) + suggestion.tree.index % 5


def _check(suggestion: Suggestion) -> None:
    point = suggestion.point
    assert isinstance(point, np.ndarray)
    assert point.dtype == np.float64
    assert point.shape == (len(suggestion.tree),)
    assert ((point >= 0.0) & (point <= 1.0)).all()
    suggestion.tree.decode(point.tolist())


def _same(one: Iterable[npt.NDArray[np.float64]], other: Iterable[npt.NDArray[np.float64]]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
