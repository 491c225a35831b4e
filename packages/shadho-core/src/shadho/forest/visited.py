"""Which settings of a finite tree were tried, so that none is asked for again while others are left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shadho.forest.tree import Tree, snap

__all__ = ['Visited']

Floats = npt.NDArray[np.float64]

_NEIGHBOURS = 64
"""Points drawn around a visited one, before the settings that are left are listed: then hardly any are."""


class Visited:
    """Counts how often each setting of the finite trees was asked for.

    Parameters
    ----------
    repeats : int, default 1
        How often a setting may be asked for.

    Examples
    --------
    >>> import numpy as np
    >>> from shadho.forest import Forest
    >>> tree = Forest({'layers': [1, 2, 3]}).tree(0)
    >>> visited, rng = Visited(), np.random.default_rng(0)
    >>> for _ in range(3):
    ...     point = visited.unvisited(tree, np.array([0.5]), rng)
    ...     visited.add(tree, point)
    ...     print(tree.decode(point)['layers'])
    2
    3
    1
    """

    def __init__(self, repeats: int = 1) -> None:
        self.repeats = repeats
        self._counts: dict[int, Counter[bytes]] = {}
        self._known: dict[int, set[bytes]] = {}
        self._left: dict[int, list[bytes]] = {}

    def add(self, tree: Tree, point: Sequence[float] | Floats) -> None:
        """Count a point that is asked for; those of trees with a continuous coordinate are not kept."""
        if tree.size < math.inf:
            self._counts.setdefault(tree.index, Counter())[_key(tree, np.asarray(point, dtype=float))] += 1

    def know(self, tree: Tree, point: Sequence[float] | Floats) -> None:
        """Note a point whose result is known, and which may be asked for all the same."""
        if tree.size < math.inf:
            self._known.setdefault(tree.index, set()).add(_key(tree, np.asarray(point, dtype=float)))

    def are_new(self, tree: Tree, points: Floats) -> npt.NDArray[np.bool_]:
        """Say which settings of a finite tree were neither asked for nor known; of others, all are taken to be new.

        Parameters
        ----------
        tree : Tree
        points : array, shape (points, dimensions)
        """
        if tree.size == math.inf:
            return np.ones(len(points), dtype=bool)
        counts, known = self._counts.get(tree.index, ()), self._known.get(tree.index, ())
        keys = [cell.tobytes() for cell in _cells(tree, points)]
        return np.array([not (key in counts or key in known) for key in keys], dtype=bool)

    def unvisited(self, tree: Tree, point: Floats, rng: np.random.Generator) -> Floats:
        """Return the point, or a setting close to it when its own may not be asked for again.

        Coordinates of grid domains stay as they are as long as that leaves a choice. When nothing is left, the
        point itself is returned.
        """
        counts = self._counts.get(tree.index)
        if tree.size == math.inf or counts is None or counts[_key(tree, point)] < self.repeats:
            return point
        neighbour: Floats
        for neighbour in _around(tree, point, rng):
            if counts[_key(tree, neighbour)] < self.repeats:
                return neighbour
        left = self._left.setdefault(tree.index, []) or self._list(tree)
        while left:
            place = int(rng.integers(len(left)))
            if counts[left[place]] < self.repeats:
                other: Floats = (np.frombuffer(left[place], dtype=np.int64) + 0.5) / tree.sizes
                return other
            left[place] = left[-1]
            left.pop()
        return point

    def _list(self, tree: Tree) -> list[bytes]:
        """List the settings that are left. It happens once in a tree: after that the list only shrinks."""
        counts, left = self._counts[tree.index], self._left[tree.index]
        for number in range(int(tree.size)):
            key = np.array(np.unravel_index(number, tree.sizes), dtype=np.int64).tobytes()
            if counts[key] < self.repeats:
                left.append(key)
        return left


def _key(tree: Tree, point: Floats) -> bytes:
    return _cells(tree, point).tobytes()


def _cells(tree: Tree, points: Floats) -> npt.NDArray[np.int64]:
    return np.clip(np.floor(points * tree.sizes), 0, tree.sizes - 1).astype(np.int64)


def _around(tree: Tree, point: Floats, rng: np.random.Generator) -> Floats:
    """Draw points around one: the first differ from it by a step in one coordinate, the last in all, by any distance."""
    shape = _NEIGHBOURS, len(tree)
    free = np.array([dimension.size != 1 and not dimension.grid for dimension in tree.dimensions])
    if not free.any():
        return np.empty((0, len(tree)))
    share = np.linspace(0.0, 1.0, _NEIGHBOURS)[:, None]
    changed = rng.random(shape) < share
    changed[np.arange(_NEIGHBOURS), rng.choice(np.flatnonzero(free), _NEIGHBOURS)] = True
    is_category = np.array([dimension.kind == 'categorical' for dimension in tree.dimensions])
    steps = rng.choice((-1.0, 1.0), shape) * (1.0 / tree.sizes + share * rng.random(shape))
    moved = 1.0 - np.abs(1.0 - np.abs(point + steps))  # reflected at both ends
    moved = np.where(is_category, rng.random(shape), np.clip(moved, 0.0, 1.0))
    return snap(np.where(changed & free, moved, point), tree.sizes)
