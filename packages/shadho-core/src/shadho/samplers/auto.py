"""The default: two models in turn, and one that stays fast when trials are many."""

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
"""Finished trials after which a Gaussian process has told most of what it can."""

_MANY_LEAVES = 300
"""Leaves of the space above which fitting a length scale for each takes too long: the time grows with their number."""

_MANY_PENDING = 100
"""Pending trials above which suggestions must be cheap: so many slots wait for them."""


class Auto(Sampler):
    """Suggests with a Gaussian process and with a tree-structured Parzen estimator in turn.

    1. ``gp`` and ``tpe`` in turn, for the first 1,000 trials. The Gaussian process gets furthest where losses are smooth,
       and is misled where they are rough; the Parzen estimator looks at the order of losses only. Each learns from
       all trials, so that what one finds the other refines, and neither has to be chosen beforehand.
    2. ``tpe`` after that, while more than 100 trials are pending, and in a space of more than 300 leaves: a suggestion takes
       a tenth of the time.

    The budget need not be known: a search that ends by a timeout is as well served as one with `max_tasks`. Each trial
    is recorded with the method that suggested it.

    Parameters
    ----------
    first : int, optional
        Suggestions before anything is modelled, in the whole forest; by default as many as each of them takes.

    Attributes
    ----------
    choice : str
        Which methods are chosen, and why.
    """

    name = 'auto'

    def __init__(self, forest: Forest, *, seed: int, first: int | None = None) -> None:
        super().__init__(forest, seed=seed)
        options = {} if first is None else {'first': first}
        self._fast = TPE(forest, seed=seed, **options)
        self._exact: GaussianProcess | None = None
        leaves = len(forest.leaves)
        if leaves > _MANY_LEAVES:
            self.choice = f'tpe, as a Gaussian process of {leaves} leaves would be slow'
        else:
            self._exact = GaussianProcess(forest, seed=seed, **options)
            self.choice = f'gp and tpe in turn; tpe after {_MANY_TRIALS:,} trials'

    @property
    def title(self) -> str:
        return f'{self.name} ({self.choice})'

    def ask(self, tree: Tree) -> Suggestion | None:
        current = self._next()
        suggestion = current.ask(tree)
        for other in self._samplers:
            if other is not current:
                other.adopt(suggestion)
        return attrs.evolve(suggestion, meta={'method': current.name})

    def _next(self) -> TPE | GaussianProcess:
        """Return whose turn it is: a function of how many trials are finished and pending, so that it survives a restart."""
        finished, pending = len(self._fast.table), self._fast.table.pending_count
        if self._exact is None or pending > _MANY_PENDING or (finished + pending) % 2:
            return self._fast
        return self._exact

    @property
    def _samplers(self) -> list[TPE | GaussianProcess]:
        return [self._fast] if self._exact is None else [self._exact, self._fast]

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        for sampler in self._samplers:
            sampler.tell(suggestion, loss)
        if len(self._fast.table) >= _MANY_TRIALS:
            self._exact = None

    def forget(self, suggestion: Suggestion) -> None:
        for sampler in self._samplers:
            sampler.forget(suggestion)

    def adopt(self, suggestion: Suggestion) -> None:
        for sampler in self._samplers:
            sampler.adopt(suggestion)

    def promise(self, trees: Sequence[Tree]) -> npt.NDArray[np.float64] | None:
        return self._samplers[0].promise(trees)
