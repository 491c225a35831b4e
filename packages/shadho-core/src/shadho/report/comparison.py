"""Several searches on one page: which got how far, after how many trials and in which time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np

from shadho.cluster import Cluster
from shadho.errors import ConfigurationError
from shadho.report.course import COLOURS, OTHER, Floats, unit_of_time
from shadho.report.layout import DARK, compact, evenly, figure, text
from shadho.result import SearchResult
from shadho.storage.base import FileStorage
from shadho.words import format_loss, format_seconds, shorten

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ['Compared', 'best_so_far', 'compare', 'comparison', 'distributions']

_MOST_STEPS = 400
"""Steps of one line at most: more cannot be told apart on a screen."""


@attrs.frozen(eq=False)
class Compared:
    """One of several searches.

    Attributes
    ----------
    name, colour : str
    result : SearchResult
    losses : array, shape (trials,)
        In the order of completion; nan where the trial failed.
    finished : array, shape (trials,)
        Seconds of active search.
    """

    name: str
    colour: str
    result: SearchResult
    losses: Floats
    finished: Floats

    @property
    def sign(self) -> int:
        """1 when the loss is minimised, -1 when it is maximised."""
        return self.result.goal.sign

    def facts(self) -> dict[str, Any]:
        """Return a row of a table."""
        known = self.result.storage.metadata()
        best = self.result.best
        slots = sum(own.slots for own in Cluster.of(known).classes)
        return {
            'search': self.name,
            'trials': f'{len(self.losses):,}',
            'failed': f'{np.isnan(self.losses).sum():,}',
            f'best {self.result.loss_name}': format_loss(None if best is None else best.loss),
            'search time': format_seconds(self.result.elapsed),
            'slots': slots or '-',
            'method': known.get('method', '-'),
            'policy': known.get('policy', '-'),
            'ended by': self.result.stopped,
        }


def compare(results: Sequence[SearchResult]) -> list[Compared]:
    """Read what is to be compared of some searches.

    Raises
    ------
    ConfigurationError
        When some of them are minimised and others maximised.
    """
    if len({result.direction for result in results}) > 1:
        raise ConfigurationError('of these searches, some are minimised and some maximised: they cannot be compared')
    return [
        Compared(
            name, COLOURS[number] if number < len(COLOURS) else OTHER, result, np.array(result.index.losses),
            np.array(result.index.finished),
        )
        for number, (name, result) in enumerate(zip(_names(results), results))
    ]  # fmt: skip


def _names(results: Sequence[SearchResult]) -> list[str]:
    """Name searches by their keys; those that share one by their files too."""
    counts = Counter(result.exp_key for result in results)
    return [
        f'{result.exp_key} ({result.storage.path})'
        if counts[result.exp_key] > 1 and isinstance(result.storage, FileStorage)
        else result.exp_key
        for result in results
    ]


def best_so_far(found: Sequence[Compared], over: Literal['time', 'trials'] = 'time') -> Figure:
    """Draw the best loss of each search so far, over time or over trials."""
    unit, seconds = unit_of_time(max((own.result.elapsed for own in found), default=0.0))
    title = f'{unit} of search' if over == 'time' else 'finished trials'
    fig = figure('', {'title': {'text': title}, 'rangemode': 'tozero'}, _axis(found), 460, meta=_note(found, 'yaxis'))
    for own in found:
        rows = np.flatnonzero(np.isfinite(own.losses))
        if not len(rows):
            continue
        best = np.minimum.accumulate(own.sign * own.losses[rows])
        rises = np.flatnonzero(np.diff(best, prepend=np.inf) != 0)  # only where it changes
        places = own.finished / seconds if over == 'time' else np.arange(1.0, len(own.losses) + 1)
        end = max(own.result.elapsed / seconds if over == 'time' else 0.0, places[-1])
        _add_line(fig, own, [*places[rows][rises], end], own.sign * best[[*rises, -1]], '%{x:.4g}: %{y:.6g}')
    return fig


def distributions(found: Sequence[Compared]) -> Figure:
    """Draw which share of the trials of each search has a loss at least as good as each."""
    share = {'title': {'text': 'share of trials'}, 'tickformat': '.0%', 'range': [0, 1.02]}
    fig = figure('', _axis(found), share, meta=_note(found, 'xaxis'))
    for own in found:
        losses = np.sort(own.sign * own.losses[np.isfinite(own.losses)])
        if len(losses):
            places = evenly(np.arange(len(losses)), _MOST_STEPS)
            _add_line(
                fig, own, own.sign * losses[places], (places + 1) / len(own.losses), '%{y:.1%} have %{x:.6g} or better'
            )
    return fig


def comparison(results: Sequence[SearchResult]) -> dict[str, Any]:
    """Return all that the page of a comparison shows, as plain data for JSON."""
    from shadho.report.payload import plain, without_title

    found = compare(results)
    rows = [own.facts() for own in found]
    if all(row['policy'] == '-' for row in rows):
        rows = [{key: value for key, value in row.items() if key != 'policy'} for row in rows]
    titles = list(dict.fromkeys(key for row in rows for key in row))
    history = [
        {'name': over, 'label': f'over {over}', 'figure': without_title(best_so_far(found, over))}
        for over in ('time', 'trials')
    ]
    shown = [{'name': '', 'label': '', 'figure': without_title(distributions(found))}]
    data: dict[str, Any] = plain({
        'title': shorten(', '.join(own.name for own in found), 200),
        'loss': found[0].result.loss_name,
        'table': {
            'titles': titles,
            'rows': [[row.get(title, '-') for title in titles] for row in rows],
            'colours': [own.colour for own in found],
        },
        'figures': {'history': {'choices': history, 'note': ''}, 'distribution': {'choices': shown, 'note': ''}},
        'arrays': [],
        'dark': DARK,
    })  # fmt: skip
    return data


def _axis(found: Sequence[Compared]) -> dict[str, Any]:
    names = dict.fromkeys(own.result.loss_name for own in found)
    return {'title': {'text': text(' or '.join(names))}, 'type': 'linear'}


def _note(found: Sequence[Compared], axis: str) -> dict[str, Any]:
    """Return a note for the page: which axis has the loss, and whether a logarithmic one would show all of it."""
    known = [own.losses[np.isfinite(own.losses)] for own in found]
    return {'axis': axis, 'positive': all(len(losses) == 0 or losses.min() > 0 for losses in known)}


def _add_line(fig: Figure, own: Compared, x: Any, y: Any, told: str) -> None:
    from plotly import graph_objects as go

    fig.add_trace(
        go.Scatter(
            x=compact(x), y=compact(y), mode='lines', name=text(shorten(own.name, 60)), showlegend=True,
            line={'color': own.colour, 'width': 2, 'shape': 'hv'}, hovertemplate=f'{told}<extra>{text(own.name)}</extra>',
        )
    )  # fmt: skip
