"""The planner: turns the state of a search into a plan of shares for every compute class."""

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
"""Upper bound on the trees of a class that a plan shows. More would not fit a line of the display. Chosen."""

_LARGE = 20_000
"""Pairs of trees and classes above which the tolerance of prices is 1e-3, not 1e-4. Trades exact shares for plans that
take milliseconds. Chosen."""

_EXPLORED = 0.02
"""Least fraction of each budget that is spread over all classes, and least fraction that is not. Spreading corrects wrong
estimates of seconds, at the cost of worse placement. Chosen."""

_FEW = 10
"""Results of a tree at which its estimate has 7/8 of the weight. If more of its trials still run, it takes that many. More
results resist the bias of early, short trials; fewer let the market learn sooner. Chosen."""

_ALONE = 20
"""Results between two plans of a single tree. Such plans only update prices on display; more of them cost time. Chosen."""


@attrs.frozen(eq=False)
class Plan:
    """The share of each compute class that every tree gets.

    Attributes
    ----------
    layout : Layout
        Rows and columns of the arrays: shape (classes, trees).
    mix : array
        Fraction of the trials begun in a class that belong to each tree.
    slots : array
        Mean number of slots of a class that run each tree.
    seconds : array
        Expected seconds of one trial; inf where it does not fit.
    prices : array, shape (classes,)
        Worth of one more slot, as a fraction of the speed of the search.
    end : float
        Second of active search at which every tree has met its quota; inf without a quota.
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
        """Return a summary for display; prices are fractions of the worth of all slots."""
        if not self.mix.size:
            return ()
        plans = []
        for compute_class, price, slots in zip(self.layout.classes, self.prices, self.slots):
            shares = slots / compute_class.slots
            shown = np.flatnonzero(shares >= 0.005)  # smaller shares would display as 0 %
            first = shown[np.argsort(-shares[shown], kind='stable')[:_SHOWN]]
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
        Factors of the priorities, each with its power.
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
        self.ledger = context.ledger
        self.history = context.ledger.history
        self.runtime = runtime
        self.heuristics = heuristics
        self.fairness = fairness
        self.floor = floor
        self.active = ActiveTrees(context.forest, seed=context.seed)
        self._bids = np.zeros((0, 0))
        self._bidders = Layout()

    def interval(self, plan: Plan) -> float:
        """Return the number of results after which a new plan is due."""
        layout = plan.layout
        # A result changes less in a long history, results come faster from many slots, and large arrays slow a plan down.
        interval = max(min(len(self.ledger.measured) // 50, 100), layout.slots // 20, plan.mix.size // 2000, 1)
        if len(layout.trees) != 1 or self.context.trials_per_tree is not None:
            return interval
        # One tree on one class gets all slots: there is nothing to plan.
        return max(interval, _ALONE) if len(layout.classes) > 1 else math.inf

    def plan(self, classes: Sequence[ComputeClass], now: float, *, repeats: bool = True) -> Plan:
        """Find the market's equilibrium for the current state of the search.

        Parameters
        ----------
        classes : sequence of ComputeClass
        now : float
            Seconds of active search.
        repeats : bool, default True
            Ignore measured seconds on a single slot, so that a serial search repeats exactly.
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
        # A tree without a reliable estimate would bid on noise: that part of its budget skips the market.
        apart = np.clip(1 - weights, _EXPLORED, 1 - _EXPLORED)
        explored = apart[:, None] * _spread(budgets, np.isfinite(seconds), slots)
        market = equilibrium(
            (1 - apart) * budgets, seconds, slots - explored.sum(axis=0), bids=self._kept_bids(layout),
            remaining=self._remaining(layout), tolerance=1e-3 if seconds.size > _LARGE else 1e-4,
        )  # fmt: skip
        self._bids, self._bidders = market.bids.T, layout
        shares = (market.slots + explored).T
        # Slots are time, the mix counts trials: trees with short trials begin more of them in the same share.
        starts = shares / seconds.T * self._precedence(layout, seconds)
        totals = starts.sum(axis=1, keepdims=True)
        mix = starts / np.where(totals > 0, totals, 1.0)
        end = self._end(layout, (shares / seconds.T).sum(axis=0), now)
        return Plan(layout, mix, shares, seconds.T, market.prices / budgets.sum(), end)

    def _grow(self, slots: int) -> None:
        self.active.grow(len(self.ledger.measured), slots)

    def _predict(self, layout: Layout, now: float, is_known: bool) -> Floats:
        """Return expected seconds: shape (trees, classes); all equal unless `is_known`."""
        running = self.ledger.unmeasured
        seconds = self.runtime.predict(list(layout.columns), list(layout.rows), running, now)
        if not is_known:
            seconds = np.where(np.isfinite(seconds), 1.0, np.inf)
        if not np.isfinite(seconds).any():  # nothing seems to fit anywhere: keep trying, as an idle search never ends
            seconds = np.ones_like(seconds)
        return seconds

    def _weights(self, layout: Layout) -> Floats:
        """Return the weight (0 to 1) of each tree's own estimates.

        With many parallel trials, the first results are a biased sample: short trials of cheap trees, fast slots and small
        settings. Until about as many trials have returned as run at once, a tree therefore gets the share that first come,
        first served would give it.
        """
        if layout.slots == 1:
            return np.ones(len(layout.trees))
        counts = np.array([self.ledger.measured.count(index) for index in layout.columns], dtype=float)
        running = np.array([self.history.asked_in(index) for index in layout.columns]) - counts
        wave = min(layout.slots / len(counts), _FEW)  # a tree's even share of the slots
        needed = np.maximum(running, wave)
        unknown: Floats = (needed / (counts + needed)) ** 3  # 1/8 once as many have returned as still run
        # With fewer slots than trees, a tree rarely has two parallel trials, whose first result would be the shorter.
        return 1 - min(wave, 1.0) * unknown

    def _budgets(self, layout: Layout, mean: Floats, weights: Floats) -> Floats:
        """Return the budget of each tree: priority * mean seconds ** fairness.

        As its weight falls to 0, a tree's priority tends to the maximum of 1 and its power of seconds to 1.
        """
        usual = math.exp(np.log(mean[mean > 0]).mean())  # makes budgets independent of the unit of time
        wanted = self._priorities(layout) ** weights * (mean / usual) ** (1 - (1 - self.fairness) * weights)
        budgets: Floats = (1 - self.floor) * wanted / wanted.sum() + self.floor / len(wanted)
        return budgets

    def _priorities(self, layout: Layout) -> Floats:
        trees = layout.trees
        logarithms = np.zeros(len(trees))
        for heuristic, power in self.heuristics.items():
            scores = self.context.promise(trees) if isinstance(heuristic, Promise) else None
            if scores is None:
                scores = np.asarray(heuristic.scores(trees, self.ledger.evidence), dtype=float)
            if scores.shape != logarithms.shape or not np.isfinite(scores).all() or (scores < 0).any():
                raise ConfigurationError(
                    f'the heuristic {heuristic.name!r} must return one finite score of 0 or more for each of {len(trees)} '
                    f'trees; got {scores!r}. Fix its method scores()'
                )
            if scores.any():
                # In logarithms, as powers of small scores underflow; the bound keeps a score of 0 finite.
                logarithms += power * np.log(np.maximum(scores / scores.max(), 1e-9))
        priorities: Floats = np.exp(logarithms - logarithms.max(initial=-math.inf))
        return priorities

    def _remaining(self, layout: Layout) -> Floats | None:
        """Return the number of trials that each tree still needs; None without a quota."""
        return None

    def _precedence(self, layout: Layout, seconds: Floats) -> Floats | float:
        """Return the factor by which each tree begins sooner than its rate implies."""
        return 1.0

    def _end(self, layout: Layout, rates: Floats, now: float) -> float:
        """Return the second at which the search ends at these rates (trials per second); inf if unknown."""
        return math.inf

    def _kept_bids(self, layout: Layout) -> Floats | None:
        """Return the bids of the previous plan: shape (trees, classes). Bidding from them converges sooner."""
        if not self._bids.size or layout.is_like(self._bidders):
            return self._bids.T if self._bids.size else None
        bids = layout.moved(self._bids, self._bidders, np.zeros(layout.shape))
        bids[:, bids.sum(axis=0) == 0] = 1.0  # new trees begin with equal bids
        kept: Floats = bids.T
        return kept


def mean_seconds(seconds: Floats, slots: Floats) -> Floats:
    """Return the mean seconds of a trial of each tree over all slots where it fits: shape (trees,)."""
    weights = np.where(np.isfinite(seconds), slots, 0.0)
    total = np.maximum(weights.sum(axis=1), 1.0)
    mean: Floats = (np.where(np.isfinite(seconds), seconds, 0.0) * weights).sum(axis=1) / total
    return mean


def _spread(budgets: Floats, fits: npt.NDArray[np.bool_], slots: Floats) -> Floats:
    """Return slots: shape (trees, classes), if each tree spends its budget evenly where it fits."""
    reachable = (fits * slots).sum(axis=1)
    paid = fits * (budgets / np.where(reachable > 0, reachable, 1.0))[:, None]
    sums = paid.sum(axis=0)
    spread: Floats = paid / np.where(sums > 0, sums, 1.0) * slots
    return spread
