"""Complexity: the size of a tree, known before any trial."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from shadho.forest import Tree
from shadho.scheduling.policy import Heuristic
from shadho.spaces.domains import Domain
from shadho.table import Table

__all__ = ['Complexity', 'complexity']

_TAIL = 0.005
"""Probability cut off at each end of a continuous distribution to give it a width (Kinnison et al. 2018)."""


class Complexity(Heuristic):
    """Scores each tree by `complexity`, regardless of its results."""

    name = 'complexity'

    def __init__(self) -> None:
        self._known: dict[Tree, float] = {}

    def scores(self, trees: Sequence[Tree], history: Table) -> npt.NDArray[np.float64]:
        for tree in trees:
            if tree not in self._known:
                self._known[tree] = complexity(tree)
        return np.array([self._known[tree] for tree in trees], dtype=np.float64)


def complexity(tree: Tree) -> float:
    """Return the complexity of a tree: the sum of log(1 + size) over its leaves.

    The size of a leaf follows the original (Kinnison et al. 2018, arXiv:1707.01428): the number of
    values of a discrete leaf, and the width of the central 99 % interval of a continuous one, so
    that unbounded distributions have a size too.

    Notes
    -----
    The original multiplies sizes. Then a width below 1 makes a tree simpler, a change of units
    changes the order of trees, and many leaves overflow. A sum of logarithms grows with every leaf,
    and hardly depends on units.

    Examples
    --------
    >>> from shadho import spaces
    >>> from shadho.forest import Forest
    >>> forest = Forest({'kernel': ['linear', 'rbf', 'poly', 'sigmoid'], 'C': spaces.normal(0, 1)})
    >>> round(complexity(forest.tree(0)), 3)  # log(1 + 4) + log(1 + 5.15)
    3.426
    """
    return sum((_of_domain(leaf.domain) for leaf in tree.leaves), 0.0)


def _of_domain(domain: Domain) -> float:
    return _of_continuous(domain) if domain.size is None else math.log1p(domain.size)


@lru_cache(maxsize=1024)  # quantiles of some distributions take a millisecond
def _of_continuous(domain: Domain) -> float:
    try:
        width = abs(float(domain.decode(1 - _TAIL)) - float(domain.decode(_TAIL)))
    except (OverflowError, ValueError):  # a distribution over integers whose quantile is infinite or nan
        width = math.nan
    # A width that no float can hold, nan included, counts as the widest.
    return math.log1p(width if width <= sys.float_info.max else sys.float_info.max)
