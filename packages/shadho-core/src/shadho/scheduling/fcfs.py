"""First come, first served: any tree on any class."""

from __future__ import annotations

import bisect

import numpy as np

from shadho.forest import Tree
from shadho.scheduling.chance import below
from shadho.scheduling.policy import Policy, PolicyContext

__all__ = ['FirstComeFirstServed']

_ATTEMPTS = 64
"""Random draws before the remaining trees are listed. Draws are cheap while many trees are left; a list is long. Chosen."""


class FirstComeFirstServed(Policy):
    """Gives any free slot a trial of a tree that is drawn uniformly from the forest.

    The n-th pick depends only on the seed, n, and the excluded trees. A parallel or resumed search
    therefore evaluates the same trials as a serial one.
    """

    name = 'fcfs'

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self._excluded: set[int] = set()
        self._remaining: list[int] | None = None

    def pick(self, compute_class: str, now: float) -> Tree | None:
        count = self.forest.count
        if len(self._excluded) == count:
            return None
        if count == 1:
            return self.forest.tree(0)
        rng = np.random.default_rng((self.seed, self.history.asked))
        for _ in range(_ATTEMPTS):
            index = below(rng, count)
            if index not in self._excluded:
                return self.forest.tree(index)
        # Nearly all trees are excluded, so the list of the rest is short.
        if self._remaining is None:
            self._remaining = [index for index in range(count) if index not in self._excluded]
        return self.forest.tree(self._remaining[below(rng, len(self._remaining))])

    def exclude(self, tree: Tree) -> None:
        if tree.index in self._excluded:
            return
        self._excluded.add(tree.index)
        if self._remaining is not None:
            del self._remaining[bisect.bisect_left(self._remaining, tree.index)]
