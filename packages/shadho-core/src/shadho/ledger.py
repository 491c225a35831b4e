"""The ledger: the state of every trial, which only `Ledger.apply` changes."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import overload

import attrs

from shadho.errors import LedgerError
from shadho.goal import Goal
from shadho.records import (
    LATEST,
    PARTIAL,
    Attempt,
    ClassesChanged,
    ComputeClass,
    Event,
    FolderRemoved,
    Note,
    Report,
    Result,
    RunBegan,
    RunEnded,
    Trial,
    TrialState,
)
from shadho.table import Table

__all__ = ['Ledger']

_ENOUGH = 10
"""Fewest losses at a rung for methods to learn from it instead of the rung below. A larger number compares more trials; a smaller
one, losses after more steps, which say more. Equal to the number of trials before the first model."""

_WITH_LOSS = PARTIAL | {TrialState.DONE}

_NONE: Mapping[int, Trial] = MappingProxyType({})


class Ledger:
    """A state machine over the events of a search, without files, processes or a clock.

    ::

        (new) --Trial--> running --Result: done, failed, stopped--> finished
                          ^   |                                       ^
                  Attempt |   | Result: lost, cancelled; paused       | Result: stopped
                          |   v                                       |
                         waiting, paused ------------------------- paused

    A `Trial` starts the first attempt, an `Attempt` a later one; a `Report` comes from the running attempt, and a `Result` ends
    it. After a `FolderRemoved`, the next attempt at its trial begins at step 0. The same events in the same order give the same
    ledger, whether a search runs, is resumed, or is read from its storage.

    Parameters
    ----------
    goal : Goal, optional

    Attributes
    ----------
    history : Table
        Finished trials as columns, and counts of all trials. Read-only outside the ledger.
    classes : mapping of str to ComputeClass
        The current compute classes, by name.
    pending : mapping of int to Trial
        Trials that run or wait.
    paused : mapping of int to Trial
        Paused trials, with the loss of their last report, in the order in which they were paused.
    without_folder : set of int
        Ids of paused and waiting trials whose folder was removed.
    rungs : mapping of int to Table
        Losses by step: one row for each trial that has reached the step, failed before it (nan), or ended before it of its own
        accord. Only with `measure_at`.
    measured : Table
        One row for each trial with a first comparable loss: those of the first rung, or the `history` without rungs.
    reports : mapping of int to Report
        The latest report of each running attempt, by trial id.
    timings : mapping of str to tuple of int and float
        How many attempts had each part of `Result.timing`, and their seconds in all.
    time : float
        The latest time of any event, in seconds of active search.
    stopped : str
        Why the latest run ended; empty if it is running or was killed.

    Notes
    -----
    `apply` takes microseconds, however long the history. A finished trial occupies one row of the history and nothing else.
    """

    def __init__(self, goal: Goal | None = None) -> None:
        self.goal = goal or Goal()
        self.history = Table()
        self.classes: Mapping[str, ComputeClass] = {}
        self.time = 0.0
        self.stopped = ''
        self.reports: dict[int, Report] = {}
        self.pending: dict[int, Trial] = {}
        self.paused: dict[int, Trial] = {}
        self.without_folder: set[int] = set()
        self.timings: dict[str, tuple[int, float]] = {}
        self.rungs: Mapping[int, Table] = {}
        self.measured = self.history
        self._reached: dict[int, int] = {}  # of unfinished trials: the last step that any attempt reported
        self._waiting: dict[str, dict[int, Trial]] = {}  # by the class of the last attempt
        self._busy: Counter[str] = Counter()
        self._lost: Counter[int] = Counter()
        self._write: Callable[[Event], None] | None = None

    def measure_at(self, steps: Iterable[int]) -> None:
        """Keep a table of the losses at each of some steps (see `rungs`); to be called before the first event."""
        self.rungs = {step: Table() for step in sorted(steps)}
        self.measured = next(iter(self.rungs.values()), self.history)

    @property
    def _level(self) -> int:
        """The last rung with enough losses; 0 without rungs."""
        level = 0
        for step, table in self.rungs.items():
            if level and table.succeeded < _ENOUGH:
                break
            level = step
        return level

    def reached_rungs(self) -> dict[int, int]:
        """Return the number of trials that have a finite loss at each rung; those that ended early of their own accord count."""
        return {step: table.succeeded for step, table in self.rungs.items()}

    @property
    def evidence(self) -> Table:
        """A table of comparable losses, which is that of the last rung with enough of them, or the history without rungs."""
        return self.rungs[self._level] if self.rungs else self.history

    @property
    def unknown(self) -> list[Trial]:
        """Trials that run or wait, and have no row in `evidence`."""
        level = self._level
        return [trial for trial in self.pending.values() if not level or self.reached(trial.id) < level]

    @property
    def unmeasured(self) -> list[Trial]:
        """Running trials without a row in `measured`."""
        running = self.history.running.values()
        first = next(iter(self.rungs), 0)
        return [trial for trial in running if not first or self.reached(trial.id) < first]

    @property
    def resting(self) -> int:
        """The number of trials that have ended or are paused."""
        return len(self.history) + len(self.paused)

    def overview(self) -> Table:
        """Return the history with a row for each paused trial as well."""
        if not self.paused:
            return self.history
        overview = copy.deepcopy(self.history)
        for trial in self.paused.values():
            overview.append(trial, self.goal.minimised(trial.loss))
        return overview

    def last_step(self, trial: Trial) -> int:
        """Return the last step that a running attempt has reported, or the one after which it began."""
        return self.reports[trial.id].step if trial.id in self.reports else trial.step

    def reached(self, trial: int) -> int:
        """Return the last step that any attempt at an unfinished trial reported; 0 without any."""
        return self._reached.get(trial, 0)

    @property
    def running(self) -> Mapping[int, Trial]:
        """Trials with a running attempt, by id, in the order in which the attempts began."""
        return self.history.running

    @property
    def waiting(self) -> list[Trial]:
        """Trials whose last attempt was lost or cancelled."""
        return [trial for queue in self._waiting.values() for trial in queue.values()]

    @property
    def waiting_count(self) -> int:
        """The number of `waiting` trials, at the cost of one step per compute class."""
        return sum(map(len, self._waiting.values()))

    @property
    def waiting_classes(self) -> Collection[str]:
        """The compute classes of the last attempts of `waiting` trials."""
        return self._waiting.keys()

    def waiting_in(self, compute_class: str) -> Mapping[int, Trial]:
        """Return the waiting trials whose last attempt was in a class, by id, longest wait first."""
        return self._waiting.get(compute_class, _NONE)

    def next_waiting(self, compute_class: str) -> Trial | None:
        """Return the waiting trial to run next in a class.

        It comes from that class, as others may not fit, or from a class that no longer has slots.
        """
        if not self._waiting:
            return None
        gone = [name for name in self._waiting if name not in self.classes or not self.classes[name].slots]
        for name in (compute_class, *gone):
            for trial in self.waiting_in(name).values():
                return trial
        return None

    def busy(self, compute_class: str) -> int:
        """Return the number of running trials in a compute class."""
        return self._busy[compute_class]

    def lost(self, trial: int) -> int:
        """Return the number of lost attempts of an unfinished trial, including those of earlier runs."""
        return self._lost[trial]

    def awaits(self, event: Report | Result) -> bool:
        """Whether a report or a result belongs to a running attempt, not to one that has already ended."""
        trial = self.history.running.get(event.trial)
        return trial is not None and event.attempt in (None, trial.attempt)

    def write_to(self, append: Callable[[Event], None]) -> None:
        """Pass each further event to a log before it takes effect, so that none is missing there."""
        self._write = append

    @overload
    def apply(self, event: Trial | Attempt | Report | Result) -> Trial: ...

    @overload
    def apply(self, event: ClassesChanged | FolderRemoved | RunBegan | RunEnded | Note) -> None: ...

    def apply(self, event: Event) -> Trial | None:
        """Apply an event to the state of a trial or of the search.

        Parameters
        ----------
        event : Trial, Attempt, Report, Result, ClassesChanged, FolderRemoved, RunBegan, RunEnded or Note

        Returns
        -------
        Trial or None
            The trial after the event, with its result if its attempt ended; None for an event of the search.

        Raises
        ------
        LedgerError
            When the event contradicts the state of its trial. The ledger then stays as it was.
        """
        if isinstance(event, Result):
            return self._end(event)
        if isinstance(event, Trial):
            return self._begin(event)
        if isinstance(event, Attempt):
            return self._begin_again(event)
        if isinstance(event, Report):
            return self._note(event)
        self._apply_to_search(event)
        return None

    def _begin(self, trial: Trial) -> Trial:
        if trial.id != self.history.asked:
            known = 0 <= trial.id < self.history.asked
            reason = 'which was begun before' if known else f'and there is no trial {self.history.asked} before'
            raise LedgerError(f'is trial {trial.id}, {reason}')
        self._log(trial)
        self.history.ask(trial.tree)
        self._run(trial)
        return trial

    def _begin_again(self, attempt: Attempt) -> Trial:
        known = self.pending.get(attempt.trial) or self.paused.get(attempt.trial)
        if known is None:
            raise LedgerError(f'is an attempt at trial {attempt.trial}, which {self._reason(attempt.trial)}')
        if attempt.number <= known.attempt:
            raise LedgerError(f'is attempt {attempt.number} at trial {known.id}, after attempt {known.attempt}')
        if known.id in self.history.running:
            raise LedgerError(f'is attempt {attempt.number} at trial {known.id}, of which attempt {known.attempt} runs')
        self._log(attempt)
        if self.paused.pop(known.id, None) is None:
            queue = self._waiting[known.compute_class]
            del queue[known.id]
            if not queue:
                del self._waiting[known.compute_class]
        trial = known.begun_again(attempt)
        if trial.id in self.without_folder:
            self.without_folder.remove(trial.id)
            trial = attrs.evolve(trial, step=0)
        self._run(trial)
        return trial

    def _run(self, trial: Trial) -> None:
        self.history.running[trial.id] = self.pending[trial.id] = trial
        self._busy[trial.compute_class] += 1
        self._pass(trial.started)

    def _note(self, report: Report) -> Trial:
        trial = self.history.running.get(report.trial)
        if trial is None:
            raise LedgerError(f'is a report of trial {report.trial}, which {self._reason(report.trial)}')
        if report.attempt != trial.attempt:
            raise LedgerError(
                f'is a report of attempt {report.attempt} at trial {trial.id}, of which attempt {trial.attempt} runs'
            )
        last = self.last_step(trial)
        if report.step <= last:
            raise LedgerError(f'is a report of step {report.step} of trial {trial.id}, after that of step {last}')
        self._log(report)
        self.reports[trial.id] = report
        self._pass(report.time)
        reached = self.reached(trial.id)
        if report.step > reached:  # else a lost attempt has reported this step before
            self._reached[trial.id] = report.step
            seconds = math.nan if trial.started is None or trial.step else report.time - trial.started
            self._measure(trial, self.goal.reported(report.results), reached, report.step, seconds)
        return trial

    def _measure(self, trial: Trial, loss: float, after: int, to: float, seconds: float) -> None:
        """Add a loss to the rungs after one step, up to another."""
        for step, table in self.rungs.items():
            if after < step <= to:
                table.add(trial.tree, trial.point, loss, trial.compute_class, seconds, step)

    def _end(self, result: Result) -> Trial:
        running = self.history.running
        trial = running.get(result.trial)
        if trial is None and result.state is TrialState.STOPPED:
            trial = self.paused.get(result.trial)
        if trial is None:
            raise LedgerError(f'is a result of trial {result.trial}, which {self._reason(result.trial)}')
        _check(trial, result)
        self._log(result)
        if running.pop(trial.id, None) is None:
            del self.paused[trial.id]
            self.without_folder.discard(trial.id)
        else:
            self._busy[trial.compute_class] -= 1
            self.reports.pop(trial.id, None)
        self._pass(result.finished)
        for part, seconds in result.timing.items():
            count, sum_of = self.timings.get(part, (0, 0.0))
            self.timings[part] = count + 1, sum_of + seconds
        trial = trial.with_result(result)
        if trial.is_finished:
            self._finish(trial)
        elif result.state is TrialState.PAUSED:
            del self.pending[trial.id]
            self.paused[trial.id] = trial
        else:
            if result.state is TrialState.LOST:
                self._lost[trial.id] += 1
            self._waiting.setdefault(trial.compute_class, {})[trial.id] = self.pending[trial.id] = trial
        return trial

    def _finish(self, trial: Trial) -> None:
        if self._lost:
            self._lost.pop(trial.id, None)
        self.pending.pop(trial.id, None)
        loss = self.goal.minimised(trial.loss)
        reached = self._reached.pop(trial.id, 0)
        if trial.state is not TrialState.STOPPED:
            self._measure(trial, loss, reached, math.inf, trial.seconds or 0.0)
        self.history.append(trial, loss)

    def _apply_to_search(self, event: ClassesChanged | FolderRemoved | RunBegan | RunEnded | Note) -> None:
        if isinstance(event, FolderRemoved) and (
            event.trial in self.history.running or (event.trial not in self.paused and event.trial not in self.pending)
        ):
            raise LedgerError(f'removes the folder of trial {event.trial}, which neither waits nor is paused')
        if isinstance(event, ClassesChanged):
            names = [compute_class.name for compute_class in event.classes]
            if len(set(names)) < len(names):
                raise LedgerError(f'names a compute class twice: {", ".join(names)}')
        self._log(event)
        self._pass(event.time)
        if isinstance(event, ClassesChanged):
            self.classes = dict(zip(names, event.classes))
        elif isinstance(event, FolderRemoved):
            self.without_folder.add(event.trial)
        elif isinstance(event, RunBegan):
            self.stopped = ''
        elif isinstance(event, RunEnded):
            self.stopped = event.reason

    def _pass(self, time: float | None) -> None:
        if time is not None and time > self.time:
            self.time = time

    def _log(self, event: Event) -> None:
        if self._write is not None:
            self._write(event)

    def _reason(self, number: int) -> str:
        """Return why a trial cannot have a result or another attempt."""
        if number in self.pending:
            return 'waits for its next attempt'
        if number in self.paused:
            return 'is paused'
        return 'was finished before' if 0 <= number < self.history.asked else 'was never begun'


def _check(trial: Trial, result: Result) -> None:
    """Refuse a result that the attempt that runs cannot have, or that no storage keeps."""
    if result.attempt is not None and result.attempt != trial.attempt:
        raise LedgerError(
            f'is a result of attempt {result.attempt} at trial {trial.id}, of which attempt {trial.attempt} runs'
        )
    if result.state is TrialState.RUNNING:
        raise LedgerError(f"is a result of trial {trial.id} with the state 'running', which is no result")
    if result.state not in _WITH_LOSS and result.loss is not None:
        raise LedgerError(f'is a result of trial {trial.id}, which is {result.state}, with a loss')
    if result.state in PARTIAL and result.step < trial.step:
        raise LedgerError(f'is a result of trial {trial.id} at step {result.step}, after step {trial.step}')
    if not (0 <= result.seconds < LATEST and abs(result.started) < LATEST and abs(result.finished) < LATEST):
        raise LedgerError(f'is a result of trial {trial.id} with an impossible time')
    if result.state is TrialState.DONE:
        if result.loss is None or math.isnan(result.loss):
            raise LedgerError(f'is a result of trial {trial.id}, which is done, without a loss')
        for u in trial.point:
            if not 0 <= u <= 1:
                raise LedgerError(f'is a result of trial {trial.id}, which could not be run')
