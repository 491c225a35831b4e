"""First come, first served: any tree on any class."""

from __future__ import annotations

import bisect

import numpy as np

from shadho.forest import Tree
from shadho.scheduling.chance import below
from shadho.scheduling.policy import Policy, PolicyContext

__all__ = ['FirstComeFirstServed']

_ATTEMPTS = 64


class FirstComeFirstServed(Policy):
    """Hands the next trial to whichever slot is free, from a tree drawn evenly from the forest.

    The n-th pick is a function of the seed, n, and the trees that are exhausted; so that a search
    in parallel, or one that was resumed, evaluates the same trials as a serial one.
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
        # Nearly all trees are exhausted, so that the rest is worth listing.
        if self._remaining is None:
            self._remaining = [index for index in range(count) if index not in self._excluded]
        return self.forest.tree(self._remaining[below(rng, len(self._remaining))])

    def exclude(self, tree: Tree) -> None:
        if tree.index in self._excluded:
            return
        self._excluded.add(tree.index)
        if self._remaining is not None:
            del self._remaining[bisect.bisect_left(self._remaining, tree.index)]
