"""The tree-structured Parzen estimator, over all trees of the forest at once.

Trials are split into good ones and others, the density of each kind is estimated, and the next point is
one where the first is largest against the second: there the expected improvement is largest (Bergstra
et al. 2011, section 4). Densities are of all coordinates jointly (Falkner et al. 2018), and what each part
of the method is worth was measured by Watanabe (2023), whose terms are used here.

Across the forest, a trial of another tree says as much as it shares: its kernel is that of the
leaves that both trees have, and flat in the others. Whether a trial is good is judged among those of its
own tree, so that a leaf is learned also from trees that are worse as a whole. That is judged elsewhere:
by which trees the best of all trials come from (`TPE.promise`).

* J. Bergstra, R. Bardenet, Y. Bengio, B. Kegl, *Algorithms for hyper-parameter optimization* (2011).
* S. Falkner, A. Klein, F. Hutter, *BOHB: robust and efficient hyperparameter optimization at scale* (2018).
* S. Watanabe, *Tree-structured Parzen estimator: understanding its algorithm components and their roles for
  better empirical performance* (2023).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shadho.forest import Dimension, Tree, sizes_of, snap
from shadho.samplers.base import SamplerContext
from shadho.samplers.learning import FIRST, LearningSampler

__all__ = ['TPE']

Floats = npt.NDArray[np.float64]

_GOOD = 0.15
"""gamma: fraction of trials counted as good (Bergstra et al.)."""

_MOST_GOOD = 25
"""Upper bound on the good trials."""

_MOST_OTHERS = 1000
"""Upper bound on the trials in the other density, so that the cost of a suggestion stays bounded."""

_INSTANT = 9
"""Binary digits of the number of trials up to which they are split after each result; with more, after several."""

_CANDIDATES = 24
"""Points drawn from the density of the good trials (Optuna and hyperopt draw as many)."""

_DRAWS = 8
"""How often candidates are drawn until one is new, in a tree of finitely many settings."""

_PRIOR = 0.5
"""Weight of the flat prior in each density, in trials."""

_BANDWIDTH = 0.5
"""Bandwidth of a single trial, in standard deviations; it shrinks as in Scott's rule."""

_SPREAD = 3.0
"""Trials drawn from the prior that are added when a standard deviation is estimated, so that a few trials close
to each other do not make it vanish."""

_NARROWEST = 0.02
"""Lower bound on a bandwidth in the unit cube (magic clipping of Bergstra et al.)."""

_CELL = 0.5
"""Lower bound on the bandwidth of an integer, in cells: a narrower kernel never leaves its cell. Of 0.5 and 1, the
better one on bbob-mixint."""

_BLUR = 0.2
"""Probability that a categorical kernel gives to the other values (Aitchison & Aitken 1976)."""

_MOST_CELLS = 64
"""Number of integer values up to which kernels are tables; with more, the domain is treated as continuous."""

_DOUBT = 1.0
"""Trials that every tree is given at first, in the average proportion, when trees are compared."""


class TPE(LearningSampler):
    """The multivariate tree-structured Parzen estimator.

    Pending suggestions are taken for bad ones (constant liar), so that those asked for together lie apart.

    Parameters
    ----------
    first : int, optional
        Suggestions before anything is modelled, in the whole forest, 10 by default; they fill each tree's cube evenly.
    """

    name = 'tpe'

    def __init__(self, context: SamplerContext, *, first: int | None = None) -> None:
        super().__init__(context, first=FIRST if first is None else first)
        self._split_at: tuple[object, int, int] = (None, 0, 0)
        self._good = self._others = np.empty(0, dtype=np.intp)

    def suggest(self, tree: Tree, rng: np.random.Generator) -> Floats | None:
        pool = self._pool(tree, rng)
        if pool is None:
            return None
        candidates, ratios = pool
        best: Floats = candidates[np.argmax(ratios)]
        return best

    def pool(self, tree: Tree, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
        pool = self._pool(tree, rng)
        if pool is None:
            return None
        order = np.argsort(-pool[1], kind='stable')  # values of the best may be equal, to the last digit
        candidates, ratios = pool[0][order], pool[1][order]
        return candidates, -np.logaddexp(math.log(_GOOD), math.log(1.0 - _GOOD) - ratios)  # (Bergstra et al., eq. 3)

    def _pool(self, tree: Tree, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
        """Return candidates, and the logarithms of how much likelier they are good ones than others."""
        self._keep_up()
        good, others = self._good, self._others
        if not (len(tree) and len(good)):
            return None
        columns = self.table.columns_of(tree.index)
        points = self.table.points(np.concatenate([good, others]), columns)
        pending, _ = self.pending()
        weights = np.linspace(1.0, 1.0 / len(good), len(good))  # the better, the more
        kinds = tree.dimensions
        likely = _Density(points[: len(good)], weights * (len(good) / weights.sum()), kinds)
        bad = np.concatenate([points[len(good) :], pending[:, columns]])
        unlikely = _Density(bad, np.ones(len(bad)), kinds)
        candidates = self._candidates(tree, likely, rng)
        return candidates, likely.logarithm(candidates) - unlikely.logarithm(candidates)

    def _candidates(self, tree: Tree, likely: _Density, rng: np.random.Generator) -> Floats:
        """Draw points from the density of the good trials, new ones where settings can repeat, as long as there are any.

        The good settings of a small tree are soon known: then most of what is drawn was tried already.
        """
        for _ in range(_DRAWS if tree.size < math.inf else 1):
            candidates = likely.draw(rng, _CANDIDATES)
            are_new = self.context.visited.are_new(tree, candidates)
            if are_new.any():
                return candidates[are_new]
        anywhere = snap(rng.random((_CANDIDATES, len(tree))), tree.sizes)
        are_new = self.context.visited.are_new(tree, anywhere)
        return anywhere[are_new] if are_new.any() else candidates

    def promise(self, trees: Sequence[Tree]) -> Floats | None:
        """Return the expected improvement in each tree, up to a factor, from where the best of all trials lie.

        With l and g the densities of trees among the good trials and the others, that is
        1 / (gamma + (1 - gamma) g / l) (Bergstra et al. 2011, eq. 3).
        """
        if not self.knows_enough:
            return None
        self._keep_up()
        likely = np.array([self._best_in[tree.index] + _DOUBT for tree in trees])
        unlikely = np.array([self._rest_in[tree.index] + _DOUBT for tree in trees])
        share = self._share
        ratio = unlikely / unlikely.sum() / (likely / likely.sum())
        promise: Floats = 1.0 / (share + (1.0 - share) * ratio)
        return promise

    def _keep_up(self) -> None:
        """Split the trials, those of the last instants left out, so that the cost of a trial does not grow with them."""
        count = len(self.table)
        count -= count % (1 << max(count.bit_length() - _INSTANT, 0))
        if self._split_at != (self.table, count, len(self.context.added)):
            self._split_at = self.table, count, len(self.context.added)
            losses, trees = self.table.losses()[:count], self.table.trees()[:count]
            self._split(losses, np.unique(trees, return_inverse=True)[1])
            best = np.argsort(losses, kind='stable')
            number = _count_good(count)
            self._share = number / count
            self._best_in, self._rest_in = (Counter(trees[part].tolist()) for part in (best[:number], best[number:]))

    def _split(self, losses: Floats, trees: npt.NDArray[np.intp]) -> None:
        """Find the good trials, the best first, and the others: by their places among those of their own tree.

        Failed trials are never good ones.
        """
        order = np.lexsort((losses, trees))
        sizes = np.bincount(trees)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        place = np.empty(len(losses))
        place[order] = (np.arange(len(losses)) - starts[trees[order]] + 0.5) / sizes[trees[order]]
        place[np.isposinf(losses)] = np.inf
        ranked = np.lexsort((losses, place))
        number = min(_count_good(len(ranked)), int(np.isfinite(place).sum()))
        self._good, self._others = ranked[:number], ranked[number:]
        if len(self._others) > _MOST_OTHERS:
            rng = np.random.default_rng((self.seed, len(losses)))
            self._others = rng.choice(self._others, _MOST_OTHERS, replace=False)


def _count_good(count: int) -> int:
    return min(math.ceil(_GOOD * count), _MOST_GOOD)


class _Density:
    """A density in the unit cube of a tree: a kernel at each trial, and the flat prior.

    A kernel is a product over the coordinates that its trial has: normal distributions cut off at the faces of
    the cube, and tables for coordinates of few values.

    Parameters
    ----------
    points : array, shape (trials, dimensions)
        nan where a trial's tree lacks the leaf.
    weights : array, shape (trials,)
    kinds : sequence of Dimension
    """

    def __init__(self, points: Floats, weights: Floats, kinds: Sequence[Dimension]) -> None:
        self._points, self._kinds = points, kinds
        self._sizes = sizes_of(kinds)
        self._has_cells = (self._sizes > 0) & (self._sizes <= _MOST_CELLS)
        self._known = ~np.isnan(points)
        weights = np.append(weights, _PRIOR)
        self._weights = weights / weights.sum()
        self._widths = self._bandwidths(weights[:-1])
        self._tables = {}
        self._cells = {}
        for column, kind in enumerate(kinds):
            if kind.size is not None and (kind.kind == 'categorical' or self._has_cells[column]):
                self._tables[column] = _table(kind, self._widths[column])
                cells = np.minimum(np.nan_to_num(points[:, column]) * kind.size, kind.size - 1).astype(np.intp)
                self._cells[column] = np.where(self._known[:, column], cells, kind.size)
        self._normal = np.array([column for column in range(len(kinds)) if column not in self._tables], dtype=np.intp)
        self._expand()

    def _bandwidths(self, weights: Floats) -> Floats:
        """Return a bandwidth for each coordinate, by Scott's rule for as many dimensions as the tree has.

        Few trials, of which many have the same value, say little of an integer's others: as in Optuna, its bandwidth is
        at least 1 / (trials + 2) of the range.
        """
        known = np.where(self._known, weights[:, None], 0.0)
        total = known.sum(axis=0)
        counts = self._known.sum(axis=0)
        points = np.nan_to_num(self._points)
        mean = (known * points).sum(axis=0) / np.maximum(total, 1e-12)
        variance = (known * (points - mean) ** 2).sum(axis=0) / np.maximum(total, 1e-12)
        deviation = np.sqrt((counts * variance + _SPREAD / 12) / (counts + _SPREAD))  # 1/12: of the prior
        widths: Floats = _BANDWIDTH * deviation * np.maximum(counts, 1) ** (-1 / (len(self._kinds) + 4))
        least = np.where(self._has_cells, np.maximum(_CELL / np.maximum(self._sizes, 1), 1 / (counts + 2)), _NARROWEST)
        return np.maximum(widths, least)

    def _expand(self) -> None:
        """Write the logarithm of each normal kernel as a polynomial of degree two, for one product of matrices."""
        from scipy.special import ndtr

        known = self._known[:, self._normal]
        centres = np.where(known, self._points[:, self._normal], 0.5)
        widths = self._widths[self._normal]
        inside = ndtr((1.0 - centres) / widths) - ndtr(-centres / widths)
        scale = -np.log(inside * widths) - 0.5 * math.log(2 * math.pi)
        self._constant = np.where(known, scale - 0.5 * (centres / widths) ** 2, 0.0).sum(axis=1)
        self._linear = np.where(known, centres / widths**2, 0.0)
        self._square = np.where(known, -0.5 / widths**2, 0.0)

    def logarithm(self, points: Floats) -> Floats:
        """Return the logarithm of the density at some points."""
        normal = points[:, self._normal]
        kernels = normal @ self._linear.T + normal**2 @ self._square.T + self._constant
        for column, table in self._tables.items():
            size = table.shape[1]
            at = np.minimum(points[:, column] * size, size - 1).astype(np.intp)
            kernels += np.log(table * size)[self._cells[column]][:, at].T
        kernels = np.column_stack([kernels, np.zeros(len(points))])  # the prior, whose density is 1
        highest = kernels.max(axis=1)
        sums = np.exp(kernels - highest[:, None]) @ self._weights
        logarithm: Floats = np.log(sums) + highest
        return logarithm

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Draw points: shape (count, dimensions); values of discrete coordinates are the middles of their cells."""
        kernels = rng.choice(len(self._weights), size=count, p=self._weights)
        points = rng.random((count, len(self._kinds)))  # as the prior draws them
        chosen = kernels < len(self._points)
        kernels = kernels[chosen]
        for column in range(len(self._kinds)):
            own = points[chosen, column]
            if column in self._tables:
                sums = np.cumsum(self._tables[column][self._cells[column][kernels]], axis=1)
                cells = (own[:, None] > sums).sum(axis=1)
                points[chosen, column] = (cells + 0.5) / sums.shape[1]
            else:
                known = self._known[kernels, column]
                points[chosen, column] = np.where(known, self._normally(column, kernels, own), own)
        return snap(points, self._sizes)

    def _normally(self, column: int, kernels: npt.NDArray[np.intp], uniform: Floats) -> Floats:
        """Return what uniform numbers become under kernels of a continuous coordinate."""
        from scipy.special import ndtr, ndtri

        centres, width = np.nan_to_num(self._points[kernels, column]), self._widths[column]
        low, high = ndtr(-centres / width), ndtr((1.0 - centres) / width)
        points: Floats = np.clip(centres + width * ndtri(low + uniform * (high - low)), 0.0, 1.0)
        return points


def _table(kind: Dimension, width: float) -> Floats:
    """Return the probability of each value under the kernel of each, one in a row; flat in the last."""
    assert kind.size is not None
    size = kind.size
    if kind.kind == 'categorical':
        table = np.full((size, size), _BLUR / size)
        np.fill_diagonal(table, 1.0 - _BLUR + _BLUR / size)
    else:
        from scipy.special import ndtr

        middles, edges = (np.arange(size) + 0.5) / size, np.arange(size + 1) / size
        table = np.diff(ndtr((edges - middles[:, None]) / width), axis=1) + 1e-12
        table /= table.sum(axis=1, keepdims=True)
    return np.vstack([table, np.full(size, 1.0 / size)])
