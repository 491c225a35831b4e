"""Random search (Bergstra & Bengio 2012): every point drawn from the space's own distributions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from shadho.forest import Tree
from shadho.samplers.base import CountingSampler, SamplerContext

__all__ = ['Random']


_BLOCK = 64
_KEPT_BLOCKS = 256


class Random(CountingSampler):
    """Draws every point independently; a few microseconds a suggestion, whatever was tried."""

    name = 'random'

    def __init__(self, context: SamplerContext) -> None:
        super().__init__(context)
        self._block = lru_cache(maxsize=_KEPT_BLOCKS)(self._new_block)

    def _new_block(self, index: int, number: int) -> npt.NDArray[np.float64]:
        """Draw so many points at once, as starting a generator costs far more than a draw."""
        return np.random.default_rng((self.seed, index, number)).random((_BLOCK, len(self.forest.tree(index))))

    def point(self, tree: Tree, k: int) -> npt.NDArray[np.float64]:
        point: npt.NDArray[np.float64] = self._block(tree.index, k // _BLOCK)[k % _BLOCK]
        return point
