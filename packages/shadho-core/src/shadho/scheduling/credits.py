"""Credits: a plan in, the tree of each new trial out, so that what is begun follows the plan without luck."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shadho.scheduling.planner import Plan

__all__ = ['Credits']

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Credits:
    """Stride scheduling within each class: with every trial that begins, trees earn their shares, and the one that began pays.

    Parameters
    ----------
    seed : int

    Attributes
    ----------
    plan : Plan
    mix : array
        That of the plan, less the trees that were excluded since.

    Notes
    -----
    C. A. Waldspurger and W. E. Weihl, *Stride scheduling: deterministic proportional-share resource management* (1995).
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng((seed, 1))
        self.plan = Plan()
        self.mix = self._credits = np.zeros((0, 0))

    def follow(self, plan: Plan) -> None:
        """Follow another plan; credits of trees and classes that stay are kept."""
        if not plan.layout.is_like(self.plan.layout):
            # Credits of less than one trial, at random: else the first slots of all classes take the first trees.
            drawn = self._rng.random(plan.layout.shape)
            self._credits = plan.layout.moved(self._credits, self.plan.layout, drawn)
        np.clip(self._credits, -1.0, 1.0, out=self._credits)  # what an earlier plan owed is not owed by this one
        self.plan, self.mix = plan, plan.mix.copy()

    def exclude(self, tree: int) -> bool:
        """Take a tree out of the mix; return whether too little is left of some class's plan."""
        column = self.plan.layout.columns.get(tree)
        if column is None:
            return False
        left = self.mix.sum(axis=1) - self.mix[:, column]
        self.mix[:, column] = 0.0
        return bool((left < 0.5).any())

    def best(self, row: int, may_run: Flags) -> int:
        """Return which of the trees that may run in a class is to begin next: its column in the plan."""
        credits = self._credits[row] + self._earned(row, may_run)
        return int(np.argmax(np.where(may_run, credits, -np.inf)))

    def begin(self, row: int, column: int, may_run: Flags) -> None:
        """Divide one trial of a class among the trees that may run there, and charge it to the one that begins."""
        if may_run.any():
            self._credits[row] += self._earned(row, may_run)
        self._credits[row, column] -= 1.0

    def _earned(self, row: int, may_run: Flags) -> Floats:
        shares = np.where(may_run, self.mix[row], 0.0)  # one that has to wait saves nothing up
        earned: Floats = shares / shares.sum()
        return earned
