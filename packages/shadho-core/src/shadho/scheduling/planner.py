"""The planner: what is known of trees and classes in, a plan for every class out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.records import ComputeClass
from shadho.scheduling.active import ActiveTrees
from shadho.scheduling.equilibrium import equilibrium
from shadho.scheduling.layout import Layout
from shadho.scheduling.policy import ClassPlan, Heuristic, PolicyContext
from shadho.scheduling.promise import Promise
from shadho.scheduling.runtime import RuntimeModel

__all__ = ['Plan', 'Planner']

Floats = npt.NDArray[np.float64]

_SHOWN = 5
"""Trees of a class that a plan names for people."""

_LARGE = 20_000
"""Pairs of trees and classes above which the equilibrium is found to 1e-3, not 1e-4: chosen so that a plan takes milliseconds."""

_EXPLORED = 0.02
"""Least share of each budget that is spread over all classes, so that a wrong estimate is found out; and least share that is not."""

_FEW = 10
"""Results of a tree after which its own estimate has seven eighths of the weight, unless more of its trials still run."""

_ALONE = 20
"""Results between two plans of a single tree: the plan changes prices only, which people read."""


@attrs.frozen(eq=False)
class Plan:
    """Which share of each compute class every tree has.

    Attributes
    ----------
    layout : Layout
        Of the arrays: shape (classes, trees).
    mix : array
        Share of the trials begun in a class that are of each tree.
    slots : array
        Slots of a class that work for each tree on average.
    seconds : array
        Expected seconds of one trial; inf where it does not fit.
    prices : array, shape (classes,)
        What one more slot is worth, as a share of the speed of the search.
    end : float
        When every tree has had its quota, in seconds of active search; inf without one.
    """

    layout: Layout = attrs.Factory(Layout)
    mix: Floats = attrs.field()
    slots: Floats = attrs.field()
    seconds: Floats = attrs.field()
    prices: Floats = attrs.field()
    end: float = math.inf

    @mix.default
    @slots.default
    def _nothing(self) -> Floats:
        return np.zeros(self.layout.shape)

    @seconds.default
    def _unknown(self) -> Floats:
        return np.ones(self.layout.shape)

    @prices.default
    def _free(self) -> Floats:
        return np.zeros(len(self.layout.classes))

    @property
    def rates(self) -> Floats:
        """Trials per second: shape (classes, trees)."""
        return self.slots / self.seconds

    def describe(self) -> tuple[ClassPlan, ...]:
        """Return the plan for people: prices are shares of what all slots together are worth."""
        if not self.mix.size:
            return ()
        plans = []
        for compute_class, price, slots in zip(self.layout.classes, self.prices, self.slots):
            shares = slots / compute_class.slots
            worthy = np.flatnonzero(shares >= 0.005)
            first = worthy[np.argsort(-shares[worthy], kind='stable')[:_SHOWN]]
            trees = tuple((self.layout.trees[column].index, float(shares[column])) for column in first)
            plans.append(ClassPlan(compute_class.name, compute_class.slots, float(price), trees))
        return tuple(plans)


class Planner:
    """Gives each tree a budget, and lets the trees bid for the slots of the classes.

    Parameters
    ----------
    context : PolicyContext
    runtime : RuntimeModel
    heuristics : mapping of Heuristic to float
        What priorities are made of, each with its power.
    fairness, floor : float
        See `Market`.
    """

    def __init__(
        self,
        context: PolicyContext,
        runtime: RuntimeModel,
        heuristics: Mapping[Heuristic, float],
        fairness: float,
        floor: float,
    ) -> None:
        self.context = context
        self.history = context.ledger.history
        self.runtime = runtime
        self.heuristics = heuristics
        self.fairness = fairness
        self.floor = floor
        self.active = ActiveTrees(context.forest, seed=context.seed)
        self._bids = np.zeros((0, 0))
        self._bidders = Layout()

    def interval(self, plan: Plan) -> float:
        """Return the number of results after which a plan is to be replaced."""
        layout = plan.layout
        interval = max(min(len(self.history) // 50, 100), layout.slots // 20, plan.mix.size // 2000, 1)
        if len(layout.trees) != 1 or self.context.trials_per_tree is not None:
            return interval
        return max(interval, _ALONE) if len(layout.classes) > 1 else math.inf  # it shares with none

    def plan(self, classes: Sequence[ComputeClass], now: float, *, repeats: bool = True) -> Plan:
        """Find the market's equilibrium with all that is known by now.

        Parameters
        ----------
        classes : sequence of ComputeClass
        now : float
            Seconds of active search.
        repeats : bool, default True
            Leave measured seconds out where there is a single slot, so that a search in series repeats exactly.
        """
        classes = [compute_class for compute_class in classes if compute_class.slots > 0]
        self._grow(sum(compute_class.slots for compute_class in classes))
        layout = Layout(classes, self.active.trees)
        if not classes or not layout.trees:
            return Plan(layout)
        slots = np.array([compute_class.slots for compute_class in classes], dtype=float)
        seconds = self._predict(layout, now, is_known=not (repeats and layout.slots == 1))
        weights = self._weights(layout)
        budgets = self._budgets(layout, mean_seconds(seconds, slots), weights)
        apart = np.clip(1 - weights, _EXPLORED, 1 - _EXPLORED)
        explored = apart[:, None] * _spread(budgets, np.isfinite(seconds), slots)
        market = equilibrium(
            (1 - apart) * budgets, seconds, slots - explored.sum(axis=0), bids=self._kept_bids(layout),
            remaining=self._remaining(layout), tolerance=1e-3 if seconds.size > _LARGE else 1e-4,
        )  # fmt: skip
        self._bids, self._bidders = market.bids.T, layout
        shares = (market.slots + explored).T
        starts = shares / seconds.T * self._precedence(layout, seconds)
        totals = starts.sum(axis=1, keepdims=True)
        mix = starts / np.where(totals > 0, totals, 1.0)
        end = self._end(layout, (shares / seconds.T).sum(axis=0), now)
        return Plan(layout, mix, shares, seconds.T, market.prices / budgets.sum(), end)

    def _grow(self, slots: int) -> None:
        self.active.grow(len(self.history), slots)

    def _predict(self, layout: Layout, now: float, is_known: bool) -> Floats:
        """Return expected seconds: shape (trees, classes); all the same when they are not to be known."""
        running = self.history.running.values()
        seconds = self.runtime.predict(list(layout.columns), list(layout.rows), running, now)
        if not is_known:
            seconds = np.where(np.isfinite(seconds), 1.0, np.inf)
        if not np.isfinite(seconds).any():  # nothing fits anywhere, as far as is known: try all the same
            seconds = np.ones_like(seconds)
        return seconds

    def _weights(self, layout: Layout) -> Floats:
        """Return the weight, from 0 to 1, of each tree's own estimates.

        Where many trials run at once, those that return first are short ones: of cheap trees, on fast slots, and of each
        tree those of small settings. Until about as many have returned as run at once, a tree gets what it would get
        of first come, first served.
        """
        if layout.slots == 1:
            return np.ones(len(layout.trees))
        counts = np.array([self.history.count(index) for index in layout.columns], dtype=float)
        running = np.array([self.history.asked_in(index) for index in layout.columns]) - counts
        few = min(layout.slots / len(counts), _FEW)
        many = np.maximum(running, few)
        unknown: Floats = (many / (counts + many)) ** 3
        return 1 - min(few, 1.0) * unknown  # of many trees hardly any has more than one trial in a wave

    def _budgets(self, layout: Layout, mean: Floats, weights: Floats) -> Floats:
        """Return what each tree can pay: its priority times its mean seconds to the power of `fairness`, as far as both are known."""
        usual = math.exp(np.log(mean[mean > 0]).mean())
        wanted = self._priorities(layout) ** weights * (mean / usual) ** (1 - (1 - self.fairness) * weights)
        budgets: Floats = (1 - self.floor) * wanted / wanted.sum() + self.floor / len(wanted)
        return budgets

    def _priorities(self, layout: Layout) -> Floats:
        trees = layout.trees
        logarithms = np.zeros(len(trees))
        for heuristic, power in self.heuristics.items():
            scores = self.context.promise(trees) if isinstance(heuristic, Promise) else None
            if scores is None:
                scores = np.asarray(heuristic.scores(trees, self.history), dtype=float)
            if scores.shape != logarithms.shape or not np.isfinite(scores).all() or (scores < 0).any():
                raise ConfigurationError(
                    f'the heuristic {heuristic.name!r} must score each of {len(trees)} trees with a finite number of '
                    f'0 or more; got {scores!r}'
                )
            if scores.any():
                logarithms += power * np.log(np.maximum(scores / scores.max(), 1e-9))
        priorities: Floats = np.exp(logarithms - logarithms.max(initial=-math.inf))
        return priorities

    def _remaining(self, layout: Layout) -> Floats | None:
        """Return how many trials each tree still needs; None where there is no quota."""
        return None

    def _precedence(self, layout: Layout, seconds: Floats) -> Floats | float:
        """Return by which factor each tree goes before others, whatever its rate."""
        return 1.0

    def _end(self, layout: Layout, rates: Floats, now: float) -> float:
        """Return when the search ends, at these trials per second of each tree; inf when that is not known."""
        return math.inf

    def _kept_bids(self, layout: Layout) -> Floats | None:
        """Return the bids of the plan before, from which those of this one are found sooner: shape (trees, classes)."""
        if not self._bids.size or layout.is_like(self._bidders):
            return self._bids.T if self._bids.size else None
        bids = layout.moved(self._bids, self._bidders, np.zeros(layout.shape))
        bids[:, bids.sum(axis=0) == 0] = 1.0
        kept: Floats = bids.T
        return kept


def mean_seconds(seconds: Floats, slots: Floats) -> Floats:
    """Return the seconds of a trial of each tree over all slots where it fits: shape (trees,)."""
    weights = np.where(np.isfinite(seconds), slots, 0.0)
    total = np.maximum(weights.sum(axis=1), 1.0)
    mean: Floats = (np.where(np.isfinite(seconds), seconds, 0.0) * weights).sum(axis=1) / total
    return mean


def _spread(budgets: Floats, fits: npt.NDArray[np.bool_], slots: Floats) -> Floats:
    """Return the slots that each tree has with the same share of every class where it fits: shape (trees, classes)."""
    reachable = (fits * slots).sum(axis=1)
    paid = fits * (budgets / np.where(reachable > 0, reachable, 1.0))[:, None]
    sums = paid.sum(axis=0)
    spread: Floats = paid / np.where(sums > 0, sums, 1.0) * slots
    return spread
