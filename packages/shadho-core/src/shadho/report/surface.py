"""The loss over two parameters, smoothed."""

from __future__ import annotations

import attrs
import numpy as np

from shadho.report.course import Course, Floats
from shadho.report.parameters import Parameter

__all__ = ['Surface', 'smooth']

_CELLS = 48


@attrs.frozen(eq=False)
class Surface:
    """A mean of the loss over two parameters, weighted by how near the trials are.

    Attributes
    ----------
    x, y : array, shape (cells,)
        Where cells stand on the axes: logarithms of the values, on a logarithmic one.
    z : array, shape (cells of y, cells of x)
        The loss, or its logarithm (see `Course.places`); nan far from all trials.
    low, high : float
        The range to colour: the worst tenth of the trials shares one colour, that an outlier hides nothing.
    """

    x: Floats
    y: Floats
    z: Floats
    low: float
    high: float


def smooth(course: Course, x: Parameter, y: Parameter) -> Surface:
    """Return the mean of the loss near each pair of values: the estimator of Nadaraya and Watson, in cells.

    Its normal kernel is the narrower the more trials there are.
    """
    from scipy.ndimage import gaussian_filter

    rows = course.is_finite & x.active & y.active
    across, up, losses = x.places[rows], y.places[rows], course.places[rows]
    worst = np.quantile(course.sign * losses, 0.9)
    losses = course.sign * np.minimum(course.sign * losses, worst)
    weights, x_edges, y_edges = np.histogram2d(across, up, _CELLS)
    sums, _, _ = np.histogram2d(across, up, _CELLS, weights=losses)
    width = _CELLS * float(np.clip(0.2 * rows.sum() ** (-1 / 6), 0.04, 0.12))
    weights, sums = (gaussian_filter(own, width, mode='constant', truncate=3.0) for own in (weights, sums))
    near = weights > 1e-2 / (2 * np.pi * width**2)  # a tenth as near as three widths from one trial
    with np.errstate(invalid='ignore', divide='ignore'):
        z = np.where(near, sums / weights, np.nan).T
    return Surface(_middles(x_edges), _middles(y_edges), z, float(losses.min()), float(losses.max()))


def _middles(edges: Floats) -> Floats:
    return (edges[1:] + edges[:-1]) / 2
