"""How matplotlib's axes look in all pictures of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from shadho.report.course import FAINT, GRID, INK, Course
from shadho.report.parameters import Parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ['draw_legend', 'new_axes', 'scale_loss', 'scale_parameter', 'style']


def new_axes(ax: Axes | None, height: float = 5.0) -> Axes:
    """Return the axes that were given, or those of a new figure of so many inches."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(9, height), layout='constrained')
    return ax


def style(ax: Axes, title: str, xlabel: str, ylabel: str, grid: Literal['x', 'y', 'both'] = 'y') -> None:
    """Give axes their title, labels and faint lines; a name is never taken for a formula."""
    ax.set_xlabel(xlabel, color=INK, parse_math=False)
    ax.set_ylabel(ylabel, color=INK, parse_math=False)
    ax.set_title(title, loc='left', color=INK, fontsize='large', pad=14, parse_math=False)
    ax.spines[['top', 'right']].set_visible(False)
    ax.spines[['bottom', 'left']].set_color(FAINT)
    ax.tick_params(which='both', color=FAINT, labelcolor=INK)
    ax.grid(axis=grid, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)


def draw_legend(ax: Axes) -> None:
    """Say beside the axes what the colours mean, if any has a label."""
    if not ax.get_legend_handles_labels()[0]:
        return
    legend = ax.legend(loc='upper left', bbox_to_anchor=(1.01, 1), frameon=False, labelcolor=INK, borderaxespad=0)
    for handle in legend.get_lines():  # the marks of a large search are too small to show a colour
        handle.set_markersize(6)
    for text in legend.get_texts():
        text.set_parse_math(False)


def scale_loss(ax: Axes, course: Course, log: bool | None = None, which: Literal['x', 'y'] = 'y') -> None:
    """Choose the scale of the axis of the loss; a logarithmic one by default where `Course.is_log`."""
    axis = ax.yaxis if which == 'y' else ax.xaxis
    if not course.is_finite.any():
        axis.set_ticks([])
    if not (course.is_log if log is None else log):
        return
    from matplotlib.ticker import LogLocator

    ax.set(**{f'{which}scale': 'log'})
    if 0 < course.decades <= 3:  # so few ticks would be labelled that a reader could not tell a loss
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter('{x:g}')


def scale_parameter(ax: Axes, own: Parameter, which: Literal['x', 'y'] = 'x') -> None:
    """Set the scale of a parameter's axis, or its categories as ticks."""
    if own.labels:
        places, labels = zip(*own.ticks())
        ax.set(**{f'{which}ticks': places, f'{which}ticklabels': labels, f'{which}lim': (-0.5, len(own.labels) - 0.5)})
        for text in ax.get_xticklabels() if which == 'x' else ax.get_yticklabels():
            text.set_parse_math(False)
    elif own.has_log_axis:
        ax.set(**{f'{which}scale': 'log'})
    elif np.all(own.drawn[own.active] % 1 == 0):
        from matplotlib.ticker import MaxNLocator

        (ax.xaxis if which == 'x' else ax.yaxis).set_major_locator(MaxNLocator(integer=True))
