"""The market equilibrium: from budgets and seconds to slots of each class and prices."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ['Equilibrium', 'equilibrium']

Floats = npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Equilibrium:
    """The allocation and prices at which a market settles.

    Attributes
    ----------
    bids : array, shape (trees, classes)
        Budget that each tree spends on each class; a row adds up to the tree's budget.
    slots : array, shape (trees, classes)
        Slots of each class that each tree gets.
    rates : array, shape (trees,)
        Trials per second of each tree.
    prices : array, shape (classes,)
        Budget per slot of each class.
    """

    bids: Floats
    slots: Floats
    rates: Floats
    prices: Floats


def equilibrium(
    budgets: Floats,
    seconds: Floats,
    slots: Floats,
    *,
    bids: Floats | None = None,
    remaining: Floats | None = None,
    most: int = 200,
    tolerance: float = 1e-4,
) -> Equilibrium:
    """Allocate slots to trees so that the sum of budget * log(trials per second) is maximal.

    This is the Eisenberg-Gale program of a Fisher market: trees are buyers, compute classes are
    goods. The allocation is Pareto-efficient, each tree does at least as well as with its budget's
    share of every class, and prices measure the worth of a slot. Proportional response solves it:
    in each round, a tree divides its budget over the classes by their contributions to its rate.

    Parameters
    ----------
    budgets : array, shape (trees,)
        Above 0.
    seconds : array, shape (trees, classes)
        Seconds of one trial of each tree in each class; inf where it cannot run.
    slots : array, shape (classes,)
    bids : array, shape (trees, classes), optional
        Starting point: the bids of an earlier, similar market.
    remaining : array, shape (trees,), optional
        Trials that each tree still needs. Budgets are then adjusted until all trees finish at the
        same time, which minimises the makespan.
    most : int, default 200
        Upper bound on the rounds of bidding.
    tolerance : float, default 0.0001
        Bidding ends when no price changes by more than this fraction.

    Returns
    -------
    Equilibrium

    Notes
    -----
    F. Zhang, *Proportional response dynamics in the Fisher market* (2011); B. Birnbaum, N. Devanur
    and L. Xiao, *Distributed algorithms via gradient descent for Fisher markets* (2011).
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        speed = np.where(np.isfinite(seconds) & (slots > 0), 1.0 / seconds, 0.0)
        shortest = np.where(speed.any(axis=1), 1.0 / speed.max(axis=1, initial=0.0), 0.0)
    budgets = np.array(budgets, dtype=float)
    start = np.where(speed > 0, 1.0, 0.0) * slots
    if bids is not None:  # updates are multiplicative, so a bid of 0 would stay 0 however the market changes
        totals = bids.sum(axis=1, keepdims=True)
        start = np.where(speed > 0, bids + 1e-3 * np.where(totals > 0, totals, 1.0) / len(slots), 0.0)
    current = _rows(start, budgets)
    prices = _prices(current, slots)
    rates = np.zeros(len(budgets))
    for _ in range(most):
        gains = speed * (current / np.where(prices > 0, prices, 1.0))
        rates = gains.sum(axis=1)
        moved = budgets if remaining is None else _rebalance(budgets, rates, remaining, shortest)
        # Ten times as coarse as prices: trees that finish early need no exact budget.
        settled = bool(np.all(np.abs(moved - budgets) <= 10 * tolerance * budgets))
        budgets = moved
        current = _rows(gains, budgets)
        previous, prices = prices, _prices(current, slots)
        if settled and np.all(np.abs(prices - previous) <= tolerance * previous):
            break
    got = current / np.where(prices > 0, prices, 1.0)
    return Equilibrium(current, got, (speed * got).sum(axis=1), prices)


def _rows(weights: Floats, totals: Floats) -> Floats:
    """Scale each row to its total; rows of zeros stay."""
    sums = weights.sum(axis=1)
    scaled: Floats = weights * (totals / np.where(sums > 0, sums, 1.0))[:, None]
    return scaled


def _prices(bids: Floats, slots: Floats) -> Floats:
    paid: Floats = bids.sum(axis=0) / np.where(slots > 0, slots, 1.0)
    return paid


def _rebalance(budgets: Floats, rates: Floats, remaining: Floats, shortest: Floats) -> Floats:
    """Move budget to the trees that would finish last."""
    # No budget shortens a tree's last trial, so its shortest duration counts in full.
    ends = np.where(rates > 0, remaining / np.where(rates > 0, rates, 1.0) + shortest, 0.0)
    latest = ends.max(initial=0.0)
    if latest <= 0:
        return budgets
    # The root damps the step, as rates follow budgets one round late; the bounds keep budgets above 0.
    moved = budgets * np.sqrt(np.maximum(ends / latest, 1e-6))
    moved = np.maximum(moved, 1e-12)
    rebalanced: Floats = moved / moved.sum() * budgets.sum()
    return rebalanced
