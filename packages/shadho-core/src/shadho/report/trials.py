"""Trials of a recorded search, for people and for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from shadho.errors import ConfigurationError
from shadho.records import Trial, TrialState
from shadho.result import SearchResult, format_outcome
from shadho.storage.index import STATES
from shadho.words import format_params, format_seconds, printable, shorten
from shadho_worker import jsonable

__all__ = ['Selection', 'describe_trial', 'find_trial', 'select', 'trial_facts']

_KEYS = {'trial': 'numbers', 'seconds': 'seconds', 'started': 'started', 'tree': 'trees'}
"""Columns by which trials can be sorted, beside their losses and the order of completion."""


@attrs.frozen
class Selection:
    """Which trials are wanted, and in which order.

    Attributes
    ----------
    state : str or None
        'done', 'failed', 'stopped' or 'paused'.
    tree : str or None
        A part of the tree's label.
    compute_class : str or None
    better_than : float or None
        Only trials with a better loss.
    sort : str
        'trial', 'loss' (the best first), 'seconds', 'started', 'finished' (the order of completion) or 'tree'.
    reverse : bool
    limit : int or None
        At most so many.
    """

    state: str | None = None
    tree: str | None = None
    compute_class: str | None = None
    better_than: float | None = None
    sort: str = 'finished'
    reverse: bool = False
    limit: int | None = None

    def __attrs_post_init__(self) -> None:
        keys = [*_KEYS, 'loss', 'finished']
        if self.sort not in keys:
            raise ConfigurationError(f'sort={self.sort!r}: trials are sorted by one of {", ".join(keys)}')
        if self.state is not None and self.state not in STATES:
            raise ConfigurationError(f'state={self.state!r}: the state of a trial is {" or ".join(STATES)}')


def select(result: SearchResult, selection: Selection) -> tuple[list[Trial], int]:
    """Return the trials that are wanted, and how many there would be without a limit."""
    index = result.index
    rows = _wanted(result, selection)
    if selection.sort == 'loss':
        losses = np.nan_to_num(index.minimised(result.direction), nan=np.inf, posinf=np.inf, neginf=-np.inf)
        rows.sort(key=losses.tolist().__getitem__, reverse=selection.reverse)
    elif selection.sort != 'finished':  # the order that they come in
        rows.sort(key=getattr(index, _KEYS[selection.sort]).__getitem__, reverse=selection.reverse)
    elif selection.reverse:
        rows.reverse()
    return result.trials(rows[: selection.limit]), len(rows)


def _wanted(result: SearchResult, wanted: Selection) -> list[int]:
    """Return the rows of the trials that are wanted, in the order of completion."""
    index = result.index
    rows = list(range(len(index)))
    if wanted.state is not None:
        rows = [row for row in rows if index.states[row] == STATES.index(wanted.state)]
    if wanted.compute_class is not None:
        rows = [row for row in rows if index.classes[row] == wanted.compute_class]
    if wanted.tree is not None:
        trees = {tree for tree in set(index.trees) if wanted.tree in result.forest.tree(tree).label}
        rows = [row for row in rows if index.trees[row] in trees]
    if wanted.better_than is not None:
        losses = index.minimised(result.direction)
        bound = result.goal.minimised(wanted.better_than)
        rows = [row for row in rows if losses[row] < bound]
    return rows


def find_trial(result: SearchResult, number: int) -> Trial:
    """Return a finished trial by its number.

    Raises
    ------
    ConfigurationError
        When it is none.
    """
    try:
        row = result.index.numbers.index(number)
    except ValueError:
        raise ConfigurationError(
            f'{result.exp_key} has no finished trial {number}; it has {len(result)} of them'
        ) from None
    return result.trials([row])[0]


def trial_facts(result: SearchResult, trial: Trial) -> dict[str, Any]:
    """Return all that is known of a trial, as data that JSON can hold (see `shadho_worker.jsonable`)."""
    facts: dict[str, Any] = jsonable({
        'trial': trial.id,
        'state': trial.state.value,
        'step': trial.step,
        'loss': trial.loss,
        'params': trial.params,
        'results': dict(trial.results),
        'error': None if trial.error is None else attrs.asdict(trial.error),
        'tree': trial.tree,
        'label': result.forest.tree(trial.tree).label,
        'compute_class': trial.compute_class,
        'resources': dict(trial.resources),
        'meta': dict(trial.meta),
        'host': trial.host,
        'started': trial.started,
        'finished': trial.finished,
        'seconds': trial.seconds,
        'output': trial.output,
    })  # fmt: skip
    return facts


def describe_trial(result: SearchResult, trial: Trial) -> str:
    """Describe a trial for people: its parameters, what came of it, and what it printed."""
    return '\n'.join(_lines(result, trial))


def _lines(result: SearchResult, trial: Trial) -> Iterator[str]:
    label = printable(result.forest.tree(trial.tree).label)
    outcome = (
        format_outcome(trial) if trial.state is TrialState.FAILED else f'{result.loss_name} {format_outcome(trial)}'
    )
    seconds = '' if trial.seconds is None else f', {_exactly(trial.seconds)}'
    host = f' on {printable(trial.host)}' if trial.host else ''
    yield f'trial {trial.id}: {outcome} ({label}{seconds} in {printable(trial.compute_class)}{host})'
    yield from _indented(format_params(trial.params))
    if trial.results:
        yield 'results'
        yield from _indented(format_params(dict(trial.results)))
    if trial.error is not None:
        yield f'{trial.error.kind}: {printable(trial.error.message)}'
        yield from map(printable, trial.error.traceback.splitlines())
    if trial.output:
        yield 'it printed'
        yield from ('    ' + printable(line) for line in trial.output.splitlines())


def _exactly(seconds: float) -> str:
    return format_seconds(seconds) if seconds >= 1 else f'{seconds:.2g} s'


def _indented(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        yield f'    {printable(name):{width}} = {printable(shorten(value, 200))}'
