"""The market: trees with budgets bid for slots of the compute classes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Tree
from shadho.records import ComputeClass, Trial
from shadho.scheduling.active import ActiveTrees
from shadho.scheduling.complexity import complexity
from shadho.scheduling.equilibrium import equilibrium
from shadho.scheduling.policy import ClassPlan, Heuristic, Policy, PolicyContext
from shadho.scheduling.promise import Promise
from shadho.scheduling.runtime import INFEASIBLE, UNFIT, RuntimeModel
from shadho.scheduling.stragglers import Stragglers

__all__ = ['Forecast', 'Market']

Floats = npt.NDArray[np.float64]

_SHOWN = 5
"""Trees of a class that a plan names."""

_LARGE = 20_000
"""Pairs of trees and classes above which a plan need not be as exact, as it takes milliseconds."""

_EXPLORED = 0.02
"""The least share of every budget that is spent on all classes alike, whatever the market says; and the least that it gets."""

_FEW = 10
"""Results of a tree after which seven eighths of what it has shown are believed, unless more of its trials still run."""

_ALONE = 20
"""Results after which a plan is made anew where there is one tree."""

_LONGEST_FIRST = 5.0
"""With a quota: the power of a tree's seconds with which it goes before others."""

_BEGUN = 3
"""With a quota: trials of a tree that are begun early, so that it is known what they take, and whether they work."""

_MOST_WITH_QUOTA = 4000
"""Trees that are weighed at once when every tree is to have the same number of trials."""


@attrs.frozen(eq=False)
class Forecast:
    """What a market expects of some compute classes.

    Attributes
    ----------
    trees : list of Tree
    classes : list of str
    seconds : array, shape (trees, classes)
        Of one trial; inf where it does not fit.
    rates : array, shape (trees, classes)
        Trials per second.
    prices : array, shape (classes,)
        What one more slot is worth, as a share of the speed of the search.
    """

    trees: list[Tree]
    classes: list[str]
    seconds: Floats
    rates: Floats
    prices: Floats


class Market(Policy):
    """Places trees where they gain most, and gives more to those that promise more.

    Every tree has a budget, and buys slots of the compute classes with it. At the prices where all
    slots are sold, no tree could do better with what it has, nothing is wasted, and trees sit where
    they gain most over the others: on hardware that suits them. Seconds are learned while the
    search runs, and so is what each tree promises.

    Parameters
    ----------
    fairness : float, default 0.75
        Budgets grow with the seconds of a trial to this power: with 1, trees of equal priority get
        equal numbers of trials; with 0, equal compute, so that many more cheap trials are run.
    heuristics : mapping of str or Heuristic to float, optional
        What priorities are made of, each with the power that it is raised to; by default
        ``{'promise': 1.5}``. An empty mapping means equal priorities.
    floor : float, default 0.05
        The share of the whole budget that is divided evenly, whatever the priorities: no tree starves.
    restart_stragglers : bool, default True
        When a slot has nothing to do, as at the end of a search: whether a trial that runs in another class, and would go
        on there for longer than it takes here, by a fifth at least, is ended and begun anew in that slot.

    Notes
    -----
    On a single slot, seconds are not taken into account: a search in series repeats exactly. The promise of trees is asked of the
    sampler first. With `trials_per_tree`, budgets follow what remains, so that the search ends soon, and heuristics do not matter.
    """

    name = 'market'

    def __init__(
        self,
        context: PolicyContext,
        *,
        fairness: float = 0.75,
        heuristics: Mapping[Any, float] | None = None,
        floor: float = 0.05,
        restart_stragglers: bool = True,
    ) -> None:
        super().__init__(context)
        self.fairness = _check_share('fairness', fairness)
        self.floor = _check_share('floor', floor)
        self.heuristics = {Promise(): 1.5} if heuristics is None else _check_heuristics(heuristics)
        self.runtime = RuntimeModel(lambda tree: complexity(context.forest.tree(tree)))
        if not isinstance(restart_stragglers, bool):
            raise ConfigurationError(
                f"policy='market': restart_stragglers must be True or False; got {restart_stragglers!r}"
            )
        self._stragglers = Stragglers(self.history) if restart_stragglers else None
        self._quota = context.trials_per_tree
        self._active = ActiveTrees(context.forest, seed=context.seed)
        self._rng = np.random.default_rng((context.seed, 1))
        self._classes: Sequence[ComputeClass] = ()
        self._results = 0  # finished trials since the last plan
        self._excluded = 0  # trees that were excluded since
        self._is_due = True
        self._interval: float = 1
        self._trees: list[Tree] = []
        self._places: dict[int, int] = {}
        self._columns: dict[str, int] = {}
        self._credits = self._mix = np.zeros((0, 0))
        self._outstanding: Floats = np.zeros((0, 0))
        self._bids: Floats | None = None
        self._prices: Floats = np.zeros(0)
        self._shares = self._seconds = np.zeros((0, 0))

    # --- the contract ------------------------------------------------------------------------------

    def plan(self, classes: Sequence[ComputeClass], now: float) -> None:
        earlier = [(own.name, own.slots) for own in self._classes]
        self._classes = [own for own in classes if own.slots > 0]
        self._is_due |= [(own.name, own.slots) for own in self._classes] != earlier

    def pick(self, compute_class: str, now: float) -> Tree | None:
        self._replan_if_due(now)
        column = self._columns.get(compute_class)
        if column is None or not self._trees:
            return None
        if len(self._trees) == 1 and self._quota is None and not self._has_failures:
            return self._trees[0]
        may_run = self._may_run(column, now)
        if not may_run.any():
            return None
        self._credit(column, may_run)
        place = int(np.argmax(np.where(may_run, self._credits[column], -np.inf)))
        self._charge(column, place)
        return self._trees[place]

    def straggler(self, compute_class: str, now: float, trial_timeout: float = math.inf) -> Trial | None:
        if self._stragglers is None or len(self._classes) < 2:
            return None
        return self._stragglers.take(compute_class, self._classes, self.runtime, now, trial_timeout)

    def adopt(self, tree: Tree, compute_class: str, now: float) -> None:
        if compute_class not in {own.name for own in self._classes}:
            return  # one that the earlier search ran on
        self._replan_if_due(now)
        column, place = self._columns[compute_class], self._places.get(tree.index)
        may_run = self._may_run(column, now)
        if place is not None and may_run.any():
            self._credit(column, may_run)
            self._charge(column, place)

    def _replan_if_due(self, now: float) -> None:
        if self._is_due or self._results >= self._interval or 20 * self._excluded > len(self._trees):
            self._replan(now)

    def _may_run(self, column: int, now: float) -> npt.NDArray[np.bool_]:
        """Return which trees a class may run now."""
        may_run: npt.NDArray[np.bool_] = self._mix[column] > 0
        if self._is_doubtful[column] or self._has_failures:
            free = may_run & ~self._blocked(column)
            may_run = free if free.any() or len(self._classes) > 1 else may_run  # a single class never stays idle
        if not self.heuristics:
            others = may_run & ~self._is_slow_perhaps(column)
            may_run = others if (others & self._is_proven[column]).any() else may_run
        if self._quota is not None:
            may_run &= self._seconds[column] <= max(self._end - now, 0.0) / self._unlucky + self._shortest
        return may_run

    def _credit(self, column: int, may_run: npt.NDArray[np.bool_]) -> None:
        """Divide one trial of a class among the trees that may run there."""
        shares = np.where(may_run, self._mix[column], 0.0)  # one that has to wait saves nothing up
        self._credits[column] += shares / shares.sum()

    def _charge(self, column: int, place: int) -> None:
        self._credits[column, place] -= 1.0

    def begin(self, trial: Trial) -> None:
        place, column = self._places.get(trial.tree), self._columns.get(trial.compute_class)
        if place is not None and column is not None:
            self._outstanding[column, place] += 1

    def take_back(self, trial: Trial) -> None:
        place, column = self._places.get(trial.tree), self._columns.get(trial.compute_class)
        if place is not None and column is not None:
            self._outstanding[column, place] = max(self._outstanding[column, place] - 1, 0)

    def tell(self, trial: Trial, loss: float) -> None:
        self.runtime.tell(trial)
        self._active.add(trial.tree)  # one of an earlier run may not be active yet
        self._results += 1
        place, column = self._places.get(trial.tree), self._columns.get(trial.compute_class)
        if place is not None and column is not None:
            self._outstanding[column, place] = max(self._outstanding[column, place] - 1, 0)
            if trial.error is not None and trial.error.kind in UNFIT:
                self._failures[column, place] += 1
                self._has_failures = True
                if not self._is_proven[column, place]:
                    self._is_due |= self._failures[column, place] == 1 or self._failures[column, place] >= INFEASIBLE
            elif trial.error is None or trial.error.kind != 'lost':
                self._is_proven[column, place] = True

    def exclude(self, tree: Tree) -> None:
        self._active.exclude(tree)
        self._excluded += 1
        place = self._places.get(tree.index)
        if place is None:
            return
        left = self._mix.sum(axis=1) - self._mix[:, place]
        self._mix[:, place] = 0.0
        self._is_due |= bool((left < 0.5).any())  # too few are left of what was planned

    def _blocked(self, column: int) -> npt.NDArray[np.bool_]:
        """Return the trees that may not fit in a class, and of which enough trials run there to tell."""
        probes = np.maximum(INFEASIBLE - self._failures[column], 1)
        is_doubtful = ~self._is_proven[column] & (self._is_doubtful[column] | (self._failures[column] > 0))
        blocked: npt.NDArray[np.bool_] = is_doubtful & (self._outstanding[column] >= probes)
        return blocked

    def _is_slow_perhaps(self, column: int) -> npt.NDArray[np.bool_]:
        """Return the trees whose first trial in a class is out, while others have come back elsewhere.

        Without priorities only the number of trials counts, and such trees would take slots before it is known for how long.
        """
        waits: npt.NDArray[np.bool_] = ~self._is_proven[column] & (self._outstanding[column] > 0)
        return waits & self._is_proven.any(axis=0)

    def forecast(self, classes: Sequence[ComputeClass], now: float) -> Forecast:
        """Plan for these classes, and say what is to be expected of them."""
        self.plan(classes, now)
        self._replan(now, repeats=False)
        rates = self._shares / self._seconds
        return Forecast(self._trees, list(self._columns), self._seconds.T, rates.T, self._prices)

    # --- planning ----------------------------------------------------------------------------------

    def _replan(self, now: float, repeats: bool = True) -> None:
        """Find the market's equilibrium with all that is known by now; on one slot such that it `repeats`."""
        slots = np.array([own.slots for own in self._classes], dtype=float)
        wanted = int(slots.sum())
        self._active.grow(len(self.history), wanted if self._quota is None else max(wanted, _MOST_WITH_QUOTA // 2))
        self._lay_out(self._active.trees, [own.name for own in self._classes])
        np.clip(self._credits, -1.0, 1.0, out=self._credits)  # what an earlier plan owed is not owed by this one
        self._is_due, self._results, self._excluded = False, 0, 0
        self._interval = max(min(len(self.history) // 50, 100), wanted // 20, self._mix.size // 2000, 1)
        if len(self._trees) == 1 and self._quota is None:  # one that shares with none: at most prices may change
            self._interval = max(self._interval, _ALONE) if len(self._classes) > 1 else math.inf
        self.placement = ()
        if not self._mix.size:
            return
        self._count_trials()
        seconds = self._predict(now, is_known=not (repeats and wanted == 1))
        remaining = self._remaining()
        known = self._known(wanted)
        budgets = self._budgets(seconds, slots, known, remaining)
        apart = np.clip(1 - known, _EXPLORED, 1 - _EXPLORED)
        explored = apart[:, None] * _spread(budgets, np.isfinite(seconds), slots)
        market = equilibrium(
            (1 - apart) * budgets, seconds, slots - explored.sum(axis=0), bids=self._bids, remaining=remaining,
            tolerance=1e-3 if seconds.size > _LARGE else 1e-4,
        )  # fmt: skip
        self._bids, self._prices = market.bids, market.prices / budgets.sum()
        self._shares = (market.slots + explored).T
        starts = self._shares / seconds.T
        if self._quota is not None:
            starts *= self._longest_first(seconds)
        totals = starts.sum(axis=1, keepdims=True)
        self._mix = starts / np.where(totals > 0, totals, 1.0)
        self._seconds, self._shortest = seconds.T, seconds.min(axis=1)
        if remaining is not None:
            self._unlucky = self.runtime.unlucky()
            rates = (self._shares / self._seconds).sum(axis=0)
            self._end = now + float((remaining / np.where(rates > 0, rates, np.inf)).max())
        self.placement = self._describe(slots)

    def _lay_out(self, trees: Sequence[Tree], names: Sequence[str]) -> None:
        """Arrange credits and bids for these trees and classes, keeping those of the ones that stay."""
        places = {tree.index: place for place, tree in enumerate(trees)}
        columns = {name: column for column, name in enumerate(names)}
        if list(places) == list(self._places) and list(columns) == list(self._columns):
            return
        kept = [index for index in places if index in self._places]
        there = [name for name in columns if name in self._columns]
        new = np.ix_([columns[name] for name in there], [places[index] for index in kept])
        old = np.ix_([self._columns[name] for name in there], [self._places[index] for index in kept])
        # Credits of less than one trial, at random: else the first slots of all classes take the first trees.
        credits = self._rng.random((len(names), len(trees)))
        credits[new] = self._credits[old]
        if self._bids is not None:
            bids = np.zeros((len(names), len(trees)))
            bids[new] = self._bids.T[old]
            unknown = bids.sum(axis=0) == 0
            bids[:, unknown] = 1.0
            self._bids = bids.T
        self._credits = credits
        self._mix, self._shares = np.zeros(credits.shape), np.zeros(credits.shape)
        self._seconds, self._prices = np.ones(credits.shape), np.zeros(len(names))
        self._trees, self._places, self._columns = list(trees), places, columns

    def _count_trials(self) -> None:
        """Count trials that run, that ran out of memory, and say where some fitted: (classes, trees)."""
        indices, names = list(self._places), list(self._columns)
        self._is_doubtful = _have_less(self._classes) & (len(self._trees) > 1)  # a single tree has nothing to wait for
        self._is_proven = self.runtime.is_proven(indices, names).T
        self._failures = self.runtime.failures(indices, names).T
        self._has_failures = bool(self._failures.any())
        self._outstanding = np.zeros(self._mix.shape)
        if self.heuristics and not (self._is_doubtful.any() or self._has_failures):
            return  # nobody will ask
        for trial in self.history.running.values():
            place, column = self._places.get(trial.tree), self._columns.get(trial.compute_class)
            if place is not None and column is not None:
                self._outstanding[column, place] += 1

    def _predict(self, now: float, is_known: bool) -> Floats:
        """Return expected seconds: shape (trees, classes); all the same when they are not to be known."""
        seconds = self.runtime.predict(list(self._places), list(self._columns), self.history.running.values(), now)
        if not is_known:
            seconds = np.where(np.isfinite(seconds), 1.0, np.inf)
        if not np.isfinite(seconds).any():  # nothing fits anywhere, as far as is known: try all the same
            seconds = np.ones_like(seconds)
        return seconds

    def _remaining(self) -> Floats | None:
        """Return how many trials each tree still needs, when every tree is to have the same number."""
        if self._quota is None:
            return None
        return np.array([max(self._quota - self.history.asked_in(index), 0) for index in self._places], dtype=float)

    def _known(self, slots: int) -> Floats:
        """Return how far what each tree has shown is to be believed, from 0 to 1.

        Where many trials run at once, those that return first are short ones: of cheap trees, on fast slots, and of each
        tree those of small settings. Until about as many have returned as run at once, a tree gets what it would get
        of first come, first served.
        """
        if slots == 1 or self._quota is not None:
            return np.ones(len(self._places))
        counts = np.array([self.history.count(index) for index in self._places], dtype=float)
        running = np.array([self.history.asked_in(index) for index in self._places]) - counts
        few = min(slots / len(counts), _FEW)
        many = np.maximum(running, few)
        unknown: Floats = (many / (counts + many)) ** 3
        return 1 - min(few, 1.0) * unknown  # of many trees hardly any has more than one trial in a wave

    def _longest_first(self, seconds: Floats) -> Floats:
        """Return by how much each tree goes before others in every class: short trials are left to fill the end with.

        R. L. Graham, *Bounds on multiprocessing timing anomalies* (1969). Trees of which little was begun come first.
        """
        shortest = seconds.min(axis=1)
        shortest = np.where(np.isfinite(shortest), shortest, 0.0)
        is_new = np.array([self.history.asked_in(index) < _BEGUN for index in self._places])
        return np.where(is_new, 1.0, (shortest / shortest.max()) ** _LONGEST_FIRST)

    def _budgets(self, seconds: Floats, slots: Floats, known: Floats, remaining: Floats | None) -> Floats:
        """Return what each tree can pay: its priority times its seconds to the power of `fairness`, as far as they are known."""
        weights = np.where(np.isfinite(seconds), slots, 0.0)
        total = np.maximum(weights.sum(axis=1), 1.0)
        mean: Floats = (np.where(np.isfinite(seconds), seconds, 0.0) * weights).sum(axis=1) / total
        if remaining is not None:
            return np.maximum(remaining, 1e-9) * mean
        usual = math.exp(np.log(mean[mean > 0]).mean())
        wanted = self._priorities() ** known * (mean / usual) ** (1 - (1 - self.fairness) * known)
        budgets: Floats = (1 - self.floor) * wanted / wanted.sum() + self.floor / len(wanted)
        return budgets

    def _priorities(self) -> Floats:
        logarithms = np.zeros(len(self._trees))
        for heuristic, power in self.heuristics.items():
            scores = self._promised() if isinstance(heuristic, Promise) else None
            if scores is None:
                scores = np.asarray(heuristic.scores(self._trees, self.history), dtype=float)
            if scores.shape != logarithms.shape or not np.isfinite(scores).all() or (scores < 0).any():
                raise ConfigurationError(
                    f'the heuristic {heuristic.name!r} must score each of {len(self._trees)} trees with a finite number of '
                    f'0 or more; got {scores!r}'
                )
            if scores.any():
                logarithms += power * np.log(np.maximum(scores / scores.max(), 1e-9))
        priorities: Floats = np.exp(logarithms - logarithms.max(initial=-math.inf))
        return priorities

    def _promised(self) -> Floats | None:
        return self.context.promise(self._trees)

    def _describe(self, slots: Floats) -> tuple[ClassPlan, ...]:
        """Say what is planned, for people: prices are shares of what all slots together are worth."""
        plans = []
        for own, price, shares in zip(self._classes, self._prices, self._shares / slots[:, None]):
            worthy = np.flatnonzero(shares >= 0.005)
            first = worthy[np.argsort(-shares[worthy], kind='stable')[:_SHOWN]]
            trees = tuple((self._trees[place].index, float(shares[place])) for place in first)
            plans.append(ClassPlan(own.name, own.slots, float(price), trees))
        return tuple(plans)


def _have_less(classes: Sequence[ComputeClass]) -> npt.NDArray[np.bool_]:
    """Say in which classes a trial may not fit that fits elsewhere: those of less memory, or with GPUs of unlike models."""
    memory = np.array([own.resources.get('memory') or own.hardware.memory for own in classes])
    have_gpus = np.array([bool(own.hardware.gpus) for own in classes])
    models = {model for own in classes for model in own.hardware.gpus}
    lacking: npt.NDArray[np.bool_] = (memory < memory.max(initial=0)) | (have_gpus & (len(models) > 1))
    return lacking


def _spread(budgets: Floats, fits: npt.NDArray[np.bool_], slots: Floats) -> Floats:
    """Return the slots that each tree has with the same share of every class where it fits: shape (trees, classes)."""
    reachable = (fits * slots).sum(axis=1)
    paid = fits * (budgets / np.where(reachable > 0, reachable, 1.0))[:, None]
    sums = paid.sum(axis=0)
    spread: Floats = paid / np.where(sums > 0, sums, 1.0) * slots
    return spread


def _check_share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value <= 1:
        raise ConfigurationError(f"policy='market': {name} must be a number from 0 to 1; got {value!r}")
    return float(value)


def _check_heuristics(heuristics: Mapping[Heuristic, float]) -> dict[Heuristic, float]:
    for heuristic, power in heuristics.items() if isinstance(heuristics, Mapping) else [(heuristics, None)]:
        is_number = isinstance(power, numbers.Real) and not isinstance(power, bool)
        if not isinstance(heuristic, Heuristic) or not is_number or not 0 <= power < math.inf:
            raise ConfigurationError(
                "policy='market': heuristics must be a dict of heuristics to the power of each, 0 or more, such as "
                f"{{'promise': 1.5}}; got {getattr(heuristic, 'name', heuristic)!r}: {power!r}"
            )
    return {heuristic: float(power) for heuristic, power in heuristics.items()}
