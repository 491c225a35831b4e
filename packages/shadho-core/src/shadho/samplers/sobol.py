"""Sobol' sequences: points that fill a tree's unit cube more evenly than random ones do."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Tree
from shadho.samplers.base import CountingSampler, SamplerContext

__all__ = ['Sobol']

_KEPT_ENGINES = 256


class Sobol(CountingSampler):
    """A scrambled Sobol' sequence (Sobol' 1967; Owen 1998) in each tree, by `scipy.stats.qmc`."""

    name = 'sobol'

    def __init__(self, context: SamplerContext) -> None:
        super().__init__(context)
        self._engine = lru_cache(maxsize=_KEPT_ENGINES)(self._new_engine)

    def _new_engine(self, index: int) -> Any:
        from scipy.stats import qmc

        dimensions = len(self.forest.tree(index))
        if dimensions > qmc.Sobol.MAXDIM:
            raise ConfigurationError(
                f"method 'sobol' knows trees of at most {qmc.Sobol.MAXDIM} dimensions; tree {index} has {dimensions}. "
                "Use method='random'"
            )
        return qmc.Sobol(dimensions, rng=np.random.default_rng((self.seed, index)))

    def point(self, tree: Tree, k: int) -> npt.NDArray[np.float64]:
        if not len(tree):
            return np.empty(0)
        engine = self._engine(tree.index)
        if engine.num_generated > k:
            engine.reset()
        if engine.num_generated < k:
            engine.fast_forward(k - engine.num_generated)
        point: npt.NDArray[np.float64] = engine.random(1)[0]
        return point
