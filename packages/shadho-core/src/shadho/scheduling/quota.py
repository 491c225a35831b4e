"""With a quota: every tree is to have the same number of trials, and the search ends soonest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shadho.scheduling.planner import Known, Plan, Planner, mean_seconds

__all__ = ['QuotaPlanner']

Floats = npt.NDArray[np.float64]

_LONGEST_FIRST = 5.0
"""Power of a tree's seconds with which it goes before others. Higher is nearer to strictly longest first; 5 had the shortest
makespans of 24 simulated searches, as estimates of seconds are not exact."""

_BEGUN = 3
"""Trials of each tree that are begun early, so that its seconds are known, and whether it fits."""

_MOST_ACTIVE = 4000
"""Trees that are planned for at once: a plan of more would take more than some milliseconds."""


class QuotaPlanner(Planner):
    """Budgets follow what remains of each quota, times its cost; priorities do not matter."""

    def _grow(self, slots: int) -> None:
        self.active.grow(len(self.history), max(slots, _MOST_ACTIVE // 2))

    def _weights(self, plan: Plan, slots: int) -> Floats:
        return np.ones(len(plan.trees))

    def _budgets(self, plan: Plan, known: Known) -> Floats:
        budgets: Floats = np.maximum(self._remaining(plan), 1e-9) * mean_seconds(known.seconds, known.slots)
        return budgets

    def _remaining(self, plan: Plan) -> Floats:
        quota = self.context.trials_per_tree or 0
        return np.array([max(quota - self.history.asked_in(index), 0) for index in plan.places], dtype=float)

    def _precedence(self, plan: Plan) -> Floats:
        """Return by how much each tree goes before others in every class: short trials are left to fill the end with.

        R. L. Graham, *Bounds on multiprocessing timing anomalies* (1969). Trees of which little was begun come first.
        """
        shortest = plan.seconds.min(axis=0)
        shortest = np.where(np.isfinite(shortest), shortest, 0.0)
        is_new = np.array([self.history.asked_in(index) < _BEGUN for index in plan.places])
        return np.where(is_new, 1.0, (shortest / shortest.max()) ** _LONGEST_FIRST)

    def _end(self, plan: Plan, now: float) -> float:
        rates = plan.rates.sum(axis=0)
        return now + float((self._remaining(plan) / np.where(rates > 0, rates, np.inf)).max())

    def in_time(self, plan: Plan, column: int, now: float) -> npt.NDArray[np.bool_]:
        """Return the trees of which a trial in a class would end before the search does, were it somewhat unlucky."""
        left = max(plan.end - now, 0.0) / self.runtime.unlucky()
        ends: npt.NDArray[np.bool_] = plan.seconds[column] <= left + plan.seconds.min(axis=0)
        return ends
