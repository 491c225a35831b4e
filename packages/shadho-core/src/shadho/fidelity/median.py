"""The median rule: stop a trial that is worse than half of the completed ones were at the same step.

D. Golovin, B. Solnik, S. Moitra and others, *Google Vizier: a service for black-box optimization* (2017), section 3.2.2.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from shadho.fidelity.base import Decision, Fidelity, FidelityContext
from shadho.fidelity.rungs import Rung, check_option, ladder
from shadho.records import Event, Report, Result, Trial, TrialState

__all__ = ['Median']


class Median(Fidelity):
    """Stops a trial whose best loss so far is above the median of the losses that completed trials had at the same step.

    Parameters
    ----------
    min_trials : int, default 5
        Completed trials that must have reported a step before any trial is stopped there.
    min_steps : int, default 1
        The first step at which a trial may be stopped.

    Notes
    -----
    Trials are compared with those of their own tree, as some models begin worse than others and end better; in a forest of many
    trees, with all.
    """

    name = 'median'

    def __init__(self, context: FidelityContext, *, min_trials: int = 5, min_steps: int = 1) -> None:
        super().__init__(context)
        assert self.max_steps is not None
        self.min_trials = check_option(self.name, 'min_trials', min_trials, 2)
        self.min_steps = check_option(self.name, 'min_steps', min_steps, 1, self.max_steps)
        self._completed: defaultdict[tuple[int, int], Rung] = defaultdict(lambda: Rung(2))  # by group and step
        self._curves: dict[int, dict[int, float]] = {}  # losses of unfinished trials by step

    @property
    def rungs(self) -> Sequence[int]:
        assert self.max_steps is not None
        return ladder(1, self.max_steps, 3)

    def judge(self, trial: Trial, report: Report) -> Decision:
        rung = self._completed.get((self.group(trial), report.step))
        if report.step < self.min_steps or rung is None or len(rung) < self.min_trials:
            return Decision.GO_ON
        return Decision.GO_ON if rung.admits((min(self._curves[trial.id].values()), -1)) else Decision.STOP

    def on(self, event: Event, trial: Trial | None) -> None:
        if trial is None:
            return
        if isinstance(event, Report):
            loss = self.ledger.goal.reported(event.results)
            self._curves.setdefault(trial.id, {})[event.step] = math.inf if math.isnan(loss) else loss
        elif isinstance(event, Result) and trial.is_finished:
            curve = self._curves.pop(trial.id, {})
            for step, loss in curve.items() if trial.state is TrialState.DONE else ():
                self._completed[self.group(trial), step].add((loss, trial.id))
