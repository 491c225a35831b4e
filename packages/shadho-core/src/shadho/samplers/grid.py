"""Grid search: every combination exactly once, in an order that covers the grid from the start."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Path, Tree
from shadho.forest.tree import show_path
from shadho.samplers.base import CountingSampler, SamplerContext, whole_number

__all__ = ['Grid', 'combination']


def combination(sizes: Sequence[int], k: int) -> list[int]:
    """Return the k-th of all combinations of digits below `sizes`; after the last, it begins anew.

    Consecutive combinations lie far apart: the steps through the enumerated grid are about the
    golden ratio of its length, so that a search which ends early has seen all of it coarsely.

    Parameters
    ----------
    sizes : sequence of int
    k : int

    Returns
    -------
    list of int
        One digit for each size.

    Examples
    --------
    >>> [combination([5], k)[0] for k in range(6)]
    [0, 3, 1, 4, 2, 0]
    """
    total = math.prod(sizes)
    place = k * _stride(total) % total
    digits = []
    for size in reversed(sizes):
        place, digit = divmod(place, size)
        digits.append(digit)
    return digits[::-1]


def _stride(total: int) -> int:
    """Return the integer nearest above total / golden ratio that shares no factor with total."""
    stride = total * 618033988749895 // 10**15
    stride = max(stride, 1)
    while math.gcd(stride, total) != 1:
        stride += 1
    return stride


class Grid(CountingSampler):
    """Treats every discrete domain as a grid, and every continuous one as `grid_points` quantiles.

    Parameters
    ----------
    grid_points : int, optional
        Values to try of each continuous domain, evenly spaced in probability. Without it, a space
        with a continuous domain is an error.
    """

    name = 'grid'

    def __init__(self, context: SamplerContext, *, grid_points: int | None = None) -> None:
        super().__init__(context)
        self.grid_points = None if grid_points is None else whole_number('grid_points', grid_points, 1)
        for leaf in self.forest.leaves:
            self._size(leaf.domain.size, leaf.path)

    def length(self, tree: Tree) -> float:
        return math.prod(self._sizes(tree)) * self.context.repeats

    def point(self, tree: Tree, k: int) -> npt.NDArray[np.float64]:
        sizes = self._sizes(tree)
        return np.array([(digit + 0.5) / size for digit, size in zip(combination(sizes, k), sizes)])

    def _sizes(self, tree: Tree) -> list[int]:
        return [self._size(dimension.size, dimension.path) for dimension in tree.dimensions]

    def _size(self, size: int | None, path: Path) -> int:
        size = size or self.grid_points
        if size is None:
            raise ConfigurationError(
                f"method='grid' cannot list the values of {show_path(path)}, which is continuous; give grid_points=n to try "
                'n quantiles of each continuous domain, or use spaces.grid([...])'
            )
        return size
