"""The default: a Gaussian process and a Parzen estimator in turn, and later an evolution strategy."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from shadho.forest import Tree
from shadho.samplers.base import Offer, Sampler, SamplerContext, Suggestion
from shadho.samplers.cmaes import CMAES
from shadho.samplers.gp import MOST_LEAVES, GaussianProcess
from shadho.samplers.tpe import TPE

__all__ = ['Auto']

_MANY_TRIALS = 1000
"""Finished trials after which a Gaussian process has told most of what it can."""

_MANY_IN_TREE = 300
"""Finished trials of a tree after which an evolution strategy gets further there, at a hundredth of the cost: of 300, 400
and 500, the best one for 1,000 trials on four functions of bbob."""

_MANY_PENDING = 100
"""Pending trials above which suggestions must be cheap, as so many slots wait for them."""


class Auto(Sampler):
    """Suggests with two methods in turn.

    1. ``gp`` and ``tpe`` at first. The Gaussian process gets furthest where losses are smooth, and is misled where they
       are rough; the Parzen estimator looks at the order of losses only. Each learns from all trials, so that
       one refines what the other finds, and neither has to be chosen beforehand.
    2. ``cmaes``, and ``tpe`` every fourth time, in a tree of 300 finished trials: both are fast, and an evolution strategy goes
       on improving where a model of the loss has told what it can. It begins at the best trial of the tree.

    Where trials are judged on the way, ``tpe`` suggests all: on two problems it came to a good model in 65 and
    77 % of the time (``benchmarks/fidelity.py``, 8 seeds), as few trials get far, and a Gaussian process relies on them too much.
    ``tpe`` takes the place of ``gp`` in a space of more than 300 leaves, while more than 100 trials are pending, and after 1,000
    finished ones. The budget need not be known: a search that ends by a timeout is as well served as one with `max_tasks`.
    Each trial is recorded with the method that suggested it.

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

    def __init__(self, context: SamplerContext, *, first: int | None = None) -> None:
        super().__init__(context)
        self._parzen = TPE(context, first=first)
        self._gaussian: GaussianProcess | None = None
        self._evolution = CMAES(context)
        leaves = len(self.forest.leaves)
        if context.ledger.rungs:
            self.choice = 'tpe, as trials are judged on the way'
            return
        if leaves > MOST_LEAVES:
            early = f'tpe, as a Gaussian process of {leaves} leaves would be slow'
        else:
            self._gaussian = GaussianProcess(context, first=first)
            early = 'gp and tpe in turn'
        self.choice = f'{early}; cmaes where a tree has {_MANY_IN_TREE} trials'

    @property
    def title(self) -> str:
        return f'{self.name} ({self.choice})'

    def ask(self, tree: Tree, number: int) -> Suggestion:
        current = self._current(tree)
        return _by(current, current.ask(tree, number))

    def offers(self, tree: Tree, numbers: Sequence[int]) -> Sequence[Offer]:
        current = self._current(tree)
        offers = current.offers(tree, numbers)
        return [attrs.evolve(offer, suggestion=_by(current, offer.suggestion)) for offer in offers]

    def _current(self, tree: Tree) -> TPE | GaussianProcess | CMAES:
        """Return whose turn it is: a function of how many trials are finished and pending, so that it survives a restart."""
        if self.context.ledger.rungs:
            return self._parzen
        if self._parzen.table.count(tree.index) >= _MANY_IN_TREE:
            return self._parzen if self._turn == 3 else self._evolution
        if self._gaussian is None or self.context.pending_count > _MANY_PENDING or self._turn % 2:
            return self._parzen
        return self._gaussian

    @property
    def _turn(self) -> int:
        return (len(self._parzen.table) + self.context.pending_count) % 4

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        self._evolution.tell(suggestion, loss)  # the others read the table
        if len(self._parzen.table) >= _MANY_TRIALS:
            self._gaussian = None

    def promise(self, trees: Sequence[Tree]) -> npt.NDArray[np.float64] | None:
        """Return what the method whose turn it is expects, so that neither of them alone gives a tree up."""
        return (self._gaussian if self._gaussian is not None and self._turn % 2 == 0 else self._parzen).promise(trees)


def _by(sampler: Sampler, suggestion: Suggestion) -> Suggestion:
    """Return a suggestion with the name of the method that made it."""
    return attrs.evolve(suggestion, meta={**suggestion.meta, 'method': sampler.name})
