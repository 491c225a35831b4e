"""Learning curves: the losses that trials reported, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shadho.errors import ConfigurationError
from shadho.report.axes import draw_legend, new_axes, scale_loss, style
from shadho.report.course import OTHER, Course, Floats, Group
from shadho.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ['MOST_CURVES', 'grouped', 'joined', 'plot_curves', 'shown_curves']

MOST_CURVES = 400
"""Curves that are drawn at most: the longest, then the best. More hide each other. Chosen."""


def shown_curves(course: Course) -> list[int]:
    """Return the rows of the trials whose curves are drawn, the longest and best last, so that they lie above the others.

    Raises
    ------
    ConfigurationError
        When no trial has reported a finite loss.
    """
    if not course.curves:
        raise ConfigurationError(f'no trial of {course.result.exp_key!r} has reported a finite loss')
    last = {row: (steps[-1], course.sign * losses[-1]) for row, (steps, losses) in course.curves.items()}
    best = sorted(last, key=lambda row: (-last[row][0], last[row][1]))
    return best[:MOST_CURVES][::-1]


def joined(course: Course, rows: list[int]) -> tuple[Floats, Floats]:
    """Return steps and losses of several curves one behind the other, with nan in between."""
    gap = np.array([np.nan])
    parts = [course.curves[row] for row in rows]
    steps = np.concatenate([piece for steps, _ in parts for piece in (steps, gap)])
    return steps, np.concatenate([piece for _, losses in parts for piece in (losses, gap)])


def plot_curves(result: SearchResult, ax: Axes | None = None, *, log: bool | None = None) -> Axes:
    """Draw the losses that trials reported over their steps, in the colours of their trees.

    Of more than 400 trials, those that were run furthest are drawn.

    Parameters
    ----------
    result : SearchResult
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    log : bool, optional
        Whether the axis of the loss is logarithmic; by default as in `plot_history`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ConfigurationError
        When no trial has reported a finite loss.
    """
    course = Course.of(result)
    shown = shown_curves(course)
    ax = new_axes(ax)
    for label, colour, rows in grouped(course, shown):
        steps, losses = joined(course, rows)
        ends = np.array([(course.curves[row][0][-1], course.curves[row][1][-1]) for row in rows])
        ax.plot(steps, losses, color=colour, linewidth=0.9, alpha=0.7, label=label)
        ax.plot(ends[:, 0], ends[:, 1], 'o', color=colour, markersize=3)
    scale_loss(ax, course, log)
    style(ax, course.title(), 'step', course.loss_name)
    ax.set_xlim(left=0)
    draw_legend(ax)
    return ax


def grouped(course: Course, shown: list[int]) -> list[tuple[str, str, list[int]]]:
    """Return label, colour and rows of the curves of each tree that has a colour, then of the others."""
    groups = [*course.groups(), Group('other trials', OTHER, ~np.isin(course.trees, []))]
    left, found = list(shown), []
    for group in groups:
        trees = set(course.trees[group.rows])
        rows = [row for row in left if course.trees[row] in trees]
        left = [row for row in left if course.trees[row] not in trees]
        if rows:
            found.append((group.label, group.colour, rows))
    return found
