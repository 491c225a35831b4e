"""Active trees: the few of a forest, however large, that have state."""

from __future__ import annotations

import math

import numpy as np

from shadho.forest import Forest, Tree
from shadho.scheduling.chance import below
from shadho.scheduling.complexity import complexity

__all__ = ['ActiveTrees']

_LEAST = 64
_STREAM = 0x5EED7EE5  # apart from the streams that policies draw from with the same seed


class ActiveTrees:
    """The trees that a policy keeps state of, which the whole forest may have far too many of.

    Their number grows like the square root of the number of trials. New ones are drawn at random
    from all others, the more complex of two candidates each time.

    Parameters
    ----------
    forest : Forest
    seed : int
        What is drawn is a function of it and of the order of calls.

    Attributes
    ----------
    trees : list of Tree
        In the order in which they became active; those of a small forest by number.

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
        """Make as many trees active as so many trials and slots deserve; return whether any was added.

        That is max(64, 2 slots, 4 √trials), or all that are not excluded when these are fewer.
        """
        available = self.forest.count - len(self._excluded)
        wanted = min(available, max(_LEAST, 2 * slots, math.isqrt(16 * trials)))
        if len(self) >= wanted:
            return False
        if wanted == available:
            for index in range(self.forest.count):
                self.add(index)
        while len(self) < wanted:
            self.add(self._draw())
        return True

    def add(self, index: int) -> None:
        """Make tree number `index` active, unless it is, or is excluded."""
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
            # Drawing would often hit one that is taken, and the rest is worth listing.
            self._rest = [index for index in range(self.forest.count) if not self._is_taken(index)]
        while True:
            if self._rest is None:
                index = below(self._rng, self.forest.count)
            else:
                place = below(self._rng, len(self._rest))
                index = self._rest[place]
                if self._is_taken(index):
                    self._rest[place] = self._rest[-1]
                    self._rest.pop()
            if not self._is_taken(index):
                return index
