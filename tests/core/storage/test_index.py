"""The index of a log: chosen by columns, whatever way it was made."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from shadho.errors import StorageError
from shadho.goal import Goal
from shadho.records import Attempt, Report, Result, RunBegan, RunEnded, Trial, TrialState
from shadho.storage import LogIndex, Storage, replay
from shadho.storage.index import STATES, index_records
from shadho.storage.memory import Memory
from shadho.storage.sqlite import SQLite


def filled(storage: Storage, count: int = 30) -> Storage:
    """Return a storage of which every third trial is lost once, and every fifth fails."""
    rng = np.random.default_rng(0)
    with storage:
        storage.append(RunBegan())
        for number in range(count):
            trial = Trial(
                number,
                number % 2,
                tuple(rng.random(number % 2 + 1).tolist()),
                {'x': number},
                started=float(number),
            )
            storage.append(trial)
            if number % 3 == 0:
                storage.append(Result(number, TrialState.LOST, started=number, finished=number + 0.5))
                storage.append(Attempt(number, 1, 'elsewhere', {'cores': 2}, number + 0.5))
            state = TrialState.FAILED if number % 5 == 0 else TrialState.DONE
            loss = None if state is TrialState.FAILED else float(rng.integers(4))
            storage.append(Result(number, state, loss, started=number, finished=number + 1.5, seconds=0.25))
        storage.append(Trial(count, 0, (0.5,), {}, started=1e6))
        storage.append(RunEnded(1e6, 'timeout'))
    return storage


def as_dict(index: LogIndex) -> dict[str, Any]:
    return {name: repr(value) for name, value in vars(index).items()}


def test_rows_of_sqlite_make_the_index_that_its_records_make(tmp_path: Path) -> None:
    storage = filled(SQLite(tmp_path / 'a.db'), 5000)
    assert (
        as_dict(storage.index()) == as_dict(index_records(replay(storage))) == as_dict(filled(Memory(), 5000).index())
    )


@pytest.mark.parametrize('seed', range(5))
def test_trials_that_paused_went_on_or_were_stopped_make_the_same_index(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with SQLite(tmp_path / 'a.db') as storage:
        trials: dict[int, Trial] = {}
        for position in range(400):
            running = [trial for trial in trials.values() if trial.state is TrialState.RUNNING]
            paused = [trial for trial in trials.values() if trial.state is TrialState.PAUSED]
            if running and chance.random() < 0.6:
                trial = chance.choice(running)
                state = chance.choice(
                    [TrialState.PAUSED, TrialState.PAUSED, TrialState.DONE, TrialState.STOPPED, TrialState.FAILED]
                )
                step = trial.step + 1 + chance.randrange(3)
                loss = None if state is TrialState.FAILED else chance.random()
                if chance.random() < 0.5:
                    storage.append(Report(trial.id, trial.attempt, step, {'loss': loss}, float(position)))
                result = Result(
                    trial.id,
                    state,
                    loss,
                    started=float(position),
                    finished=position + 0.5,
                    seconds=0.5,
                    attempt=trial.attempt,
                    step=step,
                )
                storage.append(result)
                trials[trial.id] = trial.with_result(result)
            elif paused and chance.random() < 0.3:
                attempt = Attempt(chance.choice(paused).id, position, 'b', started=float(position), until=position)
                storage.append(attempt)
                trials[attempt.trial] = trials[attempt.trial].begun_again(attempt)
            elif paused and chance.random() < 0.1:
                result = attrs.evolve(chance.choice(paused).result(), state=TrialState.STOPPED)
                storage.append(result)
                trials[result.trial] = trials[result.trial].with_result(result)
            else:
                trial = Trial(len(trials), 0, (chance.random(),), {}, started=float(position), until=1)
                storage.append(trial)
                trials[trial.id] = trial
        index = storage.index()
        assert as_dict(index) == as_dict(index_records(replay(storage)))
    resting = {trial.id: trial for trial in trials.values() if trial.state is not TrialState.RUNNING}
    assert set(index.numbers) == set(resting)
    for row, number in enumerate(index.numbers):
        trial = resting[number]
        assert (STATES[index.states[row]], index.steps[row], index.classes[row], index.seconds[row]) == (
            trial.state.value,
            trial.step,
            trial.compute_class,
            trial.seconds,
        )
    best = [index.numbers[row] for row in index.leaders(10, 'minimize')]
    known = [trial for trial in resting.values() if trial.loss is not None]
    assert [trial.loss for trial in sorted(known, key=Goal().rank)[:10]] == [resting[number].loss for number in best]


def test_parameters_and_results_are_not_read(tmp_path: Path) -> None:
    storage = filled(SQLite(tmp_path / 'a.db'))
    change(storage, "UPDATE trials SET params = '{'")
    assert len(storage.index()) == 30
    with pytest.raises(StorageError, match='the file is corrupt'):
        storage.at([2])


@pytest.mark.parametrize(
    ('statement', 'message'),
    [
        ("UPDATE trials SET point = '[0.5' WHERE trial = 3", 'the file is corrupt'),
        ("UPDATE trials SET point = '[0.5],[0.5]' WHERE trial = 3", 'the file is corrupt'),
        ("UPDATE trials SET point = '[true]' WHERE trial = 4", 'point is not a list of numbers'),
        ("UPDATE trials SET point = '[0.5, NaN]' WHERE trial = 3", 'could not be run'),
        ("UPDATE trials SET tree = 'x' WHERE trial = 3", 'the file is corrupt'),
        ("UPDATE trials SET trial = 'x' WHERE trial = 3", "trial is 'x'"),
        ("UPDATE trials SET compute_class = x'00' WHERE trial = 4", 'compute_class is not a text'),
        ("UPDATE trials SET started = 1e300 WHERE trial = 3", 'started is not a number of seconds'),
        ("UPDATE results SET loss = 'x' WHERE trial = 4 AND state = 'done'", "is 'x'"),
        ("UPDATE results SET loss = NULL WHERE trial = 4", 'is None'),
        ("UPDATE results SET state = 'gone' WHERE trial = 4", "'gone' is not a valid TrialState"),
        ("UPDATE results SET finished = 'x' WHERE trial = 4", 'finished is not a number of seconds'),
        ("UPDATE results SET position = 2 WHERE trial = 4", 'has the position of another one'),
        ("DELETE FROM trials WHERE trial = 4", 'contradicts itself'),
    ],
)  # fmt: skip
def test_a_damaged_file_says_what_reading_it_says(tmp_path: Path, statement: str, message: str) -> None:
    storage = filled(SQLite(tmp_path / 'a.db'))
    change(storage, statement)
    with pytest.raises(StorageError, match=message):
        storage.index()


def test_the_best_come_first_and_the_earliest_of_equals() -> None:
    index = filled(Memory()).index()
    losses = [(-loss, row) for row, loss in enumerate(index.losses) if not index.failed[row]]
    assert index.leaders(7, 'maximize') == [row for _, row in sorted(losses)[:7]]
    assert index.leaders(7, 'minimize') == [row for _, row in sorted((-loss, row) for loss, row in losses)[:7]]
    assert len(index.leaders(100, 'minimize')) == 24


@pytest.mark.parametrize('direction', ['minimize', 'maximize'])
def test_its_history_is_that_of_a_search_that_learned_each_trial(direction: str) -> None:
    storage = filled(Memory())
    index = storage.index()
    history = index.history(direction)
    sign = -1 if direction == 'maximize' else 1
    assert (len(history), history.asked, history.trees, history.states[TrialState.FAILED]) == (30, 30, [0, 1], 6)
    assert np.array_equal(history.losses(1), sign * np.array(index.losses)[1::2], equal_nan=True)
    assert history.points(1).shape == (15, 2)
    assert (history.asked_in(0), history.classes, history.compute_classes().tolist()) == (
        15,
        ['elsewhere', 'default'],
        [number % 3 > 0 for number in range(30)],
    )
    tree, point, _ = history.trial(1)
    assert (tree, point.tolist()) == (
        1,
        list(next(record.point for _, record in storage.read(3) if isinstance(record, Trial) and record.id == 1)),
    )


def change(storage: SQLite, statement: str) -> None:
    with sqlite3.connect(storage.path) as connection:
        connection.execute(statement)
    connection.close()
