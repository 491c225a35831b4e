"""With a quota: every tree is to have the same number of trials, and the search ends soonest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shadho.scheduling.layout import Layout
from shadho.scheduling.planner import Plan, Planner

__all__ = ['QuotaPlanner']

Floats = npt.NDArray[np.float64]

_LONGEST_FIRST = 5.0
"""Power of a tree's seconds with which it goes before others: between 0, no order, and strictly longest first, as estimates
of seconds are not exact. Chosen."""

_BEGUN = 3
"""Trials of each tree that are begun early, so that its seconds are known, and whether it fits."""

_MOST_ACTIVE = 4000
"""Trees that are planned for at once: a plan of more would take more than some milliseconds."""


class QuotaPlanner(Planner):
    """Budgets follow what remains of each quota, times its cost; priorities do not matter."""

    def _grow(self, slots: int) -> None:
        self.active.grow(len(self.history), max(slots, _MOST_ACTIVE // 2))

    def _weights(self, layout: Layout) -> Floats:
        return np.ones(len(layout.trees))

    def _budgets(self, layout: Layout, mean: Floats, weights: Floats) -> Floats:
        budgets: Floats = np.maximum(self._remaining(layout), 1e-9) * mean
        return budgets

    def _remaining(self, layout: Layout) -> Floats:
        quota = self.context.trials_per_tree or 0
        return np.array([max(quota - self.history.asked_in(index), 0) for index in layout.columns], dtype=float)

    def _precedence(self, layout: Layout, seconds: Floats) -> Floats:
        """Return by how much each tree goes before others in every class: short trials are left to fill the end with.

        R. L. Graham, *Bounds on multiprocessing timing anomalies* (1969). Trees of which little was begun come first.
        """
        shortest = seconds.min(axis=1)
        shortest = np.where(np.isfinite(shortest), shortest, 0.0)
        is_new = np.array([self.history.asked_in(index) < _BEGUN for index in layout.columns])
        return np.where(is_new, 1.0, (shortest / shortest.max()) ** _LONGEST_FIRST)

    def _end(self, layout: Layout, rates: Floats, now: float) -> float:
        return now + float((self._remaining(layout) / np.where(rates > 0, rates, np.inf)).max())

    def in_time(self, plan: Plan, row: int, now: float) -> npt.NDArray[np.bool_]:
        """Return the trees of which a trial in a class would end before the search does, were it somewhat unlucky."""
        left = max(plan.end - now, 0.0) / self.runtime.unlucky()
        ends: npt.NDArray[np.bool_] = plan.seconds[row] <= left + plan.seconds.min(axis=0)
        return ends
