"""A sampler for SHADHO: scrambled Halton sequences (Halton 1960; Owen 2017)."""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc

from shadho import hookimpl
from shadho.samplers import CountingSampler, Sampler


class Halton(CountingSampler):
    """Fills each tree's unit cube with a scrambled Halton sequence.

    Parameters
    ----------
    context : SamplerContext
        As for every sampler.
    scramble : bool, default True
        Whether to permute digits, which keeps coordinates of many dimensions from moving together.
    """

    name = 'halton'

    def __init__(self, context, *, scramble=True):
        super().__init__(context)
        self.scramble = scramble
        self._engines = {}

    def point(self, tree, k):
        """Return point number k of a tree's sequence."""
        if not len(tree):
            return np.empty(0)
        engine = self._engines.get(tree.index)
        if engine is None:
            rng = np.random.default_rng((self.seed, tree.index))
            engine = self._engines[tree.index] = qmc.Halton(len(tree), scramble=self.scramble, rng=rng)
        if engine.num_generated > k:
            engine.reset()
        engine.fast_forward(k - engine.num_generated)
        return engine.random(1)[0]


@hookimpl
def shadho_register_samplers() -> list[type[Sampler]]:
    return [Halton]
