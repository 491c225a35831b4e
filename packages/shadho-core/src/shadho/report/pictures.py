"""Pictures of a search beside its history, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from shadho.report.axes import draw_legend, new_axes, scale_loss, scale_parameter, style
from shadho.report.course import COLOURS, FAINT, INK, Course, unit_of_time
from shadho.report.history import draw_rim, draw_trials
from shadho.report.importance import Importance, most_important, parameter_importance
from shadho.report.layout import BLUES
from shadho.report.parallel import lay_axes
from shadho.report.selection import choose_pair, choose_parameter
from shadho.report.surface import smooth
from shadho.report.ticks import round_ticks
from shadho.report.timeline import kinds, lay_out
from shadho.report.trees import sum_up_trees
from shadho.result import SearchResult
from shadho.words import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = ['plot_contour', 'plot_importance', 'plot_parallel_coordinates', 'plot_slice', 'plot_timeline', 'plot_trees']


def plot_trees(result: SearchResult, ax: Axes | None = None, *, limit: int = 20) -> Axes:
    """Draw how the losses of each tree are distributed, the best tree uppermost.

    A box holds the middle half of the trials, with a line at their median; a diamond marks the best.

    Parameters
    ----------
    result : SearchResult
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    limit : int, default 20
        Trees at most.

    Returns
    -------
    matplotlib.axes.Axes
    """
    course = Course.of(result).comparable
    found = [own for own in sum_up_trees(course, limit) if len(own.losses)]
    ax = new_axes(ax, 1.5 + 0.4 * len(found))
    scale_loss(ax, course, which='x')
    jitter = np.random.default_rng(0)
    for place, own in enumerate(found):
        rows = place + jitter.uniform(-0.25, 0.25, len(own.losses))
        ax.plot(own.losses, rows, '.', color=own.colour, markersize=4, alpha=0.4, markeredgewidth=0)
        quarters = np.quantile(own.losses, [0.25, 0.5, 0.75])
        ax.fill_betweenx([place - 0.3, place + 0.3], *quarters[[0, 2]], color=own.colour, alpha=0.3, linewidth=0)
        ax.plot(quarters[[1, 1]], [place - 0.3, place + 0.3], color=own.colour, linewidth=2)
    ax.plot([own.best for own in found], range(len(found)), 'D', color=INK, markersize=6, markeredgecolor='white')
    style(ax, course.title(), course.loss_name, '', 'x')
    _name_rows(ax, [own.label for own in found])
    return ax


def plot_importance(
    result: SearchResult,
    ax: Axes | None = None,
    *,
    limit: int = 15,
    known: Importance | None = None,
) -> Axes:
    """Draw how much of the variance of the loss, and of the seconds, each parameter explains by itself.

    See `parameter_importance`, which needs scikit-learn. The lines say how far the trees of the random forest
    differ: one standard deviation.

    Parameters
    ----------
    result : SearchResult
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    limit : int, default 15
        Parameters at most.
    known : Importance, optional
        What `parameter_importance` returned for the loss, if it is at hand.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ConfigurationError
        When fewer than ten trials have a finite loss.
    """
    course = Course.of(result).comparable
    both = [known or parameter_importance(course), parameter_importance(course, 'seconds')]
    names = most_important(both, limit)
    ax = new_axes(ax, 1.8 + 0.45 * len(names))
    for own, colour, place in zip(both, COLOURS, (-0.19, 0.19)):
        shares, spread = own.named(names)
        rows = np.arange(len(names)) + place
        ax.barh(rows, shares, 0.36, xerr=spread, color=colour, ecolor=INK, error_kw={'linewidth': 1}, label=own.measure)
    style(ax, course.title(), 'share of the variance', '', 'x')
    ax.legend(frameon=False, loc='lower right')
    _name_rows(ax, names)
    ax.set_xlim(0)
    ax.xaxis.set_major_formatter(lambda share, _: f'{share:.0%}')
    return ax


def plot_slice(result: SearchResult, parameter: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the loss over one parameter.

    Trials that failed, or whose loss is infinite, stand on the upper rim.

    Parameters
    ----------
    result : SearchResult
    parameter : str, optional
        Such as 'rbf.C'; by default the most important one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ConfigurationError
        When no trial has such a parameter.
    """
    ax = new_axes(ax)
    course = Course.of(result).comparable
    own = choose_parameter(course, parameter)
    draw_trials(ax, course, own.drawn)
    draw_rim(ax, course, own.drawn)
    scale_loss(ax, course)
    style(ax, course.title(), own.title, course.loss_name)
    scale_parameter(ax, own)
    draw_legend(ax)
    return ax


def plot_contour(result: SearchResult, x: str | None = None, y: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the loss over two numeric parameters: the mean of the trials near each place, and the trials.

    Parameters
    ----------
    result : SearchResult
    x, y : str, optional
        Names of parameters; by default the most important ones that vary together.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ConfigurationError
        When the two do not vary together in at least five trials with a finite loss.
    """
    ax = new_axes(ax)
    course = Course.of(result).comparable
    across, up = choose_pair(course, x, y)
    surface = smooth(course, across, up)
    style(ax, course.title(), across.title, up.title, 'both')
    scale_parameter(ax, across)
    scale_parameter(ax, up, 'y')
    x_values, y_values = across.values_at(surface.x), up.values_at(surface.y)
    levels = (
        np.linspace(surface.low, surface.high, 13) if surface.high > surface.low else [surface.low - 1, surface.low + 1]
    )
    filled = ax.contourf(x_values, y_values, surface.z, levels=levels, cmap=_colours(course), extend='both')
    rows = course.is_finite & across.active & up.active
    size = float(np.clip(100 / np.sqrt(rows.sum()), 1.5, 5))
    ax.plot(across.drawn[rows], up.drawn[rows], 'o', color='white', markeredgecolor=INK, markeredgewidth=size / 8, markersize=size)  # fmt: skip
    bar = ax.figure.colorbar(
        filled,
        ax=ax,
        ticks=[place for place, _ in round_ticks(surface.low, surface.high, course.is_log)],
    )
    bar.ax.set_ylabel(course.loss_name, parse_math=False)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(lambda place, _: f'{10.0**place if course.is_log else place:.3g}')
    return ax


def plot_parallel_coordinates(result: SearchResult, names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw each trial with a finite loss as a line through its parameters; the best are the strongest.

    An inactive parameter stands at the foot of its axis.

    Parameters
    ----------
    result : SearchResult
    names : sequence of str, optional
        Parameters; by default the dozen that matter most.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ConfigurationError
        When no trial has a parameter of such a name.
    """
    from matplotlib.collections import LineCollection

    ax = new_axes(ax)
    course = Course.of(result).comparable
    axes = lay_axes(course, names)
    style(ax, course.title(), '', '', 'x')
    ax.set(yticks=[], ylim=(-0.04, 1.04), xlim=(-0.1, max(len(axes), 1) - 0.5))
    ax.spines[['left', 'bottom']].set_visible(False)
    ax.set_xticks(range(len(axes)), [axis.name for axis in axes], rotation=30, ha='right')
    for name in ax.get_xticklabels():
        name.set_parse_math(False)
    if not axes:
        return ax
    order = np.argsort(-course.sign * axes[0].places, kind='stable')  # the best are drawn last
    heights = np.column_stack([axis.heights(axis.places[order]) for axis in axes])
    lines = [np.column_stack([np.arange(len(axes)), own]) for own in heights]
    bundle = LineCollection(lines, cmap=_colours(course), linewidths=0.8, alpha=0.7)
    places = axes[0].places[order]
    bundle.set_array(np.minimum(course.sign * places, np.quantile(course.sign * places, 0.9)) * course.sign)
    ax.add_collection(bundle)
    for place, axis in enumerate(axes):
        for tick, label in axis.ticks:
            height = float(axis.heights(np.array(tick)))
            frame = {'facecolor': 'white', 'alpha': 0.7, 'linewidth': 0, 'pad': 1}
            ax.text(place + 0.04, height, shorten(label, 12), fontsize=7, va='center', parse_math=False, bbox=frame)
    return ax


def plot_timeline(
    result: SearchResult, ax: Axes | None = None, *, by: Literal['rung', 'tree'] | None = None
) -> Axes:  # fmt: skip
    """Draw what ran when on the slots of each compute class, and how busy these were.

    Parameters
    ----------
    result : SearchResult
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    by : {'rung', 'tree'}, optional
        What the colours tell: to which rung an attempt ran, by default where the search has rungs; or the tree of its trial.

    Returns
    -------
    matplotlib.axes.Axes
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    course = Course.of(result)
    plan = lay_out(course)
    ax = new_axes(ax, float(np.clip(1.5 + 0.3 * plan.count, 3, 9)))
    unit, seconds = unit_of_time(max(course.result.elapsed, course.finished.max(initial=0.0)))
    found = kinds(course, by)
    for kind in found:
        bars = [*plan.bars(course, kind.trials, seconds), *plan.attempt_bars(course, kind.attempts, seconds)]
        ax.add_collection(
            PolyCollection(bars, facecolors=kind.colour, edgecolors='white', linewidths=0.4 if len(course) <= 2000 else 0)
        )  # fmt: skip
    for own in plan.classes[1:]:
        ax.axhline(own.first - 0.5, color=FAINT, linewidth=0.8)
    style(ax, course.title(), f'{unit} of search', '', 'x')
    ax.set_yticks([own.middle for own in plan.classes], [own.title for own in plan.classes])
    ax.set(xlim=(0, max(course.result.elapsed, course.finished.max(initial=1e-9)) / seconds), ylim=(max(plan.count, 1) - 0.5, -0.5))  # fmt: skip
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    legend = ax.legend(
        handles=[
            Patch(color=kind.colour, label=kind.label) for kind in found
        ], loc='upper left',
        bbox_to_anchor=(1.01, 1), frameon=False, labelcolor=INK, borderaxespad=0,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    return ax


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Write names beside the rows of a picture, the first uppermost."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    for label in ax.get_yticklabels():
        label.set_parse_math(False)


def _colours(course: Course) -> Colormap:
    """Return the scale of colours on which the best loss is the strongest."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list('loss', BLUES if course.sign > 0 else BLUES[::-1])
