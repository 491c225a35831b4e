"""The median rule: stop a trial that is worse than half of the others at the same step.

D. Golovin, B. Solnik, S. Moitra and others, *Google Vizier: a service for black-box optimization* (2017), section 3.2.2.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from shadho.fidelity.base import Decision, Fidelity, FidelityContext
from shadho.fidelity.rungs import Rung, check_option, ladder
from shadho.records import Event, Report, Result, Trial, TrialState

__all__ = ['Median']


class Median(Fidelity):
    """Stops a trial whose best loss so far is above the median of the losses at the same step.

    Parameters
    ----------
    min_trials : int, default 5
        Other trials that must have reported a step before any trial is stopped there.
    min_steps : int, default 1
        The first step at which a trial may be stopped.
    """

    name = 'median'

    def __init__(self, context: FidelityContext, *, min_trials: int = 5, min_steps: int = 1) -> None:
        super().__init__(context)
        assert self.max_steps is not None
        self.min_trials = check_option(self.name, 'min_trials', min_trials, 2)
        self.min_steps = check_option(self.name, 'min_steps', min_steps, 1, self.max_steps)
        self._rungs: defaultdict[int, Rung] = defaultdict(lambda: Rung(2))
        self._stopped: Counter[int] = Counter()  # trials by the step at which they were stopped
        self._counted: Counter[int] = Counter()  # those of them that count at each later step
        self._best: dict[int, tuple[int, float]] = {}  # of unfinished trials: the last step, and the best loss

    @property
    def rungs(self) -> Sequence[int]:
        assert self.max_steps is not None
        return ladder(1, self.max_steps, 3)

    def judge(self, trial: Trial, report: Report) -> Decision:
        rung = self._rungs[report.step]
        if report.step < self.min_steps or len(rung) <= self.min_trials:
            return Decision.GO_ON
        return Decision.GO_ON if rung.admits((self._best[trial.id][1], trial.id)) else Decision.STOP

    def on(self, event: Event, trial: Trial | None) -> None:
        if trial is None:
            return
        if isinstance(event, Report):
            step, best = self._best.get(trial.id, (0, math.inf))
            loss = self.ledger.goal.reported(event.results)
            loss = math.inf if math.isnan(loss) else loss
            self._best[trial.id] = max(step, event.step), min(best, loss)
            if event.step > step:  # else a lost attempt has reported this step before
                self._rungs[event.step].add((loss, trial.id))
            self._count_stopped(event.step)
        elif isinstance(event, Result) and trial.is_finished:
            self._best.pop(trial.id, None)
            self._stopped[trial.step] += trial.state is TrialState.STOPPED

    def _count_stopped(self, step: int) -> None:
        """Let trials that were stopped before a step be the worst there: else half of the others would be stopped at each step."""
        count = sum(count for before, count in self._stopped.items() if before < step)
        for number in range(self._counted[step], count):
            self._rungs[step].add((math.inf, -1 - number))
        self._counted[step] = max(count, self._counted[step])
