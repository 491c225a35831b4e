"""What every sampler must do."""

from __future__ import annotations

import json
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import attrs
import numpy as np
import pytest

from shadho.forest import Forest, Tree
from shadho.ledger import Ledger
from shadho.records import Attempt, Event, Result, Trial, TrialError, TrialState
from shadho.samplers import Offer, Sampler, SamplerContext, Suggestion
from shadho.search import Search
from shadho.testing.spaces import SPACES, some_trees

__all__ = ['SamplerRun', 'SamplerSuite']

_TYPICAL = ('every domain', 'unequal trees')
"""Spaces that stand for most searches: domains of every kind in one tree, and trees of unequal size."""


class SamplerRun:
    """A sampler and its ledger, as a search has them, for tests that choose the tree of each trial.

    Parameters
    ----------
    make : callable
        Makes the sampler of a `SamplerContext`: its class, or a function that also gives options.
    forest : Forest
    seed : int, default 0
    repeats : int, default 1

    Attributes
    ----------
    context : SamplerContext
    sampler : Sampler

    Examples
    --------
    >>> from shadho import spaces
    >>> from shadho.samplers.tpe import TPE
    >>> run = SamplerRun(TPE, Forest({'x': spaces.uniform(0, 1)}))
    >>> trial = run.ask(run.context.forest.tree(0))
    >>> run.tell(trial, sum(trial.point))
    """

    def __init__(
        self, make: Callable[[SamplerContext], Sampler], forest: Forest, seed: int = 0, *, repeats: int = 1
    ) -> None:
        self._make = make
        self._log: list[Event] = []
        self.context = SamplerContext(forest, Ledger(), seed, repeats)
        self.context.ledger.write_to(self._log.append)
        self.sampler = make(self.context)

    def suggest(self, tree: Tree) -> Suggestion | None:
        """Return the next suggestion in a tree, of which no trial begins."""
        suggestion = self.sampler.ask(tree, self.context.ledger.history.asked_in(tree.index))
        if suggestion is not None:
            assert suggestion.tree is tree
            _check(suggestion)
        return suggestion

    def offers(self, tree: Tree) -> Sequence[Offer]:
        """Return suggestions in a tree of which any could be begun."""
        number = self.context.ledger.history.asked_in(tree.index)
        return self.sampler.offers(tree, range(number, number + 8))

    def ask(self, tree: Tree) -> Trial | None:
        """Begin a trial in a tree; None when the sampler has no suggestion left there."""
        suggestion = self.suggest(tree)
        return None if suggestion is None else self.begin(tree, suggestion.point, suggestion.meta)

    def begin(self, tree: Tree, point: Iterable[float], meta: Mapping[str, Any] | None = None) -> Trial:
        """Begin a trial at any point."""
        ledger = self.context.ledger
        point = tuple(map(float, point))
        self.context.visited.add(tree, point)
        return ledger.apply(Trial(ledger.history.asked, tree.index, point, None, meta=meta or {}))

    def tell(self, trial: Trial, loss: float) -> None:
        """End a trial with a loss, or as failed when that is nan."""
        state = TrialState.FAILED if math.isnan(loss) else TrialState.DONE
        self.context.ledger.apply(Result(trial.id, state, None if math.isnan(loss) else loss))
        self._tell(trial, loss)

    def take_back(self, trial: Trial) -> None:
        """End an attempt at a trial; the trial waits to run again."""
        self.context.ledger.apply(Result(trial.id, TrialState.CANCELLED))

    def begin_again(self, trial: Trial) -> Trial:
        """Begin another attempt at a trial that was taken back."""
        return self.context.ledger.apply(Attempt(trial.id, trial.attempt + 1, trial.compute_class))

    def add(self, tree: Tree, point: Iterable[float], loss: float) -> None:
        """Let the sampler learn a result that is none of the run's trials."""
        point = np.array(list(point), dtype=float)
        self.context.added.add(tree.index, point, loss)
        self.context.visited.know(tree, point)
        self.sampler.tell(Suggestion(tree, point), loss)

    def resumed(self) -> SamplerRun:
        """Return a run with a new sampler that has seen the trials of this one, and where those that run here wait."""
        run = SamplerRun(self._make, self.context.forest, self.context.seed, repeats=self.context.repeats)
        for record in self._log:
            trial = run.context.ledger.apply(record)
            if isinstance(record, Trial):
                run.context.visited.add(self.context.forest.tree(record.tree), record.point)
            if trial is not None and trial.is_finished:
                meta = json.loads(json.dumps(dict(trial.meta)))
                run._tell(attrs.evolve(trial, meta=meta), math.nan if trial.loss is None else trial.loss)
        for trial in list(run.context.ledger.running.values()):
            run.take_back(trial)
        return run

    def _tell(self, trial: Trial, loss: float) -> None:
        tree = self.context.forest.tree(trial.tree)
        self.sampler.tell(Suggestion(tree, np.array(trial.point), trial.meta), loss)


class SamplerSuite(ABC):
    """Tests of the contract of `shadho.samplers.Sampler`.

    A sampler suggests points inside the unit cube of whichever tree it is asked for. A suggestion is a function of the seed,
    the tree, its number, the results that were told, and the pending trials. It accepts losses in any order, of suggestions
    that it made, that an earlier run made, or that nobody made.

    Attributes
    ----------
    seeded : bool, default True
        Whether another seed gives other suggestions; False for a sampler without chance.
    expensive : bool, default False
        Whether a suggestion takes more than about 10 ms of CPU time once losses are known. The
        tests of what a sampler learns then run on two spaces, 'every domain' and 'unequal trees',
        not on all; those that an unusual space may break run on every space, with fewer suggestions.
    """

    seeded: ClassVar[bool] = True
    expensive: ClassVar[bool] = False

    @abstractmethod
    def make(self, context: SamplerContext) -> Sampler:
        """Return a new sampler."""

    def run(self, forest: Forest, seed: int = 1) -> SamplerRun:
        """Return a run of a new sampler."""
        return SamplerRun(self.make, forest, seed)

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
        run = self.run(any_forest)
        for _ in range(6):
            for tree in some_trees(any_forest):
                for trial in _ask(run, tree, 1):
                    run.tell(trial, _loss(trial))

    def test_a_tree_gives_as_many_suggestions_as_its_length_says(self, any_forest: Forest) -> None:
        run, most = self.run(any_forest), 12 if self.expensive else 40
        for tree in some_trees(any_forest):
            length = run.sampler.length(tree)
            assert length == math.inf or length == int(length)
            asked = _ask(run, tree, int(min(length, most)))
            assert len(asked) == min(length, most)
            if length <= most:
                assert [run.ask(tree), run.ask(tree)] == [None, None]

    def test_notes_are_made_of_the_types_of_json(self, any_forest: Forest) -> None:
        for trial in _ask(self.run(any_forest), any_forest.tree(0), 3):
            assert json.loads(json.dumps(dict(trial.meta))) == trial.meta

    def test_the_same_seed_gives_the_same_suggestions(self, forest: Forest) -> None:
        first, second = (_story(self.run(forest, 5), some_trees(forest)) for _ in range(2))
        assert first == second

    def test_another_seed_gives_other_suggestions(self) -> None:
        forest = Forest(SPACES['every domain'])
        first, second = (_story(self.run(forest, seed), some_trees(forest)) for seed in (5, 6))
        assert (first == second) is not self.seeded

    def test_the_same_number_gives_the_same_suggestion_as_long_as_no_trial_begins(self, forest: Forest) -> None:
        run = self.run(forest)
        for tree in some_trees(forest):
            for trial in _ask(run, tree, 14)[:-2]:
                run.tell(trial, _loss(trial))
            one, other = run.suggest(tree), run.suggest(tree)
            assert (one is None) is (other is None)
            if one is not None and other is not None:
                assert one.point.tolist() == other.point.tolist()
                assert one.meta == other.meta

    def test_of_what_it_offers_the_first_of_the_most_valuable_is_what_it_would_suggest(self, forest: Forest) -> None:
        run = self.run(forest)
        for tree in some_trees(forest):
            for trial in _ask(run, tree, 14)[:-2]:
                run.tell(trial, _loss(trial))
            own, offers = run.suggest(tree), run.offers(tree)
            if not offers:  # there is no choice
                continue
            best = max(offers, key=lambda offer: offer.value)
            assert own is not None
            assert best.suggestion.point.tolist() == own.point.tolist()
            assert best.suggestion.meta == own.meta
            assert best.number == run.context.ledger.history.asked_in(tree.index)
            for offer in offers:
                assert offer.suggestion.tree is tree
                assert math.isfinite(offer.value)
                _check(offer.suggestion)

    def test_chance_comes_from_the_seed_alone(self, forest: Forest) -> None:
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        _story(self.run(forest, 5), some_trees(forest))
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]

    def test_seeds_may_be_zero_or_large(self, any_forest: Forest) -> None:
        for seed in (0, 2**70):
            _ask(self.run(any_forest, seed), any_forest.tree(0), 1)

    def test_a_suggestion_stays_as_it_was_made(self, any_forest: Forest) -> None:
        run = self.run(any_forest)
        tree = any_forest.tree(any_forest.count - 1)
        first = run.suggest(tree)
        assert first is not None
        kept = first.point.tolist()
        _story(run, [tree])
        assert first.point.tolist() == kept

    def test_losses_may_be_told_in_any_order(self, forest: Forest) -> None:
        run = self.run(forest)
        pending = [trial for tree in some_trees(forest) for trial in _ask(run, tree, 6)]
        random.Random(3).shuffle(pending)
        for trial in pending:
            run.tell(trial, _loss(trial))
        _goes_on(run)

    @pytest.mark.parametrize(
        'losses', [[math.nan], [math.inf], [-math.inf], [0.0], [1e308, -1e308], [math.nan, math.inf, -math.inf, 1.0]]
    )
    def test_any_loss_can_be_told(self, forest: Forest, losses: list[float]) -> None:
        run = self.run(forest)
        for tree in some_trees(forest):
            for number, trial in enumerate(_ask(run, tree, 12)):
                run.tell(trial, losses[number % len(losses)])
        _goes_on(run)

    def test_losses_of_every_kind_can_be_told_in_any_space(self, any_forest: Forest) -> None:
        run = self.run(any_forest)
        losses = [1.0, math.nan, 1e308, -1e308, math.inf, -math.inf]
        for tree in some_trees(any_forest):
            for trial, loss in zip(_ask(run, tree, len(losses)), losses):
                run.tell(trial, loss)
        _goes_on(run)

    def test_results_of_no_trial_can_be_told(self, forest: Forest) -> None:
        run = self.run(forest)
        for tree in some_trees(forest):
            for loss in (0.5, math.nan, 0.25, 0.25):
                run.add(tree, [0.5] * len(tree), loss)
        _goes_on(run)

    def test_results_of_no_trial_use_up_no_suggestion(self, any_forest: Forest) -> None:
        run, tree = self.run(any_forest), any_forest.tree(0)
        run.add(tree, [0.5] * len(tree), 0.5)
        assert len(_ask(run, tree, 10)) == min(run.sampler.length(tree), 10)

    def test_suggestions_of_another_sampler_can_be_told(self, forest: Forest) -> None:
        other, run = self.run(forest, 9), self.run(forest)
        for tree in some_trees(forest):
            for trial in _ask(other, tree, 5)[2:]:
                run.add(tree, trial.point, _loss(trial))
        _goes_on(run)

    def test_a_point_may_be_told_back_changed(self, forest: Forest) -> None:
        """The search sets the coordinates of grid domains, and tells the point that was tried."""
        run = self.run(forest)
        for tree in some_trees(forest):
            for _ in range(4):
                suggestion = run.suggest(tree)
                if suggestion is not None:
                    run.tell(run.begin(tree, 1.0 - suggestion.point, suggestion.meta), 1.0)
        _goes_on(run)

    def test_a_trial_can_be_taken_back_and_run_again(self, forest: Forest) -> None:
        run = self.run(forest)
        for tree in some_trees(forest):
            trials = _ask(run, tree, 6)
            for trial in trials[::2]:
                run.take_back(trial)
            trials += _ask(run, tree, 2)
            for trial in trials[:6:2]:
                run.begin_again(trial)
            for trial in trials:
                run.tell(trial, _loss(trial))
        _goes_on(run)

    def test_a_resumed_sampler_goes_on_where_the_earlier_one_ended(self, forest: Forest) -> None:
        earlier = self.run(forest)
        for tree in some_trees(forest):
            recorded = _ask(earlier, tree, 12)
            for trial in [*recorded[5:], *recorded[:3]]:
                earlier.tell(trial, _loss(trial))
        later = earlier.resumed()
        for tree in some_trees(forest):
            old, new = _ask(earlier, tree, 3), _ask(later, tree, 3)
            assert [trial.point for trial in new] == [trial.point for trial in old]

    def test_a_promise_is_one_number_for_each_tree(self, any_forest: Forest) -> None:
        run = self.run(any_forest)
        trees = some_trees(any_forest)
        for told in range(2):
            promise = run.sampler.promise(trees)
            if promise is not None:
                assert promise.shape == (len(trees),)
                assert not np.isnan(promise).any()
            if not told:
                _story(run, trees)

    def test_a_search_can_use_it(self, any_forest: Forest) -> None:
        search = Search(any_forest, method=cast(Any, self.make), seed=3)
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
            return Search(forest, method=cast(Any, self.make), seed=3)

        log: list[Event] = []
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
        run = self.run(forest)
        tree = max(some_trees(forest), key=len)
        for trial in _ask(run, tree, 30):
            run.tell(trial, _loss(trial))
        points = [trial.point for trial in _ask(run, tree, 16)]
        if any(kind.kind == 'continuous' for kind in tree.dimensions) and run.sampler.length(tree) == math.inf:
            assert len(set(points)) == len(points)


def _goes_on(run: SamplerRun) -> None:
    """Ask in every tree, which checks what is suggested."""
    for tree in some_trees(run.context.forest):
        _ask(run, tree, 3)


def _evaluate(search: Search, log: list[Event]) -> None:
    """Ask for a trial and record what comes of it, a failure now and then; nothing at the end of a small space."""
    trial = search.ask()
    if trial is None:
        return
    loss = sum(trial.point) + trial.tree % 5
    failed = Result(trial.id, TrialState.FAILED, error=TrialError('exception', 'as asked for'))
    log += [trial, failed if trial.id % 7 == 5 else Result(trial.id, TrialState.DONE, loss=loss)]
    search.record(cast(Result, log[-1]))


def _ask(run: SamplerRun, tree: Tree, number: int) -> list[Trial]:
    """Ask so many times; fewer trials come when the tree is exhausted."""
    return [trial for trial in (run.ask(tree) for _ in range(number)) if trial is not None]


def _story(run: SamplerRun, trees: Sequence[Tree]) -> list[tuple[float, ...]]:
    """Ask in each tree in turn, one loss behind; return the points."""
    points = []
    behind: list[Trial] = []
    for _ in range(6):
        for tree in trees:
            for trial in _ask(run, tree, 1):
                points.append(trial.point)
                behind.append(trial)
                if len(behind) > 1:
                    told = behind.pop(0)
                    run.tell(told, _loss(told))
    return points


def _loss(trial: Trial) -> float:
    return sum((u - 0.3) ** 2 for u in trial.point) + trial.tree % 5


def _check(suggestion: Suggestion) -> None:
    point = suggestion.point
    assert isinstance(point, np.ndarray)
    assert point.dtype == np.float64
    assert point.shape == (len(suggestion.tree),)
    assert ((point >= 0.0) & (point <= 1.0)).all()
    suggestion.tree.decode(point.tolist())
