"""Promise: the probability that the next trial of a tree is among the very best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shadho.forest import Tree
from shadho.scheduling.policy import Heuristic
from shadho.table import Table

__all__ = ['Promise']

Floats = npt.NDArray[np.float64]

_DEEPEST = 3
"""Results of all trees that reach the last level. Fewer target the very best, but depend more on luck. Chosen."""

_PRIOR = 1.0
"""Weight, in trials, of the pooled fraction in a tree's estimate at each level. A larger weight resists luck in few
trials; a smaller one separates trees sooner. Chosen."""

_HOPE = 0.75
"""Power of the pooled fraction. Below 1 it is optimistic about trees with few trials, so that bad luck does not end them,
at the cost of trials in poor trees. Chosen."""

_GROWTH = 1.1
"""Growth of the history at which levels are recomputed. Smaller steps keep levels exact; 1.1 bounds the cost per
result. Chosen."""


class Promise(Heuristic):
    """The probability that the next trial of a tree is among the best few of all trees.

    That event is too rare to count, so it is split into levels: the better half of all results, the
    better quarter, and so on down to the best three. For each tree, the fraction of results that
    rise from one level to the next is counted, and shrunk towards slightly more than the fraction
    over all trees. The promise is the product of these fractions. A tree with many bad results and
    a few excellent ones thus beats a tree with mediocre results only.

    Only the order of losses matters. Failed trials reach no level. A tree without results promises
    slightly more than all trees together.

    Notes
    -----
    Levels follow S.-K. Au and J. Beck, *Estimation of small failure probabilities in high dimensions
    by subset simulation* (2001). A threshold set by the best of all trees follows M. Streeter and S.
    Smith, *A simple distribution-free approach to the max k-armed bandit problem* (2006).
    """

    name = 'promise'

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, history: Table | None) -> None:
        self._history = history
        self._rows: dict[int, int] = {}
        self._levels = np.zeros(0)
        self._deepest = np.zeros((16, 1))  # trials of each tree by the last level they reach; column 0: no level
        self._seen = 0
        self._set_at = 0

    def scores(self, trees: Sequence[Tree], history: Table) -> Floats:
        if history is not self._history:
            self._begin(history)
        self._update(history)
        rows = [self._row(tree.index) for tree in trees]
        reached = _at_least(self._deepest[rows])
        totals = _at_least(self._deepest[: len(self._rows)].sum(axis=0))
        promise = np.ones(len(trees))
        for level in range(len(self._levels)):
            # The prior is centred on the pooled fraction: with ties and failures it need not be a half.
            pooled = totals[level + 1] / max(totals[level], 1.0)
            promise *= (reached[:, level + 1] + _PRIOR * pooled**_HOPE) / (reached[:, level] + _PRIOR)
        return promise

    def _row(self, tree: int) -> int:
        row = self._rows.setdefault(tree, len(self._rows))
        if row == len(self._deepest):
            self._deepest = np.concatenate([self._deepest, np.zeros_like(self._deepest)])
        return row

    def _update(self, history: Table) -> None:
        if len(history) == self._seen:
            return
        if len(history) >= _GROWTH * self._set_at:
            self._set_at, self._seen = len(history), 0
            self._levels = _levels(history.losses())
            self._deepest = np.zeros((len(self._deepest), len(self._levels) + 1))
        trees, losses = history.since(self._seen)
        rows = np.array([self._row(tree) for tree in trees])
        # The nan of a failed trial sorts last, so that it reaches no level.
        levels = len(self._levels) - np.searchsorted(self._levels[::-1], losses)
        np.add.at(self._deepest, (rows, levels), 1.0)
        self._seen = len(history)


def _at_least(counts: Floats) -> Floats:
    """Return how many trials reach each level, from how many stop at each: shape (..., levels + 1)."""
    reached: Floats = counts[..., ::-1].cumsum(axis=-1)[..., ::-1]
    return reached


def _levels(losses: Floats) -> Floats:
    """Return the thresholds of the levels: losses of the better half, quarter, ..., the best three."""
    ordered = np.sort(np.where(np.isnan(losses), np.inf, losses))
    places = []
    count = len(ordered) / 2
    while count >= _DEEPEST * 2**0.5:  # the last step then keeps between 0.35 and 0.71 of a level, close to a half
        places.append(round(count))
        count /= 2
    if len(ordered) > _DEEPEST:
        places.append(_DEEPEST)
    levels: Floats = ordered[[place - 1 for place in places]] if places else np.zeros(0)
    return levels[np.isfinite(levels)]  # with many failures, a level would else hold trials of infinite loss
