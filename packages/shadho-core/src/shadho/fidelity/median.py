"""The median rule: stop a trial that is worse than half of the completed ones were at the same step.

D. Golovin, B. Solnik, S. Moitra and others, *Google Vizier: a service for black-box optimization* (2017), section 3.2.2.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Sequence

from shadho.fidelity.base import Decision, Fidelity, FidelityContext
from shadho.fidelity.rungs import Rung, check_option, ladder
from shadho.records import Event, Report, Result, Trial, TrialState

__all__ = ['Median']


class Median(Fidelity):
    """Stops a trial whose best loss so far is above the median of the losses that completed trials had at that step.

    Parameters
    ----------
    min_trials : int, default 5
        Completed trials that must have reported up to a step before any trial is stopped there.
    min_steps : int, default 1
        The first step at which a trial may be stopped.

    Notes
    -----
    Trials may report at different steps: of a completed trial, the last report up to a step counts there.

    Trials are compared with those of their own tree, as some models begin worse than others and end better; in a forest of many
    trees, with all.
    """

    name = 'median'

    def __init__(self, context: FidelityContext, *, min_trials: int = 5, min_steps: int = 1) -> None:
        super().__init__(context)
        assert self.max_steps is not None
        self.min_trials = check_option(self.name, 'min_trials', min_trials, 2)
        self.min_steps = check_option(self.name, 'min_steps', min_steps, 1, self.max_steps)
        self._completed: defaultdict[int, list[_Curve]] = defaultdict(list)  # by group
        self._rungs: defaultdict[int, dict[int, Rung]] = defaultdict(dict)  # by group and step, of those ever reported
        self._curves: dict[int, _Curve] = {}  # of unfinished trials

    @property
    def rungs(self) -> Sequence[int]:
        assert self.max_steps is not None
        return ladder(1, self.max_steps, 3)

    def judge(self, trial: Trial, report: Report) -> Decision:
        rung = self._rungs[self.group(trial)].get(report.step)
        if report.step < self.min_steps or rung is None or len(rung) < self.min_trials:
            return Decision.GO_ON
        return Decision.GO_ON if rung.admits((min(self._curves[trial.id].losses), -1)) else Decision.STOP

    def on(self, event: Event, trial: Trial | None) -> None:
        if trial is None:
            return
        completed, rungs = self._completed[self.group(trial)], self._rungs[self.group(trial)]
        if isinstance(event, Report):
            self._curves.setdefault(trial.id, _Curve(trial.id)).add(
                event.step, self.ledger.goal.reported(event.results)
            )
            if event.step not in rungs:
                rungs[event.step] = Rung(2)
                for curve in completed:
                    curve.enter(rungs[event.step], event.step)
        elif isinstance(event, Result) and trial.is_finished:
            curve = self._curves.pop(trial.id, _Curve(trial.id))
            if trial.state is TrialState.DONE:
                completed.append(curve)
                for step, rung in rungs.items():
                    curve.enter(rung, step)


class _Curve:
    """The losses that a trial has reported, by step."""

    def __init__(self, trial: int) -> None:
        self.trial = trial
        self.steps: list[int] = []
        self.losses: list[float] = []

    def add(self, step: int, loss: float) -> None:
        """Add a report; one of a step that an earlier attempt had reported takes the place of what came from there on."""
        place = bisect.bisect_left(self.steps, step)
        self.steps[place:] = [step]
        self.losses[place:] = [math.inf if math.isnan(loss) else loss]

    def enter(self, rung: Rung, step: int) -> None:
        """Add the trial to a rung with its last loss up to a step, if it has any."""
        place = bisect.bisect_right(self.steps, step)
        if place:
            rung.add((self.losses[place - 1], self.trial))
