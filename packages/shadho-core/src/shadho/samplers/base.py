"""The contract of a sampler."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from shadho.checks import as_integer
from shadho.errors import ConfigurationError
from shadho.forest import Forest, Tree, Visited
from shadho.ledger import Ledger
from shadho.records import Trial
from shadho.table import Table

__all__ = ['CountingSampler', 'Offer', 'Sampler', 'SamplerContext', 'Suggestion', 'whole_number']


@attrs.frozen
class Suggestion:
    """A point of a tree that is to be tried.

    Attributes
    ----------
    tree : Tree
    point : array, shape (dimensions of the tree,)
        In the unit cube; it stays as it is.
    meta : mapping
        Notes of the sampler, kept with the trial; made of JSON's types.
    """

    tree: Tree
    point: npt.NDArray[np.float64] = attrs.field(eq=False)
    meta: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Offer:
    """A suggestion of several, of which a policy may choose any.

    Attributes
    ----------
    suggestion : Suggestion
    number : int
        Its number in its tree (see `Sampler.ask`).
    value : float
        The logarithm of the expected improvement, but for a constant; equal where nothing is known.
    """

    suggestion: Suggestion
    number: int
    value: float = 0.0


@attrs.frozen
class SamplerContext:
    """What a sampler suggests with. All of it is for reading.

    Attributes
    ----------
    forest : Forest
    ledger : Ledger
        The state of every trial.
    seed : int
        Fixes every random choice.
    repeats : int
        How often the search tries each setting of a finite tree.
    added : Table
        Results that are none of the search's trials, and that are learned from all the same (`Search.add`). Those of its trials are
        in `ledger.history`; `LeafColumns` shows both as columns.
    visited : Visited
        Which settings of the finite trees were asked for, or added.
    """

    forest: Forest
    ledger: Ledger
    seed: int
    repeats: int = 1
    added: Table = attrs.field(factory=Table)
    visited: Visited = attrs.field(factory=Visited)

    @property
    def pending(self) -> list[Trial]:
        """Trials that run or wait to run again, and whose loss is not known yet (see `Ledger.evidence`)."""
        return self.ledger.unknown

    @property
    def pending_count(self) -> int:
        """The number of trials that run or wait to run again."""
        return len(self.ledger.pending)


class Sampler(ABC):
    """Suggests the next point in a given tree and learns from what came of it.

    Parameters
    ----------
    context : SamplerContext
    **options
        Of the sampler itself; an unknown one is a TypeError, as for any function.

    Attributes
    ----------
    name : str
        What ``method=`` calls it.
    aliases : tuple of str
        Other names that ``method=`` knows it by; what is recorded of a search has `name`.
    context : SamplerContext
    forest, seed
        Those of the context.

    Notes
    -----
    A suggestion is a function of the seed, the tree, its number, the results that were told, and the
    pending trials. So a search that is resumed from its log goes on as if it had never ended.

    Samplers see coordinates (`Tree.dimensions`), never scales or nesting. The coordinates of grid
    domains are overwritten by the search, and are told, and pending, as they are tried.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(self, context: SamplerContext) -> None:
        self.context = context
        self.forest = context.forest
        self.seed = context.seed

    @property
    def title(self) -> str:
        """Return what a search calls its method when it begins, which may say more than the name."""
        return self.name

    @abstractmethod
    def ask(self, tree: Tree, number: int) -> Suggestion | None:
        """Suggest a point; None when the tree is exhausted.

        It is pending only once its trial begins: the same number gives the same suggestion until then.

        Parameters
        ----------
        tree : Tree
        number : int
            The least number of a suggestion that no trial of the tree has had, in earlier runs either; 0 for its first one.
        """

    def offers(self, tree: Tree, numbers: Sequence[int]) -> Sequence[Offer]:
        """Return suggestions of which any may be begun, the first of the most valuable ones being what `ask` returns.

        With unequal hardware, a policy chooses the one that suits the free slot. The others are not pending; a number that was passed
        over is among the next `numbers`. By default there is no choice, and `ask` is called.

        Parameters
        ----------
        tree : Tree
        numbers : sequence of int
            The least numbers of suggestions that no trial of the tree has had, in ascending order.
        """
        return ()

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        """Learn the loss (to be minimised; nan when the trial failed) of a suggestion, which the tables have already.

        Where losses are compared on the way (see `Ledger.rungs`), it is the one at the first rung, so that all are comparable.
        Does nothing unless it is overridden. Must accept suggestions that this sampler never made: those of an earlier run (a resumed
        search) or of the user (a warm start).
        """

    def length(self, tree: Tree) -> float:
        """Return how many suggestions a tree has, after which `ask` gives None; infinite by default."""
        return math.inf

    def promise(self, trees: Sequence[Tree]) -> npt.NDArray[np.float64] | None:
        """Return the expected improvement of the next suggestion in each tree, or None."""
        return None


def whole_number(option: str, value: Any, least: int, most: int = 10**6) -> int:
    """Return an option of a sampler that is a whole number; ConfigurationError when it is none, or out of bounds."""
    number = as_integer(value)
    if number is None or not least <= number <= most:
        raise ConfigurationError(f'{option} must be an integer from {least} to {most:,}; got {value!r}')
    return number


class CountingSampler(Sampler):
    """A sampler whose k-th suggestion in a tree is a function of the seed, the tree and k."""

    @abstractmethod
    def point(self, tree: Tree, k: int) -> npt.NDArray[np.float64]:
        """Return suggestion number `k` of a tree: an array of shape (dimensions,)."""

    def ask(self, tree: Tree, number: int) -> Suggestion | None:
        return None if number >= self.length(tree) else Suggestion(tree, self.point(tree, number))

    def offers(self, tree: Tree, numbers: Sequence[int]) -> Sequence[Offer]:
        length = self.length(tree)
        return [Offer(Suggestion(tree, self.point(tree, number)), number) for number in numbers if number < length]
