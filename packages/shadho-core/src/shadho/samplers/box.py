"""What samplers have in common that search each tree by itself: an algorithm that knows one box."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.forest import Dimension, Forest, Tree, sizes_of, snap
from shadho.samplers.base import Sampler, Suggestion

__all__ = ['Box', 'BoxSampler']

Floats = npt.NDArray[np.float64]

_DRAWS = 16
"""So often a box is asked while it repeats a point, and then so often chance."""


class Box(ABC):
    """An algorithm that searches one unit cube, and is asked and told in any order.

    What it learns must be a function of what it is told, so that telling it again what an earlier run
    was told, notes included, brings it back to where it was.

    Parameters
    ----------
    dimensions : sequence of Dimension
        At least one.
    seed : sequence of int
        Fixes whatever chance there is apart from `ask`.

    Attributes
    ----------
    dimensions : sequence of Dimension
    seed : sequence of int
    pending : dict of int to mapping
        Numbers and notes of suggestions that have not been told.
    """

    def __init__(self, dimensions: Sequence[Dimension], seed: Sequence[int]) -> None:
        self.dimensions = dimensions
        self.seed = seed
        self.pending: dict[int, Mapping[str, Any]] = {}
        self._sizes = sizes_of(dimensions)
        self._is_finite = bool(self._sizes.all())
        self._seen: set[bytes] = set()  # of a finite box; elsewhere points hardly repeat

    @abstractmethod
    def ask(self, number: int, rng: np.random.Generator) -> tuple[Floats, dict[str, Any]]:
        """Return a position, shape (dimensions,), and notes that come back with its result, of JSON's types.

        The point that is tried is the nearest one in the cube, in the middle of its cell where there are cells.
        """

    @abstractmethod
    def tell(self, point: Floats, loss: float, notes: Mapping[str, Any]) -> None:
        """Learn what was tried, and its loss: infinite when it failed; without notes when it was no idea of `ask`."""

    def draw(self, number: int, rng: np.random.Generator, *, new: bool) -> tuple[Floats, dict[str, Any]]:
        """Return a point and its notes; a `new` point, if there is one to be found.

        Most algorithms draw the same point again and again once they have settled on a cell. What it is worth is
        known by then, so that they are asked again, and if need be replaced by chance.
        """
        for attempt in range(2 * _DRAWS):
            position, notes = self.ask(number, rng) if attempt < _DRAWS else (rng.random(len(self.dimensions)), {})
            point = snap(np.clip(position, 0.0, 1.0), self._sizes)
            if not (new and self._is_finite) or point.tobytes() not in self._seen:
                break
        return point, notes

    def begin(self, number: int, point: Floats, notes: Mapping[str, Any]) -> None:
        """Take a suggestion as pending."""
        self.pending[number] = notes
        self._see(point)

    def drop(self, number: int, point: Floats) -> None:
        """Take it as pending no longer, nor as tried."""
        self.pending.pop(number, None)
        self._seen.discard(point.tobytes())

    def end(self, number: int, point: Floats, loss: float, notes: Mapping[str, Any]) -> None:
        """Take it as pending no longer, and learn its loss."""
        self.pending.pop(number, None)
        self._see(point)
        self.tell(point, loss, notes)

    def _see(self, point: Floats) -> None:
        if self._is_finite:
            self._seen.add(point.tobytes())


class BoxSampler(Sampler):
    """A sampler that has a box for each tree, made when the tree is first heard of.

    Coordinates that the search sets itself, those of grid domains, are no part of the box.
    """

    def __init__(self, forest: Forest, *, seed: int) -> None:
        super().__init__(forest, seed=seed)
        self._boxes: dict[int, Box] = {}
        self._next: dict[int, int] = {}

    @abstractmethod
    def make(self, dimensions: Sequence[Dimension], seed: Sequence[int]) -> Box:
        """Return a new box."""

    def ask(self, tree: Tree) -> Suggestion:
        number = self._next.get(tree.index, 0)
        places = _places(tree)
        point = np.full(len(tree), 0.5)
        notes: dict[str, Any] = {}
        if places:
            rng = np.random.default_rng((self.seed, tree.index, number))
            point[places], notes = self._box(tree).draw(number, rng, new=len(places) == len(tree))
        suggestion = Suggestion(number, tree, point, notes)
        self.adopt(suggestion)
        return suggestion

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        self._count(suggestion)
        places = _places(suggestion.tree)
        if places:
            known = math.inf if math.isnan(loss) else loss
            self._box(suggestion.tree).end(suggestion.id, suggestion.point[places], known, suggestion.meta)

    def forget(self, suggestion: Suggestion) -> None:
        places = _places(suggestion.tree)
        if places:
            self._box(suggestion.tree).drop(suggestion.id, suggestion.point[places])

    def adopt(self, suggestion: Suggestion) -> None:
        self._count(suggestion)
        places = _places(suggestion.tree)
        if places:
            self._box(suggestion.tree).begin(suggestion.id, suggestion.point[places], suggestion.meta)

    def _box(self, tree: Tree) -> Box:
        if tree.index not in self._boxes:
            dimensions = [tree.dimensions[place] for place in _places(tree)]
            self._boxes[tree.index] = self.make(dimensions, (self.seed, tree.index))
        return self._boxes[tree.index]

    def _count(self, suggestion: Suggestion) -> None:
        index = suggestion.tree.index
        self._next[index] = max(self._next.get(index, 0), suggestion.id + 1)


def _places(tree: Tree) -> list[int]:
    """Return the places of a tree's coordinates that the search does not set itself."""
    return [place for place, dimension in enumerate(tree.dimensions) if not dimension.grid]
