"""All that the page of a search shows, as plain data."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from shadho.errors import ConfigurationError
from shadho.records import Trial
from shadho.report import interactive
from shadho.report.course import Course
from shadho.report.failures import group_failures
from shadho.report.importance import Importance, parameter_importance
from shadho.report.layout import DARK
from shadho.report.parallel import MOST_AXES
from shadho.report.parameters import Parameter
from shadho.report.selection import by_importance, ordered_pairs
from shadho.report.trees import sum_up_trees
from shadho.result import SearchResult
from shadho.words import format_loss, format_params, format_seconds, shorten

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ['payload']

_SLICES, _PAIRS, _COLUMNS, _TREES, _FAILURES = 30, 40, 40, 50, 50
"""How many parameters have a slice, pairs a contour, parameters a column, trees and failures a row."""

_TRACEBACKS = 200
"""Trials that keep their tracebacks; of ten thousand alike, one is read."""

_SHARED = 20
"""Values from which an array is written once only."""

_PACKED = 1000
"""Trials from which columns of the table are packed: a page of fewer is small."""

_MOST_LABELS = 100
"""Different values of a column that is written as places in a list of them."""


def payload(result: SearchResult | Course) -> dict[str, Any]:
    """Return all that the page of a search shows, as plain data for JSON.

    Parameters
    ----------
    result : SearchResult

    Returns
    -------
    dict
        ``figures`` has, for each section, a ``note`` or the ``choices`` between figures. In these, ``{'$': i}`` stands
        for item i of ``arrays``, as many figures draw the same columns. ``dark`` says which colours become others on a
        dark page.
    """
    course = Course.of(result)
    arrays = _Arrays()
    return {
        'title': course.result.exp_key,
        'facts': _facts(course),
        'best': _best(course),
        'figures': arrays.plain(_figures(course)),
        'trees': arrays.plain(_trees(course)),
        'failures': _failures(course),
        'trials': arrays.plain(_trials(course)),
        'arrays': arrays.items,
        'dark': DARK,
    }


class _Arrays:
    """Writes data for JSON, and every long array once only."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[str, int] = {}

    def plain(self, value: Any) -> Any:
        if isinstance(value, (np.generic, np.ndarray)):
            value = value.tolist()
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, dict):
            own = {key: self.plain(item) for key, item in value.items()}
            return self._share(own) if 'bdata' in own else own
        if isinstance(value, (list, tuple)):
            if len(value) >= _SHARED and set(map(type, value)) <= {int, float, str, bool, type(None)}:
                return self._share([None if own != own or own in (math.inf, -math.inf) else own for own in value])
            items = [self.plain(item) for item in value]
            long = len(items) >= _SHARED and not any(isinstance(item, dict) for item in items)
            return self._share(items) if long else items
        return value

    def _share(self, value: Any) -> dict[str, int]:
        text = json.dumps(value)
        if text not in self._places:
            self._places[text] = len(self.items)
            self.items.append(value)
        return {'$': self._places[text]}


def _facts(course: Course) -> list[tuple[str, str]]:
    result = course.result
    failed, infinite = int(course.failed.sum()), int(course.is_infinite.sum())
    return [
        (f'best {result.loss_name}', format_loss(None if result.best is None else result.best.loss)),
        ('trials', f'{len(course):,}'),
        ('failed', f'{failed:,}'),
        *([(f'infinite {result.loss_name}', f'{infinite:,}')] if infinite else []),
        ('search time', format_seconds(result.elapsed)),
        ('trees tried', f'{len(set(course.trees)):,} of {_short_count(result.forest.count)}'),
        ('objective', 'maximised' if course.sign < 0 else 'minimised'),
        ('ended by', result.stopped) if result.stopped != 'running' else ('state', 'running'),
    ]


def _short_count(count: int) -> str:
    return f'{count:,}' if count < 10**9 else f'10^{len(str(count)) - 1}'


def _best(course: Course) -> dict[str, Any] | None:
    best = course.result.best
    if best is None:
        return None
    return {
        'trial': best.id,
        'tree': course.label(best.tree, 200),
        'params': [[name, shorten(value, 200)] for name, value in format_params(best.params)],
    }


def _figures(course: Course) -> dict[str, Any]:
    known, note = _importance(course)
    slices = by_importance(course, known)[:_SLICES]
    pairs = list(itertools.islice(ordered_pairs(course, known), _PAIRS))
    axes = {own.name for own in slices[:MOST_AXES]}
    names = [own.name for own in course.parameters if own.name in axes]
    any_trial = [''] if len(course) else []
    any_loss = [''] if course.is_finite.any() else []
    none = 'No trial has a finite loss.'
    draw = interactive
    figures = {
        'history': _choices(
            any_trial and ['time', 'trials'], lambda over: draw.history(course, over), 'No trial is finished.'
        ),
        'trees': _choices(any_loss, lambda _: draw.trees(course), none),
        'importance': _choices([''] if known else [], lambda _: draw.importance(course, known=known), note),
        'slice': _choices([own.name for own in slices], lambda name: draw.slice(course, name), 'No parameter varies.'),
        'contour': _choices(
            [(one.name, other.name) for one, other in pairs],
            lambda pair: draw.contour(course, *pair),
            'No two numeric parameters vary together in five trials with a finite loss.',
        ),
        'parallel': _choices(any_loss, lambda _: draw.parallel_coordinates(course, names), none),
        'timeline': _choices(any_trial, lambda _: draw.timeline(course), 'No trial is finished.'),
    }
    return {name: {**found, 'thinned': _thinned(name, len(course))} for name, found in figures.items()}


_THINNED = {
    'history': (interactive.MOST_POINTS, 'best'), 'slice': (interactive.MOST_POINTS, 'best'), 'contour': (interactive.MOST_LINES, 'best'),
    'parallel': (interactive.MOST_LINES, 'best'), 'timeline': (interactive.MOST_POINTS, 'longest'),
}  # fmt: skip
"""How many trials a figure draws at most, and which of them all the same."""


def _thinned(name: str, count: int) -> str:
    """Say which trials a figure does not draw; nothing where it draws all."""
    most, kept = _THINNED.get(name, (count, ''))
    return (
        f'Of more than {most:,} trials, the {kept} and some others are drawn; the table has all.'
        if count > most
        else ''
    )


def _importance(course: Course) -> tuple[Importance | None, str]:
    """Return the importance of the parameters, or why there is none."""
    try:
        return parameter_importance(course), ''
    except ConfigurationError as error:
        return None, f'{error}.'


def _choices(options: Iterable[Any], draw: Callable[[Any], Figure], note: str) -> dict[str, Any]:
    """Return one figure for each option, named after it; a note where there is none."""
    found = [
        {'name': ' and '.join(own) if isinstance(own, tuple) else own, 'figure': _bare(draw(own))} for own in options
    ]
    return {'choices': found, 'note': '' if found else note}


def _bare(figure: Figure) -> dict[str, Any]:
    """Return a figure without its title, which the page has already."""
    figure.update_layout(title=None, margin_t=max(24, figure.layout.margin.t - 40))
    found: dict[str, Any] = figure.to_dict()
    return found


def _trees(course: Course) -> list[dict[str, Any]]:
    fields = ('label', 'colour', 'trials', 'failed', 'best', 'median', 'seconds')
    rows = [{field: getattr(own, field) for field in fields} for own in sum_up_trees(course, _TREES)]
    return [{**row, 'best': row['best'] * course.unit, 'median': row['median'] * course.unit} for row in rows]


def _failures(course: Course) -> dict[str, Any]:
    found = group_failures(course.trials)
    shown = [
        {
            'kind': own.example.kind,
            'message': shorten(own.example.message, 1000),
            'traceback': own.example.traceback[-10_000:],
            'count': len(own.trials),
            'trials': own.trials[:20],
        }
        for own in found[:_FAILURES]
    ]
    return {'shown': shown, 'more': len(found) - len(shown)}


def _trials(course: Course) -> dict[str, Any]:
    """Return the columns of the table, and what is told of a trial when it is opened."""
    labels = {tree: course.label(tree, 60) for tree in set(course.trees)}
    trials = course.trials
    columns = [
        _column('trial', 'number', course.ids.tolist()),
        _column('state', 'text', [str(trial.state) for trial in trials]),
        _column(course.result.loss_name, 'number', [_loss(trial) for trial in trials]),
        _column('tree', 'text', [labels[tree] for tree in course.trees]),
        _column('class', 'text', [shorten(trial.compute_class, 60) for trial in trials]),
        _column('seconds', 'number', [_rounded(trial.seconds) for trial in trials]),
        _column('started', 'number', [_rounded(trial.started) for trial in trials]),
    ]
    taken = {column['name'] for column in columns} | {'error'}
    for own in course.parameters[:_COLUMNS]:
        values = _labels(own) if own.labels else [_rounded(value) for value in own.values.tolist()]
        name = f'params.{own.name}' if own.name in taken else own.name
        columns.append(_column(name, 'text' if own.labels else 'number', values))
    columns.append(_column('error', 'text', ['' if trial.error is None else shorten(trial.error.message, 300) for trial in trials]))  # fmt: skip
    failed = [trial for trial in trials if trial.error is not None][:_TRACEBACKS]
    return {
        'columns': columns,
        'results': _packed([_results(trial) for trial in trials]),
        'hosts': _packed([trial.host for trial in trials]),
        'tracebacks': {str(trial.id): trial.error.traceback[-10_000:] for trial in failed if trial.error is not None},
    }


def _column(name: str, kind: str, values: list[Any]) -> dict[str, Any]:
    return {'name': name, 'kind': kind, 'values': _packed(values)}


def _packed(values: list[Any]) -> list[Any] | dict[str, Any]:
    """Return a long column in less space, where it has few different values or lacks many; `page.js` unpacks it."""
    if len(values) < _PACKED:
        return values
    labels = list(dict.fromkeys(values))
    if len(labels) == 1:
        return {'labels': labels, 'count': len(values)}
    if len(labels) <= _MOST_LABELS:
        places = {label: place for place, label in enumerate(labels)}
        return {'labels': labels, 'codes': [places[value] for value in values]}
    if None in labels:
        return {
            'known': [int(value is not None) for value in values],
            'values': [value for value in values if value is not None],
        }
    return values


def _labels(own: Parameter) -> list[str | None]:
    """Return the category of each trial; None where there is none."""
    labels = [*(label or None for label in own.labels), None]
    return [labels[place] for place in np.where(own.active, own.values, -1).astype(int).tolist()]


def _loss(trial: Trial) -> float | str | None:
    """Return a number; an infinite one as text, as JSON has none."""
    if trial.loss is None or math.isfinite(trial.loss):
        return _rounded(trial.loss)
    return 'inf' if trial.loss > 0 else '-inf'


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f'{value:.6g}')


def _results(trial: Trial) -> str:
    """Say what an objective returned, unless that is the loss alone, which has a column."""
    if len(trial.results) == 1 and type(trial.results.get('loss')) is float and trial.results['loss'] == trial.loss:
        return ''
    told = ', '.join(f'{name}={value}' for name, value in format_params(trial.results)) if trial.results else ''
    return shorten(told, 500)
