"""Asynchronous successive halving with promotion.

L. Li, K. Jamieson, A. Rostamizadeh and others, *A system for massively parallel hyperparameter tuning* (2020), algorithm 2.
In contrast to the paper, a trial that is among the best when it reaches a rung goes on at once.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Generator, Sequence

from shadho.fidelity.base import Decision, Fidelity, FidelityContext
from shadho.fidelity.rungs import Entry, Rung, check_option, ladder
from shadho.records import FINISHED, Attempt, Event, Report, Result, Trial, TrialState

__all__ = ['ASHA', 'Bracket']


class Bracket:
    """Rungs that a trial climbs.

    Parameters
    ----------
    steps : list of int
        The steps of the rungs, then those of a full training, at which trials are no longer compared.
    eta : int
        The best 1/eta of the trials at a rung may go on.
    most : float, default inf
        The trials that may begin here at most. At a rung that fewer than `eta` of them can reach, the best one goes on.
    """

    def __init__(self, steps: list[int], eta: int, most: float = math.inf) -> None:
        self.steps = steps
        self.rungs = [Rung(int(max(1, min(eta, most / eta**rung)))) for rung in range(len(steps) - 1)]

    def rung_at(self, step: int) -> int:
        """Return the number of the last rung at or below a step; -1 below the first one."""
        return bisect.bisect_right(self.steps, step, hi=len(self.rungs)) - 1

    def above(self, step: int) -> int:
        """Return the step of the next rung above a step."""
        return self.steps[min(bisect.bisect_right(self.steps, step), len(self.rungs))]


class ASHA(Fidelity):
    """Pauses trials at rungs, and promotes the best of those that have reached each rung so far.

    Parameters
    ----------
    eta : int, default 3
        One in `eta` trials is promoted from each rung, to `eta` times as many steps.
    min_steps : int, default 1
        Lower bound on the steps of the first rung.

    Notes
    -----
    No trial waits for others: if no paused trial is among the best 1/eta of its rung, a new trial begins. A failed trial ranks
    last at the rung that it was to reach next; one that ended early of its own accord counts at all later rungs. Trials are
    compared with those of their own tree, as some models begin worse than others and end better; in a forest of many trees,
    with all. A tree with too few settings for a rung to have `eta` trials sends its best one on from there.
    """

    name = 'asha'

    def __init__(self, context: FidelityContext, *, eta: int = 3, min_steps: int = 1) -> None:
        super().__init__(context)
        assert self.max_steps is not None
        self.eta = check_option(self.name, 'eta', eta, 2)
        first = check_option(self.name, 'min_steps', min_steps, 1, self.max_steps)
        self.steps = ladder(first, self.max_steps, self.eta)
        self._brackets: dict[int, list[Bracket]] = {}  # by group
        self._until: dict[int, int] = {}  # of unfinished trials
        self._places: dict[int, tuple[int, Entry]] = {}  # the last rung that an unfinished trial has reached
        self._resting: dict[int, Rung] = {}  # at which a trial is paused
        self._interrupted: dict[int, None] = {}  # paused before they were to be judged

    @property
    def first_rungs(self) -> Sequence[int]:
        """The rungs that brackets begin at; a single one here."""
        return (0,)

    def place(self, number: int) -> int:
        """Return the place of a trial's bracket among `first_rungs`, by the number of the trial."""
        return 0

    @property
    def shares(self) -> Sequence[float]:
        """The share of the trials that each bracket gets; equal shares by default."""
        return [1 / len(self.first_rungs)] * len(self.first_rungs)

    def bracket(self, trial: Trial) -> Bracket:
        """Return the bracket of a trial."""
        group = self.group(trial)
        if group not in self._brackets:
            most = self.rivals(trial)
            self._brackets[group] = [
                Bracket(self.steps[first:], self.eta, share * most)
                for first, share in zip(self.first_rungs, self.shares)
            ]
        return self._brackets[group][self.place(trial.id)]

    @property
    def rungs(self) -> Sequence[int]:
        return self.steps

    def until(self, trial: Trial | int) -> int:
        if isinstance(trial, int):
            return self.steps[self.first_rungs[self.place(trial)]]
        if trial.state is TrialState.PAUSED:
            return max(self._until[trial.id], self.bracket(trial).above(trial.step))
        return self._until[trial.id]

    def judge(self, trial: Trial, report: Report) -> Decision:
        return Decision.GO_ON if report.step < self._until[trial.id] else Decision.PAUSE

    def promotable(self) -> Generator[Trial, None, None]:
        paused = self.ledger.paused
        yield from (paused[number] for number in self._interrupted)
        for below_top in range(1, len(self.steps)):
            for bracket in itertools.chain.from_iterable(self._brackets.values()):
                if below_top <= len(bracket.rungs):
                    yield from (paused[trial] for trial in bracket.rungs[-below_top].promotable())

    def on(self, event: Event, trial: Trial | None) -> None:
        if trial is None:
            return
        bracket = self.bracket(trial)
        if isinstance(event, (Trial, Attempt)):
            self._until[trial.id] = event.until or self.steps[-1]  # another fidelity may have begun it
            self._resume(trial.id)
        elif isinstance(event, Report):
            if bracket.rungs and self._until[trial.id] <= event.step < bracket.steps[-1]:
                self._climb(bracket, trial.id, bracket.rung_at(event.step), self.ledger.goal.reported(event.results))
                rung, entry = self._places[trial.id]
                if bracket.rungs[rung].admits(entry):
                    self._until[trial.id] = bracket.steps[rung + 1]
        elif isinstance(event, Result):
            self._ended(bracket, trial)

    def _resume(self, trial: int) -> None:
        """Let a trial that was paused, if it was, rest no longer."""
        self._interrupted.pop(trial, None)
        if trial in self._resting:
            self._resting.pop(trial).resume(trial)

    def _climb(self, bracket: Bracket, trial: int, to: int, loss: float) -> None:
        """Add a trial to the rungs above its last one, up to another."""
        after = self._places[trial][0] if trial in self._places else -1
        entry = (math.inf if math.isnan(loss) else loss, trial)
        for rung in range(after + 1, to + 1):
            bracket.rungs[rung].add(entry)
            self._places[trial] = rung, entry

    def _ended(self, bracket: Bracket, trial: Trial) -> None:
        if trial.state is TrialState.PAUSED:
            if self._until[trial.id] > trial.step or bracket.rung_at(trial.step) < 0:
                self._interrupted[trial.id] = None
            else:
                self._climb(bracket, trial.id, bracket.rung_at(trial.step), self.ledger.goal.minimised(trial.loss))
                rung, entry = self._places[trial.id]
                bracket.rungs[rung].pause(entry)
                self._resting[trial.id] = bracket.rungs[rung]
        elif trial.state in FINISHED:
            last = len(bracket.rungs) - 1
            if trial.state is TrialState.DONE:
                self._climb(bracket, trial.id, last, self.ledger.goal.minimised(trial.loss))
            elif trial.state is TrialState.FAILED:  # the worst of the rung that it was to reach next
                self._climb(bracket, trial.id, min(bracket.rung_at(self._until[trial.id] - 1) + 1, last), math.inf)
            self._resume(trial.id)
            del self._until[trial.id]
            self._places.pop(trial.id, None)
