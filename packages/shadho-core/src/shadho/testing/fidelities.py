"""What every fidelity must do."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pytest

from shadho import spaces
from shadho.fidelity import Decision, Fidelity, FidelityContext
from shadho.records import (
    ClassesChanged,
    ComputeClass,
    Event,
    FolderRemoved,
    Report,
    Result,
    Trial,
    TrialError,
    TrialState,
)
from shadho.search import Search

__all__ = ['FidelitySuite']

_MAX_STEPS = 27
_STEPS = 1500
_SLOTS = 4


class FidelitySuite(ABC):
    """Tests of the contract of `shadho.fidelity.Fidelity`.

    A fidelity judges reports by what the log holds: asking it changes nothing, and the same events give the same decisions. A slot
    always has something to run, whatever other trials do, trials come to their last step however often they report, one that
    ends by itself may be the best, and those that report no number are not preferred.
    """

    @abstractmethod
    def make(self, context: FidelityContext) -> Fidelity:
        """Return a new fidelity."""

    @pytest.fixture(params=range(4), ids='seed {}'.format)
    def chance(self, request: pytest.FixtureRequest) -> random.Random:
        """Choose what happens in a test."""
        return random.Random(request.param)

    def test_a_slot_always_has_something_to_run_and_trials_come_to_their_end(self, chance: random.Random) -> None:
        run = _Run(self, chance)
        run.go(_STEPS)
        assert run.idle == 0
        assert run.search.history.states[TrialState.DONE] > 0
        assert run.search.best is not None
        assert run.search.best.step == _MAX_STEPS

    def test_trials_are_judged_at_steps_that_they_have_yet_to_do(self, chance: random.Random) -> None:
        run = _Run(self, chance)
        run.go(_STEPS)
        for event in run.log:
            until = getattr(event, 'until', None)
            assert until is None or 1 <= until <= _MAX_STEPS
        assert all(1 <= step <= _MAX_STEPS for step in run.search.fidelity.rungs)

    def test_asking_changes_nothing(self, chance: random.Random) -> None:
        run = _Run(self, chance)
        for _ in range(60):
            run.go(10)
            fidelity, ledger = run.search.fidelity, run.search.ledger
            assert _state(run.search) == _state(run.search)
            for trial in ledger.running.values():
                if trial.id in ledger.reports:
                    decisions = {fidelity.judge(trial, ledger.reports[trial.id]) for _ in range(2)}
                    assert len(decisions) == 1

    def test_only_paused_trials_are_promoted_each_once(self, chance: random.Random) -> None:
        run = _Run(self, chance, removing=0.1)
        for _ in range(60):
            run.go(10)
            promoted = [trial.id for trial in run.search.fidelity.promotable()]
            assert len(promoted) == len(set(promoted))
            assert set(promoted) <= set(run.search.ledger.paused)

    def test_the_log_brings_the_decisions_back(self, chance: random.Random) -> None:
        run = _Run(self, chance, failing=0.1, removing=0.1)
        run.go(_STEPS)
        other = _Run(self, chance).search
        other.replay(run.log)
        assert _state(other) == _state(run.search)

    def test_failing_and_lost_trials_hold_nobody_up(self, chance: random.Random) -> None:
        run = _Run(self, chance, failing=0.3)
        run.go(_STEPS)
        assert run.idle == 0
        assert run.search.history.states[TrialState.FAILED] > 0

    def test_trials_that_begin_again_at_their_first_step_come_to_their_end(self, chance: random.Random) -> None:
        run = _Run(self, chance, removing=1.0)
        run.go(_STEPS)
        assert run.idle == 0
        assert run.search.history.states[TrialState.DONE] > 0

    def test_one_slot_is_enough(self, chance: random.Random) -> None:
        run = _Run(self, chance, slots=1)
        run.go(_STEPS)
        assert run.idle == 0
        assert run.search.best is not None
        assert run.search.best.step == _MAX_STEPS

    def test_trials_that_never_report_hold_nobody_up(self, chance: random.Random) -> None:
        run = _Run(self, chance, silent=_SLOTS - 1)
        run.go(_STEPS)
        assert run.idle == 0
        assert run.search.best is not None
        assert run.search.best.step == _MAX_STEPS

    def test_trials_may_report_at_unequal_steps(self, chance: random.Random) -> None:
        run = _Run(self, chance, strides=(1, 2, 3, 5, 10))
        run.go(_STEPS)
        assert run.idle == 0
        assert run.search.best is not None
        assert run.search.best.step >= _MAX_STEPS

    def test_a_trial_that_ends_by_itself_is_done_and_may_be_the_best(self, chance: random.Random) -> None:
        run = _Run(self, chance, ending=0.2)
        run.go(_STEPS)
        assert run.idle == 0
        assert run.search.best is not None
        assert run.search.best.state is TrialState.DONE
        assert run.search.best.loss is not None
        assert run.search.best.loss < 0  # which is that of trials that end by themselves
        assert run.search.best.step < _MAX_STEPS

    def test_trials_without_numbers_are_not_preferred(self, chance: random.Random) -> None:
        run = _Run(self, chance, broken=0.5)
        run.go(_STEPS)
        assert run.search.best is not None
        assert run.search.best.loss is not None
        assert math.isfinite(run.search.best.loss)


def _state(search: Search) -> Any:
    fidelity, ledger = search.fidelity, search.ledger
    unfinished = [*ledger.pending.values(), *ledger.paused.values()]
    untils = {trial.id: fidelity.until(trial) for trial in unfinished}
    return [trial.id for trial in fidelity.promotable()], untils, fidelity.until(search.history.asked)


class _Run:
    """A search on some slots whose trials report in any order.

    Parameters
    ----------
    suite : FidelitySuite
    chance : random.Random
    failing : float
        The share of trials that fail or are lost at some step, about.
    broken : float
        The share of trials that report nan.
    ending : float
        The share of trials that end by themselves after a step, with a loss below all others.
    silent : int
        How many of the first trials never report.
    slots : int
    removing : float
        The probability that a paused trial loses its folder in a step.
    strides : sequence of int
        After how many steps a trial reports, in turn.
    """

    def __init__(
        self,
        suite: FidelitySuite,
        chance: random.Random,
        *,
        failing: float = 0.0,
        broken: float = 0.0,
        ending: float = 0.0,
        silent: int = 0,
        slots: int = _SLOTS,
        strides: Sequence[int] = (1,),
        removing: float = 0.0,
    ) -> None:
        make: Any = suite.make
        self.chance, self.failing, self.broken, self.ending = chance, failing, broken, ending
        self.silent, self.slots, self.strides, self.removing = silent, slots, strides, removing
        self.search = Search(
            {'x': spaces.uniform(0, 1)}, 'random', seed=3, max_steps=_MAX_STEPS, fidelity=make, policy='fcfs'
        )
        self.log: list[Event] = []
        self.search.ledger.write_to(self.log.append)
        self.search.apply(ClassesChanged([ComputeClass(slots=slots)]))
        self.now = 0.0
        self.idle = 0

    def go(self, steps: int) -> None:
        """Let running trials do so many steps, one by one."""
        for _ in range(steps):
            self.now += 1.0
            if self.search.ledger.paused and self.chance.random() < self.removing:
                self.search.apply(FolderRemoved(self.chance.choice(list(self.search.ledger.paused)), self.now))
            while len(self.search.pending) < self.slots:
                if self.search.ask(now=self.now) is None:
                    self.idle += 1
                    break
            self._step(self.chance.choice([trial for trial in self.search.pending.values() if trial.id >= self.silent]))

    def _step(self, trial: Trial) -> None:
        search = self.search
        if self.chance.random() < self.failing / 10:
            state = self.chance.choice([TrialState.FAILED, TrialState.LOST])
            error = TrialError('exception', 'raised') if state is TrialState.FAILED else None
            search.record(Result(trial.id, state, error=error, finished=self.now, attempt=trial.attempt))
            return
        step = search.ledger.last_step(trial) + self.strides[trial.id % len(self.strides)]
        if trial.id % 100 < 100 * self.ending and search.ledger.last_step(trial):
            search.tell(trial, trial.params['x'] - 1)
            return
        is_broken = trial.id % 100 < 100 * self.broken
        loss = math.nan if is_broken else trial.params['x'] + 1 / step
        decision = search.hear(Report(trial.id, trial.attempt, step, {'loss': loss}, self.now))
        if decision is None:
            search.tell(trial, loss)
        elif decision is not Decision.GO_ON:
            search.leave(trial, decision, self.now)
