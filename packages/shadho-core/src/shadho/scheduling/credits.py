"""Credits: turn a plan's shares into the tree of each new trial, without random draws."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shadho.scheduling.planner import Plan

__all__ = ['Credits']

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Credits:
    """Stride scheduling within each compute class.

    With every trial that begins in a class, each tree earns its share of one trial there, and the
    tree of that trial pays for it. The tree with the most credit comes next.

    Parameters
    ----------
    seed : int

    Attributes
    ----------
    plan : Plan
    mix : array
        The plan's mix, with 0 for trees that were excluded since.

    Notes
    -----
    C. A. Waldspurger and W. E. Weihl, *Stride scheduling: deterministic proportional-share resource management* (1995).
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng((seed, 1))
        self.plan = Plan()
        self.mix = self._credits = np.zeros((0, 0))

    def follow(self, plan: Plan) -> None:
        """Replace the plan; keep the credits of trees and classes that both plans hold."""
        if not plan.layout.is_like(self.plan.layout):
            # Random credits below one trial: with equal ones every class would begin with the same trees.
            drawn = self._rng.random(plan.layout.shape)
            self._credits = plan.layout.moved(self._credits, self.plan.layout, drawn)
        np.clip(self._credits, -1.0, 1.0, out=self._credits)  # debts of an earlier plan must not distort this one
        self.plan, self.mix = plan, plan.mix.copy()

    def exclude(self, tree: int) -> bool:
        """Remove a tree from the mix; return whether any class has lost more than half of its mix."""
        column = self.plan.layout.columns.get(tree)
        if column is None:
            return False
        left = self.mix.sum(axis=1) - self.mix[:, column]
        self.mix[:, column] = 0.0
        return bool((left < 0.5).any())

    def best(self, row: int, may_run: Flags) -> int:
        """Return the column of the tree that a class begins next, among those that may run there."""
        credits = self._credits[row] + self._earned(row, may_run)
        return int(np.argmax(np.where(may_run, credits, -np.inf)))

    def begin(self, row: int, column: int, may_run: Flags) -> None:
        """Credit one trial to the trees that may run in a class, by share; charge the one that begins."""
        if may_run.any():
            self._credits[row] += self._earned(row, may_run)
        self._credits[row, column] -= 1.0

    def _earned(self, row: int, may_run: Flags) -> Floats:
        shares = np.where(may_run, self.mix[row], 0.0)  # waiting trees save nothing: no burst follows the wait
        earned: Floats = shares / shares.sum()
        return earned
