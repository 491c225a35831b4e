"""What objectives returned beside the loss, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shadho.records import Trial
from shadho.words import flat, format_params, shorten

__all__ = ['read_results']

_LONGEST = 200
"""Characters of a text in a column at most."""


def read_results(trials: Sequence[Trial], loss_key: str, most: int) -> tuple[dict[str, list[Any]], list[str]]:
    """Return a column for each result, None where a trial has none, and what else each trial returned as a text.

    Parameters
    ----------
    trials : sequence of Trial
    loss_key : str
        Of the result that is the loss: it has a column already.
    most : int
        Columns at most, the first ones.
    """
    columns: dict[str, list[Any]] = {}
    others = [''] * len(trials)
    for row, trial in enumerate(trials):
        left = {}
        for name, value in _leaves(trial, loss_key).items():
            if name not in columns and len(columns) < most:
                columns[name] = [None] * len(trials)
            if name in columns:
                columns[name][row] = _plain(value)
            else:
                left[name] = value
        if left:
            others[row] = shorten(', '.join(f'{name}={value}' for name, value in format_params(left)), 500)
    return columns, others


def _leaves(trial: Trial, loss_key: str) -> dict[str, Any]:
    """Return results that are no containers, by their paths, without the loss."""
    own = {
        name: value for name, value in trial.results.items()
        if not (name == loss_key and isinstance(value, float) and value == trial.loss)
    }  # fmt: skip
    if any(isinstance(value, (dict, list, tuple)) for value in own.values()):
        return flat('', own)
    return own


def _plain(value: Any) -> Any:
    """Return numbers as they are, and a text for all else."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    return shorten(str(value), _LONGEST)
