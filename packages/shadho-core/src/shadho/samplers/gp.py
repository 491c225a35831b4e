"""Bayesian optimisation with a Gaussian process, over all trees of the forest at once.

The losses are taken for values of a random function, of which those at points close together are alike. What is
known of it at any other point is then a normal distribution (Rasmussen & Williams 2006, section 2.2), and the next
point is the one where the expected improvement is largest (Jones et al. 1998).

* Kernel: Matern 5/2 with a length scale for each leaf (Snoek et al. 2012), whose prior grows with the square root of
  the number of dimensions (Hvarfner et al. 2024).
* Forest: a category, as a decision of the forest, is a corner of a simplex: all values are equally far apart. Of an
  integer, the middle of its cell counts (Garrido-Merchan & Hernandez-Lobato 2020). A leaf that a tree does not have
  is taken to be in the middle: so that trees are told apart by the decisions alone, and how much they have in
  common is learned, as the length scales of these. With a single tree, it is the plain Gaussian process.
* Losses: their logarithm above the best one, from the median on (Snelson et al. 2004: a warped Gaussian process);
  near the best they stay as they are. How large the bad ones are hardly matters then.
* Pending points: taken to have the losses that are expected there (kriging believer, Ginsbourger et al. 2010).
* Cost: a model is made of a few hundred trials at most: the best, those closest to the very best, and some of all.

References
----------
* S. Ament, S. Daulton, D. Eriksson, M. Balandat, E. Bakshy, *Unexpected improvements to expected improvement for
  Bayesian optimization* (2023).
* E. Garrido-Merchan, D. Hernandez-Lobato, *Dealing with categorical and integer-valued variables in Bayesian
  optimization with Gaussian processes* (2020).
* D. Ginsbourger, R. Le Riche, L. Carraro, *Kriging is well-suited to parallelize optimization* (2010).
* C. Hvarfner, E. Hellsten, L. Nardi, *Vanilla Bayesian optimization performs great in high dimensions* (2024).
* D. Jones, M. Schonlau, W. Welch, *Efficient global optimization of expensive black-box functions* (1998).
* C. Rasmussen, C. Williams, *Gaussian processes for machine learning* (2006).
* R. Regis, C. Shoemaker, *Combining radial basis function surrogates and dynamic coordinate search in
  high-dimensional expensive black-box optimization* (2013).
* E. Snelson, C. Rasmussen, Z. Ghahramani, *Warped Gaussian processes* (2004).
* J. Snoek, H. Larochelle, R. Adams, *Practical Bayesian optimization of machine learning algorithms* (2012).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from shadho.forest import Dimension, Tree, sizes_of, snap
from shadho.samplers.base import SamplerContext, Suggestion
from shadho.samplers.learning import FIRST, LearningSampler, on_one_thread

__all__ = ['MOST_LEAVES', 'GaussianProcess']

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

_FIRST_PER_DIMENSION = 2
"""Upper bound on the suggestions before anything is modelled, for each dimension of a space without conditions."""

MOST_LEAVES = 300
"""Leaves of a space above which fitting a length scale for each takes too long: the time grows with their number."""

_ROWS = 300
"""Trials that a model is made of, and which are chosen anew with every fit."""

_FITS = 20
"""A model is fitted anew when the trials are more by one in so many,"""

_MOST_UNFITTED = 15
"""or by so many."""

_BELIEVED = 100
"""Pending suggestions that are taken into account, the latest ones."""

_LENGTH = (-1.0, 1.0)
"""Mean and deviation of the logarithm of a length scale divided by the square root of the number of dimensions."""

_WARP = (0.0, 2.0)
"""Mean and deviation of the warp of a number."""

_STRAIGHT = 1e-3
"""Warps below this are taken for it, as that of 0 is a limit."""

_SIGNAL = (0.0, 1.0)
"""The same of the variance of the function, where that of the losses is 1,"""

_NOISE = (-9.0, 3.0)
"""and of the variance of the noise,"""

_LEAST_NOISE = 1e-6
"""which is at least so large: it keeps matrices well conditioned."""

_HIGHEST = 11.0
"""Upper bound on a loss above the best one, in distances of the median from it."""

_LEAST_GAIN = 1e-4
"""Expected improvement, in deviations of the losses, below which pending trials are too close to a point to learn more
there: a tenth of the deviation of the least noise."""

_FARTHEST = 3.0
"""Deviations from the mean that a fit may go."""

_UNIFORM = 400
"""Candidates anywhere in the tree, from which the search for the best point begins,"""

_NEAR = 200
"""and near the best trials,"""

_INCUMBENTS = 5
"""of which there are so many,"""

_STEPS = (1e-3, 0.3)
"""as far away as that."""

_STARTS = 2
"""Candidates that are improved by climbing."""

_CLIMB = 50
"""Iterations of a climb."""

_MOST_STEPS = 10
"""Discrete coordinates that are changed in a climb, one after the other."""

_ALL_CELLS = 12
"""Values up to which all others of an integer are tried in a step; with more, those nearby."""

_MOST_CATEGORIES = 64
"""The same of a category."""

_APART = 1.0
"""Distance of two categories, where the largest of two numbers is 1."""

_LEAST_VARIANCE = 1e-12
"""Of the function at any point, as differences of large numbers are not exact."""

_WEIGHED = 2048
"""Candidates, of all trees together, by which trees are compared,"""

_LEAST_WEIGHED = 16
"""and of each tree at least."""


class GaussianProcess(LearningSampler):
    """Bayesian optimisation with a Gaussian process: few trials go far, where each takes at least seconds.

    Parameters
    ----------
    first : int, optional
        Suggestions before anything is modelled, in the whole forest; they fill each tree's cube evenly. By default
        10, and no more than 2 for each dimension of a space without conditions.
    """

    name = 'gp'
    aliases: ClassVar[tuple[str, ...]] = ('bayes',)

    def __init__(self, context: SamplerContext, *, first: int | None = None) -> None:
        if first is None:
            first = FIRST
            if context.forest.count == 1:
                first = min(first, max(_FIRST_PER_DIMENSION * len(context.forest.tree(0)), 2))
        super().__init__(context, first=first)
        self._fits: dict[int, _Scales] = {}
        self._decisions: dict[int, Mapping[Any, str]] = {}
        self._last: tuple[Any, _Model] | None = None

    def suggest(self, tree: Tree, rng: np.random.Generator) -> Floats | None:
        if not len(tree):
            return np.empty(0)
        model = self._model([tree])
        return None if model is None else self._best(model, tree, rng)

    def promise(self, trees: Sequence[Tree]) -> Floats | None:
        """Return the expected improvement at the best of some points in each tree, divided by the largest."""
        return self._promised(trees) if self.knows_enough else None

    @on_one_thread
    def _promised(self, trees: Sequence[Tree]) -> Floats | None:
        model = self._model(trees)
        if model is None or len(trees) == 1:
            return None if model is None else np.ones(1)
        rng = np.random.default_rng((self.seed, len(self.table), model.believed))
        count = max(_WEIGHED // len(trees), _LEAST_WEIGHED)
        own = [self._improvement(model, tree) for tree in trees]
        features = [one.embed(one.candidates(rng, count // 2, count - count // 2)) for one in own]
        values = model.log_improvement(np.concatenate(features)).reshape(len(trees), count).max(axis=1)
        promise: Floats = np.exp(values - values.max())
        return promise

    def expected(self, settings: Sequence[Suggestion]) -> Floats | None:
        """Return what the losses of some settings are expected to be, without noise, on a scale that rises with them.

        Returns
        -------
        array, shape (settings,), or None
            None as long as there is no model.
        """
        return self._expected(settings) if self.knows_enough else None

    @on_one_thread
    def _expected(self, settings: Sequence[Suggestion]) -> Floats | None:
        model = self._model([setting.tree for setting in settings])
        if model is None:
            return None
        points = self.table.place([setting.tree.index for setting in settings], [setting.point for setting in settings])
        decisions = [self._decided(setting.tree.index) for setting in settings]
        mean, _ = model.predict(model.data.embedding.features(points, decisions))
        return mean

    def pool(self, tree: Tree, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
        model = self._model([tree])
        if model is None or not len(tree):
            return None
        points, values = self._ranked(model, tree, rng)
        first = self._first_new(tree, points)
        if values is None or first is None:
            return None
        points, values = points[first:], values[first:]
        if tree.size < math.inf:
            are_new = self.context.visited.are_new(tree, points)
            are_new[0] = True  # the one that would be suggested
            points, values = points[are_new], values[are_new]
        return points, values

    def _best(self, model: _Model, tree: Tree, rng: np.random.Generator) -> Floats:
        """Return the point of a tree where the expected improvement is largest, other than those that were tried.

        Where pending trials leave nothing to be gained, that is the point of which least is known.
        """
        points, _ = self._ranked(model, tree, rng)
        best: Floats = points[self._first_new(tree, points) or 0]  # of a small space, all was tried
        return best

    def _ranked(self, model: _Model, tree: Tree, rng: np.random.Generator) -> tuple[Floats, Floats | None]:
        """Return points of a tree, the best one first, and the logarithms of their expected improvement.

        None in place of these where pending trials leave nothing to be gained; the first point is then the one of which least is known.
        """
        own = self._improvement(model, tree)
        candidates = own.candidates(rng, _UNIFORM, _NEAR)
        values = own.log_improvement(candidates)
        best, value = max((own.climb(candidates[start]) for start in _starts(values, rng)), key=lambda one: one[1])
        if model.believed and value < math.log(_LEAST_GAIN):
            return candidates[np.argsort(-own.variance(candidates))], None
        order = np.argsort(-values)
        return np.vstack([best, candidates[order]]), np.append(max(value, values[order[0]]), values[order])

    def _first_new(self, tree: Tree, points: Floats) -> int | None:
        """Return the place of the first point that was not tried; None if all were."""
        tried = self._asked(tree)
        return next((place for place, point in enumerate(points) if not (tried == point).all(axis=1).any()), None)

    def _improvement(self, model: _Model, tree: Tree) -> _Improvement:
        return _Improvement(model, tree, self.table.columns_of(tree.index), self._decided(tree.index))

    def _asked(self, tree: Tree) -> Floats:
        """Return the points of a tree that were suggested or told."""
        pending = [trial.point for trial in self.context.pending if trial.tree == tree.index]
        points = np.concatenate([self.table.points_in(tree.index), np.array(pending).reshape(len(pending), len(tree))])
        return snap(points, tree.sizes)

    # --- the model ---------------------------------------------------------------------------------

    def _model(self, trees: Sequence[Tree]) -> _Model | None:
        """Return what is known now, pending suggestions included; None as long as that is nothing.

        Leaves of these trees have columns in its table.
        """
        for tree in trees:
            self.table.columns_of(tree.index)
        count = len(self.table)
        losses = self.table.losses()
        finite = losses[np.isfinite(losses)]
        if not self.knows_enough or finite.min() == finite.max():
            return None
        pending, of_trees = self.pending()
        if self._last is not None and self._last[0][0] is not self.table:
            self._fits = {}
        key = self.table, count, of_trees, pending.shape, pending.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = key, self._new_model(pending[-_BELIEVED:], of_trees[-_BELIEVED:])
        return self._last[1]

    def _new_model(self, pending: Floats, trees: Sequence[int]) -> _Model:
        count = len(self.table)
        fitted = count - count % min(max(count // _FITS, 1), _MOST_UNFITTED)
        rows = np.append(self._rows(fitted), np.arange(fitted, count))
        data = self._data(rows)
        model = _Model(data, self._scales(fitted))
        if not trees:
            return model
        believed = data.embedding.features(pending, [self._decided(tree) for tree in trees])
        return model.believing(believed)

    def _scales(self, count: int) -> _Scales:
        """Return what fits the first so many trials best.

        It follows from these trials alone, so that a resumed search goes on as if it had never ended; a fit
        begins where that of the last power of two ended.
        """
        if count not in self._fits:
            start = 1 << (count.bit_length() - 1)
            data = self._data(self._rows(count))
            self._fits = {start: self._scales(start)} if start < count else {}
            self._fits[count] = _fit(data, self._fits.get(start))
        return self._fits[count]

    def _rows(self, count: int) -> Integers:
        """Return which of the first so many trials a model is made of."""
        if count <= _ROWS:
            return np.arange(count)
        third = _ROWS // 3
        order = np.argsort(self.table.losses()[:count], kind='stable')
        chosen, others = order[:third], np.sort(order[third:])
        points = self.table.points(np.arange(count))
        distances = np.nan_to_num(points[others] - points[order[0]], nan=1.0)
        is_near = np.zeros(len(others), dtype=bool)
        is_near[np.argsort((distances**2).sum(axis=1), kind='stable')[:third]] = True
        rest = others[~is_near]
        rest = rest[np.linspace(0, len(rest) - 1, _ROWS - 2 * third).astype(np.intp)]
        return np.sort(np.concatenate([chosen, others[is_near], rest]))

    def _data(self, rows: Integers) -> _Data:
        trees = self.table.trees()[rows]
        points = self.table.points(rows)
        decisions = [self._decided(tree) for tree in trees.tolist()]
        embedding = _Embedding(points, decisions, self.table.dimensions)
        features = embedding.features(points, decisions)
        return _Data(points, trees, _standardised(self.table.losses()[rows]), embedding, features)

    def _decided(self, tree: int) -> Mapping[Any, str]:
        if self.forest.count == 1:
            return {}
        if tree not in self._decisions:
            self._decisions[tree] = self.forest.tree(tree).decisions
        return self._decisions[tree]


def _starts(values: Floats, rng: np.random.Generator) -> list[int]:
    """Return the best candidate, and some others drawn in proportion to their expected improvement."""
    best = int(np.argmax(values))
    weights = np.exp(values - values[best])
    weights[best] = 0.0
    count = min(_STARTS - 1, int(np.count_nonzero(weights)))
    return [best, *rng.choice(len(values), count, replace=False, p=weights / weights.sum())] if count else [best]


def _standardised(losses: Floats) -> Floats:
    """Return losses with mean 0 and variance 1, those above the median compressed, and not finite ones as the worst.

    That is log(1 + (y - best) / (median - best)). As a search goes on, the median nears the best one, and what is
    compressed with it. Losses far above the median, as of trials that diverged, are capped: a few huge ones would
    take up all of the variance.
    """
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return np.zeros(len(losses))
    losses = np.clip(losses, finite.min(), finite.max())
    losses = losses / max(np.abs(losses).max(), np.finfo(float).tiny)
    above = losses - losses.min()
    middle = np.median(above)
    scale = middle if middle > 0 else max(above.max(), np.finfo(float).tiny)
    warped = np.log1p(np.minimum(above / scale, _HIGHEST))
    standardised: Floats = (warped - warped.mean()) / max(warped.std(), 1e-12)
    return standardised


@attrs.frozen(eq=False)
class _Data:
    """What a model is made of: points in all columns of the table, their trees and losses, and how they are placed."""

    points: Floats
    trees: Integers
    losses: Floats
    embedding: _Embedding
    features: Floats


@attrs.frozen
class _Scales:
    """What is fitted: logarithms of length scales by leaf or decision, warps of numbers, logarithms of the variances."""

    lengths: Mapping[Any, float]
    warps: Mapping[Any, float]
    signal: float
    noise: float


class _Embedding:
    """Places points of all trees in a Euclidean space.

    Attributes
    ----------
    keys : list
        Leaves and decisions that have a length scale each.
    groups : array, shape (features,)
        To which of them a feature belongs.
    numbers : array of int
        The columns that the first features are.
    middle : float
        Mean of the logarithm of a length scale, before anything is known.
    """

    def __init__(self, points: Floats, decisions: Sequence[Mapping[Any, str]], dimensions: Sequence[Dimension]) -> None:
        is_known = ~np.isnan(points)
        known = sorted(np.flatnonzero(is_known.any(axis=0)).tolist(), key=lambda column: repr(dimensions[column].path))
        numbers = [column for column in known if dimensions[column].kind != 'categorical']
        self.numbers = np.array(numbers, dtype=np.intp)
        self._sizes = sizes_of([dimensions[column] for column in numbers])
        self._categories = []
        for column in known:
            if dimensions[column].kind == 'categorical':
                size = dimensions[column].size or 1
                self._categories.append((column, size, np.unique(_cells(points[:, column], size))))
        paths = sorted({path for one in decisions for path in one}, key=repr)
        labels = [sorted({one.get(path, '') for one in decisions}) for path in paths]
        self._decisions = [
            (path, {label: place for place, label in enumerate(own)}) for path, own in zip(paths, labels)
        ]
        self.keys = [('leaf', dimensions[column].path) for column in numbers]
        self.keys += [('leaf', dimensions[column].path) for column, _, _ in self._categories]
        self.keys += [('decision', path) for path in paths]
        corners = [len(values) + 1 for _, _, values in self._categories] + [len(own) + 1 for _, own in self._decisions]
        self.groups = np.repeat(np.arange(len(self.keys)), [1] * len(self.numbers) + corners)
        dimensionality = is_known.sum() / max(len(points), 1) + len(paths)
        self.middle = _LENGTH[0] + 0.5 * math.log(max(dimensionality, 1.0))

    def features(self, points: Floats, decisions: Sequence[Mapping[Any, str]]) -> Floats:
        """Return where points are: shape (points, features); of a single tree, its decisions may be given once."""
        numbers = points[:, self.numbers]
        blocks = [np.nan_to_num(snap(numbers, self._sizes) - 0.5)]
        for column, size, values in self._categories:
            cells = _cells(points[:, column], size)
            places = np.minimum(np.searchsorted(values, cells), len(values) - 1)
            blocks.append(_corners(np.where(values[places] == cells, places, len(values)), len(values) + 1))
        for path, labels in self._decisions:
            places = np.array([labels.get(one.get(path, ''), len(labels)) for one in decisions])
            blocks.append(_corners(np.broadcast_to(places, len(points)), len(labels) + 1))
        return np.hstack(blocks)

    def log_lengths(self, scales: _Scales) -> Floats:
        """Return the logarithm of the length scale of each feature."""
        lengths = np.array([scales.lengths.get(key, self.middle) for key in self.keys])
        return lengths[self.groups]

    def warps(self, scales: _Scales) -> Floats:
        """Return the warp of each number."""
        return np.array([scales.warps.get(key, _WARP[0]) for key in self.keys[: len(self.numbers)]])


def _cells(coordinates: Floats, size: int) -> Floats:
    """Return the numbers of the values of a discrete coordinate; -1 where it is not known."""
    cells: Floats = np.nan_to_num(np.minimum(np.floor(coordinates * size), size - 1), nan=-1.0)
    return cells


def _corners(places: Integers, count: int) -> Floats:
    """Return corners of a simplex."""
    corners = np.zeros((len(places), count))
    corners[np.arange(len(places)), places] = _APART / math.sqrt(2.0)
    return corners


# --- Gaussian process ------------------------------------------------------------------------------


def _matern(squares: Floats) -> tuple[Floats, Floats]:
    """Return the Matern 5/2 kernel (Rasmussen & Williams 2006, eq. 4.17) of squared distances.

    Returns
    -------
    kernel : array
    slope : array
        -2 times the derivative by the squared distance.
    """
    # In place, as most of the time of large arrays goes into the memory for further ones.
    root = 5.0 * squares
    np.sqrt(root, out=root)
    decay = -root
    np.exp(decay, out=decay)
    slope = root
    slope += 1.0
    slope *= decay
    kernel: Floats = (5.0 / 3.0) * squares
    kernel *= decay
    kernel += slope
    slope *= 5.0 / 3.0
    return kernel, slope


def _squares(one: Floats, other: Floats) -> Floats:
    """Return squared distances: shape (points of one, points of the other)."""
    squares: Floats = (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1) - 2.0 * (one @ other.T)
    np.maximum(squares, 0.0, out=squares)
    return squares


def _warped(coordinates: Floats, warps: Floats) -> Floats:
    """Return w(x) = log(1 + (e^t - 1) x) / t, which stretches coordinates of the unit cube near 0, or for t < 0 near 1.

    It maps 0 to 0 and 1 to 1, and is the identity for t = 0. A range that should have been logarithmic becomes so.

    Parameters
    ----------
    coordinates : array, shape (..., numbers)
    warps : array, shape (numbers,)
        t of each.
    """
    bent = np.where(np.abs(warps) < _STRAIGHT, _STRAIGHT, warps)
    warped: Floats = np.log1p(np.expm1(bent) * coordinates) / bent
    return warped


def _warp_slopes(coordinates: Floats, warps: Floats) -> tuple[Floats, Floats]:
    """Return the derivatives of `_warped` by the coordinates and by the warps."""
    bent = np.where(np.abs(warps) < _STRAIGHT, _STRAIGHT, warps)
    rise = np.expm1(bent)
    inner = 1.0 + rise * coordinates
    return rise / (bent * inner), ((rise + 1.0) * coordinates / inner - np.log1p(rise * coordinates) / bent) / bent


def _fit(data: _Data, start: _Scales | None) -> _Scales:
    """Return the scales that are most likely a posteriori."""
    from scipy.optimize import minimize

    keys, numbers = data.embedding.keys, len(data.embedding.numbers)
    middle = np.array([data.embedding.middle] * len(keys) + [_WARP[0]] * numbers + [_SIGNAL[0], _NOISE[0]])
    spread = np.array([_LENGTH[1]] * len(keys) + [_WARP[1]] * numbers + [_SIGNAL[1], _NOISE[1]])
    begin = middle
    if start is not None:
        lengths = [start.lengths.get(key, data.embedding.middle) for key in keys]
        warps = [start.warps.get(key, _WARP[0]) for key in keys[:numbers]]
        begin = np.array([*lengths, *warps, start.signal, start.noise])
    lowest, highest = middle - _FARTHEST * spread, middle + _FARTHEST * spread
    lowest[-1] = math.log(_LEAST_NOISE)
    found = minimize(
        _surprise, np.clip(begin, lowest, highest), args=(data, middle, spread), jac=True, method='L-BFGS-B',
        bounds=list(zip(lowest, highest)), options={'maxiter': 60, 'gtol': 1e-2, 'ftol': 1e-6},
    ).x.tolist()  # fmt: skip
    return _Scales(dict(zip(keys, found)), dict(zip(keys, found[len(keys) : -2])), found[-2], found[-1])


def _surprise(scales: Floats, data: _Data, middle: Floats, spread: Floats) -> tuple[float, Floats]:
    """Return the negative logarithm of the posterior of the scales, and its gradient.

    The marginal likelihood is that of Rasmussen & Williams (2006), eq. 2.30, its gradient eq. 5.9. The mean of
    the function is constant, and has the prior N(0, 1); its most likely value is put in.
    """
    from scipy.linalg import lapack

    groups, losses, numbers = data.embedding.groups, data.losses, len(data.embedding.numbers)
    lengths = np.exp(scales[groups])
    warps = scales[-2 - numbers : -2]
    signal, noise = math.exp(scales[-2]), math.exp(scales[-1])
    placed = _placed(data.features, warps, lengths)
    kernel, slope = _matern(_squares(placed, placed))
    covariance = signal * kernel
    np.einsum('ii->i', covariance)[:] += noise
    lower, _ = lapack.dpotrf(covariance, lower=1)
    inverse, _ = lapack.dpotri(lower, lower=1)
    inverse = inverse + inverse.T  # of which the upper triangle is 0
    np.einsum('ii->i', inverse)[:] *= 0.5
    sums = inverse.sum(axis=1)
    mean = sums @ losses / (sums.sum() + 1.0)
    weights = inverse @ losses - mean * sums
    surprise = 0.5 * (losses @ weights - mean * weights.sum() + mean**2) + np.log(np.diag(lower)).sum()
    pull = np.outer(weights, weights)
    pull -= inverse
    gradient = np.empty(len(scales))
    pairs = pull * slope
    pairs *= signal
    by_place = pairs.sum(axis=1)[:, None] * placed - pairs @ placed  # sum_j pairs_ij (x_i - x_j)
    keys = len(scales) - numbers - 2
    gradient[:keys] = -np.bincount(groups, (by_place * placed).sum(axis=0), keys)
    _, by_warp = _warp_slopes(data.features[:, :numbers] + 0.5, warps)
    gradient[keys:-2] = (by_place[:, :numbers] * by_warp / lengths[:numbers]).sum(axis=0)
    gradient[-1] = -0.5 * noise * np.trace(pull)
    pull *= kernel
    gradient[-2] = -0.5 * signal * pull.sum()
    away = (scales - middle) / spread
    return surprise + 0.5 * away @ away, gradient + away / spread


def _placed(features: Floats, warps: Floats, lengths: Floats) -> Floats:
    """Return warped features in units of the length scales; the first ones are numbers, of which each has a warp."""
    numbers = len(warps)
    warped = np.hstack([_warped(features[:, :numbers] + 0.5, warps), features[:, numbers:]])
    return warped / lengths


class _Model:
    """What is known of the losses at all points, given those of some (Rasmussen & Williams 2006, eq. 2.25 and 2.26).

    Attributes
    ----------
    data : _Data
    best : float
        The least of the expected losses at the known points, believed ones included: without noise, the least loss.
    believed : int
        Number of points that are taken to have the expected losses.
    """

    def __init__(
        self, data: _Data, scales: _Scales, features: Floats | None = None, losses: Floats | None = None
    ) -> None:
        from scipy.linalg import lapack

        self.data, self._scales = data, scales
        features, losses = data.features if features is None else features, data.losses if losses is None else losses
        self.believed = len(losses) - len(data.losses)
        self._signal = math.exp(scales.signal)
        self.lengths = np.exp(data.embedding.log_lengths(scales))
        self._warps = data.embedding.warps(scales)
        self._placed = self._place(features)
        covariance = self._signal * _matern(_squares(self._placed, self._placed))[0]
        np.einsum('ii->i', covariance)[:] += math.exp(scales.noise)
        lower, _ = lapack.dpotrf(covariance, lower=1)
        inverse, _ = lapack.dtrtri(lower, lower=1)
        self._whitening = np.tril(inverse)  # of which the square is the inverse of the covariance
        ones, white = self._whitening.sum(axis=1), self._whitening @ losses
        self._mean = float(ones @ white / (ones @ ones + 1.0))
        self._weights = (white - self._mean * ones) @ self._whitening
        self._features, self._losses = features, losses
        self.best = float((losses - math.exp(scales.noise) * self._weights).min())

    def _place(self, features: Floats) -> Floats:
        return _placed(features, self._warps, self.lengths)

    def believing(self, features: Floats) -> _Model:
        """Return the model that also takes the expected losses at some points for true."""
        mean, _ = self.predict(features)
        features = np.concatenate([self.data.features, features])
        return _Model(self.data, self._scales, features, np.concatenate([self.data.losses, mean]))

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance at some points."""
        kernel = self._signal * _matern(_squares(self._place(features), self._placed))[0]
        white = self._whitening @ kernel.T
        variance = self._signal - (white * white).sum(axis=0)
        return self._mean + kernel @ self._weights, np.maximum(variance, _LEAST_VARIANCE)

    def log_improvement(self, features: Floats) -> Floats:
        """Return the logarithm of the expected improvement at some points (Ament et al. 2023, eq. 8)."""
        mean, variance = self.predict(features)
        deviation = np.sqrt(variance)
        logarithm: Floats = _log_h((self.best - mean) / deviation) + np.log(deviation)
        return logarithm

    def log_improvement_and_gradient(self, features: Floats) -> tuple[float, Floats]:
        """Return the same at one point, and its gradient by the features."""
        from scipy.special import log_ndtr

        away = self._placed - self._place(features[None])
        kernel, slope = _matern((away * away).sum(axis=1))
        kernel, slope = self._signal * kernel, self._signal * slope
        white = self._whitening @ kernel
        variance = max(self._signal - white @ white, _LEAST_VARIANCE)
        deviation = math.sqrt(variance)
        better = (self.best - self._mean - kernel @ self._weights) / deviation
        log_h = float(_log_h(np.array([better]))[0])
        rise = math.exp(log_ndtr(better) - log_h)  # the derivative of log h
        by_mean, by_variance = -rise / deviation, 0.5 * (1.0 - rise * better) / variance
        pulls = (by_mean * self._weights - 2.0 * by_variance * (white @ self._whitening)) * slope
        gradient = pulls @ away / self.lengths
        numbers = len(self._warps)
        gradient[:numbers] *= _warp_slopes(features[:numbers] + 0.5, self._warps)[0]
        return log_h + math.log(deviation), gradient


def _log_h(better: Floats) -> Floats:
    """Return log(phi(z) + z Phi(z)), also where that is too small for a number (Ament et al. 2023, eq. 9)."""
    from scipy.special import erfcx, ndtr

    logarithm = -0.5 * better**2 - 0.5 * math.log(2.0 * math.pi)
    is_high = better > -1.0
    high, low = better[is_high], better[~is_high]
    logarithm[is_high] = np.log(np.exp(logarithm[is_high]) + high * ndtr(high))
    near = np.maximum(low, -1e4)
    ratio = -near * erfcx(-near / math.sqrt(2.0)) * math.sqrt(0.5 * math.pi)
    logarithm[~is_high] += np.where(low > -1e4, np.log1p(-ratio), -2.0 * np.log(-low))
    return logarithm


# --- the search for the best point -----------------------------------------------------------------


class _Improvement:
    """The expected improvement in one tree, as a function of the points of its cube."""

    def __init__(self, model: _Model, tree: Tree, columns: Integers, decisions: Mapping[Any, str]) -> None:
        self.model, self.tree = model, tree
        self._columns, self._decisions = columns, decisions
        self._sizes = tree.sizes
        self._is_category = np.array([dimension.kind == 'categorical' for dimension in tree.dimensions], dtype=bool)
        places = {column: place for place, column in enumerate(model.data.embedding.numbers)}
        self._features = np.array([places.get(column, -1) for column in columns], dtype=np.intp)

    def embed(self, points: Floats) -> Floats:
        """Return the features of some points."""
        rows = np.full((len(points), self.model.data.points.shape[1]), np.nan)
        rows[:, self._columns] = points
        return self.model.data.embedding.features(rows, [self._decisions])

    def log_improvement(self, points: Floats) -> Floats:
        """Return the logarithm of the expected improvement at some points."""
        return self.model.log_improvement(self.embed(points))

    def variance(self, points: Floats) -> Floats:
        """Return how little is known at some points: the variance of the loss there."""
        _, variance = self.model.predict(self.embed(points))
        return variance

    def candidates(self, rng: np.random.Generator, uniform: int, near: int) -> Floats:
        """Return points anywhere in the cube, and points near the best trials of the tree, or else of all.

        The latter differ from these in all coordinates, in three or in one (Regis & Shoemaker 2013).
        """
        data, size = self.model.data, len(self.tree)
        if not size:
            return np.zeros((uniform + near, 0))
        order = np.lexsort((data.losses, data.trees != self.tree.index))[:_INCUMBENTS]
        bases = data.points[np.ix_(order, self._columns)][rng.integers(0, len(order), near)]
        bases = np.where(np.isnan(bases), rng.random(bases.shape), bases)
        moves = rng.random(bases.shape) < rng.choice([1.0, 3.0 / size, 0.0], (near, 1))
        moves[np.arange(near), rng.integers(0, size, near)] = True
        least, most = np.log(_STEPS)
        steps = np.exp(rng.uniform(least, most, (near, 1)))
        steps = np.maximum(steps, 1.0 / np.where(self._sizes > 0, self._sizes, np.inf)) * rng.normal(size=bases.shape)
        moved = np.clip(1.0 - np.abs(1.0 - np.abs(bases + steps)), 0.0, 1.0)
        moved = np.where(self._is_category, rng.random(bases.shape), moved)
        points = np.concatenate([rng.random((uniform, size)), np.where(moves, moved, bases)])
        return snap(points, self._sizes)

    def climb(self, point: Floats) -> tuple[Floats, float]:
        """Return a better point and its value: up the gradient, and from value to value of discrete coordinates."""
        point = snap(self._ascend(point, self._features >= 0)[None], self._sizes)[0]
        if not self._sizes.any():
            return point, float(self.log_improvement(point[None])[0])
        point = self._step(point)
        point = self._ascend(point, (self._features >= 0) & (self._sizes == 0))
        return point, float(self.log_improvement(point[None])[0])

    def _ascend(self, point: Floats, moving: npt.NDArray[np.bool_]) -> Floats:
        """Follow the gradient, with steps as long as the length scales."""
        from scipy.optimize import minimize

        if not moving.any():
            return point
        features = self.embed(point[None])[0]
        places = self._features[moving]
        lengths = self.model.lengths[places]

        def negative(scaled: Floats) -> tuple[float, Floats]:
            features[places] = scaled * lengths - 0.5
            value, gradient = self.model.log_improvement_and_gradient(features)
            return -value, -gradient[places] * lengths

        found = minimize(
            negative, point[moving] / lengths, jac=True, method='L-BFGS-B',
            bounds=[(0.0, 1.0 / length) for length in lengths], options={'maxiter': _CLIMB, 'gtol': 1e-2, 'ftol': 1e-5},
        )  # fmt: skip
        better = point.copy()
        better[moving] = np.clip(found.x * lengths, 0.0, 1.0)
        return better

    def _step(self, point: Floats) -> Floats:
        """Change one discrete coordinate after the other, each time to the best value of all."""
        value = -math.inf
        for _ in range(_MOST_STEPS):
            around = self._neighbours(point)
            values = self.log_improvement(around)
            best = int(np.argmax(values))
            if values[best] <= value:
                break
            point, value = around[best], float(values[best])
        return point

    def _neighbours(self, point: Floats) -> Floats:
        """Return a point and those that differ in one discrete coordinate."""
        around = [point]
        for place in np.flatnonzero(self._sizes):
            size = int(self._sizes[place])
            own = min(int(point[place] * size), size - 1)
            cells = np.arange(size)
            if self._is_category[place]:
                cells = np.unique(np.linspace(0, size - 1, min(size, _MOST_CATEGORIES)).astype(np.intp))
            elif size > _ALL_CELLS:
                cells = own + np.array([-3, -2, -1, 1, 2, 3])
            for cell in cells[(cells >= 0) & (cells < size) & (cells != own)]:
                neighbour = point.copy()
                neighbour[place] = (cell + 0.5) / size
                around.append(neighbour)
        return np.array(around)
