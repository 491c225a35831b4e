"""Why trials failed: alike failures together."""

from __future__ import annotations

import attrs

from shadho.records import Trial, TrialError
from shadho.result import reason_of

__all__ = ['Failure', 'group_failures']


@attrs.define
class Failure:
    """Trials that failed alike.

    Attributes
    ----------
    example : TrialError
        Of the first of them.
    trials : list of int
        Their ids.
    """

    example: TrialError
    trials: list[int]


def group_failures(trials: list[Trial]) -> list[Failure]:
    """Return failures of one reason together, the most frequent first."""
    found: dict[tuple[str, str], Failure] = {}
    for trial in trials:
        if trial.error is not None:
            found.setdefault(reason_of(trial.error), Failure(trial.error, [])).trials.append(trial.id)
    return sorted(found.values(), key=lambda own: -len(own.trials))
