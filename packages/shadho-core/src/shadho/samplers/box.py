"""What samplers have in common that search each tree by itself: an algorithm that knows one box."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.forest import Dimension, Tree, sizes_of, snap
from shadho.samplers.base import Offer, Sampler, SamplerContext, Suggestion

__all__ = ['Box', 'BoxSampler']

Floats = npt.NDArray[np.float64]

_DRAWS = 16
"""So often a box is asked while it repeats a point, and then so often chance."""


class Box(ABC):
    """An algorithm that searches one unit cube, and is asked and told in any order.

    What it knows is a function of what it is told, so that telling it again what an earlier run
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
    """

    def __init__(self, dimensions: Sequence[Dimension], seed: Sequence[int]) -> None:
        self.dimensions = dimensions
        self.seed = seed
        self._sizes = sizes_of(dimensions)

    @abstractmethod
    def ask(
        self, number: int, rng: np.random.Generator, pending: Sequence[Mapping[str, Any]]
    ) -> tuple[Floats, dict[str, Any]]:
        """Return a position, shape (dimensions,), and notes that come back with its result, of JSON's types.

        The point that is tried is the nearest one in the cube, in the middle of its cell where there are cells.
        `pending` are the notes of the trials that have not finished.
        """

    @abstractmethod
    def tell(self, point: Floats, loss: float, notes: Mapping[str, Any]) -> None:
        """Learn what was tried, and its loss: infinite when it failed; without notes when it was no idea of `ask`."""

    def draw(
        self,
        number: int,
        rng: np.random.Generator,
        pending: Sequence[Mapping[str, Any]],
        is_new: Callable[[Floats], bool],
    ) -> tuple[Floats, dict[str, Any]]:
        """Return a point and its notes; a new point, if there is one to be found.

        Most algorithms draw the same point again and again once they have settled on a cell. What it is worth is
        known by then, so that they are asked again, and if need be replaced by chance.
        """
        for attempt in range(2 * _DRAWS):
            if attempt < _DRAWS:
                position, notes = self.ask(number, rng, pending)
            else:
                position, notes = rng.random(len(self.dimensions)), {}
            point = snap(np.clip(position, 0.0, 1.0), self._sizes)
            if is_new(point):
                break
        return point, notes


class BoxSampler(Sampler):
    """A sampler that has a box for each tree, made when the tree is first heard of.

    Coordinates that the search sets itself, those of grid domains, are no part of the box.
    """

    def __init__(self, context: SamplerContext) -> None:
        super().__init__(context)
        self._boxes: dict[int, Box] = {}

    @abstractmethod
    def make(self, dimensions: Sequence[Dimension], seed: Sequence[int]) -> Box:
        """Return a new box."""

    def ask(self, tree: Tree, number: int) -> Suggestion:
        places = _places(tree)
        point = np.full(len(tree), 0.5)
        notes: dict[str, Any] = {}
        if places:

            def is_new(drawn: Floats) -> bool:
                return len(places) < len(tree) or bool(self.context.visited.are_new(tree, drawn[None])[0])

            pending = [trial.meta for trial in self.context.pending if trial.tree == tree.index]
            rng = np.random.default_rng((self.seed, tree.index, number))
            point[places], notes = self._box(tree).draw(number, rng, pending, is_new)
        return Suggestion(tree, point, notes)

    def offers(self, tree: Tree, numbers: Sequence[int]) -> Sequence[Offer]:
        return [Offer(self.ask(tree, number), number) for number in numbers]

    def tell(self, suggestion: Suggestion, loss: float) -> None:
        places = _places(suggestion.tree)
        if places:
            known = math.inf if math.isnan(loss) else loss
            self._box(suggestion.tree).tell(suggestion.point[places], known, suggestion.meta)

    def _box(self, tree: Tree) -> Box:
        if tree.index not in self._boxes:
            dimensions = [tree.dimensions[place] for place in _places(tree)]
            self._boxes[tree.index] = self.make(dimensions, (self.seed, tree.index))
        return self._boxes[tree.index]


def _places(tree: Tree) -> list[int]:
    """Return the places of a tree's coordinates that the search does not set itself."""
    return [place for place, dimension in enumerate(tree.dimensions) if not dimension.grid]
