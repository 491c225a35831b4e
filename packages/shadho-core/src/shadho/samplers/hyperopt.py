"""The tree-structured Parzen estimator of the hyperopt library, with one label for each leaf of the forest.

* J. Bergstra, R. Bardenet, Y. Bengio, B. Kégl, *Algorithms for hyper-parameter optimization*, 2011.
* J. Bergstra, D. Yamins, D. Cox, *Making a science of model search*, 2013, which is about the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.forest import Dimension, Tree
from shadho.samplers.base import SamplerContext
from shadho.samplers.learning import LearningSampler

__all__ = ['Hyperopt']

Floats = npt.NDArray[np.float64]

_BEST = 25
"""Best trials that the library is shown: more never count as good ones there (`gamma_cap`)."""

_LATEST = 200
"""Latest ones: its time grows with their number, and it forgets the others, linearly, in any case."""

_GAMMA = 0.25
"""Of n trials, so many times the root of n count as good, as the library has it (`gamma`)."""

_RANDOM = 20
"""Points that are drawn at random before anything is learned, as the library has it (`n_startup_jobs`)."""

_DRAWS = 3
"""So often the library is asked while what it suggests is pending, and then so often for a random point."""

_KEPT_DOMAINS = 256


class Hyperopt(LearningSampler):
    """TPE by the library hyperopt (``pip install hyperopt``), within the tree that is asked for.

    A leaf has the same label in every tree, so that what any tree says of it is learned; trials that
    share no leaf with the tree are left out. As the library has it, the first 20 points are random,
    and what is pending or has failed counts among the worst. Some 20 ms for a point of ten dimensions,
    however many trials there are: the library is shown the best 25 and the latest 200 of them.
    """

    name = 'hyperopt'

    def __init__(self, context: SamplerContext) -> None:
        super().__init__(context)
        try:
            import hyperopt  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                "method='hyperopt' needs the library of that name: pip install hyperopt"
            ) from error
        self._domain = lru_cache(maxsize=_KEPT_DOMAINS)(self._new_domain)

    def suggest(self, tree: Tree, rng: np.random.Generator) -> Floats:
        point = np.full(len(tree), 0.5)
        leaves = _leaves(tree)
        if not leaves:
            return point
        pending = self.pending()[0][:, self.table.columns_of(tree.index)]
        for draw in self._draws(tree, list(leaves.values())):
            point[list(leaves)] = draw(int(rng.integers(2**31)))
            if not (pending == point).all(axis=1).any():
                break
        return point

    def _draws(self, tree: Tree, leaves: Sequence[Dimension]) -> Iterator[Callable[[int], list[float]]]:
        """Yield what draws coordinates of the leaves of a tree, by a seed: as learned, then at random."""
        from hyperopt import rand, tpe

        domain = self._domain(tree.index)
        trials, gamma = self._trials(leaves)
        number = max(trials.tids, default=-1) + 1

        def draw(suggest: Callable[..., Any], seed: int) -> list[float]:
            with np.errstate(all='ignore'):
                (document,) = suggest([number], domain, trials, seed)
            values = document['misc']['vals']
            return [_coordinate(leaf, values[_label(leaf)][0]) for leaf in leaves]

        if len(trials) >= _RANDOM:
            yield from repeat(partial(draw, partial(tpe.suggest, gamma=gamma, verbose=False)), _DRAWS)
        yield from repeat(partial(draw, rand.suggest), _DRAWS)

    def _new_domain(self, index: int) -> Any:
        from hyperopt import Domain

        return Domain(None, [_distribution(leaf) for leaf in _leaves(self.forest.tree(index)).values()])

    def _trials(self, leaves: Sequence[Dimension]) -> tuple[Any, float]:
        """Return the trials that hold any of some leaves, as the library's, and the gamma to be used with them.

        It takes ceil(gamma √n) of n trials for good ones: a larger gamma makes up for those that it is not shown.
        """
        from hyperopt import Trials, trials_from_docs

        pending, _ = self.pending()
        columns = np.array([self.table.columns[leaf.path] for leaf in leaves])
        points = np.concatenate([self.table.points(columns=columns), pending[:, columns]])
        losses = np.append(self.table.losses(), np.full(len(pending), np.inf))
        related = np.flatnonzero(~np.isnan(points).all(axis=1))
        best = related[np.argsort(losses[related], kind='stable')[:_BEST]]
        shown = np.union1d(best, related[-_LATEST:]).tolist()
        results = [{'status': 'ok', 'loss': float(losses[row])} for row in shown]
        miscs = [_values(row, points[row], leaves) for row in shown]
        documents = Trials().new_trial_docs(shown, [None] * len(shown), results, miscs)
        return trials_from_docs(documents, validate=False), _GAMMA * (len(related) / max(len(shown), 1)) ** 0.5


def _leaves(tree: Tree) -> dict[int, Dimension]:
    """Return a tree's dimensions that the search does not set itself, by their places."""
    return {place: dimension for place, dimension in enumerate(tree.dimensions) if not dimension.grid}


def _label(leaf: Dimension) -> str:
    return repr(leaf.path)


def _distribution(leaf: Dimension) -> Any:
    """Return a coordinate's distribution: of the coordinate itself, or of the number of its cell."""
    from hyperopt import hp

    if leaf.size is None:
        return hp.uniform(_label(leaf), 0.0, 1.0)
    if leaf.kind == 'integer':
        return hp.quniform(_label(leaf), -0.5, leaf.size - 0.5, 1.0)
    return hp.randint(_label(leaf), leaf.size)


def _values(row: int, point: Floats, leaves: Sequence[Dimension]) -> dict[str, Any]:
    """Return a point in the form of the library's documents: no values where it lacks a leaf."""
    idxs: dict[str, list[int]] = {}
    vals: dict[str, list[float]] = {}
    for leaf, coordinate in zip(leaves, point.tolist()):
        known = not math.isnan(coordinate)
        idxs[_label(leaf)] = [row] if known else []
        vals[_label(leaf)] = [_value(leaf, coordinate)] if known else []
    return {'tid': row, 'cmd': None, 'idxs': idxs, 'vals': vals}


def _value(leaf: Dimension, coordinate: float) -> float:
    """Return the value of a coordinate under its distribution."""
    return coordinate if leaf.size is None else min(int(coordinate * leaf.size), leaf.size - 1)


def _coordinate(leaf: Dimension, value: float) -> float:
    """Return the coordinate of a value: the middle of its cell."""
    return float(value) if leaf.size is None else (min(max(float(value), 0.0), leaf.size - 1.0) + 0.5) / leaf.size
