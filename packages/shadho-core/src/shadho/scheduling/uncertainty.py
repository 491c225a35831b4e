"""Uncertainty: how poorly a tree's loss is understood from the results so far."""

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
_LATEST = 64
_REFERENCE = 1024
_GROWTH = 1.1
_PSEUDO_COUNT = 2.0

_FAR = 2.0

# Of the surrogate, whose function has variance 1: variance of its level, and candidates for its
# length scale (over the mean distance in the unit cube) and for the variance of the noise.
_LEVEL = 100.0
_LENGTHS = (0.3, 1.0, 3.0)
_NOISES = (1e-3, 0.1, 10.0)


class Uncertainty(Heuristic):
    """Scores each tree by how badly each of its results is predicted from the others.

    The surrogate is a Gaussian process with one of a few length scales and noises, whichever does
    best; its leave-one-out errors have a closed form (Rasmussen & Williams 2006, equation 5.12).
    Their root mean square is set against the spread of the losses of all trees.

    Notes
    -----
    Scores lie between 0 (always the same loss) and 1 (a tree with fewer than three results, or one
    whose losses are as good as random). Shifting or scaling all losses together changes nothing.
    A failed trial counts as the worst seen.

    At most the latest 64 results of a tree are looked at, and again only when it has a tenth more,
    which takes about a millisecond.
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
    """The latest losses of all trees: what is usual, and how widely they spread."""

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
        """Return losses in units of their spread; far outliers are pulled in, failures are the worst."""
        if self.width == 0:
            return np.zeros(len(losses))
        losses = np.where(np.isnan(losses), self.worst, losses) / 4  # a fourth, so that no difference overflows
        with np.errstate(over='ignore'):
            return np.clip((losses - self.middle) / self.width, -_FAR, _FAR)


def _score(tree: Tree, history: Table, reference: _Reference) -> float:
    losses = reference.standardise(history.losses(tree.index, last=_LATEST))
    if np.ptp(losses) == 0:
        return 0.0
    count = len(losses)
    error = _error(_squared_distances(tree, history.points(tree.index, last=_LATEST)), losses - losses.mean())
    # The best of several fits to few results flatters.
    error = (count * error + _PSEUDO_COUNT * losses.var()) / (count + _PSEUDO_COUNT)
    return float(min(1.0, np.sqrt(error) / reference.spread))


def _squared_distances(tree: Tree, points: Floats) -> Floats:
    """Return squared distances of all points to each other, over their mean in the unit cube.

    Different values of a categorical dimension are all equally far apart.
    """
    squares = np.zeros((len(points), len(points)))
    for dimension, column in zip(tree.dimensions, points.T):
        if dimension.kind == 'categorical' and dimension.size is not None:
            value = np.floor(column * dimension.size)
            squares += (value[:, None] != value) / 3
        else:
            squares += (column[:, None] - column) ** 2
    return squares / (max(len(tree), 1) / 6)


def _error(squares: Floats, losses: Floats) -> float:
    """Return the mean squared leave-one-out error of the best candidate."""
    lengths, noises = (grid.ravel()[:, None, None] for grid in np.meshgrid(_LENGTHS, _NOISES))
    covariance = _LEVEL + np.exp(-squares / (2 * lengths**2)) + noises * np.eye(len(losses))
    inverse = np.linalg.inv(covariance)
    errors = (inverse @ losses) / np.diagonal(inverse, axis1=1, axis2=2)
    return float((errors**2).mean(axis=1).min())
