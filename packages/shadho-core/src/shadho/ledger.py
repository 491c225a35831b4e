"""The ledger: the state of every trial. Nothing else changes it, and nothing but `Ledger.apply` changes the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from shadho.errors import LedgerError
from shadho.goal import Goal
from shadho.records import Result, Trial, TrialState
from shadho.table import Table

__all__ = ['Ledger']

_NONE: Mapping[int, Trial] = MappingProxyType({})


class Ledger:
    """A state machine over the records of a search: no files, no processes, no clock.

    ::

        (new) --Trial--> running --Result: done, failed--> finished
                          ^   |
                    Trial |   | Result: lost, cancelled
                          |   v
                         waiting

    A `Trial` begins an attempt, the first one or another one; a `Result` ends it. The same records in the same order give
    the same ledger, while a search runs, when it is resumed, and when somebody looks at its storage.

    Parameters
    ----------
    goal : Goal, optional

    Attributes
    ----------
    history : Table
        Finished trials as columns, and counts of all trials. For others to read.

    Notes
    -----
    `apply` takes microseconds, whatever has been recorded. A finished trial takes up its row of the history, and nothing else.
    """

    def __init__(self, goal: Goal | None = None) -> None:
        self.goal = goal or Goal()
        self.history = Table()
        self._waiting: dict[str, dict[int, Trial]] = {}  # by the class of the last attempt
        self._busy: Counter[str] = Counter()
        self._lost: Counter[int] = Counter()
        self._write: Callable[[Trial | Result], None] | None = None

    @property
    def running(self) -> Mapping[int, Trial]:
        """Trials with an attempt that has not ended, by id, in the order in which the attempts began."""
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
        """The compute classes in which `waiting` trials ran last."""
        return self._waiting.keys()

    def waiting_in(self, compute_class: str) -> Mapping[int, Trial]:
        """Return the waiting trials whose last attempt was in a compute class, by id, the one that has waited longest first."""
        return self._waiting.get(compute_class, _NONE)

    def busy(self, compute_class: str) -> int:
        """Return the number of trials that run in a compute class."""
        return self._busy[compute_class]

    def lost(self, trial: int) -> int:
        """Return how many attempts of an unfinished trial were lost; those of earlier runs count."""
        return self._lost[trial]

    def awaits(self, result: Result) -> bool:
        """Whether a result is of an attempt that runs; a late one, of an attempt that was ended, is not."""
        trial = self.history.running.get(result.trial)
        return trial is not None and result.attempt in (None, trial.attempt)

    def write_to(self, append: Callable[[Trial | Result], None]) -> None:
        """From now on, pass each record to a log before it takes effect, so that the log holds exactly what was applied."""
        self._write = append

    def apply(self, record: Trial | Result) -> Trial:
        """Change the state of one trial.

        Parameters
        ----------
        record : Trial or Result

        Returns
        -------
        Trial
            As the record leaves it: with its result when it is finished.

        Raises
        ------
        LedgerError
            When the record contradicts the state of its trial. Nothing is changed then.
        """
        return self._begin(record) if isinstance(record, Trial) else self._end(record)

    def _begin(self, trial: Trial) -> Trial:
        known = None
        if trial.id != self.history.asked:
            known = self._unfinished(trial.id)
            if known is None and 0 <= trial.id < self.history.asked:
                raise LedgerError(f'is trial {trial.id}, which was finished before')
            if known is None:
                raise LedgerError(f'is trial {trial.id}, and there is no trial {self.history.asked} before')
            if (known.tree, known.point) != (trial.tree, trial.point):
                raise LedgerError(f'is trial {trial.id}, which was another one before')
            if trial.attempt <= known.attempt:
                raise LedgerError(f'is attempt {trial.attempt} at trial {trial.id}, after attempt {known.attempt}')
        self._log(trial)
        if known is None:
            self.history.ask(trial.tree)
        else:
            self._remove(known)
        self.history.running[trial.id] = trial
        self._busy[trial.compute_class] += 1
        return trial

    def _end(self, result: Result) -> Trial:
        trial = self.history.running.get(result.trial)
        if trial is None:
            raise LedgerError(f'is a result of trial {result.trial}, which {self._reason(result.trial)}')
        if result.attempt is not None and result.attempt != trial.attempt:
            raise LedgerError(
                f'is a result of attempt {result.attempt} at trial {trial.id}, of which attempt {trial.attempt} runs'
            )
        if result.state is TrialState.RUNNING:
            raise LedgerError(f'is a result of trial {trial.id}, and says that the trial still runs')
        if result.state is TrialState.FAILED and result.loss is not None:
            raise LedgerError(f'says that trial {trial.id} failed, with a loss')
        if result.state is TrialState.DONE:
            for u in trial.point:
                if not 0 <= u <= 1:
                    raise LedgerError(f'is a result of trial {trial.id}, which could not be run')
        self._log(result)
        del self.history.running[trial.id]
        self._busy[trial.compute_class] -= 1
        if result.state in (TrialState.DONE, TrialState.FAILED):
            if self._lost:
                self._lost.pop(trial.id, None)
            trial = trial.with_result(result)
            self.history.append(trial, self.goal.minimised(trial.loss))
        else:
            if result.state is TrialState.LOST:
                self._lost[trial.id] += 1
            self._waiting.setdefault(trial.compute_class, {})[trial.id] = trial
        return trial

    def _log(self, record: Trial | Result) -> None:
        if self._write is not None:
            self._write(record)

    def _unfinished(self, number: int) -> Trial | None:
        """Return a trial that runs or waits."""
        for trials in (self.history.running, *self._waiting.values()):
            if number in trials:
                return trials[number]
        return None

    def _remove(self, trial: Trial) -> None:
        """Take an unfinished trial from where it is, to begin another attempt."""
        queue = self._waiting.get(trial.compute_class, {})
        if queue.pop(trial.id, None) is None:
            del self.history.running[trial.id]
            self._busy[trial.compute_class] -= 1
        elif not queue:
            del self._waiting[trial.compute_class]

    def _reason(self, number: int) -> str:
        """Say why a trial can have no result."""
        if self._unfinished(number) is not None:
            return 'waits for its next attempt'
        return 'was finished before' if 0 <= number < self.history.asked else 'was never handed out'
