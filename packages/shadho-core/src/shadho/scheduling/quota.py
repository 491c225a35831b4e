"""Planning with a quota: every tree gets the same number of trials in the least makespan."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shadho.scheduling.layout import Layout
from shadho.scheduling.planner import Plan, Planner

__all__ = ['QuotaPlanner']

Floats = npt.NDArray[np.float64]

_LONGEST_FIRST = 5.0
"""Power of a tree's seconds in its precedence. 0 means no order, a large power means strictly longest first, which would
trust inexact estimates. Chosen."""

_BEGUN = 3
"""Trials of each tree that begin with equal precedence. They show its seconds and whether it fits, and delay long trials.
Chosen."""

_MOST_ACTIVE = 4000
"""Number of active trees, unless the forest has fewer or twice the slots are more. More trees progress evenly, but a plan
would take longer than some milliseconds. Chosen."""


class QuotaPlanner(Planner):
    """Plans with budgets of remaining trials times mean seconds; priorities do not matter."""

    def _grow(self, slots: int) -> None:
        self.active.grow(len(self.ledger.measured), max(slots, _MOST_ACTIVE // 2))

    def _weights(self, layout: Layout) -> Floats:
        return np.ones(len(layout.trees))

    def _budgets(self, layout: Layout, mean: Floats, weights: Floats) -> Floats:
        budgets: Floats = np.maximum(self._remaining(layout), 1e-9) * mean
        return budgets

    def _remaining(self, layout: Layout) -> Floats:
        quota = self.context.trials_per_tree or 0
        return np.array([max(quota - self.history.asked_in(index), 0) for index in layout.columns], dtype=float)

    def _precedence(self, layout: Layout, seconds: Floats) -> Floats:
        """Return the precedence of each tree: new trees, then long trials; short ones fill the end.

        Longest processing time first: R. L. Graham, *Bounds on multiprocessing timing anomalies* (1969).
        """
        # Seconds on the fastest class: the order of trees must not depend on where each is placed.
        shortest = seconds.min(axis=1)
        shortest = np.where(np.isfinite(shortest), shortest, 0.0)
        is_new = np.array([self.history.asked_in(index) < _BEGUN for index in layout.columns])
        return np.where(is_new, 1.0, (shortest / shortest.max()) ** _LONGEST_FIRST)

    def _end(self, layout: Layout, rates: Floats, now: float) -> float:
        return now + float((self._remaining(layout) / np.where(rates > 0, rates, np.inf)).max())

    def in_time(self, plan: Plan, row: int, now: float) -> npt.NDArray[np.bool_]:
        """Return the trees whose trial in a class would end before the search, even if unluckily long."""
        # By `plan.end` all trials have begun; one that waits until then still takes its shortest duration.
        left = max(plan.end - now, 0.0) / self.runtime.unlucky()
        ends: npt.NDArray[np.bool_] = plan.seconds[row] <= left + plan.seconds.min(axis=0)
        return ends
