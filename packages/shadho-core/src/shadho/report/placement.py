"""Interactive pictures of what compute classes do: which trees ran there, what a slot is worth, what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from shadho.records import TrialState
from shadho.report.course import COLOURS, FAINT, OTHER, Course, Floats, unit_of_time
from shadho.report.forecasts import Forecasts, forecasts
from shadho.report.layout import BLUES, PAPER, compact, evenly, figure, points, text
from shadho.result import SearchResult
from shadho.words import shorten

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ['MOST_TREES', 'expected_seconds', 'placement', 'prices']

MOST_TREES = 30
"""Rows of the heat map: those of the trees with the most trials."""

_MOST_WRITTEN = 12
"""Compute classes up to which the numbers fit into their cells."""

_LOG = {'type': 'log', 'dtick': 'D2', 'tickformat': '~g'}

_MOST_POINTS = 4000
"""Trials whose expected seconds are drawn."""


def placement(result: SearchResult | Course, show: Literal['seconds', 'trials'] = 'seconds') -> Figure:
    """Draw how long the trials of each tree took in each compute class on average, or how many there were.

    Parameters
    ----------
    result : SearchResult
    show : {'seconds', 'trials'}
    """
    from plotly import graph_objects as go

    course = Course.of(result)
    trees, counts, means = _cells(course)
    names = [text(shorten(name, 24)) for name in course.class_names]
    labels = [text(course.label(tree, 28)) for tree in trees]
    values = counts if show == 'trials' else means
    ticks = {'tickvals': list(range(len(trees))), 'ticktext': labels, 'autorange': 'reversed', 'showgrid': False}
    columns = {'tickvals': list(range(len(names))), 'ticktext': names, 'side': 'top', 'showline': False, 'ticks': ''}
    fig = figure(course.title(), columns, ticks, 110 + 26 * max(len(trees), 2), showlegend=False)
    if not len(trees):
        return fig
    with np.errstate(invalid='ignore', divide='ignore'):
        shades = np.where(counts > 0, np.log10(np.maximum(values, 1e-6)), np.nan)  # they lie decades apart
    cells = go.Heatmap(
        z=compact(shades), text=[[f'{value:,.3g}' if count else '' for value, count in zip(*row)] for row in zip(values, counts)],
        customdata=np.dstack([np.broadcast_to(np.array(labels)[:, None], counts.shape), np.broadcast_to(np.array(names), counts.shape)]),
        colorscale=list(zip(np.linspace(0, 1, len(BLUES)).tolist(), BLUES[::-1])), showscale=False, xgap=2, ygap=2, hoverongaps=False,
        texttemplate='%{text}' if len(names) <= _MOST_WRITTEN else None,
        hovertemplate='%{customdata[0]} in %{customdata[1]}: %{text} ' + ('trials' if show == 'trials' else 's') + '<extra></extra>',
    )  # fmt: skip
    fig.add_trace(cells)
    return fig


def _cells(course: Course) -> tuple[list[int], Floats, Floats]:
    """Return the trees that are shown, and the number and mean seconds of their trials: shape (trees, classes).

    A trial that was paused and went on counts once for each attempt, where that ran.
    """
    paused = [own for own in course.attempts if own.state is TrialState.PAUSED]
    trees = [*course.trees, *(own.tree for own in paused)]
    classes = [*course.classes, *(own.compute_class for own in paused)]
    numbers = list(dict.fromkeys(trees))
    names = course.class_names
    rows, columns = ({key: place for place, key in enumerate(keys)} for keys in (numbers, names))
    cells = (
        np.array([rows[tree] for tree in trees], int),
        np.array([columns[own] for own in classes], int),
    )
    seconds = np.concatenate([np.nan_to_num(course.seconds), [own.seconds for own in paused]])
    counts, sums = np.zeros((2, len(numbers), len(names)))
    np.add.at(counts, cells, 1.0)
    np.add.at(sums, cells, seconds)
    chosen = np.argsort(-counts.sum(axis=1), kind='stable')[:MOST_TREES]
    counts, sums = counts[chosen], sums[chosen]
    return [numbers[place] for place in chosen], counts, sums / np.maximum(counts, 1.0)


def prices(result: SearchResult | Course, known: Forecasts | None = None) -> Figure:
    """Draw by which share one more slot of each compute class would have sped the search up, over its time.

    That is what the policy 'market' goes by; it follows from the trials that were finished by then, whatever the policy was.

    Parameters
    ----------
    result : SearchResult
    known : Forecasts, optional
        Made anew without.
    """
    from plotly import graph_objects as go

    course = Course.of(result)
    known = known or forecasts(course)
    unit, seconds = unit_of_time(max(course.result.elapsed, course.finished.max(initial=0.0)))
    fig = figure(
        course.title(), {'title': {'text': f'{unit} of search'}, 'rangemode': 'tozero'},
        {'title': {'text': 'one more slot speeds the search up by'}, 'tickformat': '~%', 'rangemode': 'tozero'},
    )  # fmt: skip
    for column, name in enumerate(known.classes):
        line = {'color': COLOURS[column] if column < len(COLOURS) else OTHER, 'width': 2, 'shape': 'hv'}
        fig.add_trace(
            go.Scatter(
                x=compact(known.moments / seconds), y=compact(known.prices[:, column]), mode='lines', line=line,
                name=text(shorten(name, 36)), hovertemplate='%{y:.2%}',
            )
        )  # fmt: skip
    fig.update_layout(hovermode='x unified', showlegend=True)
    return fig


def expected_seconds(result: SearchResult | Course, known: Forecasts | None = None) -> Figure:
    """Draw how long trials took, over how long they were expected to take at their start.

    Of more than 4,000 trials, some are drawn, evenly chosen.

    Parameters
    ----------
    result : SearchResult
    known : Forecasts, optional
        Made anew without.
    """
    from plotly import graph_objects as go

    course = Course.of(result)
    expected = (known or forecasts(course)).expected
    took = course.seconds
    fits = np.isfinite(expected) & (expected > 0) & (took > 0) & ~course.failed
    rows = evenly(np.flatnonzero(fits), _MOST_POINTS)
    fig = figure(
        course.title(), {'title': {'text': 'expected seconds'}, **_LOG}, {'title': {'text': 'seconds'}, **_LOG}, showlegend=True
    )  # fmt: skip
    if not len(rows):
        return fig
    for number, name in enumerate(course.class_names):
        own = rows[course.classes[rows] == name]
        if not len(own):
            continue
        fig.add_trace(
            points(len(rows))(
                x=compact(expected[own]), y=compact(took[own]), mode='markers', name=text(shorten(name, 36)),
                customdata=course.ids[own], hovertemplate='trial %{customdata}<br>expected %{x:.3g} s<br>took %{y:.3g} s',
                marker={
                    'color': COLOURS[number] if number < len(COLOURS) else OTHER, 'size': 5, 'opacity': 0.8,
                    'line': {'color': PAPER, 'width': 0.5},
                },
            )
        )  # fmt: skip
    both = np.concatenate([expected[rows], took[rows]])
    ends = [float(both.min()), float(both.max())]
    fig.add_trace(
        go.Scatter(
            x=ends, y=ends, mode='lines', line={'color': FAINT, 'width': 1, 'dash': 'dot'}, name='as expected',
            hoverinfo='skip',
        )
    )  # fmt: skip
    return fig
