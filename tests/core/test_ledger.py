"""The ledger: what every trial is doing, and that a storage brings it back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shadho import Search, Shadho, spaces
from shadho.errors import StorageError
from shadho.ledger import Ledger
from shadho.records import Attempt, Event, Result, Trial, TrialState
from shadho.storage import Storage, replay
from shadho.storage.jsonl import JSONLines
from shadho.storage.memory import Memory
from shadho.storage.sqlite import SQLite
from shadho.testing import LedgerSuite

X = {'x': spaces.uniform(0, 1)}


class TestLedger(LedgerSuite):
    pass


class TestLedgerOfAStorage(LedgerSuite):
    """The suite again, with each log written to a file and read from it."""

    @pytest.fixture(autouse=True, params=[SQLite, JSONLines, Memory])
    def take_storage(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        self.storage: Storage = Memory() if request.param is Memory else request.param(tmp_path / 'log')

    def replayed(self, records: Sequence[Event]) -> Ledger:
        with self.storage as storage:
            for record in records:
                storage.append(record)
        for _ in replay(self.storage):
            pass
        return super().replayed([record for _, record in self.storage.read()])


@pytest.mark.parametrize(
    ('records', 'reason'),
    [
        ([Trial(1, 0, (0.5,), {})], 'record 1 is trial 1, and there is no trial 0 before'),
        ([Trial(0, 0, (0.5,), {})] * 2, 'record 2 is trial 0, which was begun before'),
        ([Trial(0, 0, (0.5,), {}), Result(0, TrialState.LOST), Attempt(0, 0)], 'record 3 is attempt 0 at trial 0, after attempt 0'),
        ([Trial(0, 0, (0.5,), {}, attempt=2), Result(0, TrialState.DONE, 1.0, attempt=1)], 'record 2 is a result of attempt 1 at trial 0, of which attempt 2 runs'),
        ([Result(0, TrialState.DONE, 1.0)], 'record 1 is a result of trial 0, which was never begun'),
        ([Trial(0, 0, (0.5,), {}), Result(0, TrialState.LOST), Result(0, TrialState.DONE, 1.0)], 'record 3 is a result of trial 0, which waits for its next attempt'),
        ([Trial(0, 0, (0.5,), {}), *[Result(0, TrialState.DONE, 1.0)] * 2], 'record 3 is a result of trial 0, which was finished before'),
        ([Trial(0, 0, (1.5,), {}), Result(0, TrialState.DONE, 1.0)], 'record 2 is a result of trial 0, which could not be run'),
    ],
)  # fmt: skip
def test_a_log_that_contradicts_itself_says_where_and_why(records: Sequence[Event], reason: str) -> None:
    with Memory() as storage:
        for record in records:
            storage.append(record)
        with pytest.raises(StorageError, match=reason):
            list(replay(storage))


def test_lost_attempts_count_across_runs() -> None:
    ledger = Ledger()
    ledger.apply(Trial(0, 0, (0.5,), {}))
    for attempt, state in enumerate((TrialState.LOST, TrialState.CANCELLED, TrialState.LOST), 1):
        ledger.apply(Result(0, state))
        ledger.apply(Attempt(0, attempt))
    assert ledger.lost(0) == 2  # a cancelled attempt is nobody's fault
    search = Search(X, seed=0)
    first = Trial(0, 0, (0.5,), {'x': 0.5})
    search.restore([first, Result(0, TrialState.LOST), Attempt(0, 1)])
    assert search.ledger.lost(0) == 1
    assert [waiting.id for waiting in search.ledger.waiting] == [0]


def test_the_seconds_of_a_trial_are_those_of_its_attempts_that_ended_in_order() -> None:
    ledger = Ledger()
    ledger.apply(Trial(0, 0, (0.5,), {}))
    states = [TrialState.PAUSED, TrialState.LOST, TrialState.CANCELLED, TrialState.PAUSED]
    for attempt, state in enumerate(states, 1):
        ledger.apply(Result(0, state, seconds=2.0**attempt, step=1))
        ledger.apply(Attempt(0, attempt))
    assert ledger.running[0].seconds == 2 + 16
    paused = ledger.apply(Result(0, TrialState.PAUSED, seconds=100.0, step=2))
    assert paused.seconds == 118
    assert ledger.overview().seconds().tolist() == [118]
    assert ledger.apply(Result(0, TrialState.STOPPED, seconds=50.0, step=2)).seconds == 118  # it did not run


def test_a_policy_that_raises_leaves_a_log_that_can_be_read(tmp_path: Path) -> None:
    def opt(**options: object) -> Shadho:
        return Shadho(
            'broken', lambda params: params['x'], X, 'random', seed=0, backend='inline', max_tasks=5, **options
        )

    broken = opt()

    class Broken(Exception):
        pass

    def fail(tree: object) -> None:
        raise Broken

    broken._new_search = lambda seed: _with(Search(X, 'random', seed=seed, trials_per_tree=3), fail)  # type: ignore[method-assign]
    with pytest.raises(Broken):
        broken.run()
    assert len(opt().run()) == 5


def _with(search: Search, exclude: object) -> Search:
    search.policy.exclude = exclude  # type: ignore[method-assign, assignment]
    return search
