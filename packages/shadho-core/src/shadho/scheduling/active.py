"""Active trees: the small part of a forest that a policy keeps state for."""

from __future__ import annotations

import math

import numpy as np

from shadho.forest import Forest, Tree
from shadho.scheduling.chance import below
from shadho.scheduling.complexity import complexity

__all__ = ['ActiveTrees']

_LEAST = 64
"""Least number of active trees. More trees explore more, and cost time in each plan. Chosen."""

_STREAM = 0x5EED7EE5
"""Key of this class's random stream. It keeps draws independent of a policy's own draws with the same seed. Arbitrary."""


class ActiveTrees:
    """The trees that a policy keeps state for; the whole forest may have far too many.

    Their number grows with the square root of the number of trials. Each new tree is the more
    complex of two that are drawn at random from the inactive ones.

    Parameters
    ----------
    forest : Forest
    seed : int
        Draws depend on the seed and on the order of calls only.

    Attributes
    ----------
    trees : list of Tree
        In order of activation; sorted by number in a small forest.

    Examples
    --------
    >>> from shadho import spaces
    >>> from shadho.forest import Forest
    >>> forest = Forest({f'part{i}': {'optional': True, 'x': spaces.uniform(0, 1)} for i in range(40)})
    >>> active = ActiveTrees(forest, seed=0)
    >>> active.grow(trials=0, slots=1)
    True
    >>> len(active.trees), forest.count
    (64, 1099511627776)
    """

    def __init__(self, forest: Forest, *, seed: int) -> None:
        self.forest = forest
        self._active: dict[int, Tree] = {}
        self._rng = np.random.default_rng((seed, _STREAM))
        self._excluded: set[int] = set()
        self._rest: list[int] | None = None

    @property
    def trees(self) -> list[Tree]:
        """Return the active trees."""
        return list(self._active.values())

    def __len__(self) -> int:
        return len(self._active)

    def __contains__(self, index: int) -> bool:
        return index in self._active

    def grow(self, trials: int, slots: int) -> bool:
        """Activate trees until there are enough for these trials and slots; return whether any was added.

        Enough is max(64, 2 slots, 4 √trials), or every tree that is not excluded if these are fewer.
        """
        available = self.forest.count - len(self._excluded)
        wanted = min(available, max(_LEAST, 2 * slots, math.isqrt(16 * trials)))
        if len(self) >= wanted:
            return False
        if wanted == available:  # a small forest has all trees in order of number, whatever the seed
            for index in range(self.forest.count):
                self.add(index)
        while len(self) < wanted:
            self.add(self._draw())
        return True

    def add(self, index: int) -> None:
        """Activate tree number `index`, unless it is active or excluded."""
        if not self._is_taken(index):
            self._active[index] = self.forest.tree(index)

    def exclude(self, tree: Tree) -> None:
        """Drop a tree for good; the next `grow` replaces it."""
        self._excluded.add(tree.index)
        self._active.pop(tree.index, None)

    def _is_taken(self, index: int) -> bool:
        return index in self._active or index in self._excluded

    def _draw(self) -> int:
        """Draw two trees that are neither active nor excluded, and return the more complex one."""
        return max(self._candidate(), self._candidate(), key=lambda index: complexity(self.forest.tree(index)))

    def _candidate(self) -> int:
        taken = len(self._active) + len(self._excluded)
        if self._rest is None and 2 * taken > self.forest.count:
            # Most draws would hit a tree that is taken, so listing the rest is cheaper.
            self._rest = [index for index in range(self.forest.count) if not self._is_taken(index)]
        while True:
            if self._rest is None:
                index = below(self._rng, self.forest.count)
            else:
                place = below(self._rng, len(self._rest))
                index = self._rest[place]
                if self._is_taken(index):  # drop it by a swap with the last, in constant time
                    self._rest[place] = self._rest[-1]
                    self._rest.pop()
            if not self._is_taken(index):
                return index
