"""The market that places trees on compute classes: budgets in, shares of every class and prices out."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ['Equilibrium', 'equilibrium']

Floats = npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Equilibrium:
    """What a market settles at.

    Attributes
    ----------
    bids : array, shape (trees, classes)
        What each tree pays for each class; rows add up to its budget.
    slots : array, shape (trees, classes)
        How many slots of each class each tree gets.
    rates : array, shape (trees,)
        Trials per second of each tree.
    prices : array, shape (classes,)
        Budget paid for one slot of each class.
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
    """Share slots among trees so that the sum of budget * log(trials per second) is largest.

    This is the Eisenberg-Gale programme of a Fisher market: trees are buyers, compute classes are
    goods. Nothing is wasted, every tree does at least as well as with its budget's share of every
    class, and the prices say what a slot of each class is worth. It is solved by proportional
    response: every tree spreads its budget over the classes as they contributed to its rate.

    Parameters
    ----------
    budgets : array, shape (trees,)
        Above 0.
    seconds : array, shape (trees, classes)
        Of one trial of a tree in a class; inf where it cannot run.
    slots : array, shape (classes,)
    bids : array, shape (trees, classes), optional
        Where to start from: those of an earlier, similar market.
    remaining : array, shape (trees,), optional
        Trials that each tree still needs. The budgets then become those with which all trees finish
        at the same time, which makes that time as short as can be.
    most : int, default 200
        Rounds of bidding, at most.
    tolerance : float, default 0.0001
        The bidding ends when no price changes by more than this share.

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
    if bids is not None:  # a tree that left a class long ago could not come back from a bid of nothing
        totals = bids.sum(axis=1, keepdims=True)
        start = np.where(speed > 0, bids + 1e-3 * np.where(totals > 0, totals, 1.0) / len(slots), 0.0)
    current = _rows(start, budgets)
    prices = _prices(current, slots)
    rates = np.zeros(len(budgets))
    for _ in range(most):
        gains = speed * (current / np.where(prices > 0, prices, 1.0))
        rates = gains.sum(axis=1)
        moved = budgets if remaining is None else _rebalance(budgets, rates, remaining, shortest)
        settled = bool(np.all(np.abs(moved - budgets) <= 10 * tolerance * budgets))
        budgets = moved
        current = _rows(gains, budgets)
        previous, prices = prices, _prices(current, slots)
        if settled and np.all(np.abs(prices - previous) <= tolerance * previous):
            break
    got = current / np.where(prices > 0, prices, 1.0)
    return Equilibrium(current, got, (speed * got).sum(axis=1), prices)


def _rows(weights: Floats, totals: Floats) -> Floats:
    """Scale each row so that it adds up to its total; a row of nothing stays."""
    sums = weights.sum(axis=1)
    scaled: Floats = weights * (totals / np.where(sums > 0, sums, 1.0))[:, None]
    return scaled


def _prices(bids: Floats, slots: Floats) -> Floats:
    paid: Floats = bids.sum(axis=0) / np.where(slots > 0, slots, 1.0)
    return paid


def _rebalance(budgets: Floats, rates: Floats, remaining: Floats, shortest: Floats) -> Floats:
    """Move budget towards the trees that would finish last; the last trial of each must still run."""
    ends = np.where(rates > 0, remaining / np.where(rates > 0, rates, 1.0) + shortest, 0.0)
    latest = ends.max(initial=0.0)
    if latest <= 0:
        return budgets
    moved = budgets * np.sqrt(np.maximum(ends / latest, 1e-6))
    moved = np.maximum(moved, 1e-12)
    rebalanced: Floats = moved / moved.sum() * budgets.sum()
    return rebalanced
