"""What samplers have in common that learn from all trees of the forest together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from shadho.checks import as_integer
from shadho.errors import ConfigurationError
from shadho.forest import Tree, snap
from shadho.samplers.base import Offer, Sampler, SamplerContext, Suggestion
from shadho.table import LeafColumns

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ['FIRST', 'LearningSampler', 'on_one_thread']

Floats = npt.NDArray[np.float64]
P = ParamSpec('P')
R = TypeVar('R')

FIRST = 10
"""Suggestions before anything is modelled, in the whole forest."""

_BLOCK = 64
"""First points after which the design begins anew: it is meant for few."""

_KEPT_DESIGNS = 256
"""Those of the trees that were asked for last; others are drawn anew."""

_LATIN = 16
"""Points of which the farthest one is the next of the design."""


@cache
def _linear_algebra() -> ThreadpoolController:
    """Return what controls the threads of the libraries below NumPy and SciPy."""
    import scipy.linalg  # noqa: F401  # what is not loaded yet cannot be controlled
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def on_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Keep linear algebra on one thread while a function runs.

    For the small matrices of samplers, threads wait for each other, at full speed and on the cores of the trials. And
    last digits, and so the points of a search, do not depend on how many cores there are.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _linear_algebra().limit(limits=1, user_api='blas'):
            return function(*args, **kwargs)

    return limited


class LearningSampler(Sampler):
    """A sampler whose next point follows from the seed, the points of all trees, and the number of the suggestion.

    Parameters
    ----------
    first : int, optional
        Suggestions before anything is modelled, in the whole forest; they fill each tree's cube evenly. Not given: none.

    Attributes
    ----------
    table : LeafColumns
        Results that were added, then those of the search's trials (see `Ledger.evidence`); another object when other losses
        are to be learned from.
    """

    def __init__(self, context: SamplerContext, *, first: int | None = None) -> None:
        super().__init__(context)
        number = 0 if first is None else as_integer(first)
        if number is None or (number < 1 and first is not None):
            raise ConfigurationError(
                f'method={self.name!r}: first must be an integer of 1 or more, or None; got {first!r}'
            )
        self.first = number
        self._columns = LeafColumns(context.forest, context.added, context.ledger.evidence)
        self._design = lru_cache(maxsize=_KEPT_DESIGNS)(
            lambda dimensions, tree, block: _Design(dimensions, (self.seed, tree, block))
        )

    @property
    def table(self) -> LeafColumns:
        evidence = self.context.ledger.evidence
        if self._columns.tables[-1] is not evidence:
            self._columns = LeafColumns(self.forest, self.context.added, evidence)
        return self._columns

    @property
    def knows_enough(self) -> bool:
        """Whether first suggestions have come to something, so that others can follow from it."""
        return len(self.table) >= self.first and (self.table.succeeded > 0 or not self.first)

    @abstractmethod
    def suggest(self, tree: Tree, rng: np.random.Generator) -> Floats | None:
        """Return the next point in a tree, by what is known: shape (dimensions,); None when that is too little."""

    def pending(self) -> tuple[Floats, list[int]]:
        """Return coordinates and trees of the pending trials: shape (pending, columns)."""
        trials = self.context.pending
        trees = [trial.tree for trial in trials]
        return self.table.place(trees, [trial.point for trial in trials]), trees

    def ask(self, tree: Tree, number: int) -> Suggestion:
        self.table.columns_of(tree.index)
        point = None
        if self.knows_enough:
            point = on_one_thread(self.suggest)(tree, self._rng(tree, number))
        return Suggestion(tree, self._first_point(tree, number) if point is None else point)

    def offers(self, tree: Tree, numbers: Sequence[int]) -> Sequence[Offer]:
        self.table.columns_of(tree.index)
        if not self.knows_enough:
            return [Offer(Suggestion(tree, self._first_point(tree, number)), number) for number in numbers]
        pool = on_one_thread(self.pool)(tree, self._rng(tree, numbers[0]))
        if pool is None:
            return ()
        return [Offer(Suggestion(tree, point), numbers[0], float(value)) for point, value in zip(*pool)]

    def pool(self, tree: Tree, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
        """Return points of which `suggest` would take the first of the most valuable ones, and their values (see `Offer`).

        Shapes (points, dimensions) and (points,). None, the default, if there are no others, or too little is known.
        """
        return None

    def _rng(self, tree: Tree, number: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, tree.index, number))

    def _first_point(self, tree: Tree, number: int) -> Floats:
        """Return a point while little is known: one of a design that fills the cube evenly."""
        block, place = divmod(number, _BLOCK)
        return snap(self._design(len(tree), tree.index, block).point(place), tree.sizes)


class _Design:
    """Points that fill the unit cube evenly: a latin hypercube that grows.

    Of 2, 4, 8 successive points and so on, each lies in a stratum of its own in every coordinate; and of some points for
    which that holds, the one farthest from all earlier ones is chosen, on a torus, as corners are far from everything.
    Unlike SciPy's Sobol' sequence, it is there at once: that takes half a second to import.
    """

    def __init__(self, dimensions: int, seed: Sequence[int]) -> None:
        self._rng = np.random.default_rng(seed)
        self._points = np.empty((0, dimensions))

    def point(self, place: int) -> Floats:
        """Return a point by its place; those before it are drawn first."""
        while len(self._points) <= place:
            self._points = np.vstack([self._points, self._next()])
        point: Floats = self._points[place]
        return point

    def _next(self) -> Floats:
        count, dimensions = self._points.shape
        strata = 1 << count.bit_length()
        lots = self._rng.random((_LATIN, strata, dimensions))
        lots[:, (self._points * strata).astype(np.intp), np.arange(dimensions)] = -1.0  # taken
        candidates = (lots.argmax(axis=1) + self._rng.random((_LATIN, dimensions))) / strata
        away = np.abs(candidates[:, None] - self._points)
        squares = (np.minimum(away, 1.0 - away) ** 2).sum(axis=2)
        farthest: Floats = candidates[squares.min(axis=1, initial=np.inf).argmax()]
        return farthest
