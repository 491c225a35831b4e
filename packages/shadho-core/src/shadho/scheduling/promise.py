"""Promise: how likely the next trial of a tree is to be among the very best."""

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
"""Results that the last level holds, of all trees together."""

_PRIOR = 1.0
"""Trials that what is known of all trees counts for, at each level, in the estimate of one tree."""

_HOPE = 0.75
"""Power of that, below 1: a tree of few trials is taken to be somewhat better than the others, not given up."""

_GROWTH = 1.1
"""Growth of the history after which the levels are set anew; so that the cost per result is bounded."""


class Promise(Heuristic):
    """The probability that the next trial of a tree is among the best few of all trees.

    That is too rare an event to be counted. So it is split into levels: the better half of all
    results, the better quarter, and so on down to the best three. The probability to reach a level
    from the one before it is counted in each tree, and drawn towards a little more than that of all
    trees together; the promise is the product. A tree of many mediocre results and no bad ones thus loses to a tree
    of many bad ones and some that are very good.

    Only the order of losses matters. Failed trials reach no level. A tree without results promises
    somewhat more than all trees together.

    Notes
    -----
    The splitting is that of S.-K. Au and J. Beck, *Estimation of small failure probabilities in high
    dimensions by subset simulation* (2001); that the best of all trees set the threshold is the idea
    of M. Streeter and S. Smith, *A simple distribution-free approach to the max k-armed bandit
    problem* (2006).
    """

    name = 'promise'

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, history: Table | None) -> None:
        self._history = history
        self._rows: dict[int, int] = {}
        self._levels = np.zeros(0)
        self._deepest = np.zeros((16, 1))  # trials of each tree by the last level that they reach, of none the first
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
        levels = len(self._levels) - np.searchsorted(self._levels[::-1], losses)  # nan, of a failed trial, is above all
        np.add.at(self._deepest, (rows, levels), 1.0)
        self._seen = len(history)


def _at_least(counts: Floats) -> Floats:
    """Return, from how many trials end at each level, how many reach it: sums from there on, along the last axis."""
    reached: Floats = counts[..., ::-1].cumsum(axis=-1)[..., ::-1]
    return reached


def _levels(losses: Floats) -> Floats:
    """Return the losses that the better half of all reach, the better quarter, ..., the best three."""
    ordered = np.sort(np.where(np.isnan(losses), np.inf, losses))
    places = []
    count = len(ordered) / 2
    while count >= _DEEPEST * 2**0.5:
        places.append(round(count))
        count /= 2
    if len(ordered) > _DEEPEST:
        places.append(_DEEPEST)
    levels: Floats = ordered[[place - 1 for place in places]] if places else np.zeros(0)
    return levels[np.isfinite(levels)]
