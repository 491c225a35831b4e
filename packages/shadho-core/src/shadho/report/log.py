"""The log of a search, read once: finished trials, and attempts that came to nothing."""

from __future__ import annotations

from contextlib import closing

import attrs

from shadho.records import Result, Trial, TrialState
from shadho.result import SearchResult
from shadho.storage import replay

__all__ = ['EndedAttempt', 'read_log']


@attrs.frozen
class EndedAttempt:
    """One attempt at a trial that brought no result.

    Attributes
    ----------
    trial, tree : int
    compute_class : str
    state : TrialState
        Lost, with its worker, or cancelled, as by the end of a run or for a slot where the trial ends sooner.
    started, finished : float
        Seconds of active search.
    """

    trial: int
    tree: int
    compute_class: str
    state: TrialState
    started: float
    finished: float


def read_log(result: SearchResult) -> tuple[list[Trial], list[EndedAttempt]]:
    """Return the finished trials, as iterating over a result yields them, and all other attempts, in order."""
    trials: list[Trial] = []
    attempts: list[EndedAttempt] = []
    with closing(replay(result.storage)) as log:
        for _, record, trial in log:
            if not isinstance(record, Result) or trial is None:
                continue
            if trial.is_finished:
                trials.append(result.decoded(trial))
            else:
                attempts.append(_attempt(trial, record))
    return trials, attempts


def _attempt(trial: Trial, came: Result) -> EndedAttempt:
    return EndedAttempt(
        trial.id, trial.tree, trial.compute_class, came.state, came.started, max(came.started, came.finished)
    )
