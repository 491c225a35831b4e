"""The course of a search: the loss of every trial over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import numpy as np
import numpy.typing as npt

from shadho.records import TrialState
from shadho.result import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ['plot_history']

# Nine colours of Okabe and Ito and of Paul Tol, so ordered that the first ones differ most, also
# for readers who see two colours only; and a grey for all other trees.
_COLOURS = ('#0072b2', '#e69f00', '#ee6677', '#66ccee', '#225522', '#ddcc77', '#332288', '#cc79a7', '#228833')
_OTHER = '#bbbbbb'
_INK, _FAINT, _GRID = '#333333', '#777777', '#e6e6e6'


@attrs.frozen
class _Course:
    """Finished trials as columns, in the order of completion; the loss of a failed one is nan."""

    trees: npt.NDArray[np.object_]
    finished: npt.NDArray[np.float64]
    losses: npt.NDArray[np.float64]
    failed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, result: SearchResult) -> _Course:
        rows = [
            (trial.tree, trial.finished, np.nan if trial.loss is None else trial.loss, trial.state is TrialState.FAILED)
            for trial in result
        ]
        trees, finished, losses, failed = zip(*rows) if rows else ((), (), (), ())
        # Numbers of trees may be greater than any fixed-width integer.
        return cls(np.array(trees, object), np.array(finished, float), np.array(losses, float), np.array(failed, bool))

    @property
    def is_finite(self) -> npt.NDArray[np.bool_]:
        return np.isfinite(self.losses)


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
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(9, 5), layout='constrained')
    course = _Course.of(result)
    unit, seconds = _unit(max(result.elapsed, course.finished.max(initial=0.0)))
    when = course.finished / seconds
    _draw_trials(ax, result, course, when)
    _draw_best(ax, result, course, when, result.elapsed / seconds)
    _draw_rim(ax, course, when)
    _set_scale(ax, course, log)
    _set_axes(ax, result, unit)
    return ax


def _unit(seconds: float) -> tuple[str, float]:
    """Return the unit of time in which so many seconds are easy to read, and its length in seconds."""
    for unit, length in (('days', 86_400.0), ('hours', 3_600.0), ('minutes', 60.0)):
        if seconds > 2 * length:
            return unit, length
    return 'seconds', 1.0


def _draw_trials(ax: Axes, result: SearchResult, course: _Course, when: npt.NDArray[np.float64]) -> None:
    size = float(np.clip(200 / np.sqrt(max(len(when), 1)), 2, 7))
    for label, colour, rows in _groups(result, course):
        ax.plot(
            when[rows], course.losses[rows], 'o', label=label, color=colour, zorder=1.9 if colour == _OTHER else 2,
            markersize=size, markeredgecolor='white', markeredgewidth=size / 12, alpha=0.9,
        )  # fmt: skip


def _groups(result: SearchResult, course: _Course) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Yield label, colour and rows of each tree that has a colour, then of all others together."""
    sign = -1 if result.direction == 'maximize' else 1
    drawn = course.is_finite
    best: dict[int, float] = {}
    for tree, loss in zip(course.trees[drawn], sign * course.losses[drawn]):
        best[tree] = min(loss, best.get(tree, np.inf))
    shown = sorted(sorted(best, key=lambda tree: best[tree])[: len(_COLOURS)])
    for tree, colour in zip(shown, _COLOURS):
        rows = drawn & (course.trees == tree)
        label = 'trials' if result.forest.count == 1 else _short(result.forest.tree(tree).label)
        yield label, colour, rows
    if len(best) > len(shown):
        yield f'{len(best) - len(shown):,} other trees', _OTHER, drawn & ~np.isin(course.trees, shown)


def _short(label: str, limit: int = 36) -> str:
    if label.startswith('_'):  # matplotlib takes such labels for its own, and shows none
        label = ' ' + label
    return label if len(label) <= limit else label[: limit - 1] + '…'


def _draw_best(ax: Axes, result: SearchResult, course: _Course, when: npt.NDArray[np.float64], end: float) -> None:
    drawn = course.is_finite
    if not drawn.any():
        return
    better = np.maximum if result.direction == 'maximize' else np.minimum
    best = better.accumulate(course.losses[drawn])
    times = when[drawn]
    ax.plot(
        [*times, max(end, times[-1])], [*best, best[-1]], drawstyle='steps-post', color=_INK, linewidth=1.8,
        label='best so far', zorder=1.5 if len(best) < 1000 else 3,
    )  # fmt: skip


def _draw_rim(ax: Axes, course: _Course, when: npt.NDArray[np.float64]) -> None:
    infinite = ~course.failed & ~course.is_finite
    for label, rows, marker in (('failed', course.failed, 'x'), ('infinite loss', infinite, '^')):
        if rows.any():
            ax.plot(
                when[rows], np.ones(rows.sum()), marker, transform=ax.get_xaxis_transform(), label=label,
                color=_INK, markersize=6, markeredgewidth=1.4, clip_on=False, zorder=4,
            )  # fmt: skip


def _set_scale(ax: Axes, course: _Course, log: bool | None) -> None:
    losses = course.losses[course.is_finite]
    if not len(losses):
        ax.set_yticks([])
    decades = np.log10(losses.max() / losses.min()) if len(losses) and losses.min() > 0 else 0
    if log is None:
        log = bool(decades > 2)
    if not log:
        return
    from matplotlib.ticker import LogLocator

    ax.set_yscale('log')
    if 0 < decades <= 3:  # so few ticks would be labelled that a reader could not tell a loss
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter('{x:g}')


def _set_axes(ax: Axes, result: SearchResult, unit: str) -> None:
    ax.set_xlim(left=0)
    ax.set_xlabel(f'{unit} of search', color=_INK)
    ax.set_ylabel('loss (maximised)' if result.direction == 'maximize' else 'loss', color=_INK)
    ax.set_title(_title(result), loc='left', color=_INK, fontsize='large', pad=14, parse_math=False)
    ax.spines[['top', 'right']].set_visible(False)
    ax.spines[['bottom', 'left']].set_color(_FAINT)
    ax.tick_params(which='both', color=_FAINT, labelcolor=_INK)
    ax.grid(axis='y', color=_GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    if ax.get_legend_handles_labels()[0]:
        legend = ax.legend(loc='upper left', bbox_to_anchor=(1.01, 1), frameon=False, labelcolor=_INK, borderaxespad=0)
        for handle in legend.get_lines():  # the marks of a large search are too small to show a colour
            handle.set_markersize(6)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _title(result: SearchResult) -> str:
    trials = f'{len(result):,} trial{"s" if len(result) != 1 else ""}'
    if result.best is None:
        return f'{result.exp_key}: {trials}, none done'
    return f'{result.exp_key}: {trials}, best loss {result.best.loss:.4g}'
