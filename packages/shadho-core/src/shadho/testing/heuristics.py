"""What every heuristic must do."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from shadho.forest import Forest, Tree
from shadho.records import Trial, TrialState
from shadho.scheduling import Heuristic
from shadho.table import Table
from shadho.testing.spaces import SPACES, some_trees

__all__ = ['HeuristicSuite']

_LOSSES: dict[str, Callable[[int], float]] = {
    'ordinary losses': lambda number: math.sin(number),
    'equal losses': lambda number: 2.5,
    'losses and failures': lambda number: math.nan if number % 3 == 0 else math.sin(number),
    'failures only': lambda number: math.nan,
    'infinite losses': lambda number: math.inf if number % 4 == 0 else math.sin(number),
    'infinite losses and failures only': lambda number: math.inf if number % 2 == 0 else math.nan,
    'losses of minus infinity': lambda number: -math.inf if number == 5 else math.sin(number),
    'losses that overflow when squared': lambda number: 1.7e308 * math.cos(number),
    'losses that underflow when squared': lambda number: 5e-324 * (number % 3),
}


class HeuristicSuite(ABC):
    """Tests of the contract of `shadho.scheduling.Heuristic`.

    A heuristic gives one finite score of 0 or more for each tree, however many there are and
    whatever came of their trials, and reads the history without altering it.
    """

    @abstractmethod
    def make(self) -> Heuristic:
        """Return a new heuristic."""

    @pytest.fixture(params=list(SPACES))
    def trees(self, request: pytest.FixtureRequest) -> list[Tree]:
        """The trees that are scored: some of each of `shadho.testing.SPACES`."""
        return some_trees(Forest(SPACES[request.param]))

    @pytest.fixture(params=list(_LOSSES))
    def loss(self, request: pytest.FixtureRequest) -> Callable[[int], float]:
        """Losses of every kind, as a function of the number of the trial."""
        return _LOSSES[request.param]

    def test_trees_are_scored_before_any_trial(self, trees: list[Tree]) -> None:
        self._scores(trees, Table())

    def test_trees_are_scored_whatever_came_of_their_trials(
        self, trees: list[Tree], loss: Callable[[int], float]
    ) -> None:
        history = Table()
        heuristic = self.make()
        for number in range(40):
            _append(history, trees[number * number % len(trees)], loss(number))
            if number % 8 == 0:
                self._scores(trees, history, heuristic)
        self._scores(trees, history, heuristic)

    def test_no_trees_have_no_scores(self) -> None:
        assert self._scores([], Table()).shape == (0,)

    def test_any_number_of_trees_is_scored(self) -> None:
        forest = Forest({'exclusive': True, **{f'tree{number}': number for number in range(300)}})
        history = Table()
        for number in range(600):
            _append(history, forest.tree(number * number % 300), math.sin(number))
        for number in (1, 2, 300):
            self._scores([forest.tree(index) for index in range(number)], history)

    def test_the_order_of_the_trees_does_not_matter(self, trees: list[Tree]) -> None:
        history = _history(trees)
        np.testing.assert_allclose(
            self._scores(trees[::-1], history)[::-1], self._scores(trees, history), rtol=1e-9, atol=1e-12
        )

    def test_the_same_history_gives_the_same_scores(self, trees: list[Tree]) -> None:
        first, second = (self._scores(trees, _history(trees)) for _ in range(2))
        assert first.tolist() == second.tolist()

    def test_asking_twice_gives_the_same_scores(self, trees: list[Tree]) -> None:
        history, heuristic = _history(trees), self.make()
        first, second = (self._scores(trees, history, heuristic) for _ in range(2))
        assert first.tolist() == second.tolist()

    def test_the_history_stays_as_it_is(self, trees: list[Tree]) -> None:
        history, twin = _history(trees), _history(trees)
        self._scores(trees, history)
        assert (history.asked, history.trees, history.states) == (twin.asked, twin.trees, twin.states)
        assert history.losses().tolist() == twin.losses().tolist()
        for tree in trees:
            assert history.points(tree.index).tolist() == twin.points(tree.index).tolist()
            assert history.asked_in(tree.index) == twin.asked_in(tree.index)

    def _scores(
        self, trees: Sequence[Tree], history: Table, heuristic: Heuristic | None = None
    ) -> npt.NDArray[np.float64]:
        scores = (heuristic or self.make()).scores(trees, history)
        assert scores.shape == (len(trees),)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        return scores


def _history(trees: Sequence[Tree]) -> Table:
    history = Table()
    for number in range(50):
        _append(history, trees[number * number % len(trees)], math.sin(number))
    return history


def _append(history: Table, tree: Tree, loss: float) -> None:
    number = history.asked
    history.ask(tree.index)
    rng = np.random.default_rng(number)
    state = TrialState.FAILED if math.isnan(loss) else TrialState.DONE
    point = tuple(rng.random(len(tree)).tolist())
    history.append(Trial(number, tree.index, point, {}, state=state, seconds=1.0 + number % 3), loss)
