"""The course of a search: the loss of every trial over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shadho.report.axes import draw_legend, new_axes, scale_loss, style
from shadho.report.course import INK, OTHER, Course, Floats, unit_of_time
from shadho.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ['draw_rim', 'draw_trials', 'plot_history']


def plot_history(result: SearchResult, ax: Axes | None = None, *, log: bool | None = None) -> Axes:
    """Draw the loss of each trial over the time of its completion, and the best loss so far.

    Trials are coloured by their tree: up to nine trees, those with the best losses, have a colour
    of their own and the rest share a grey. Trials that failed, or whose loss is infinite, stand on
    the upper rim.

    Parameters
    ----------
    result : SearchResult
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    log : bool, optional
        Whether the axis of the loss is logarithmic; by default when all losses are positive and
        span more than two decades.

    Returns
    -------
    matplotlib.axes.Axes
        Save it with ``ax.figure.savefig('history.png')``.
    """
    ax = new_axes(ax)
    course = Course.of(result)
    elapsed = course.result.elapsed
    unit, seconds = unit_of_time(max(elapsed, course.finished.max(initial=0.0)))
    when = course.finished / seconds
    draw_trials(ax, course, when)
    _draw_best(ax, course, when, elapsed / seconds)
    draw_rim(ax, course, when)
    scale_loss(ax, course, log)
    style(ax, course.title(), f'{unit} of search', course.loss_name)
    ax.set_xlim(left=0)
    draw_legend(ax)
    return ax


def draw_trials(ax: Axes, course: Course, across: Floats) -> None:
    """Draw the finite losses over any column, in the colours of their trees."""
    size = float(np.clip(200 / np.sqrt(max(len(across), 1)), 2, 7))
    for group in course.groups():
        rows = group.rows & ~np.isnan(across)
        if not rows.any():
            continue
        ax.plot(
            across[rows], course.losses[rows], 'o', label=group.label, color=group.colour,
            zorder=1.9 if group.colour == OTHER else 2, markersize=size, markeredgecolor='white',
            markeredgewidth=size / 12, alpha=0.9,
        )  # fmt: skip


def _draw_best(ax: Axes, course: Course, when: Floats, end: float) -> None:
    drawn, best = course.best_so_far()
    if not len(best):
        return
    times = when[drawn]
    ax.plot(
        [*times, max(end, times[-1])], [*best, best[-1]], drawstyle='steps-post', color=INK, linewidth=1.8,
        label='best so far', zorder=1.5 if len(best) < 1000 else 3,
    )  # fmt: skip


def draw_rim(ax: Axes, course: Course, across: Floats) -> None:
    """Mark trials that failed, or whose loss is infinite, on the upper rim."""
    for label, rows, marker in (
        ('failed', course.failed, 'x'),
        (f'infinite {course.result.loss_name}', course.is_infinite, '^'),
    ):
        rows = rows & ~np.isnan(across)
        if rows.any():
            ax.plot(
                across[rows], np.ones(rows.sum()), marker, transform=ax.get_xaxis_transform(), label=label,
                color=INK, markersize=6, markeredgewidth=1.4, clip_on=False, zorder=4,
            )  # fmt: skip
