"""Matching: which setting of a tree a compute class runs, of those that it could begin with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from shadho.ledger import Ledger
from shadho.samplers import Offer
from shadho.scheduling.effects import Effects
from shadho.scheduling.memory import MemoryLimits
from shadho.scheduling.planner import Plan
from shadho.scheduling.policy import New, Slot

__all__ = ['Matching']

Floats = npt.NDArray[np.float64]

_KINDS = 48
"""Latest settings of a tree that its prices are found with. More are more exact, at a cost in each solution. Chosen."""

_FIRST, _GROWTH = 8, 1.25
"""Trials of a tree at which its prices are found first, and growth of their number at which they are found anew. Finding them
takes some milliseconds. Chosen."""

_MOST_TREES = 256
"""Trees with prices; those found longest ago go. Chosen: of more trees, each has few trials, and the market of trees decides."""

_LEAST = 0.02
"""Least slots of a class, as a fraction of all slots of a tree: a class without any would have no price."""

_WIDEST = 12.0
"""Bound on log seconds beside their mean, within which solvers of linear programs are exact."""

_SLACK = 0.1
"""Excess of the log of the priced seconds over those in the best class up to which a setting is at home in a class. Less
follows errors of the seconds, more gives gains away. Chosen."""


_PATIENCE = 300
"""Suggestions that may be preferred to an earlier one before it is begun wherever there is a slot. Chosen: a setting for a rare
class waits that long for it."""


@attrs.frozen(eq=False)
class _Rule:
    """The logarithm of the price of a setting in each class, but for a constant: ``base + features @ weights``."""

    columns: dict[str, int]
    base: Floats
    weights: Floats


class Matching:
    """Gives each class the settings that cost least there, by comparison with the other classes.

    In a tree, the time of a class has a price, at which demand for the class is what the plan gives it. A setting is at home where
    its priced seconds are least. A free slot begins the offer of the most value per priced second, as a multiple of the least
    priced seconds of the offer: so what is chosen is as long, on the whole, as what is offered, and only runs elsewhere. Where a slot
    says that seconds count (`Slot.cost_weight`), the least priced seconds count too, by that power.

    Parameters
    ----------
    ledger : Ledger
    effects : Effects
        What parameters add to seconds.
    memory : MemoryLimits
        Which settings fail where: in classes, a setting costs its seconds by its probability to fit.

    Notes
    -----
    The prices are the dual variables of the linear program that maximises trials per second for an even mix of the latest settings.
    Where all settings cost alike everywhere, by a factor for each class, no offer is better placed than another, and the first of
    the most valuable ones is chosen: the sampler's own. All that is kept follows from the log.
    """

    def __init__(self, ledger: Ledger, effects: Effects, memory: MemoryLimits) -> None:
        self._ledger = ledger
        self._effects = effects
        self._memory = memory
        self._rules: dict[int, _Rule | None] = {}  # the one found last at the end
        self._next: dict[int, int] = {}  # count of a tree's trials at which its rule is due
        self._plan = Plan()

    def lay_out(self, plan: Plan) -> None:
        """Follow a new plan; rules of other classes go."""
        if list(plan.layout.rows) != list(self._plan.layout.rows):
            self._rules.clear()
            self._next.clear()
        self._plan = plan

    def learn(self, tree: int) -> None:
        """Find the prices of a tree anew, if it has enough new trials."""
        layout = self._plan.layout
        if len(layout.rows) < 2 or layout.slots == 1 or not self._effects.are_known:
            return
        count = self._ledger.measured.count(tree)
        column = layout.columns.get(tree)
        if column is None or count < self._next.get(tree, _FIRST):
            return
        self._next[tree] = math.ceil(_GROWTH * count)
        self._rules.pop(tree, None)
        rule = self._rules[tree] = self._rule(tree, column)
        if rule is not None:
            self._effects.selected.add(tree)
        if len(self._rules) > _MOST_TREES:
            oldest = next(iter(self._rules))
            del self._rules[oldest]
            self._effects.selected.discard(oldest)

    def matters(self, tree: int, slot: Slot) -> bool:
        """Whether it matters, but for its value, which setting of a tree a slot runs."""
        is_weighed = slot.cost_weight > 0 and self._effects.are_known
        return is_weighed or self._placed(tree, slot.compute_class) is not None

    def best(self, choice: New, slot: Slot, offers: Sequence[Offer]) -> New:
        """Return a choice with the offer that a slot begins."""
        tree = choice.tree.index
        if offers[-1].number - offers[0].number > _PATIENCE:
            return New(choice.tree, offers[0])
        values = np.array([offer.value for offer in offers])
        points = [offer.suggestion.point for offer in offers]
        features = self._effects.features(tree, points)
        rule = self._placed(tree, slot.compute_class)
        if rule is None:
            least = (features @ self._effects.weights(tree, [slot.compute_class]))[:, 0]
        else:
            costs = rule.base + features @ rule.weights - np.log1p(-self._memory.risks(tree, points))
            least = costs.min(axis=1)
            values -= np.maximum(costs[:, rule.columns[slot.compute_class]] - least - _SLACK, 0.0)
        if slot.cost_weight:
            values -= slot.cost_weight * least
        return New(choice.tree, offers[int(np.argmax(values))])

    def _placed(self, tree: int, compute_class: str) -> _Rule | None:
        """Return the rule of a tree; None where no class suits any setting better than another does."""
        rule = self._rules.get(tree)
        return rule if rule is not None and compute_class in rule.columns else None

    def _rule(self, tree: int, column: int) -> _Rule | None:
        layout = self._plan.layout
        names = list(layout.rows)
        seconds, slots = self._plan.seconds[:, column], self._plan.slots[:, column]
        centre = self._effects.centre(tree, names)
        fits = np.isfinite(seconds)
        if centre is None or fits.sum() < 2:
            return None
        weights = self._effects.weights(tree, names)
        points = self._ledger.measured.points(tree, _KINDS)
        running = [trial.point for trial in self._ledger.unmeasured if trial.tree == tree]
        points = np.vstack([points, *running])
        logs = np.where(fits, np.log(seconds), 0.0) - centre @ weights
        costs = logs + self._effects.features(tree, points) @ weights - np.log1p(-self._memory.risks(tree, points))
        beside = costs[:, fits] - costs[:, fits].mean(axis=1, keepdims=True)
        if np.ptp(beside, axis=0).max() < _SLACK:  # all settings compare alike
            return None
        slots = np.maximum(slots, _LEAST * slots.sum())
        prices = _prices(costs[:, fits], slots[fits])
        if prices is None:
            return None
        base = np.full(len(names), np.inf)
        base[fits] = logs[fits] + np.log(np.maximum(prices, 1e-9 * prices.max()))
        return _Rule(dict(layout.rows), base, weights)


def _prices(log_seconds: Floats, slots: Floats) -> Floats | None:
    """Return prices of classes: shape (classes,), at which trials per second are most for equal numbers of all settings.

    Parameters
    ----------
    log_seconds : array, shape (settings, classes)
    slots : array, shape (classes,)

    Returns
    -------
    array or None
        None if the solver fails.
    """
    from scipy import sparse
    from scipy.optimize import linprog

    settings, classes = log_seconds.shape
    relative = np.clip(log_seconds.mean() - log_seconds, -_WIDEST, _WIDEST)
    rates = sparse.kron(sparse.eye(settings), np.ones((1, classes))).tocsc() @ sparse.diags(np.exp(relative).ravel())
    equal = sparse.hstack([rates, -np.ones((settings, 1))])
    capacity = sparse.hstack(
        [sparse.kron(np.ones((1, settings)), sparse.eye(classes)), sparse.csc_matrix((classes, 1))]
    )
    goal = np.append(np.zeros(settings * classes), -1.0)
    solved = linprog(goal, A_ub=capacity, b_ub=slots, A_eq=equal, b_eq=np.zeros(settings), method='highs')
    return None if solved.status else np.asarray(-solved.ineqlin.marginals)
