"""What a ledger must do with any sequence of records, legal or not."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import attrs
import pytest

from shadho.errors import LedgerError
from shadho.ledger import Ledger
from shadho.records import (
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
    TrialError,
    TrialState,
)

__all__ = ['LedgerSuite']

_CLASSES = ('4-core', '16-core', 'gpu')
_TREES = 3
_EVENTS = 400
_FINAL = (TrialState.DONE, TrialState.FAILED, TrialState.STOPPED)
_PAUSED = TrialState.PAUSED
_RUNGS = (2, 5)


class LedgerSuite:
    """Tests of `shadho.ledger.Ledger`, and of what keeps its records.

    A storage that keeps the records of a ledger passes too, when `replayed` writes them to the storage and reads them from it.
    """

    def make(self) -> Ledger:
        """Return a new ledger."""
        ledger = Ledger()
        ledger.measure_at(_RUNGS)
        return ledger

    def replayed(self, records: Sequence[Event]) -> Ledger:
        """Return a new ledger to which the records were applied, in their order."""
        ledger = self.make()
        for record in records:
            ledger.apply(record)
        return ledger

    @pytest.fixture(params=range(12), ids='seed {}'.format)
    def chance(self, request: pytest.FixtureRequest) -> random.Random:
        """Choose the records of a test."""
        return random.Random(request.param)

    def test_every_trial_is_in_the_state_that_its_records_imply(self, chance: random.Random) -> None:
        ledger, model = self.make(), _Model()
        for record in _records(chance, model):
            trial = ledger.apply(record)
            model.apply(record)
            if trial is not None:
                assert trial.id in (getattr(record, 'id', None), getattr(record, 'trial', None))
                assert trial.state is model.states[trial.id]
            assert (trial is not None) == isinstance(record, (Trial, Attempt, Report, Result))
            model.compare(ledger)

    def test_a_record_that_contradicts_its_trial_is_refused_and_changes_nothing(self, chance: random.Random) -> None:
        ledger, model = self.make(), _Model()
        for record in _records(chance, model):
            forged = _forged(chance, model)
            with pytest.raises(LedgerError):
                ledger.apply(forged)
            model.compare(ledger)
            ledger.apply(record)
            model.apply(record)
        model.compare(ledger)

    def test_the_same_records_give_the_same_ledger(self, chance: random.Random) -> None:
        ledger, model = self.make(), _Model()
        kept: list[Event] = []
        ledger.write_to(kept.append)
        for record in _records(chance, model):
            ledger.apply(record)
            model.apply(record)
        other = self.replayed(kept)
        model.compare(other)
        assert list(other.running) == list(ledger.running)
        assert [trial.id for trial in other.waiting] == [trial.id for trial in ledger.waiting]
        assert other.history.losses().tolist() == pytest.approx(ledger.history.losses().tolist(), nan_ok=True)

    def test_a_refused_record_is_not_written(self) -> None:
        ledger = self.make()
        kept: list[Event] = []
        ledger.write_to(kept.append)
        with pytest.raises(LedgerError):
            ledger.apply(Result(0, TrialState.DONE, 1.0))
        assert kept == []

    def test_a_record_that_cannot_be_written_changes_nothing(self) -> None:
        def fail(record: Event) -> None:
            raise OSError('the disk is full')

        ledger = self.make()
        ledger.write_to(fail)
        with pytest.raises(OSError, match='disk is full'):
            ledger.apply(_trial(0, 0, '4-core'))
        assert (len(ledger.running), ledger.history.asked, ledger.busy('4-core')) == (0, 0, 0)


class _Model:
    """The state of every trial by the letter of the contract, slow and plain."""

    def __init__(self) -> None:
        self.states: list[TrialState] = []
        self.trials: list[Trial] = []
        self.lost: list[int] = []
        self.without_folder: set[int] = set()
        self.steps: dict[int, int] = {}
        self.measured: dict[int, dict[int, float]] = {step: {} for step in _RUNGS}
        self.classes: dict[str, ComputeClass] = {}
        self.time = 0.0
        self.stopped = ''

    def apply(self, record: Event) -> None:
        if isinstance(record, Trial):
            self.states.append(TrialState.RUNNING)
            self.trials.append(record)
            self.lost.append(0)
            self.time = max(self.time, record.started or 0.0)
        elif isinstance(record, Attempt):
            own, self.states[record.trial] = self.trials[record.trial], TrialState.RUNNING
            if record.trial in self.without_folder:
                self.without_folder.remove(record.trial)
                own = attrs.evolve(own, step=0)
            self.trials[record.trial] = attrs.evolve(
                own, compute_class=record.compute_class, attempt=record.number, started=record.started, resources=record.resources, until=record.until
            )  # fmt: skip
            self.time = max(self.time, record.started or 0.0)
        elif isinstance(record, Report):
            self.steps[record.trial] = record.step
            self.time = max(self.time, record.time)
            self.measure(record.trial, record.results['loss'], record.step)
        elif isinstance(record, Result):
            has_run, self.states[record.trial] = self.states[record.trial] is TrialState.RUNNING, record.state
            self.steps.pop(record.trial, None)
            if record.state in (*_FINAL, _PAUSED):
                own = self.trials[record.trial]
                taken = (own.seconds or 0.0) + record.seconds if has_run else own.seconds
                self.trials[record.trial] = attrs.evolve(own, step=record.step, seconds=taken)
            if record.state in (TrialState.DONE, TrialState.FAILED):
                self.measure(record.trial, math.nan if record.loss is None else record.loss, math.inf)
            if record.state is TrialState.STOPPED:
                self.without_folder.discard(record.trial)
            self.lost[record.trial] += record.state is TrialState.LOST
            self.time = max(self.time, record.finished)
        else:
            self.time = max(self.time, record.time)
            if isinstance(record, ClassesChanged):
                self.classes = {compute_class.name: compute_class for compute_class in record.classes}
            elif isinstance(record, FolderRemoved):
                self.without_folder.add(record.trial)
            elif not isinstance(record, Note):
                self.stopped = record.reason if isinstance(record, RunEnded) else ''

    def measure(self, trial: int, loss: float, to: float) -> None:
        """Note a loss at the rungs that a trial has come to for the first time."""
        for step, losses in self.measured.items():
            if step <= to:
                losses.setdefault(trial, loss)

    def within(self, *states: TrialState) -> list[Trial]:
        return [trial for trial, state in zip(self.trials, self.states) if state in states]

    def compare(self, ledger: Ledger) -> None:
        running, waiting = self.within(TrialState.RUNNING), self.within(TrialState.LOST, TrialState.CANCELLED)
        paused = self.within(_PAUSED)
        assert {number: (trial.step, trial.seconds) for number, trial in ledger.paused.items()} == {
            trial.id: (trial.step, trial.seconds) for trial in paused
        }
        assert ledger.without_folder == self.without_folder
        assert set(ledger.pending) == {trial.id for trial in (*running, *waiting)}
        for step, losses in self.measured.items():
            if ledger.rungs:
                assert ledger.rungs[step].losses().tolist() == pytest.approx([*losses.values()], nan_ok=True)
        assert ledger.history.asked == len(self.states)
        assert dict(ledger.running) == {trial.id: trial for trial in running}
        assert sorted(trial.id for trial in ledger.waiting) == [trial.id for trial in waiting]
        assert ledger.waiting_count == len(waiting)
        assert {number: report.step for number, report in ledger.reports.items()} == self.steps
        assert (dict(ledger.classes), ledger.time, ledger.stopped) == (self.classes, self.time, self.stopped)
        for name in _CLASSES:
            assert ledger.busy(name) == sum(trial.compute_class == name for trial in running)
            assert set(ledger.waiting_in(name)) == {trial.id for trial in waiting if trial.compute_class == name}
        for trial in (*running, *waiting, *paused):
            assert ledger.lost(trial.id) == self.lost[trial.id]
        for tree in range(_TREES):
            assert ledger.history.asked_in(tree) == sum(trial.tree == tree for trial in self.trials)
        assert len(ledger.history) == sum(state in _FINAL for state in self.states)
        assert {state: ledger.history.states[state] for state in _FINAL} == {
            state: self.states.count(state) for state in _FINAL
        }


def _records(chance: random.Random, model: _Model) -> Iterator[Event]:
    """Yield records that are legal in the state that a model is in, which the caller changes."""
    for _ in range(_EVENTS):
        waiting = model.within(TrialState.LOST, TrialState.CANCELLED, _PAUSED)
        running, paused = model.within(TrialState.RUNNING), model.within(_PAUSED)
        kind = chance.random()
        if kind < 0.1:
            yield chance.choice(_of_search(model.time + chance.random()))
        elif running and kind < 0.25:
            trial = chance.choice(running)
            yield Report(
                trial.id,
                trial.attempt,
                model.steps.get(trial.id, trial.step) + 1 + chance.randrange(3),
                {'loss': chance.random()},
                model.time,
            )
        elif paused and kind < 0.28:
            yield _result(chance.choice(paused), TrialState.STOPPED)
        elif waiting and kind < 0.32:
            yield FolderRemoved(chance.choice(waiting).id, model.time)
        elif running and kind < 0.6:
            yield _result(chance.choice(running), chance.choice([state for state in TrialState if state is not TrialState.RUNNING]))  # fmt: skip
        elif waiting and kind < 0.75:
            trial = chance.choice(waiting)
            yield Attempt(
                trial.id, trial.attempt + 1 + chance.randrange(2), chance.choice(_CLASSES), {'cores': 2}, model.time,
                trial.step + 2,
            )  # fmt: skip
        else:
            yield _trial(len(model.states), chance.randrange(_TREES), chance.choice(_CLASSES))


def _of_search(time: float) -> list[Event]:
    classes = [ComputeClass(name, slots) for slots, name in enumerate(_CLASSES)]
    return [
        ClassesChanged(classes, time),
        ClassesChanged([], time),
        RunBegan(time),
        RunEnded(time, 'timeout'),
        Note('new', {}, None, time),
    ]


def _forged(chance: random.Random, model: _Model) -> Event:
    """Return a record that no search writes in the state that a model is in."""
    asked = len(model.states)
    forged: list[Event] = [
        _trial(asked + 1 + chance.randrange(3), 0, '4-core'),
        _trial(-1, 0, '4-core'),
        Result(asked + chance.randrange(3), chance.choice(list(TrialState)), 1.0),
        Result(-1, TrialState.DONE, 1.0),
        Attempt(asked + chance.randrange(3), 1, '4-core'),
        Attempt(-1, 1, '4-core'),
        Report(asked, 0, 1),
        FolderRemoved(asked),
        ClassesChanged([ComputeClass('4-core', 1), ComputeClass('4-core', 2)], model.time),
    ]
    for trial in model.within(*_FINAL):
        forged += [
            FolderRemoved(trial.id),
            trial,
            _result(trial, chance.choice(list(TrialState))),
            Attempt(trial.id, trial.attempt + 1),
        ]
    for trial in model.within(_PAUSED):
        forged += [
            _result(trial, TrialState.DONE),
            trial,
            Attempt(trial.id, trial.attempt),
            Report(trial.id, trial.attempt, 1000),
        ]
    for trial in model.within(TrialState.LOST, TrialState.CANCELLED):
        forged += [_result(trial, chance.choice(list(TrialState))), trial, Attempt(trial.id, trial.attempt)]
    for trial in model.within(TrialState.RUNNING):
        forged += [
            trial,
            FolderRemoved(trial.id),
            Attempt(trial.id, trial.attempt + 1),
            Report(trial.id, trial.attempt + 1, 1000),
            Report(trial.id, trial.attempt, model.steps.get(trial.id, trial.step)),
            attrs.evolve(_result(trial, _PAUSED), step=trial.step - 1),
            attrs.evolve(_result(trial, TrialState.LOST), loss=1.0),
            attrs.evolve(_result(trial, TrialState.DONE), attempt=trial.attempt + 1),
            attrs.evolve(_result(trial, TrialState.LOST), attempt=trial.attempt - 1),
            Result(trial.id, TrialState.FAILED, 1.0, error=TrialError('exception', 'with a loss')),
            Result(trial.id, TrialState.RUNNING),
            Result(trial.id, TrialState.DONE),
            Result(trial.id, TrialState.DONE, math.nan),
            Result(trial.id, TrialState.DONE, 1.0, seconds=math.inf),
            Result(trial.id, TrialState.DONE, 1.0, finished=math.nan),
        ]
    return chance.choice(forged)


def _trial(number: int, tree: int, compute_class: str) -> Trial:
    return Trial(number, tree, (0.5,), {'x': 0.5}, compute_class, started=float(max(number, 0)))


def _result(trial: Trial, state: TrialState) -> Result:
    started = trial.started or 0.0
    has_loss = state in (TrialState.DONE, TrialState.STOPPED, _PAUSED)
    error = TrialError('exception', 'raised') if state is TrialState.FAILED else None
    return Result(
        trial.id, state, math.sin(trial.id) if has_loss else None, error=error, started=started, finished=started + 1.0,
        seconds=1.0, attempt=trial.attempt, step=trial.step + (state is _PAUSED),
    )  # fmt: skip
