"""What every storage must do."""

from __future__ import annotations

import math
import os
import pickle
import signal
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from shadho.errors import StorageError
from shadho.records import (
    Attempt,
    ClassesChanged,
    ComputeClass,
    Event,
    FolderRemoved,
    Hardware,
    Note,
    Report,
    Result,
    RunBegan,
    RunEnded,
    Trial,
    TrialError,
    TrialState,
)
from shadho.storage import Storage

__all__ = ['DurableStorageSuite', 'StorageSuite']

_VALUES = {
    'texts': ['', 'ü ☃ 🌲', 'line\nline\0end', '"quoted" \\ {"$tuple": [1]}'],
    'integers': [0, -1, 2**63, -(2**200)],
    'floats': [0.1 + 0.2, 5e-324, 1.7976931348623157e308, math.inf, -math.inf],
    'constants': [None, True, False],
    'tuples': (1, ('a', (), [(2.5,)])),
    'complex': 1 - 2j,
    'bytes': b'\x00\xff',
    'odd keys': {1: 'one', (2, 3): 'pair', None: 'none', 1.5: 'float'},
    'tags': {'$tuple': [1, 2], '$': '', '$repr': 'x'},
    'empty': [{}, [], ()],
}
"""Parameters and results that must come back equal, and of the same types."""


def _trial(number: int, **values: Any) -> Trial:
    own: dict[str, Any] = {'tree': 0, 'point': (0.5,), 'params': {'x': number}, 'started': 0.5}
    return Trial(number, **{**own, **values})


def _result(number: int, **values: Any) -> Result:
    return Result(number, values.pop('state', TrialState.DONE), **{'loss': 0.5, 'results': {'loss': 0.5}, **values})


def _records(count: int) -> list[Event]:
    """Return trials and results as searches append them: two run at once, and results come later."""
    records: list[Event] = []
    for number in range(count):
        records.append(_trial(number))
        if number:
            records.append(_result(number - 1))
    return records


def _read(storage: Storage, after: int = 0) -> list[Event]:
    return [record for _, record in storage.read(after)]


class StorageSuite(ABC):
    """Tests of the contract of `shadho.storage.Storage`.

    A storage is a log of events: what was appended is read back in the same order, with nothing lost or
    changed, whatever objectives return.
    """

    @abstractmethod
    def make(self, place: Path) -> Storage:
        """Return a new storage, not open yet, for the records at `place`.

        Parameters
        ----------
        place : Path
            A file name, without an ending, in an empty folder; to be ignored by storages that are
            no file. The same place means the same records.
        """

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """Where the storage of a test lies."""
        return tmp_path / 'search'

    def test_records_are_read_in_the_order_in_which_they_were_appended(self, place: Path) -> None:
        with self.make(place) as storage:
            for record in _records(20):
                storage.append(record)
            storage.flush()
            assert _read(storage) == _records(20)

    def test_positions_count_from_one(self, place: Path) -> None:
        with self.make(place) as storage:
            for record in _records(5):
                storage.append(record)
            assert [position for position, _ in storage.read()] == list(range(1, 10))

    def test_reading_can_begin_after_any_position(self, place: Path) -> None:
        records = _records(5)
        with self.make(place) as storage:
            for record in records:
                storage.append(record)
            for after in range(len(records) + 2):
                expected = list(enumerate(records, 1))[after:]
                assert list(storage.read(after)) == expected

    def test_what_was_appended_is_read_also_before_a_flush(self, place: Path) -> None:
        with self.make(place) as storage:
            storage.append(_trial(0))
            assert _read(storage) == [_trial(0)]
            storage.append(_result(0))
            assert _read(storage, 1) == [_result(0)]

    def test_every_event_is_kept(self, place: Path) -> None:
        classes = [
            ComputeClass('8-core ☃', 3, Hardware(8, 100, ('V100', 'A100'), 'EPYC', {'scratch': (1, 2)}), {'cores': 2.5, 'gpus': 1}),
            ComputeClass(),
        ]  # fmt: skip
        events: list[Event] = [
            RunBegan(0.25), ClassesChanged(classes, 0.1 + 0.2), _trial(0), _result(0, state=TrialState.LOST, loss=None),
            Attempt(0, 2, '8-core ☃', {'cores': 8}, 12.25), Report(0, 2, 1, {'loss': 0.1 + 0.2, 'curve': (1, math.inf)}, 13.5), Report(0, 2, 5), _result(0, state=TrialState.CANCELLED, loss=None, attempt=2, reason='moved'),
            Attempt(0, 3), _result(0, attempt=3), ClassesChanged([]), Note('tag', {'text': 'ü', 'of': [1, None]}, 0, 3.5), Note('new'),
            _trial(1), _result(1, state=TrialState.PAUSED, step=3, timing={'setup': 0.1 + 0.2, 'save': 2}), FolderRemoved(1, 8.25), RunEnded(99.5, 'max_tasks'),
        ]  # fmt: skip
        with self.make(place) as storage:
            for event in events:
                storage.append(event)
            assert _read(storage) == events
            assert storage.at(range(1, 18)) == dict(enumerate(events, 1))

    def test_nothing_is_read_of_a_new_storage(self, place: Path) -> None:
        with self.make(place) as storage:
            assert _read(storage) == []
            assert storage.metadata() == {}

    def test_opening_flushing_and_closing_twice_is_harmless(self, place: Path) -> None:
        storage = self.make(place)
        for step in (storage.open, storage.open, storage.flush, storage.flush, storage.close, storage.close):
            step()
        storage.open()
        storage.append(_trial(0))
        storage.close()

    def test_closing_what_was_never_opened_is_harmless(self, place: Path) -> None:
        self.make(place).close()

    def test_metadata_is_kept_and_replaced_by_name(self, place: Path) -> None:
        with self.make(place) as storage:
            storage.update(seed=3, space='x\ny')
            storage.update(seed=2**70, nested={'a': [1, None, 0.1]})
            assert storage.metadata() == {'seed': 2**70, 'space': 'x\ny', 'nested': {'a': [1, None, 0.1]}}

    def test_the_index_says_of_each_trial_how_it_was_finished_last(self, place: Path) -> None:
        with self.make(place) as storage:
            for record in (
                _trial(0, tree=2**70, point=(0.25, 1.0)), _trial(1), _result(0, loss=-1.5, started=1.0, finished=3.0, seconds=2.0),
                Report(1, 0, 3, {'loss': 2.0}, 8.0), _result(1, state=TrialState.LOST, loss=None, finished=9.0), _trial(2), _trial(3), Attempt(1, 1, 'b'),
                _result(1, state=TrialState.FAILED, loss=None), _result(2, state=TrialState.CANCELLED, loss=None),
            ):  # fmt: skip
                storage.append(record)
            index = storage.index()
        assert (list(index.numbers), index.trees, index.classes) == ([0, 1], [2**70, 0], ['default', 'b'])
        assert (list(index.trials), list(index.results), list(index.failed)) == ([1, 2], [3, 9], [0, 1])
        assert index.attempts == {1: 8}
        assert (index.losses[0], math.isnan(index.losses[1])) == (-1.5, True)
        assert (index.started[0], index.finished[0], index.seconds[0], index.latest) == (1.0, 3.0, 2.0, 9.0)
        assert (list(index.points), list(index.offsets)) == ([0.25, 1.0, 0.5], [0, 2, 3])
        assert (index.running, index.waiting) == ({3: 7}, {2: 6})

    def test_the_index_says_why_the_latest_run_ended(self, place: Path) -> None:
        stopped = []
        with self.make(place) as storage:
            for event in (RunBegan(), RunEnded(4.5, 'timeout'), Note('tag', time=7.0), RunBegan(4.5)):
                storage.append(event)
                index = storage.index()
                stopped.append(index.stopped)
        assert (stopped, index.latest) == (['', 'timeout', 'timeout', ''], 7.0)

    def test_the_index_knows_that_a_trial_without_its_folder_begins_again(self, place: Path) -> None:
        with self.make(place) as storage:
            for event in (
                _trial(0), Report(0, 0, 3, {'loss': 0.5}), _result(0, state=TrialState.PAUSED, step=3), FolderRemoved(0, 4.5),
                Attempt(0, 1), Report(0, 1, 1, {'loss': 0.7}), _result(0, state=TrialState.PAUSED, step=1),
            ):  # fmt: skip
                storage.append(event)
            index = storage.index()
        assert (list(index.numbers), list(index.steps), list(index.results), index.latest) == ([0], [1], [7], 4.5)

    def test_the_index_of_nothing_is_empty(self, place: Path) -> None:
        with self.make(place) as storage:
            index = storage.index()
        assert (len(index), index.running, index.waiting, index.latest) == (0, {}, {}, 0.0)

    @pytest.mark.parametrize(
        ('records', 'message'),
        [
            ([_result(0)], 'never begun'),
            ([_trial(0), _result(0), _result(0)], 'finished before'),
            ([_trial(1)], 'no trial 0 before'),
            ([_trial(0), _trial(0, point=(0.25,))], 'begun before'),
            ([Attempt(0, 1)], 'never begun'),
            ([_trial(0), Report(0, 1, 1)], 'of attempt 1 at trial 0, of which attempt 0 runs'),
            ([_trial(0), Report(0, 0, 2), Report(0, 0, 2)], 'step 2 of trial 0, after that of step 2'),
            ([_trial(0), _result(0), Report(0, 0, 1)], 'finished before'),
            ([_trial(0), Attempt(0, 1)], 'attempt 0 runs'),
            ([_trial(0), _result(0), Attempt(0, 1)], 'finished before'),
            ([_trial(0, attempt=2), _result(0, state=TrialState.LOST, loss=None), Attempt(0, 2)], 'after attempt 2'),
            ([_trial(0), _result(0, state=TrialState.FAILED)], 'failed, with a loss'),
            ([_trial(0, point=(1.5,)), _result(0)], 'could not be run'),
            ([_trial(0), FolderRemoved(0)], 'neither waits nor is paused'),
        ],
    )
    def test_a_log_that_contradicts_itself_has_no_index(self, place: Path, records: list[Event], message: str) -> None:
        with self.make(place) as storage:
            for record in records:
                storage.append(record)
            with pytest.raises(StorageError, match=message):
                storage.index()

    def test_a_failed_trial_need_not_have_a_point_that_could_be_run(self, place: Path) -> None:
        with self.make(place) as storage:
            for record in (_trial(0, point=(1.5,)), _result(0, state=TrialState.FAILED, loss=None)):
                storage.append(record)
            assert list(storage.index().points) == [1.5]

    def test_records_are_found_by_their_positions(self, place: Path) -> None:
        records = _records(1000)
        with self.make(place) as storage:
            for record in records:
                storage.append(record)
            assert storage.at([5, 1, 5]) == {1: records[0], 5: records[4]}
            assert storage.at(range(1, len(records) + 1)) == dict(enumerate(records, 1))
            assert storage.at([]) == {}
            with pytest.raises(StorageError, match='no record 5000'):
                storage.at([1, 5000])

    def test_metadata_is_no_record(self, place: Path) -> None:
        with self.make(place) as storage:
            storage.append(_trial(0))
            storage.update(seed=3)
            storage.append(_result(0))
            assert list(storage.read()) == [(1, _trial(0)), (2, _result(0))]

    def test_every_field_of_a_trial_is_kept(self, place: Path) -> None:
        trial = Trial(
            id=2**40, tree=7, point=(0.0, 1.0, 0.1 + 0.2), params={'x': 1.0}, compute_class='8-core ☃',
            resources={'cores': 8, 'memory': 100}, meta={'generation': 2, 'of': [1, 2]}, started=12.25,
        )  # fmt: skip
        assert self._kept(place, trial) == trial

    def test_every_field_of_a_result_is_kept(self, place: Path) -> None:
        error = TrialError('crash', 'SIGSEGV in "f"', 'Traceback …\n  line\n')
        result = Result(
            trial=2**40, state=TrialState.FAILED, loss=None, results={'a': 1}, error=error, started=1.5, finished=2.5,
            seconds=0.1 + 0.2, host='nöde-1', output='printed\r\n\0' * 100,
        )  # fmt: skip
        assert self._kept(place, result) == result

    @pytest.mark.parametrize('state', [state for state in TrialState if state is not TrialState.RUNNING])
    def test_every_state_of_a_result_is_kept(self, place: Path, state: TrialState) -> None:
        assert self._kept(place, _result(0, state=state)) == _result(0, state=state)

    @pytest.mark.parametrize('loss', [0.0, 1e-320, -1.5, 1e308, math.inf, -math.inf])
    def test_every_loss_is_kept(self, place: Path, loss: float) -> None:
        assert self._kept(place, _result(0, loss=loss)) == _result(0, loss=loss)

    @pytest.mark.parametrize('name', list(_VALUES))
    def test_values_come_back_as_they_were(self, place: Path, name: str) -> None:
        value = _VALUES[name]
        trial = self._kept(place, _trial(0, params={'value': value}))
        assert repr(trial.params) == repr({'value': value})
        result = self._kept(place, _result(0, results={'value': value}))
        assert repr(result.results) == repr({'value': value})

    def test_parameters_need_not_be_a_dict(self, place: Path) -> None:
        for params in (0.5, (1, 'a'), [1, 2], None):
            assert self._kept(place, _trial(0, params=params)).params == params

    def test_nan_is_kept_in_what_an_objective_returns(self, place: Path) -> None:
        result = self._kept(place, _result(0, results={'history': [1.0, math.nan]}))
        assert result.results['history'][0] == 1.0
        assert math.isnan(result.results['history'][1])

    @pytest.mark.parametrize('dtype', ['float32', 'float64', 'int8', 'uint64', 'bool', 'complex128', 'U3'])
    def test_arrays_are_kept_with_their_type(self, place: Path, dtype: str) -> None:
        array = np.array([[0, 1], [1, 0]]).astype(dtype)
        kept = self._kept(place, _result(0, results={'array': array})).results['array']
        assert kept.dtype == array.dtype
        assert np.array_equal(kept, array)

    def test_text_that_utf8_cannot_hold_stops_nothing(self, place: Path) -> None:
        odd = 'name\udcff'
        result = _result(0, results={odd: odd}, error=TrialError('exception', odd, odd), host=odd, output=odd)
        with self.make(place) as storage:
            for record in (_trial(0, params={odd: odd}), result, _trial(1)):
                storage.append(record)
            storage.flush()
            trial, kept, after = _read(storage)
        assert isinstance(trial, Trial)
        assert isinstance(kept, Result)
        assert all(key.startswith('name') for key in (*trial.params, *kept.results, kept.output, kept.host))
        assert after == _trial(1)

    def test_objects_leave_at_least_their_description(self, place: Path) -> None:
        kept = self._kept(place, _result(0, results={'model': np.random.default_rng}))
        assert 'default_rng' in str(kept.results['model'])

    @pytest.mark.parametrize('tree', [2**63, 2**64, 10**40])
    def test_numbers_of_trees_may_exceed_64_bits(self, place: Path, tree: int) -> None:
        assert self._kept(place, _trial(0, tree=tree)).tree == tree

    def test_points_are_kept_exactly(self, place: Path) -> None:
        point = tuple(np.random.default_rng(0).random(300).tolist())
        assert self._kept(place, _trial(0, point=point)).point == point
        assert self._kept(place, _trial(0, point=())).point == ()

    def test_large_results_are_kept(self, place: Path) -> None:
        result = _result(0, results={'curve': list(range(100_000))}, output='x' * 1_000_000)
        assert self._kept(place, result) == result

    def _kept(self, place: Path, record: Any) -> Any:
        """Return what a storage makes of a record."""
        with self.make(place) as storage:
            storage.append(record)
            storage.flush()
            return _read(storage)[-1]


class DurableStorageSuite(StorageSuite):
    """Tests of a storage that outlives its process; besides all of `StorageSuite`.

    What was flushed survives the end of the process, also by SIGKILL. One process writes at a time;
    others may read meanwhile.
    """

    def test_records_and_metadata_are_there_when_it_is_opened_again(self, place: Path) -> None:
        with self.make(place) as storage:
            storage.update(seed=3)
            for record in _records(5):
                storage.append(record)
        with self.make(place) as storage:
            assert storage.metadata() == {'seed': 3}
            assert _read(storage) == _records(5)

    def test_positions_go_on_when_it_is_opened_again(self, place: Path) -> None:
        for record in _records(2):
            with self.make(place) as storage:
                storage.append(record)
        assert list(self.make(place).read()) == list(enumerate(_records(2), 1))

    def test_a_closed_storage_can_be_read(self, place: Path) -> None:
        with self.make(place) as storage:
            storage.update(seed=3)
            storage.append(_trial(0))
        assert _read(storage) == [_trial(0)]
        assert _read(self.make(place)) == [_trial(0)]
        assert self.make(place).metadata() == {'seed': 3}

    def test_reading_what_does_not_exist_is_an_error_that_creates_nothing(self, place: Path) -> None:
        for _ in range(2):
            with pytest.raises(StorageError, match='does not exist'):
                _read(self.make(place))
            with pytest.raises(StorageError, match='does not exist'):
                self.make(place).metadata()
        assert list(place.parent.iterdir()) == []

    def test_writing_to_a_closed_storage_is_an_error(self, place: Path) -> None:
        storage = self.make(place)
        with pytest.raises(StorageError, match='not open'):
            storage.append(_trial(0))
        with pytest.raises(StorageError, match='not open'):
            storage.flush()
        with pytest.raises(StorageError, match='not open'):
            storage.update(seed=1)

    def test_a_killed_process_loses_nothing_that_was_flushed(self, place: Path) -> None:
        def search() -> None:
            storage = self.make(place)
            storage.open()
            storage.update(seed=3)
            for record in _records(20):
                storage.append(record)
            storage.flush()
            storage.append(_trial(99))
            os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(_KilledError):
            _in_child(search)
        assert _read(self.make(place))[:39] == _records(20)
        assert self.make(place).metadata() == {'seed': 3}

    def test_a_search_goes_on_after_its_process_was_killed(self, place: Path) -> None:
        def search() -> None:
            storage = self.make(place)
            storage.open()
            for record in _records(3):
                storage.append(record)
            storage.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(_KilledError):
            _in_child(search)
        with self.make(place) as storage:
            storage.append(_result(2))
        assert _read(storage) == [*_records(3), _result(2)]

    def test_a_second_writer_is_refused_and_told_who_the_first_is(self, place: Path) -> None:
        def second() -> str:
            with pytest.raises(StorageError) as caught:
                self.make(place).open()
            return str(caught.value)

        with self.make(place) as storage:
            storage.append(_trial(0))
            for message in (_in_child(second), second()):
                assert str(os.getpid()) in message
            storage.append(_result(0))
        assert _read(storage) == [_trial(0), _result(0)]

    def test_the_next_writer_is_welcome_when_the_first_has_ended(self, place: Path) -> None:
        def one_record(number: int) -> Callable[[], None]:
            def write() -> None:
                with self.make(place) as storage:
                    storage.append(_trial(number))

            return write

        for number in range(3):
            _in_child(one_record(number))
        assert _read(self.make(place)) == [_trial(number) for number in range(3)]

    def test_other_processes_read_while_it_is_written(self, place: Path) -> None:
        with self.make(place) as storage:
            storage.update(seed=3)
            for number in range(3):
                storage.append(_trial(number))
                storage.flush()
                read = _in_child(lambda: (_read(self.make(place)), self.make(place).metadata()))
                assert read == ([_trial(other) for other in range(number + 1)], {'seed': 3})

    def test_a_reader_that_stops_early_does_not_hinder_the_writer(self, place: Path) -> None:
        with self.make(place) as storage:
            for record in _records(50):
                storage.append(record)
            storage.flush()
            reader = self.make(place).read()
            assert next(reader) == (1, _trial(0))
            storage.append(_trial(50))
            storage.flush()
            del reader
        assert len(_read(storage)) == 100

    def test_a_reader_follows_by_positions(self, place: Path) -> None:
        seen: list[Event] = []
        reader = self.make(place)
        with self.make(place) as storage:
            for record in _records(4):
                storage.append(record)
                storage.flush()
                seen += [record for _, record in reader.read(len(seen))]
        assert seen == _records(4)


class _KilledError(Exception):
    """The child process was ended by SIGKILL."""


@attrs.frozen
class _Answer:
    value: Any = None
    error: BaseException | None = None


def _in_child(function: Callable[[], Any]) -> Any:
    """Call a function in a forked process of its own; return what it returns."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # of forking beside threads, which the child does not use
        child = os.fork()
    if child == 0:
        _answer(function, writer)
    os.close(writer)
    with open(reader, 'rb') as file:
        data = file.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        raise _KilledError
    answer = pickle.loads(data)
    if answer.error is not None:
        raise answer.error
    return answer.value


def _answer(function: Callable[[], Any], writer: int) -> None:
    """Write what a function returns or raises, and end the process without any of its exit handlers."""
    try:
        answer = _Answer(function())
    except BaseException as error:
        answer = _Answer(error=AssertionError(f'in the child process: {type(error).__name__}: {error}'))
    try:
        with open(writer, 'wb') as file:
            pickle.dump(answer, file)
    finally:
        os._exit(0)
