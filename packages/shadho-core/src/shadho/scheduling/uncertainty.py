"""Uncertainty: the error with which a tree's losses predict each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shadho.forest import Tree
from shadho.scheduling.policy import Heuristic
from shadho.table import Table

__all__ = ['Uncertainty']

Floats = npt.NDArray[np.float64]

_FEW = 3
"""Least number of results for a score below 1: leave-one-out needs at least two others. Chosen."""

_LATEST = 64
"""Latest results of a tree that enter its score. More are more exact; the cost is cubic, about 1 ms for 64. Chosen."""

_REFERENCE = 1024
"""Latest results of all trees that define the usual spread of losses. More smooth it, at a higher cost. Chosen."""

_GROWTH = 1.1
"""Growth of a tree's results after which its score is recomputed. Bounds the cost per result. Chosen."""

_PSEUDO_COUNT = 2.0
"""Weight, in results, of the prior that losses are random. Offsets the optimism of the best of nine fits. Chosen."""

_FAR = 2.0
"""Bound on standardised losses, in spreads from the median. Keeps outliers from dominating the score. Chosen."""

_LEVEL = 100.0
"""Prior variance of the surrogate's mean, relative to that of its function. A large one is uninformative. Chosen."""

_LENGTHS = (0.3, 1.0, 3.0)
"""Candidate length scales, in mean distances of the unit cube. Three cover rough to smooth functions cheaply. Chosen."""

_NOISES = (1e-3, 0.1, 10.0)
"""Candidate noise variances, relative to that of the function: from none to noise only. Chosen."""


class Uncertainty(Heuristic):
    """Scores each tree by the leave-one-out error of a surrogate of its losses.

    The surrogate is a Gaussian process with the best of a few length scales and noises. Its
    leave-one-out errors have a closed form (Rasmussen & Williams 2006, equation 5.12). The score is
    their root mean square, relative to the spread of the losses of all trees.

    Notes
    -----
    Scores lie between 0 (a constant loss) and 1 (fewer than three results, or losses that look
    random). They do not change if all losses are shifted or scaled together. A failed trial counts
    as the worst loss so far.

    A score uses the latest 64 results of a tree and takes about a millisecond. It is recomputed
    when the tree has a tenth more results.
    """

    name = 'uncertainty'

    def __init__(self) -> None:
        self._history: Table | None = None
        self._known: dict[int, tuple[int, float]] = {}

    def scores(self, trees: Sequence[Tree], history: Table) -> Floats:
        if history is not self._history:
            self._history, self._known = history, {}
        reference: _Reference | None = None
        scores = np.ones(len(trees))
        for place, tree in enumerate(trees):
            count = history.count(tree.index)
            if count < _FEW:
                continue
            seen, score = self._known.get(tree.index, (0, 1.0))
            if count >= _GROWTH * seen:
                reference = reference or _Reference(history)
                score = _score(tree, history, reference)
                self._known[tree.index] = (count, score)
            scores[place] = score
        return scores


class _Reference:
    """The median and spread of the latest losses of all trees."""

    def __init__(self, history: Table) -> None:
        losses = history.losses(last=_REFERENCE)
        finite = losses[np.isfinite(losses)]
        self.middle = self.width = self.spread = self.worst = 0.0
        if not len(finite):
            return
        self.worst = np.nanmax(losses)
        low, self.middle, high = np.quantile(finite / 4, [0.1, 0.5, 0.9])
        self.width = high - low or np.ptp(finite / 4)
        self.spread = float(np.std(self.standardise(losses)))

    def standardise(self, losses: Floats) -> Floats:
        """Return losses in units of their spread; outliers are clipped, failures count as the worst loss."""
        if self.width == 0:
            return np.zeros(len(losses))
        losses = np.where(np.isnan(losses), self.worst, losses) / 4  # quarters, so that no difference overflows
        with np.errstate(over='ignore'):
            return np.clip((losses - self.middle) / self.width, -_FAR, _FAR)


def _score(tree: Tree, history: Table, reference: _Reference) -> float:
    losses = reference.standardise(history.losses(tree.index, last=_LATEST))
    if np.ptp(losses) == 0:
        return 0.0
    count = len(losses)
    error = _error(_squared_distances(tree, history.points(tree.index, last=_LATEST)), losses - losses.mean())
    # The best of several fits to few results is optimistic, so the error is shrunk towards the variance.
    error = (count * error + _PSEUDO_COUNT * losses.var()) / (count + _PSEUDO_COUNT)
    return float(min(1.0, np.sqrt(error) / reference.spread))


def _squared_distances(tree: Tree, points: Floats) -> Floats:
    """Return squared distances between all points, relative to their mean in the unit cube.

    All different values of a categorical dimension are equally far apart.
    """
    squares = np.zeros((len(points), len(points)))
    for dimension, column in zip(tree.dimensions, points.T):
        if dimension.kind == 'categorical' and dimension.size is not None:
            value = np.floor(column * dimension.size)
            squares += (value[:, None] != value) / 3  # 1/3: two values then have the mean of a continuous dimension
        else:
            squares += (column[:, None] - column) ** 2
    return squares / (max(len(tree), 1) / 6)  # 1/6: mean squared distance of two uniform numbers


def _error(squares: Floats, losses: Floats) -> float:
    """Return the mean squared leave-one-out error of the best candidate."""
    lengths, noises = (grid.ravel()[:, None, None] for grid in np.meshgrid(_LENGTHS, _NOISES))
    covariance = _LEVEL + np.exp(-squares / (2 * lengths**2)) + noises * np.eye(len(losses))
    inverse = np.linalg.inv(covariance)
    errors = (inverse @ losses) / np.diagonal(inverse, axis1=1, axis2=2)
    return float((errors**2).mean(axis=1).min())
