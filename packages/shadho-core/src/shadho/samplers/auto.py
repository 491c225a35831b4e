"""The method that suits a space, and later the one that suits many trials."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from shadho.forest import Forest, Tree
from shadho.samplers.base import Sampler, Suggestion
from shadho.samplers.gp import GaussianProcess
from shadho.samplers.tpe import TPE

__all__ = ['Auto']

_MANY_TRIALS = 1000
"""Finished trials after which a model of the loss has told most of what it can."""

_MANY_LEAVES = 100
"""Leaves of the space above which fitting a length scale for each takes too long: its time grows with their number."""


class Auto(Sampler):
    """Chooses a method by the space and by how many trials there are.

    1. ``gp`` for the first 1,000 trials: of what was measured, it gets furthest with few of them, in every kind of space.
    2. ``tpe`` after that, and from the beginning in a space of more than 100 leaves: a suggestion takes a small part of
       the time.

    Both learn from all trials, so nothing is lost at the change. The budget need not be known: a search that ends by a
    timeout is as well served as one with `max_tasks`. Each trial is recorded with the method that suggested it.

    Attributes
    ----------
    choice : str
        Which method is chosen, and why.
    """

    name = 'auto'

    def __init__(self, forest: Forest, *, seed: int) -> None:
        super().__init__(forest, seed=seed)
        self._samplers: list[Sampler] = [TPE(forest, seed=seed)]
        leaves = len(forest.leaves)
        if leaves > _MANY_LEAVES:
            self.choice = f'tpe, as a Gaussian process of {leaves} leaves would be slow'
        else:
            self._samplers.insert(0, GaussianProcess(forest, seed=seed))
            self.choice = f'gp, as it gets furthest with few trials; tpe after {_MANY_TRIALS:,}, as it is fast'
        self._told = 0

    @property
    def title(self) -> str:
        return f'{self.name} ({self.choice})'

    def ask(self, tree: Tree) -> Suggestion | None:
        current, *others = self._samplers
        suggestion = current.ask(tree)
        if suggestion is None:
            return None
        for other in others:
            other.adopt(suggestion)
        return attrs.evolve(suggestion, meta={'method': current.name})

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        for sampler in self._samplers:
            sampler.tell(suggestion, loss)
        self._told += 1
        if self._told == _MANY_TRIALS:
            del self._samplers[:-1]

    def forget(self, suggestion: Suggestion) -> None:
        for sampler in self._samplers:
            sampler.forget(suggestion)

    def adopt(self, suggestion: Suggestion) -> None:
        for sampler in self._samplers:
            sampler.adopt(suggestion)

    def promise(self, trees: Sequence[Tree]) -> npt.NDArray[np.float64] | None:
        return self._samplers[0].promise(trees)
