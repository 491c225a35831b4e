"""Interactive pictures of a search, as figures of plotly (``pip install plotly scikit-learn``).

They show themselves in notebooks; the page that ``shadho report`` writes is made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from shadho.records import TrialState
from shadho.report.course import COLOURS, INK, Course, Floats, Group, Mask, unit_of_time
from shadho.report.curves import grouped, joined, shown_curves
from shadho.report.importance import Importance, most_important, parameter_importance
from shadho.report.layout import (
    BLUES,
    PAPER,
    axis_of_loss,
    axis_of_parameter,
    compact,
    evenly,
    figure,
    loss_on,
    points,
    text,
)
from shadho.report.parallel import lay_axes
from shadho.report.parameters import Parameter
from shadho.report.placement import expected_seconds, placement, prices
from shadho.report.selection import choose_pair, choose_parameter
from shadho.report.surface import smooth
from shadho.report.ticks import round_ticks
from shadho.report.timeline import Timeline, kinds, lay_out
from shadho.report.trees import TreeResult, sum_up_trees
from shadho.result import SearchResult
from shadho.words import format_loss, shorten

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = [
    'contour', 'curves', 'distribution', 'expected_seconds', 'history', 'importance', 'parallel_coordinates', 'placement', 'prices', 'rank', 'slice',
    'timeline', 'trees',
]  # fmt: skip

MOST_OUTLINED = 2000
"""Bars of a colour that have an outline: more are too short for one."""

MOST_STEPS = 400
"""Steps of one distribution function at most: more cannot be told apart on a screen."""

Integers = npt.NDArray[np.intp]

MOST_LINES = 1500
"""Trials that are drawn over a surface, or as lines, at most."""

MOST_POINTS = 4000
"""Trials that are drawn as points or bars at most: more hide each other, and make a page large and slow."""


def history(result: SearchResult | Course, over: Literal['time', 'trials'] = 'time') -> Figure:
    """Draw the loss of each trial, coloured by tree, and the best loss so far.

    Of more than 4,000 trials, the best and some others are drawn.

    Parameters
    ----------
    result : SearchResult
    over : {'time', 'trials'}
        What runs along: the time at which a trial was finished, or their number.
    """
    course = Course.of(result)
    elapsed = course.result.elapsed
    unit, seconds = unit_of_time(max(elapsed, course.finished.max(initial=0.0)))
    if over == 'time':
        across, end, name = course.finished / seconds, elapsed / seconds, f'{unit} of search'
    else:
        across, end, name = np.arange(1.0, len(course) + 1), float(len(course)), 'finished trials'
    fig = figure(
        course.title(),
        {'title': {'text': name}, 'rangemode': 'tozero'},
        axis_of_loss(course),
        460,
        meta=loss_on(course, 'yaxis'),
    )
    _add_trials(fig, course, across)
    _add_best(fig, course, across, end)
    _add_rim(fig, course, across)
    return fig


def curves(result: SearchResult | Course) -> Figure:
    """Draw the losses that trials reported over their steps, in the colours of their trees.

    Of more than 400 trials, those that were run furthest are drawn.

    Parameters
    ----------
    result : SearchResult
    """
    from plotly import graph_objects as go

    course = Course.of(result)
    steps = {'title': {'text': 'step'}, 'rangemode': 'tozero'}
    fig = figure(course.title(), steps, axis_of_loss(course), 460, meta=loss_on(course, 'yaxis'))
    for label, colour, rows in grouped(course, shown_curves(course)):
        across, losses = joined(course, rows)
        names = np.concatenate([np.repeat(course.ids[row], len(course.curves[row][0]) + 1) for row in rows])
        trace = go.Scatter(
            x=compact(across), y=compact(losses), customdata=names, mode='lines', name=text(label), opacity=0.7,
            line={'color': colour, 'width': 1.2}, hovertemplate='trial %{customdata}, step %{x}: %{y}<extra></extra>',
        )  # fmt: skip
        fig.add_trace(trace)
        ends = [(*(column[-1] for column in course.curves[row]), course.ids[row]) for row in rows]
        last, loss, ids = map(list, zip(*ends))
        dots = go.Scatter(
            x=last, y=loss, customdata=ids, mode='markers', showlegend=False, marker={'color': colour, 'size': 5},
            hovertemplate='trial %{customdata}, step %{x}: %{y}<extra></extra>',
        )  # fmt: skip
        fig.add_trace(dots)
    return fig


def trees(result: SearchResult | Course, limit: int = 20) -> Figure:
    """Draw how the losses of each tree are distributed, the best tree uppermost.

    Parameters
    ----------
    result : SearchResult
    limit : int, default 20
        Trees at most.
    """
    course = Course.of(result).comparable
    found = [own for own in sum_up_trees(course, limit) if len(own.losses)]
    ticks = {'tickvals': list(range(len(found))), 'ticktext': [text(shorten(own.label, 28)) for own in found]}
    loss = {**axis_of_loss(course), 'showgrid': True}
    fig = figure(course.title(), loss, {**ticks, 'autorange': 'reversed', 'showgrid': False}, 120 + 34 * len(found))
    fig.update_layout(showlegend=False, meta=loss_on(course, 'xaxis'))
    for place, own in enumerate(found):
        _add_tree(fig, place, own, sum(len(other.losses) for other in found))
    return fig


def distribution(result: SearchResult | Course) -> Figure:
    """Draw which share of the trials has a loss at least as good as each, for all trials and for each tree.

    That is the empirical distribution function of the loss. Trials that failed count as worse than any.

    Parameters
    ----------
    result : SearchResult
    """
    course = Course.of(result).comparable
    fig = figure(course.title(), axis_of_loss(course), _axis_of_share('trials'), meta=loss_on(course, 'xaxis'))
    groups = list(course.groups())
    for group in groups if len(groups) > 1 else []:
        rows = np.isin(course.trees, np.unique(course.trees[group.rows]))
        _add_steps(fig, course, group.rows, int(rows.sum()), group.label, group.colour, 1.5)
    _add_steps(fig, course, course.is_finite, len(course), 'all trials', INK, 2.5)
    return fig


def _axis_of_share(what: str) -> dict[str, Any]:
    return {'title': {'text': f'share of {what}'}, 'tickformat': '.0%', 'range': [0, 1.02]}


def _add_steps(fig: Figure, course: Course, rows: Mask, count: int, label: str, colour: str, width: float) -> None:
    """Draw an empirical distribution function, of `count` trials; of very many, some of its steps."""
    from plotly import graph_objects as go

    losses = np.sort(course.sign * course.losses[rows])
    if not len(losses):
        return
    places = evenly(np.arange(len(losses)), MOST_STEPS)
    line = go.Scatter(
        x=compact(course.sign * losses[places]), y=compact((places + 1) / count), mode='lines', name=text(label),
        line={'color': colour, 'width': width, 'shape': 'hv'},
        hovertemplate=f'%{{y:.1%}} have {text(course.result.loss_name)} %{{x:.6g}} or better<extra>{text(label)}</extra>',
    )  # fmt: skip
    fig.add_trace(line)


def importance(
    result: SearchResult | Course,
    limit: int = 15,
    known: Importance | None = None,
) -> Figure:
    """Draw how much of the variance of the loss, and of the seconds, each parameter explains by itself.

    Parameters
    ----------
    result : SearchResult
    limit : int, default 15
        Parameters at most.
    known : Importance, optional
        What `shadho.report.parameter_importance` returned for the loss, if it is at hand.

    Raises
    ------
    ConfigurationError
        When fewer than ten trials have a finite loss.
    """
    from plotly import graph_objects as go

    course = Course.of(result).comparable
    both = [known or parameter_importance(course), parameter_importance(course, 'seconds')]
    names = most_important(both, limit)
    bars = [own.named(names) for own in both]
    across = {
        'title': {'text': 'share of the variance'},
        'tickformat': '.0%',
        'range': [0, 1.05 * max(0.1, *(float((shares + spread).max(initial=0.0)) for shares, spread in bars))],
    }
    ticks = {'tickvals': list(range(len(names))), 'ticktext': [text(shorten(name, 28)) for name in names]}
    fig = figure(
        course.title(), {**across, 'showgrid': True}, {**ticks, 'autorange': 'reversed', 'showgrid': False},
        150 + 40 * len(names),
    )  # fmt: skip
    for own, colour, (shares, spread), place in zip(both, COLOURS, bars, (-0.4, 0.0)):
        fig.add_trace(
            go.Bar(
                x=shares, y=list(range(len(names))), orientation='h', marker={'color': colour}, width=0.36, offset=place,
                error_x={'array': spread, 'color': INK, 'thickness': 1, 'width': 3}, name=text(own.measure),
                hovertemplate='%{y}: %{x:.1%}<extra></extra>',
            )
        )  # fmt: skip
    return fig


def slice(result: SearchResult | Course, parameter: str | None = None) -> Figure:
    """Draw the loss over one parameter.

    Of more than 4,000 trials that have it, the best and some others are drawn.

    Parameters
    ----------
    result : SearchResult
    parameter : str, optional
        Such as 'rbf.C'; by default the most important one.

    Raises
    ------
    ConfigurationError
        When no trial has such a parameter.
    """
    course = Course.of(result).comparable
    own = choose_parameter(course, parameter)
    fig = figure(course.title(), axis_of_parameter(own), axis_of_loss(course), meta=loss_on(course, 'yaxis'))
    across = own.drawn
    if own.labels:  # trials of one category side by side
        across = across + np.random.default_rng(0).uniform(-0.25, 0.25, len(across))
    _add_trials(fig, course, across, own)
    _add_rim(fig, course, across)
    return fig


def contour(result: SearchResult | Course, x: str | None = None, y: str | None = None) -> Figure:
    """Draw the loss over two numeric parameters: the mean of the trials near each place, and the trials.

    Parameters
    ----------
    result : SearchResult
    x, y : str, optional
        Names of parameters; by default the most important ones that vary together.

    Raises
    ------
    ConfigurationError
        When the two do not vary together in at least five trials with a finite loss.
    """
    from plotly import graph_objects as go

    course, across, up, fig = _over_two(result, x, y)
    surface = smooth(course, across, up)
    steps = {'start': surface.low, 'end': surface.high, 'size': (surface.high - surface.low) / 12 or 1.0}
    area = go.Contour(
        x=compact(across.values_at(surface.x)), y=compact(up.values_at(surface.y)), z=compact(surface.z),
        contours=steps, line={'width': 0.4, 'color': PAPER}, colorscale=_scale(course), hoverinfo='skip',
        zmin=surface.low, zmax=surface.high, colorbar=_colorbar(course, surface.low, surface.high),
    )  # fmt: skip
    fig.add_trace(area)
    rows = _thin(course, course.is_finite & across.active & up.active, MOST_LINES, MOST_LINES // 3)
    _add_seen(fig, course, rows, across, up, {'size': 5, 'color': PAPER, 'line': {'color': INK, 'width': 0.8}})
    return fig


def rank(result: SearchResult | Course, x: str | None = None, y: str | None = None) -> Figure:
    """Draw the trials over two numeric parameters, in colours by the rank of their losses: outliers change no colour.

    Parameters
    ----------
    result : SearchResult
    x, y : str, optional
        Names of parameters; by default the most important ones that vary together.

    Raises
    ------
    ConfigurationError
        When the two do not vary together in at least five trials with a finite loss.
    """
    course, across, up, fig = _over_two(result, x, y)
    rows = course.is_finite & across.active & up.active
    ranks = np.full(len(course), np.nan)
    ranks[rows] = np.argsort(np.argsort(course.sign * course.losses[rows], kind='stable'))
    drawn = _thin(course, rows, MOST_POINTS, MOST_POINTS // 3)
    drawn = drawn[np.argsort(-ranks[drawn], kind='stable')]  # the best are drawn last
    worst = max(int(rows.sum()) - 1, 1)
    bar = {
        'title': {'text': f'rank of {text(course.measured)}', 'side': 'right'}, 'thickness': 12, 'outlinewidth': 0,
        'tickvals': [0, worst], 'ticktext': ['best', 'worst'],
    }  # fmt: skip
    scale = list(zip(np.linspace(0, 1, len(BLUES)).tolist(), BLUES))
    marker = {'size': 8, 'color': ranks[drawn], 'cmin': 0, 'cmax': worst, 'colorscale': scale, 'colorbar': bar}
    _add_seen(fig, course, drawn, across, up, {**marker, 'line': {'color': INK, 'width': 0.5}})
    return fig


def _over_two(
    result: SearchResult | Course, x: str | None, y: str | None
) -> tuple[Course, Parameter, Parameter, Figure]:
    """Return two parameters that vary together, and an empty figure with an axis for each."""
    course = Course.of(result).comparable
    across, up = choose_pair(course, x, y)
    fig = figure(course.title(), axis_of_parameter(across), axis_of_parameter(up), showlegend=False)
    return course, across, up, fig


def _add_seen(
    fig: Figure, course: Course, rows: Integers, across: Parameter, up: Parameter, marker: dict[str, Any]
) -> None:  # fmt: skip
    """Add trials as points over two parameters."""
    from plotly import graph_objects as go

    seen = go.Scatter(
        x=compact(across.drawn[rows]), y=compact(up.drawn[rows]), mode='markers', customdata=course.ids[rows], marker=marker,
        text=[format_loss(loss) for loss in course.losses[rows]],
        hovertemplate=f'trial %{{customdata}}<br>{text(course.result.loss_name)} %{{text}}<br>{text(across.title)} %{{x:.5g}}'
        f'<br>{text(up.title)} %{{y:.5g}}<extra></extra>',
    )  # fmt: skip
    fig.add_trace(seen)


def parallel_coordinates(result: SearchResult | Course, names: Sequence[str] | None = None) -> Figure:
    """Draw each trial with a finite loss as a line through its parameters; the best are the strongest.

    Drag along an axis to choose a range. An inactive parameter stands at the foot of its axis. Of more than 1,500
    trials, the best and some others are drawn.

    Parameters
    ----------
    result : SearchResult
    names : sequence of str, optional
        Parameters; by default the dozen that matter most.
    """
    from plotly import graph_objects as go

    course = Course.of(result).comparable
    axes = lay_axes(course, names)
    fig = figure(
        course.title(),
        {},
        {},
        460,
        margin={'l': 60, 'r': 60, 't': 96, 'b': 24},
    )
    if not axes:
        return fig
    loss = axes[0].places
    order = np.searchsorted(
        np.flatnonzero(course.is_finite), _thin(course, course.is_finite, MOST_LINES, MOST_LINES // 3)
    )
    order = order[np.argsort(-course.sign * loss[order], kind='stable')]  # the best are drawn last
    worst = np.quantile(course.sign * loss, 0.9)
    ends = sorted((float(course.sign * (course.sign * loss).min()), float(course.sign * worst)))
    line = {'color': compact(loss[order]), 'colorscale': _scale(course), 'cmin': ends[0], 'cmax': ends[1] or None}
    dimensions = [
        {
            'label': text(own.name), 'values': compact(own.places[order]), 'range': own.range,
            'tickvals': [place for place, _ in own.ticks], 'ticktext': [text(label) for _, label in own.ticks],
        }
        for own in axes
    ]  # fmt: skip
    fig.add_trace(go.Parcoords(dimensions=dimensions, line=line, unselected={'line': {'opacity': 0.05}}))
    return fig


def timeline(result: SearchResult | Course, by: Literal['rung', 'tree'] | None = None) -> Figure:
    """Draw what ran when on the slots of each compute class, and how busy these were.

    Of more than 4,000 trials, the longest and some others are drawn, and the best one.

    Parameters
    ----------
    result : SearchResult
    by : {'rung', 'tree'}, optional
        What the colours tell: to which rung an attempt ran, by default where the search has rungs; or the tree of its trial.
    """
    course = Course.of(result)
    plan = lay_out(course)
    unit, seconds = unit_of_time(max(course.result.elapsed, course.finished.max(initial=0.0)))
    fig = figure(
        course.title(), {'title': {'text': f'{unit} of search'}, 'rangemode': 'tozero'}, _class_axis(plan),
        int(np.clip(150 + 22 * plan.count, 220, 640)),
    )  # fmt: skip
    shown = _thin_bars(course)
    for kind in kinds(course, by):
        attempts = plan.attempt_bars(course, kind.attempts, seconds)
        attempts = attempts[evenly(np.arange(len(attempts)), MOST_POINTS)]
        bars = np.concatenate([plan.bars(course, kind.trials & shown, seconds), attempts])
        _add_bars(fig, text(kind.label), kind.colour, bars)
    _add_bar_hover(fig, np.flatnonzero(shown), plan, course, seconds)
    _add_attempt_hover(fig, plan, course, seconds)
    for own in plan.classes[1:]:
        fig.add_hline(own.first - 0.5, line={'color': INK, 'width': 1})
    return fig


def _add_trials(fig: Figure, course: Course, across: Floats, own: Parameter | None = None) -> None:
    many = len(course)
    size = float(np.clip(200 / np.sqrt(max(many, 1)), 3.5, 8))
    along = '' if own is None else f'<br>{text(own.title)} ' + ('%{text}' if own.labels else '%{x:.5g}')
    groups = [Group(group.label, group.colour, group.rows & ~np.isnan(across)) for group in course.groups()]
    quotas = _quotas([int(group.rows.sum()) for group in groups], MOST_POINTS)
    for group, quota in zip(groups, quotas):
        rows = np.sort(_thin(course, group.rows, quota, quota // 20))  # more of the best would look like a cluster
        if not len(rows):
            continue
        fig.add_trace(
            points(many)(
                x=compact(across[rows]), y=compact(course.losses[rows]), mode='markers', name=text(group.label),
                text=[text(own.show(int(row))) for row in rows] if own is not None and own.labels else None,
                marker={'color': group.colour, 'size': size, 'opacity': 0.85, 'line': {'color': PAPER, 'width': 0.5}},
                customdata=course.ids[rows],
                hovertemplate=f'trial %{{customdata}}<br>{text(course.result.loss_name)} %{{y:.6g}}{along}<extra>{text(group.label)}</extra>',
            )
        )  # fmt: skip


def _add_best(fig: Figure, course: Course, across: Floats, end: float) -> None:
    from plotly import graph_objects as go

    drawn, best = course.best_so_far()
    if not len(best):
        return
    places = across[drawn]
    rises = np.flatnonzero(np.diff(best, prepend=np.nan) != 0)  # only where it changes
    line = go.Scatter(
        x=compact([*places[rises], max(end, places[-1])]), y=compact([*best[rises], best[-1]]), mode='lines',
        name='best so far', line={'color': INK, 'width': 2, 'shape': 'hv'}, hoverinfo='skip',
    )  # fmt: skip
    fig.add_trace(line)


def _add_rim(fig: Figure, course: Course, across: Floats) -> None:
    """Mark trials without a finite loss on the upper rim, wherever that is: they have an axis of their own."""
    from plotly import graph_objects as go

    for label, mask, symbol in (
        ('failed', course.failed, 'x-thin'),
        (f'infinite {course.result.loss_name}', course.is_infinite, 'triangle-up-open'),
    ):
        rows = evenly(np.flatnonzero(mask & ~np.isnan(across)), MOST_POINTS)
        if not len(rows):
            continue
        marks = go.Scatter(
            x=compact(across[rows]), y=np.ones(len(rows), np.float32), yaxis='y2', mode='markers', name=text(label),
            marker={'symbol': symbol, 'size': 7, 'color': INK, 'line': {'color': INK, 'width': 1.4}},
            customdata=course.ids[rows], cliponaxis=False,
            hovertemplate=f'trial %{{customdata}}<extra>{text(label)}</extra>',
        )  # fmt: skip
        fig.add_trace(marks)
        fig.update_layout(yaxis2={'overlaying': 'y', 'range': [0, 1], 'visible': False, 'fixedrange': True})


def _add_tree(fig: Figure, place: int, own: TreeResult, count: int) -> None:
    from plotly import graph_objects as go

    box = go.Box(
        x=compact(own.losses), y0=place, orientation='h', line={'color': own.colour, 'width': 1.5}, width=0.6,
        boxpoints='all' if count <= 2000 else 'outliers', jitter=0.6, pointpos=0, hoveron='boxes',
        marker={'size': 4, 'opacity': 0.5, 'color': own.colour}, name=text(own.label),
    )  # fmt: skip
    best = go.Scatter(
        x=[own.best], y=[place], mode='markers', name='best',
        marker={'symbol': 'diamond', 'size': 10, 'color': INK, 'line': {'color': PAPER, 'width': 1}},
        hovertemplate=f'best of {text(own.label)}: %{{x:.6g}}<extra></extra>',
    )  # fmt: skip
    fig.add_traces([box, best])


def _class_axis(plan: Timeline) -> dict[str, Any]:
    names = [text(own.title).replace('\n', '<br>') for own in plan.classes]
    middles = [own.middle for own in plan.classes]
    return {'tickvals': middles, 'ticktext': names, 'range': [max(plan.count, 1) - 0.5, -0.5], 'showgrid': False}


def _add_bars(fig: Figure, label: str, colour: str, corners: Floats) -> None:
    """Draw all bars of a colour as one outline with gaps, however many there are."""
    from plotly import graph_objects as go

    gaps = np.full((len(corners), 1, 2), np.nan)
    outline = np.concatenate([corners, corners[:, :1], gaps], axis=1).reshape(-1, 2)
    few = len(corners) <= MOST_OUTLINED
    bars = go.Scatter(
        x=compact(outline[:, 0]), y=compact(outline[:, 1]),
        mode='lines' if few else 'none', fill='toself', fillcolor=colour, name=label, hoverinfo='skip',
        line={'color': PAPER, 'width': 0.8 if few else 0},
    )  # fmt: skip
    fig.add_trace(bars)


def _add_bar_hover(fig: Figure, rows: Integers, plan: Timeline, course: Course, seconds: float) -> None:
    """Lay an invisible point on each bar, which tells the trial."""
    trees, started, finished = course.trees[rows], course.started[rows], course.finished[rows]
    labels = {tree: text(course.label(tree)) for tree in set(trees)}
    told = [
        f'{labels[tree]}<br>{end - start:.3g} s'
        + ('<br>failed' if failed else f'<br>{text(course.result.loss_name)} {format_loss(loss)}')
        for tree, start, end, failed, loss in zip(trees, started, finished, course.failed[rows], course.losses[rows])
    ]  # fmt: skip
    fig.add_trace(
        points(len(course))(
            x=compact((started + finished) / 2 / seconds), y=plan.rows[rows], mode='markers', showlegend=False,
            marker={'size': 12, 'opacity': 0, 'color': INK}, customdata=course.ids[rows], text=told,
            hovertemplate='trial %{customdata}<br>%{text}<extra></extra>',
        )
    )  # fmt: skip


def _add_attempt_hover(fig: Figure, plan: Timeline, course: Course, seconds: float) -> None:
    """Do the same for attempts after which trials went on."""
    paused = np.flatnonzero([own.state is TrialState.PAUSED for own in course.attempts])
    own = [course.attempts[place] for place in evenly(paused, MOST_POINTS)]
    if not own:
        return
    labels = {tree: text(course.label(tree)) for tree in {each.tree for each in own}}
    fig.add_trace(
        points(len(own))(
            x=compact([(each.started + each.finished) / 2 / seconds for each in own]), y=plan.attempts[evenly(paused, MOST_POINTS)],
            mode='markers', showlegend=False, marker={'size': 12, 'opacity': 0, 'color': INK}, customdata=[each.trial for each in own],
            text=[f'{labels[each.tree]}<br>{each.finished - each.started:.3g} s<br>paused at step {each.step}' for each in own],
            hovertemplate='trial %{customdata}<br>%{text}<extra></extra>',
        )
    )  # fmt: skip


def _scale(course: Course) -> list[tuple[float, str]]:
    """Return the scale of colours on which the best loss is the strongest."""
    colours = BLUES if course.sign > 0 else BLUES[::-1]
    return list(zip(np.linspace(0, 1, len(colours)).tolist(), colours))


def _colorbar(course: Course, low: float, high: float) -> dict[str, Any]:
    ticks, told = zip(*round_ticks(low, high, course.is_log))
    return {
        'tickvals': ticks,
        'ticktext': told,
        'thickness': 12,
        'outlinewidth': 0,
        'title': {
            'text': text(course.loss_name),
            'side': 'right',
        },  # along the bar: above it, a name takes a phone's width
    }


def _thin(course: Course, rows: Mask, most: int, best: int) -> Integers:
    """Return which of too many trials to draw: so many of the best, at least one, and others evenly; the best come last."""
    found = np.flatnonzero(rows)
    if len(found) <= most:
        return found
    order = found[np.argsort(course.sign * course.losses[found], kind='stable')]
    best = max(best, 1)
    return np.concatenate([evenly(order[best:], most - best), order[:best]])


def _quotas(sizes: list[int], most: int) -> list[int]:
    """Share places out among groups evenly; what one does not need goes to the larger ones."""
    quotas = [0] * len(sizes)
    for done, place in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        quotas[place] = min(sizes[place], most // (len(sizes) - done))
        most -= quotas[place]
    return quotas


def _thin_bars(course: Course) -> Mask:
    """Return which of too many trials have a bar: the longest half, which most is seen of, others evenly, and the best one."""
    order = np.argsort(course.started - course.finished, kind='stable')
    half = MOST_POINTS // 2
    best = _thin(course, course.is_finite, 1, 1)
    return _mask(course, np.concatenate([order[:half], evenly(order[half:], half), best]))


def _mask(course: Course, rows: Integers) -> Mask:
    mask = np.zeros(len(course), bool)
    mask[rows] = True
    return mask
