"""How plotly's figures look in all pictures of a search, and what is safe to write into them."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shadho.errors import ConfigurationError
from shadho.report.course import FAINT, GRID, INK, Course
from shadho.report.parameters import Parameter

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = [
    'BLUES',
    'DARK',
    'PAPER',
    'axis_of_loss',
    'axis_of_parameter',
    'compact',
    'evenly',
    'figure',
    'loss_on',
    'points',
    'text',
]

PAPER = '#ffffff'

# Five blues of ColorBrewer: the best losses are the strongest.
BLUES = ('#08519c', '#3182bd', '#6baed6', '#bdd7e7', '#e8f0f8')

DARK = {
    PAPER: '#1a1d21', INK: '#e3e5e8', FAINT: '#9aa0a8', GRID: '#31363d', '#bbbbbb': '#6b7178',
    '#0072b2': '#4ba3e0', '#225522': '#3f9275', '#332288': '#9488e6', '#228833': '#7cc653',
    '#08519c': '#c9e6ff', '#3182bd': '#7db9ec', '#6baed6': '#4384bf', '#bdd7e7': '#27527d', '#e8f0f8': '#1d3148',
    '#c6dbef': '#24496f', '#9ecae1': '#33659a', '#08306b': '#dceeff',
}  # fmt: skip
"""What each colour becomes on a dark page, where it is another."""

_MANY = 1000
"""Trials from which WebGL draws them."""


def figure(title: str, xaxis: dict[str, Any], yaxis: dict[str, Any], height: int = 420, **layout: Any) -> Figure:
    """Return an empty figure in our style.

    Parameters
    ----------
    title : str
        Any text; it is escaped.
    xaxis, yaxis : dict
        Of plotly's layout.
    height : int, default 420
        Pixels.
    **layout
        Of plotly's layout.

    Raises
    ------
    ConfigurationError
        When plotly is missing.
    """
    try:
        from plotly.graph_objects import Figure
    except ImportError as error:
        raise ConfigurationError(
            'interactive figures need plotly, which is not installed: pip install plotly'
        ) from error
    common = {
        'gridcolor': GRID,
        'linecolor': FAINT,
        'tickcolor': FAINT,
        'zeroline': False,
        'automargin': True,
        'exponentformat': 'power',
    }
    for axis in (xaxis, yaxis):
        if 'title' in axis:
            axis['title'] = {'standoff': 8, 'font': {'size': 13}, **axis['title']}
    own = {
        'title': {'text': text(title), 'x': 0, 'xref': 'paper', 'font': {'size': 16}},
        'template': None,
        'font': {'family': 'system-ui, sans-serif', 'size': 13, 'color': INK},
        'paper_bgcolor': PAPER,
        'plot_bgcolor': PAPER,
        'margin': {'l': 8, 'r': 8, 't': 56, 'b': 8},
        'height': height,
        'hovermode': 'closest',
        'hoverlabel': {'bgcolor': PAPER, 'bordercolor': FAINT, 'font': {'color': INK}},
        'legend': {
            'orientation': 'h',
            'x': 0,
            'y': 1.03,
            'bgcolor': 'rgba(0,0,0,0)',
            'yanchor': 'bottom',
            'itemsizing': 'constant',
        },
        'xaxis': {**common, 'showgrid': False, 'showline': True, 'ticks': 'outside', **xaxis},
        'yaxis': {**common, **yaxis},
        **layout,
    }
    return Figure(layout=own)


def points(count: int) -> Any:
    """Return the kind of trace that draws so many points well."""
    from plotly import graph_objects as go

    return go.Scattergl if count > _MANY else go.Scatter


def text(value: object) -> str:
    """Escape a text for plotly, which reads some of HTML, and ``%{...}`` in what is shown on hovering.

    Examples
    --------
    >>> text('<b>%{x}')
    '&lt;b&gt;%&#123;x}'
    """
    return html.escape(str(value), quote=False).replace('%{', '%&#123;')


def compact(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return numbers in half the space, where a picture does not show the difference."""
    array = np.asarray(values)
    sizes = np.abs(array[array != 0])
    fits = array.dtype == np.float64 and not (sizes > 1e37).any() and not (sizes < 1e-37).any()
    return array.astype(np.float32) if fits else array


def evenly(rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """Return at most so many of some rows, evenly chosen."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def axis_of_loss(course: Course) -> dict[str, Any]:
    """Return the axis of the loss."""
    scale = _log_scale(course.decades) if course.is_log else {'type': 'linear'}
    ends = {} if course.is_finite.any() else {'showticklabels': False}
    return {'title': {'text': text(course.loss_name)}, **scale, **ends}


def loss_on(course: Course, axis: str) -> dict[str, Any]:
    """Return a note for the page: which axis has the loss, and whether a logarithmic one would show all of it."""
    losses = course.losses[course.is_finite]
    return {'axis': axis, 'positive': bool(len(losses) and losses.min() > 0)}


def axis_of_parameter(own: Parameter) -> dict[str, Any]:
    """Return the axis of a parameter: logarithmic, or with categories, where it is so."""
    title = {'text': text(own.title)}
    if not own.labels:
        known = own.places[own.active]
        return {'title': title, **(_log_scale(float(np.ptp(known))) if own.has_log_axis else {'type': 'linear'})}
    places, labels = zip(*own.ticks())
    ticks = {'tickmode': 'array', 'tickvals': places, 'ticktext': [text(label) for label in labels]}
    return {'title': title, **ticks, 'range': [-0.5, len(own.labels) - 0.5]}


def _log_scale(decades: float) -> dict[str, Any]:
    """Return a logarithmic axis with about as many ticks as any other."""
    every = 'D2' if decades <= 2.5 else max(1, round(decades / 7))
    return {'type': 'log', 'dtick': every if decades > 0.5 else None}
