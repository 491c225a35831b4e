"""The log of a search, read once: its trials, and attempts that did not end them."""

from __future__ import annotations

from contextlib import closing

import attrs

from shadho.ledger import Ledger
from shadho.records import Attempt, Result, Trial, TrialState
from shadho.result import SearchResult
from shadho.storage import replay

__all__ = ['EndedAttempt', 'read_log']


@attrs.frozen
class EndedAttempt:
    """One attempt at a trial that did not end it.

    Attributes
    ----------
    trial, tree : int
    compute_class : str
    state : TrialState
        Lost, with its worker; cancelled, as by the end of a run or for a slot where the trial ends sooner; or paused, after which
        the trial went on.
    started, finished : float
        Seconds of active search.
    seconds : float
        Duration of the objective.
    step : int
        The last step of the trial by then.
    """

    trial: int
    tree: int
    compute_class: str
    state: TrialState
    started: float
    finished: float
    seconds: float = 0.0
    step: int = 0


def read_log(result: SearchResult) -> tuple[list[Trial], list[EndedAttempt]]:
    """Return the trials, as iterating over a result yields them, and all attempts but the last of each, in order."""
    trials: list[Trial] = []
    attempts: list[EndedAttempt] = []
    paused: dict[int, EndedAttempt] = {}
    ledger = Ledger()
    with closing(replay(result.storage, ledger)) as log:
        for _, record, trial in log:
            if isinstance(record, Attempt) and record.trial in paused:
                attempts.append(paused.pop(record.trial))
            elif isinstance(record, Result) and trial is not None:
                if trial.is_finished:
                    paused.pop(trial.id, None)
                    trials.append(result.decoded(trial))
                elif trial.state is TrialState.PAUSED:
                    paused[trial.id] = _attempt(trial, record.seconds)
                else:
                    attempts.append(_attempt(trial, record.seconds))
    return [*trials, *map(result.decoded, ledger.paused.values())], attempts


def _attempt(trial: Trial, seconds: float) -> EndedAttempt:
    started = trial.started or 0.0
    return EndedAttempt(
        trial.id, trial.tree, trial.compute_class, trial.state, started, max(started, trial.finished or 0.0), seconds, trial.step
    )  # fmt: skip
