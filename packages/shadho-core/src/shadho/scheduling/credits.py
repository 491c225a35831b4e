"""Credits: a plan in, the tree of each new trial out, so that what is begun follows the plan without luck."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shadho.scheduling.planner import Plan, common

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
    mix : array, shape (classes, trees)
        That of the plan, less the trees that were excluded since.

    Notes
    -----
    C. A. Waldspurger and W. E. Weihl, *Stride scheduling: deterministic proportional-share resource management* (1995).
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng((seed, 1))
        self.plan = Plan((), ())
        self.mix = self._credits = np.zeros((0, 0))

    def follow(self, plan: Plan) -> None:
        """Follow another plan; credits of trees and classes that stay are kept."""
        if not plan.is_of(list(self.plan.places), list(self.plan.columns)):
            # Credits of less than one trial, at random: else the first slots of all classes take the first trees.
            credits = self._rng.random(plan.mix.shape)
            new, old = common(plan, self.plan)
            credits[new] = self._credits[old]
            self._credits = credits
        np.clip(self._credits, -1.0, 1.0, out=self._credits)  # what an earlier plan owed is not owed by this one
        self.plan, self.mix = plan, plan.mix.copy()

    def exclude(self, tree: int) -> bool:
        """Take a tree out of the mix; return whether too little is left of some class's plan."""
        place = self.plan.places.get(tree)
        if place is None:
            return False
        left = self.mix.sum(axis=1) - self.mix[:, place]
        self.mix[:, place] = 0.0
        return bool((left < 0.5).any())

    def best(self, column: int, may_run: Flags) -> int:
        """Return which of the trees that may run in a class is to begin next: its place in the plan."""
        credits = self._credits[column] + self._earned(column, may_run)
        return int(np.argmax(np.where(may_run, credits, -np.inf)))

    def begin(self, column: int, place: int, may_run: Flags) -> None:
        """Divide one trial of a class among the trees that may run there, and charge it to the one that begins."""
        if may_run.any():
            self._credits[column] += self._earned(column, may_run)
        self._credits[column, place] -= 1.0

    def _earned(self, column: int, may_run: Flags) -> Floats:
        shares = np.where(may_run, self.mix[column], 0.0)  # one that has to wait saves nothing up
        earned: Floats = shares / shares.sum()
        return earned
