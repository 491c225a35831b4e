"""The planner: what is known of trees and classes in, a plan for every class out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Tree
from shadho.records import ComputeClass
from shadho.scheduling.active import ActiveTrees
from shadho.scheduling.equilibrium import equilibrium
from shadho.scheduling.policy import ClassPlan, Heuristic, PolicyContext
from shadho.scheduling.promise import Promise
from shadho.scheduling.runtime import RuntimeModel

__all__ = ['Known', 'Plan', 'Planner', 'common', 'mean_seconds']

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


class Plan:
    """Which share of each compute class every tree has. Nothing changes it.

    Parameters
    ----------
    trees : sequence of Tree
    classes : sequence of ComputeClass
        Those with slots.

    Attributes
    ----------
    mix : array, shape (classes, trees)
        Share of the trials begun in a class that are of each tree.
    slots : array, shape (classes, trees)
        Slots of a class that work for each tree on average.
    seconds : array, shape (classes, trees)
        Expected seconds of one trial; inf where it does not fit.
    prices : array, shape (classes,)
        What one more slot is worth, as a share of the speed of the search.
    end : float
        When every tree has had its quota, in seconds of active search; inf without one.
    placement : tuple of ClassPlan
        The same for people.
    """

    def __init__(self, trees: Sequence[Tree], classes: Sequence[ComputeClass]) -> None:
        self.trees = trees
        self.classes = classes
        shape = len(classes), len(trees)
        self.mix, self.slots, self.seconds = np.zeros(shape), np.zeros(shape), np.ones(shape)
        self.prices = np.zeros(len(classes))
        self.end = math.inf
        self.placement: tuple[ClassPlan, ...] = ()

    @cached_property
    def places(self) -> Mapping[int, int]:
        """Where each tree stands in the arrays, by its number."""
        return {tree.index: place for place, tree in enumerate(self.trees)}

    @cached_property
    def columns(self) -> Mapping[str, int]:
        """Where each class stands in the arrays, by its name."""
        return {compute_class.name: column for column, compute_class in enumerate(self.classes)}

    @property
    def rates(self) -> Floats:
        """Trials per second: shape (classes, trees)."""
        return self.slots / self.seconds

    def is_of(self, trees: Sequence[int], classes: Sequence[str]) -> bool:
        """Whether the arrays are of these trees and classes, in this order."""
        return list(self.places) == list(trees) and list(self.columns) == list(classes)


@attrs.frozen(eq=False)
class Known:
    """What a plan is made of, by trees and by classes."""

    seconds: Floats  # (trees, classes)
    slots: Floats  # (classes,)
    weights: Floats  # (trees,): how far each tree's own estimates count


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
        self._bids: Floats | None = None
        self._bidders = Plan((), ())

    def interval(self, plan: Plan) -> float:
        """Return the number of results after which a plan is to be replaced."""
        wanted = sum(compute_class.slots for compute_class in plan.classes)
        interval = max(min(len(self.history) // 50, 100), wanted // 20, plan.mix.size // 2000, 1)
        if len(plan.trees) != 1 or self.context.trials_per_tree is not None:
            return interval
        return max(interval, _ALONE) if len(plan.classes) > 1 else math.inf  # it shares with none

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
        slots = np.array([compute_class.slots for compute_class in classes], dtype=float)
        wanted = int(slots.sum())
        self._grow(wanted)
        plan = Plan(self.active.trees, classes)
        if plan.mix.size:
            seconds = self._predict(plan, now, is_known=not (repeats and wanted == 1))
            self._fill(plan, Known(seconds, slots, self._weights(plan, wanted)), now)
        return plan

    def _grow(self, slots: int) -> None:
        self.active.grow(len(self.history), slots)

    def _fill(self, plan: Plan, known: Known, now: float) -> None:
        """Let the trees bid, and put what comes of it into a plan."""
        seconds, slots = known.seconds, known.slots
        budgets = self._budgets(plan, known)
        apart = np.clip(1 - known.weights, _EXPLORED, 1 - _EXPLORED)
        explored = apart[:, None] * _spread(budgets, np.isfinite(seconds), slots)
        market = equilibrium(
            (1 - apart) * budgets, seconds, slots - explored.sum(axis=0), bids=self._kept_bids(plan), remaining=self._remaining(plan),
            tolerance=1e-3 if seconds.size > _LARGE else 1e-4,
        )  # fmt: skip
        self._bids, self._bidders = market.bids, plan
        plan.prices = market.prices / budgets.sum()
        plan.slots = (market.slots + explored).T
        plan.seconds = seconds.T
        starts = plan.rates * self._precedence(plan)
        totals = starts.sum(axis=1, keepdims=True)
        plan.mix = starts / np.where(totals > 0, totals, 1.0)
        plan.end = self._end(plan, now)
        plan.placement = _describe(plan)

    def _predict(self, plan: Plan, now: float, is_known: bool) -> Floats:
        """Return expected seconds: shape (trees, classes); all the same when they are not to be known."""
        running = self.history.running.values()
        seconds = self.runtime.predict(list(plan.places), list(plan.columns), running, now)
        if not is_known:
            seconds = np.where(np.isfinite(seconds), 1.0, np.inf)
        if not np.isfinite(seconds).any():  # nothing fits anywhere, as far as is known: try all the same
            seconds = np.ones_like(seconds)
        return seconds

    def _weights(self, plan: Plan, slots: int) -> Floats:
        """Return the weight, from 0 to 1, of each tree's own estimates.

        Where many trials run at once, those that return first are short ones: of cheap trees, on fast slots, and of each
        tree those of small settings. Until about as many have returned as run at once, a tree gets what it would get
        of first come, first served.
        """
        if slots == 1:
            return np.ones(len(plan.trees))
        counts = np.array([self.history.count(index) for index in plan.places], dtype=float)
        running = np.array([self.history.asked_in(index) for index in plan.places]) - counts
        few = min(slots / len(counts), _FEW)
        many = np.maximum(running, few)
        unknown: Floats = (many / (counts + many)) ** 3
        return 1 - min(few, 1.0) * unknown  # of many trees hardly any has more than one trial in a wave

    def _budgets(self, plan: Plan, known: Known) -> Floats:
        """Return what each tree can pay: its priority times its mean seconds to the power of `fairness`, as far as both are known."""
        mean = mean_seconds(known.seconds, known.slots)
        usual = math.exp(np.log(mean[mean > 0]).mean())
        wanted = self._priorities(plan) ** known.weights * (mean / usual) ** (1 - (1 - self.fairness) * known.weights)
        budgets: Floats = (1 - self.floor) * wanted / wanted.sum() + self.floor / len(wanted)
        return budgets

    def _priorities(self, plan: Plan) -> Floats:
        logarithms = np.zeros(len(plan.trees))
        for heuristic, power in self.heuristics.items():
            scores = self.context.promise(plan.trees) if isinstance(heuristic, Promise) else None
            if scores is None:
                scores = np.asarray(heuristic.scores(plan.trees, self.history), dtype=float)
            if scores.shape != logarithms.shape or not np.isfinite(scores).all() or (scores < 0).any():
                raise ConfigurationError(
                    f'the heuristic {heuristic.name!r} must score each of {len(plan.trees)} trees with a finite number of '
                    f'0 or more; got {scores!r}'
                )
            if scores.any():
                logarithms += power * np.log(np.maximum(scores / scores.max(), 1e-9))
        priorities: Floats = np.exp(logarithms - logarithms.max(initial=-math.inf))
        return priorities

    def _remaining(self, plan: Plan) -> Floats | None:
        """Return how many trials each tree still needs; None where there is no quota."""
        return None

    def _precedence(self, plan: Plan) -> Floats | float:
        """Return by which factor each tree goes before others, whatever its rate."""
        return 1.0

    def _end(self, plan: Plan, now: float) -> float:
        return math.inf

    def _kept_bids(self, plan: Plan) -> Floats | None:
        """Return the bids of the plan before, from which those of this one are found sooner: shape (trees, classes)."""
        if self._bids is None or plan.is_of(list(self._bidders.places), list(self._bidders.columns)):
            return self._bids
        bids = np.zeros((len(plan.classes), len(plan.trees)))
        new, old = common(plan, self._bidders)
        bids[new] = self._bids.T[old]
        bids[:, bids.sum(axis=0) == 0] = 1.0
        return bids.T


def common(plan: Plan, earlier: Plan) -> tuple[Any, Any]:
    """Return where the trees and classes of both plans stand in the arrays of each, for indexing."""
    trees = [index for index in plan.places if index in earlier.places]
    names = [name for name in plan.columns if name in earlier.columns]
    new, old = (
        np.ix_([each.columns[name] for name in names], [each.places[index] for index in trees])
        for each in (plan, earlier)
    )
    return new, old


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


def _describe(plan: Plan) -> tuple[ClassPlan, ...]:
    """Describe a plan for people: prices are shares of what all slots together are worth."""
    plans = []
    for compute_class, price, slots in zip(plan.classes, plan.prices, plan.slots):
        shares = slots / compute_class.slots
        worthy = np.flatnonzero(shares >= 0.005)
        first = worthy[np.argsort(-shares[worthy], kind='stable')[:_SHOWN]]
        trees = tuple((plan.trees[place].index, float(shares[place])) for place in first)
        plans.append(ClassPlan(compute_class.name, compute_class.slots, float(price), trees))
    return tuple(plans)
