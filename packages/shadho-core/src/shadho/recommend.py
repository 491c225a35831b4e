"""Which trial to rely on when losses are noisy: the least loss is the luckiest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shadho.forest import Forest, snap
from shadho.ledger import Ledger
from shadho.records import Trial
from shadho.samplers import SamplerContext, Suggestion
from shadho.samplers.gp import MOST_LEAVES, GaussianProcess
from shadho.samplers.learning import FIRST
from shadho.table import Table

__all__ = ['MOST_LEADERS', 'recommended']

MOST_LEADERS = 30
"""Trials of the least losses among which one is recommended. On five problems with a tenth of noise, the regret was that of
a choice among all trials."""

_MOST_TRIALS = 300
"""Trials that a model is made of, whatever came of them: of the best ones alone it would be as lucky as they are."""

_NEAREST = 8
"""So many of them are the nearest ones of each leader in its tree; the others are evenly spread over the search."""

_ALIKE = 1e-3
"""Expected losses that differ by less, in deviations of all losses, are taken for equal, and the least loss decides: so
without noise the best trial is the recommended one. It is the deviation of the least noise that a model has."""


def recommended(forest: Forest, history: Table, leaders: Sequence[Trial]) -> Trial | None:
    """Return the trial whose expected loss is least by a Gaussian process of up to 300 trials, whatever method suggested them.

    Parameters
    ----------
    forest : Forest
    history : Table
    leaders : sequence of Trial
        The trials of the least losses, the best one first.

    Returns
    -------
    Trial or None
        The best one where there is no model: of fewer than 10 trials, in a space of more than 300 leaves, or of trials that were
        paused or stopped. None when there are no leaders.
    """
    are_partial = any(trial.reach < math.inf for trial in leaders) or not np.isnan(history.budgets()).all()
    if len(leaders) < 2 or len(history) < FIRST or len(forest.leaves) > MOST_LEAVES or are_partial:
        return leaders[0] if leaders else None
    known = Table()
    for row in _chosen(forest, history, leaders):
        known.add(*history.trial(row))
    model = GaussianProcess(SamplerContext(forest, Ledger(), seed=0, added=known))
    settings = [Suggestion(forest.tree(trial.tree), np.array(trial.point)) for trial in leaders]
    expected = model.expected(settings)
    return leaders[0 if expected is None else int(np.argmax(expected < expected.min() + _ALIKE))]


def _chosen(forest: Forest, history: Table, leaders: Sequence[Trial]) -> list[int]:
    """Return which trials a model is made of, as numbers in the order of completion."""
    if len(history) <= _MOST_TRIALS:
        return list(range(len(history)))
    chosen: set[int] = set()
    for tree in {leader.tree: forest.tree(leader.tree) for leader in leaders}.values():
        rows, points = history.rows(tree.index), snap(history.points(tree.index), tree.sizes)
        is_category = np.array([dimension.kind == 'categorical' for dimension in tree.dimensions], dtype=bool)
        for leader in leaders:
            if leader.tree == tree.index:
                away = np.abs(points - snap(np.array(leader.point), tree.sizes))
                away[:, is_category] = away[:, is_category] > 0
                chosen.update(rows[np.argsort((away**2).sum(axis=1), kind='stable')[:_NEAREST]].tolist())
    spread = np.linspace(0, len(history) - 1, _MOST_TRIALS - len(chosen)).astype(np.intp)
    return sorted(chosen.union(spread.tolist()))
