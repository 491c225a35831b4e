"""All that the page of a search shows, as plain data."""

from __future__ import annotations

import itertools
import marshal
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from shadho.errors import ConfigurationError
from shadho.report import interactive
from shadho.report.classes import sum_up_classes
from shadho.report.course import COLOURS, Course
from shadho.report.curves import MOST_CURVES
from shadho.report.failures import group_failures
from shadho.report.forecasts import Forecasts, forecasts
from shadho.report.importance import Importance, parameter_importance
from shadho.report.layout import BLUES, DARK
from shadho.report.parallel import MOST_AXES
from shadho.report.parameters import Parameter
from shadho.report.placement import MOST_TREES
from shadho.report.results import read_results
from shadho.report.rungs import sum_up_rungs
from shadho.report.selection import by_importance, ordered_pairs
from shadho.report.trees import median_of, sum_up_trees
from shadho.result import SearchResult, describe_bound
from shadho.words import format_loss, format_params, format_seconds, shorten

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ['payload', 'plain', 'without_title']

_SLICES, _PAIRS, _COLUMNS, _RESULTS, _TREES, _FAILURES, _CLASSES = 30, 40, 40, 20, 20, 50, 12
"""How many parameters have a slice, pairs a contour, parameters and results a column, trees and failures a row, classes a column of
rungs."""

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
    known, note = _importance(course)
    market = forecasts(course)
    arrays = _Arrays()
    return {
        'title': course.result.exp_key,
        'loss': course.result.loss_name,
        'sign': course.sign,
        'facts': _facts(course),
        'best': _best(course),
        'figures': arrays.plain(_figures(course, known, note, market)),
        'trees': arrays.plain(_trees(course)),
        'classes': arrays.plain([attrs.asdict(own) for own in sum_up_classes(course, market)]),
        'rungs': _rungs(course),
        'bound': ' '.join(describe_bound(course.result.classes)),
        'scatter': _scatter(course, known),
        'failures': _failures(course),
        'trials': arrays.plain(_trials(course)),
        'arrays': arrays.items,
        'dark': DARK,
        'colours': COLOURS,
        'blues': BLUES,
    }


def plain(value: Any) -> Any:
    """Return data for JSON in which nothing is shared."""
    own = _Arrays(shares=False)
    return own.plain(value)


class _Arrays:
    """Writes data for JSON, and every long array once only."""

    def __init__(self, shares: bool = True) -> None:
        self._shares = shares
        self.items: list[Any] = []
        self._places: dict[bytes, int] = {}

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

    def _share(self, value: Any) -> Any:
        if not self._shares:
            return value
        key = marshal.dumps(value, 2)  # a tenth of the time of JSON; this version writes equal values alike
        if key not in self._places:
            self._places[key] = len(self.items)
            self.items.append(value)
        return {'$': self._places[key]}


def _facts(course: Course) -> list[tuple[str, str]]:
    result = course.result
    failed, infinite = int(course.failed.sum()), int(course.is_infinite.sum())
    return [
        (f'best {result.loss_name}', format_loss(None if result.best is None else result.best.loss)),
        ('trials', f'{len(course):,}'),
        ('failed', f'{failed:,}'),
        *[(str(state), f'{count:,}') for state, count in course.partial.items()],
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


def _figures(course: Course, known: Importance | None, note: str, market: Forecasts) -> dict[str, Any]:
    compared = course.comparable
    slices = by_importance(compared, known)[:_SLICES]
    pairs = list(itertools.islice(ordered_pairs(compared, known), _PAIRS))
    axes = {own.name for own in slices[:MOST_AXES]}
    names = [own.name for own in course.parameters if own.name in axes]
    any_trial = [''] if len(course) else []
    any_loss = [''] if compared.is_finite.any() else []
    any_price = [''] if len(market.prices) and len(market.classes) > 1 else []
    any_expected = [''] if np.isfinite(market.expected).any() else []
    none = f'No trial has a finite {course.result.loss_name}.'
    draw = interactive
    figures = {
        'history': _choices(
            any_trial and ['time', 'trials'],
            lambda over: draw.history(course, over),
            'No trial is finished.',
            'over {}',
        ),
        **({'curves': _choices([''], lambda _: draw.curves(course), '')} if course.curves else {}),
        'trees': _choices(any_loss, lambda _: draw.trees(course), none),
        'distribution': _choices(any_loss, lambda _: draw.distribution(course), none),
        'importance': _choices([''] if known else [], lambda _: draw.importance(course, known=known), note),
        'slice': _choices([own.name for own in slices], lambda name: draw.slice(course, name), 'No parameter varies.'),
        'contour': _choices(
            [(one.name, other.name) for one, other in pairs],
            lambda pair: draw.contour(course, *pair),
            f'No two numeric parameters vary together in five trials with a finite {course.result.loss_name}.',
        ),
        'parallel': _choices(any_loss, lambda _: draw.parallel_coordinates(course, names), none),
        'classes': _choices(
            any_trial and ['seconds', 'trials'], lambda show: draw.placement(course, show), 'No trial is finished.'
        ),
        'prices': _choices(any_price, lambda _: draw.prices(course, market), 'There is only one compute class.'),
        'expected': _choices(
            any_expected,
            lambda _: draw.expected_seconds(course, market),
            'No trial started after another was finished.',
        ),
        'timeline': _choices(
            any_trial and (['rung', 'tree'] if course.rungs else ['']),
            lambda by: draw.timeline(course, by or 'tree'),
            'No trial is finished.',
            'by {}',
        ),
    }
    for name in _COMPARED & figures.keys():
        figures[name]['thinned'] = ' '.join(filter(None, [compared.caption, _thinned(compared, name)]))
    return {name: {'thinned': _thinned(course, name), **found} for name, found in figures.items()}


def _scatter(course: Course, known: Importance | None) -> dict[str, str]:
    """Return which columns of the table are drawn over each other at first: two parameters, or one and the loss."""
    few = course.parameters[:_COLUMNS]
    pair = next(ordered_pairs(course, known), by_importance(course, known)[:1])
    columns = [_name_of(course, own.name) for own in pair if any(own is each for each in few)]
    return dict(zip(('x', 'y'), [*columns, course.result.loss_name, 'seconds']))


_COMPARED = {'trees', 'distribution', 'importance', 'slice', 'contour', 'parallel'}
"""Figures of losses that are compared, and so have to be of the same step."""

_THINNED = {
    'history': (interactive.MOST_POINTS, 'best'), 'slice': (interactive.MOST_POINTS, 'best'), 'contour': (interactive.MOST_LINES, 'best'),
    'parallel': (interactive.MOST_LINES, 'best'), 'timeline': (interactive.MOST_POINTS, 'longest'), 'expected': (interactive.MOST_POINTS, ''),
}  # fmt: skip
"""How many trials a figure draws at most, and which of them all the same."""


def _thinned(course: Course, name: str) -> str:
    """Say which trials, or trees, a figure does not draw; nothing where it draws all."""
    count, trees = len(course), len(set(course.trees))
    if name == 'curves' and len(course.curves) > MOST_CURVES:
        return f'Of {len(course.curves):,} curves, the {MOST_CURVES} longest are drawn.'
    if name == 'classes' and trees > MOST_TREES:
        return f'Of {trees:,} trees, the {MOST_TREES} with the most trials are drawn.'
    most, kept = _THINNED.get(name, (count, ''))
    if count <= most:
        return ''
    return f'Of more than {most:,} trials, {f"the {kept} and some others" if kept else "some"} are drawn; the table has all.'


def _importance(course: Course) -> tuple[Importance | None, str]:
    """Return the importance of the parameters, or why there is none."""
    try:
        return parameter_importance(course), ''
    except ConfigurationError as error:
        return None, f'{error}.'


def _choices(options: Iterable[Any], draw: Callable[[Any], Figure], note: str, label: str = '{}') -> dict[str, Any]:
    """Return one figure for each option, named after it; a note where there is none."""
    found = []
    for own in options:
        name = ' and '.join(own) if isinstance(own, tuple) else own
        found.append({'name': name, 'label': label.replace('{}', name), 'figure': without_title(draw(own))})
    return {'choices': found, 'note': '' if found else note}


def without_title(figure: Figure) -> dict[str, Any]:
    """Return a figure without its title, which the page has already."""
    figure.update_layout(title=None, margin_t=max(24, figure.layout.margin.t - 40))
    found: dict[str, Any] = figure.to_dict()
    return found


def _trees(course: Course) -> dict[str, Any]:
    fields = ('label', 'colour', 'trials', 'failed', 'seconds')
    compared = course.comparable
    shown = [
        {
            **{field: getattr(own, field) for field in fields},
            'best': own.best * course.unit,
            'median': median_of(compared, own.number) * compared.unit,
        }
        for own in sum_up_trees(course, _TREES)
    ]
    return {'shown': shown, 'more': len(set(course.trees)) - len(shown)}


def _rungs(course: Course) -> dict[str, Any]:
    found = sum_up_rungs(course)
    names = course.class_names[:_CLASSES]
    shown = [[own.step, own.reached, *(own.attempts[name] for name in names)] for own in found]
    return {'classes': [shorten(name, 24) for name in names], 'shown': shown}


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
        _column(course.result.loss_name, 'number', [_number(trial.loss) for trial in trials]),
        *([_column('step', 'number', [trial.step for trial in trials])] if any(trial.step for trial in trials) else []),
        _column('tree', 'text', [labels[tree] for tree in course.trees]),
        _column('class', 'text', [shorten(trial.compute_class, 60) for trial in trials]),
        _column('seconds', 'number', [_rounded(trial.seconds) for trial in trials]),
        _column('started', 'number', [_rounded(trial.started) for trial in trials]),
    ]
    for own in course.parameters[:_COLUMNS]:
        values = _labels(own) if own.labels else [_rounded(value) for value in own.values.tolist()]
        columns.append(_column(_name_of(course, own.name), 'text' if own.labels else 'number', values))
    taken = {*(column['name'] for column in columns), 'error'}
    results, others = read_results(trials, course.result.loss_key, _RESULTS)
    columns += [_result_column(f'results.{key}' if key in taken else key, told) for key, told in results.items()]
    columns.append(_column('error', 'text', ['' if trial.error is None else shorten(trial.error.message, 300) for trial in trials]))  # fmt: skip
    failed = [trial for trial in trials if trial.error is not None][:_TRACEBACKS]
    return {
        'columns': columns,
        'results': _packed(others),
        'hosts': _packed([trial.host for trial in trials]),
        'tracebacks': {str(trial.id): trial.error.traceback[-10_000:] for trial in failed if trial.error is not None},
    }


def _name_of(course: Course, name: str) -> str:
    """Return the title of a parameter's column, which no other column has."""
    taken = {'trial', 'state', course.result.loss_name, 'step', 'tree', 'class', 'seconds', 'started', 'error'}
    return f'params.{name}' if name in taken else name


def _result_column(name: str, values: list[Any]) -> dict[str, Any]:
    if all(value is None or not isinstance(value, str) for value in values):
        return _column(name, 'number', [_number(value) for value in values])
    return _column(name, 'text', [None if value is None else str(value) for value in values])


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


def _number(value: float | None) -> float | str | None:
    """Return a number; an infinite one as text, as JSON has none."""
    try:
        number = None if value is None else float(value)
    except OverflowError:
        return str(value)
    if number is None or math.isfinite(number):
        return _rounded(number)
    return None if math.isnan(number) else 'inf' if number > 0 else '-inf'


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f'{value:.6g}')
