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
from shadho.forest import Forest, Tree

__all__ = ['CountingSampler', 'Sampler', 'Suggestion', 'whole_number']


@attrs.frozen
class Suggestion:
    """A point of a tree that is to be tried.

    Attributes
    ----------
    id : int
        The sampler's own number for it, from 0 and different within a tree; -1 for a point that no
        sampler suggested (a warm start).
    tree : Tree
    point : array, shape (dimensions of the tree,)
        In the unit cube; it stays as it is.
    meta : mapping
        Notes of the sampler, kept with the trial; made of JSON's types.
    """

    id: int
    tree: Tree
    point: npt.NDArray[np.float64] = attrs.field(eq=False)
    meta: Mapping[str, Any] = attrs.field(factory=dict)


class Sampler(ABC):
    """Suggests the next point in a given tree and learns from what came of it.

    Parameters
    ----------
    forest : Forest
    seed : int
        Fixes every random choice.
    **options
        Of the sampler itself; an unknown one is a TypeError, as for any function.

    Attributes
    ----------
    name : str
        What ``method=`` calls it.
    aliases : tuple of str
        Other names that ``method=`` knows it by; what is recorded of a search has `name`.

    Notes
    -----
    Samplers see coordinates (`Tree.dimensions`), never scales or nesting. The coordinates of grid
    domains are overwritten by the search, and told back as they were tried.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(self, forest: Forest, *, seed: int) -> None:
        self.forest = forest
        self.seed = seed

    @property
    def title(self) -> str:
        """Return what a search calls its method when it begins, which may say more than the name."""
        return self.name

    @abstractmethod
    def ask(self, tree: Tree) -> Suggestion | None:
        """Suggest a point, which is pending from now on; None when the tree is exhausted."""

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        """Learn the loss (to be minimised; nan when the trial failed) of a suggestion.

        Must accept suggestions that this sampler never made: those of an earlier run (a resumed
        search) or of the user (a warm start).
        """

    def forget(self, suggestion: Suggestion) -> None:
        """Drop a suggestion whose trial was cancelled: it is pending no longer."""

    def adopt(self, suggestion: Suggestion) -> None:
        """Take a suggestion of an earlier run, which is to run again, as pending."""

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

    def __init__(self, forest: Forest, *, seed: int) -> None:
        super().__init__(forest, seed=seed)
        self._next: dict[int, int] = {}

    @abstractmethod
    def point(self, tree: Tree, k: int) -> npt.NDArray[np.float64]:
        """Return suggestion number `k` of a tree: an array of shape (dimensions,)."""

    def ask(self, tree: Tree) -> Suggestion | None:
        k = self._next.get(tree.index, 0)
        if k >= self.length(tree):
            return None
        self._next[tree.index] = k + 1
        return Suggestion(k, tree, self.point(tree, k))

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        self.adopt(suggestion)

    def adopt(self, suggestion: Suggestion) -> None:
        index = suggestion.tree.index
        self._next[index] = max(self._next.get(index, 0), suggestion.id + 1)
