"""The contract of a storage, and the row format that all storages of this package share."""

from __future__ import annotations

import itertools
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import attrs
from typing_extensions import Self

import shadho_worker
from shadho.errors import ConfigurationError, LedgerError, StorageError
from shadho.jsontags import from_json, readable, revive, to_json
from shadho.ledger import Ledger
from shadho.records import (
    LATEST,
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
    check_timing,
    to_plain,
)
from shadho.storage.index import BEGAN, ENDED, REMOVED, LogIndex, index_records
from shadho.storage.lock import WriterLock

__all__ = [
    'ROWS', 'FileStorage', 'Metadata', 'Storage', 'all_of', 'check_durability', 'contradiction', 'event_of', 'in_order', 'reading', 'replay', 'row_of',
]  # fmt: skip

Metadata = dict[str, Any]

_CLASSES = 'classes changed'
"""Kind of the note that stores a `ClassesChanged`."""

_Row = TypeVar('_Row')
_Record = TypeVar('_Record')


class Storage(ABC):
    """An append-only log of the events of a search.

    Invariants
    ----------
    * `read` yields records in the order of `append`, including those that are not flushed yet.
    * Records survive any end of this process after `flush`.
    * There is one writer at a time: `open` refuses a second one and names the first. Readers in other
      processes need no lock.
    * Metadata survive after `update`; their values have JSON types.

    Attributes
    ----------
    suffixes : tuple of str
        File name endings that select this storage; empty if it is not a file.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def open(self) -> None:
        """Open for writing; raise StorageError if that is impossible. Opening twice is harmless."""

    @abstractmethod
    def close(self) -> None:
        """Flush and release the storage; closing twice is harmless."""

    @abstractmethod
    def append(self, event: Event) -> None:
        """Add an event; it is durable after the next `flush`."""

    @abstractmethod
    def flush(self) -> None:
        """Make all appended events durable."""

    @abstractmethod
    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """Yield (position, record) of all records after a position, in order; positions begin at 1.

        It works on a closed storage too, and while another process writes.
        """

    @abstractmethod
    def metadata(self) -> Metadata:
        """Return the metadata from `update`; empty for a new storage."""

    @abstractmethod
    def update(self, **values: Any) -> None:
        """Store metadata; durable at once."""

    def index(self) -> LogIndex:
        """Return the log without parameters and results, as columns; often much faster than `read`.

        Raises
        ------
        StorageError
            Where the log contradicts itself.
        """
        with closing(replay(self)) as log:
            return index_records(log)

    def at(self, positions: Collection[int]) -> dict[int, Event]:
        """Return the records at the given positions, such as those of an `index`.

        Raises
        ------
        StorageError
            When a position has no record.
        """
        wanted, found = set(positions), {}
        if wanted:
            log = itertools.takewhile(lambda item: item[0] <= max(wanted), self.read(min(wanted) - 1))
            found = {position: record for position, record in log if position in wanted}
        return all_of(self, wanted, found)

    def writer(self) -> str | None:
        """Return the current writer, as in 'process 12 on node7'; None if there is none or it is unknown."""
        return None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StorageError:
            if error is None:  # otherwise the first error is the cause, and must not be hidden
                raise


class FileStorage(Storage):
    """A storage in one file.

    Parameters
    ----------
    path : str or Path
    durability : {'normal', 'full'}, default 'normal'
        With 'normal', flushed records survive a killed process, but a power cut may lose the last
        ones. With 'full' they survive that too, at the cost of one disk sync per flush.

    Notes
    -----
    `writer` works for storages that hold ``WriterLock(path)`` while open.
    """

    def __init__(self, path: str | Path, *, durability: str = 'normal') -> None:
        self.path = Path(path)
        self.durability = check_durability(durability)

    def writer(self) -> str | None:
        return WriterLock(self.path).holder()

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {str(self.path)!r}>'


def check_durability(durability: Any) -> str:
    """Return a valid durability."""
    if not isinstance(durability, str) or durability not in ('normal', 'full'):
        raise ConfigurationError(f"durability must be 'normal' or 'full'; got {durability!r}")
    return durability


def _trial_row(trial: Trial) -> dict[str, Any]:
    """Return a suggestion as a row of plain columns (numbers and JSON texts)."""
    return {
        'trial': trial.id,
        'tree': str(trial.tree),
        'point': json.dumps(trial.point),
        'params': to_json(trial.params),
        'compute_class': trial.compute_class,
        'resources': json.dumps(dict(trial.resources)),
        'meta': to_json(trial.meta) if trial.meta else '{}',
        'started': trial.started,
        'attempt': trial.attempt,
        'until': trial.until,
    }


def reading(function: Callable[[_Row], _Record]) -> Callable[[_Row], _Record]:
    """Wrap a function that reads a file's data, so that it raises nothing but ValueError."""

    def read(row: _Row) -> _Record:
        try:
            return function(row)
        except Exception as error:  # corrupt texts may break NumPy or the interpreter's limits
            raise ValueError(f'{type(error).__name__}: {error!s:.300}') from error  # its text may quote the whole row

    return read


@reading
def _read_trial(row: dict[str, Any]) -> Trial:
    """Return the trial of a row from `_trial_row`; raise ValueError for anything else."""
    return Trial(
        id=_number(row, 'trial'),
        tree=int(row['tree']),
        point=_coordinates(row['point']),
        params=from_json(row['params']),
        compute_class=_text(row, 'compute_class'),
        resources=_mapping(row, 'resources'),
        meta=_mapping(row, 'meta'),
        started=_seconds(row, 'started'),
        attempt=_number(row, 'attempt'),
        until=None if row['until'] is None else _number(row, 'until'),
    )


def _result_row(result: Result) -> dict[str, Any]:
    """Return a result as a row of plain columns."""
    return {
        'trial': result.trial,
        'state': result.state.value,
        'loss': result.loss,
        'results': to_json(result.results),
        'error': None if result.error is None else to_json(attrs.asdict(result.error)),
        'started': result.started,
        'finished': result.finished,
        'seconds': result.seconds,
        'host': shadho_worker.jsonable(result.host),
        'output': shadho_worker.jsonable(result.output),
        'attempt': result.attempt,
        'reason': result.reason,
        'step': result.step,
        'timing': json.dumps(dict(result.timing)),
    }


@reading
def _read_result(row: dict[str, Any]) -> Result:
    """Return the result of a row from `_result_row`; raise ValueError for anything else."""
    state, error = TrialState(row['state']), row['error']
    return Result(
        trial=_number(row, 'trial'),
        state=state,
        loss=_loss(row, state),
        results=_results(row['results']),
        error=None if error is None else _error(from_json(error)),
        started=_seconds(row, 'started') or 0.0,
        finished=_seconds(row, 'finished') or 0.0,
        seconds=_seconds(row, 'seconds') or 0.0,
        host=_text(row, 'host'),
        output=_text(row, 'output'),
        attempt=None if row['attempt'] is None else _number(row, 'attempt'),
        reason=_text(row, 'reason'),
        step=_number(row, 'step'),
        timing=check_timing(json.loads(row.get('timing', '{}'))),  # which earlier files lack
    )


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    return {
        'trial': attempt.trial,
        'attempt': attempt.number,
        'compute_class': attempt.compute_class,
        'resources': json.dumps(dict(attempt.resources)),
        'started': attempt.started,
        'until': attempt.until,
    }


@reading
def _read_attempt(row: dict[str, Any]) -> Attempt:
    return Attempt(
        trial=_number(row, 'trial'),
        number=_number(row, 'attempt'),
        compute_class=_text(row, 'compute_class'),
        resources=_mapping(row, 'resources'),
        started=_seconds(row, 'started'),
        until=None if row['until'] is None else _number(row, 'until'),
    )


def _report_row(report: Report) -> dict[str, Any]:
    return {
        'trial': report.trial,
        'attempt': report.attempt,
        'step': report.step,
        'results': to_json(report.results),
        'time': report.time,
    }


@reading
def _read_report(row: dict[str, Any]) -> Report:
    return Report(
        trial=_number(row, 'trial'),
        attempt=_number(row, 'attempt'),
        step=_number(row, 'step'),
        results=_results(row['results']),
        time=_seconds(row, 'time') or 0.0,
    )


def _note_row(event: ClassesChanged | FolderRemoved | RunBegan | RunEnded | Note) -> dict[str, Any]:
    """Return an event of the search as a row: its kind, time and values."""
    trial: int | None = None
    values: dict[str, Any]
    if isinstance(event, ClassesChanged):
        kind, values = _CLASSES, {'classes': [to_plain(compute_class) for compute_class in event.classes]}
    elif isinstance(event, RunBegan):
        kind, values = BEGAN, {}
    elif isinstance(event, RunEnded):
        kind, values = ENDED, {'reason': event.reason}
    elif isinstance(event, FolderRemoved):
        kind, values, trial = REMOVED, {}, event.trial
    else:
        kind, values, trial = event.kind, dict(event.values), event.trial
    return {'kind': kind, 'trial': trial, 'time': event.time, 'values': to_json(values)}


@reading
def _read_note(row: dict[str, Any]) -> ClassesChanged | FolderRemoved | RunBegan | RunEnded | Note:
    kind, time, values = _text(row, 'kind'), _seconds(row, 'time') or 0.0, _mapping(row, 'values')
    if kind == _CLASSES:
        return ClassesChanged([ComputeClass(**revive(facts)) for facts in values['classes']], time)
    if kind == REMOVED:
        return FolderRemoved(_number(row, 'trial'), time)
    if kind == BEGAN:
        return RunBegan(time)
    if kind == ENDED:
        return RunEnded(time, _text(values, 'reason'))
    return Note(kind, values, None if row['trial'] is None else _number(row, 'trial'), time)


ROWS: Mapping[str, Callable[[dict[str, Any]], Event]] = {
    'trial': _read_trial,
    'attempt': _read_attempt,
    'report': _read_report,
    'result': _read_result,
    'note': _read_note,
}
"""Reader of the rows of each kind. Events of the search are notes, whose `kind` tells them apart."""


def event_of(kind: str, row: dict[str, Any]) -> Event:
    """Return the event of a row from `row_of`; raise ValueError or, for an unknown kind, KeyError."""
    return ROWS[kind](row)


def row_of(event: Event) -> tuple[str, dict[str, Any]]:
    """Return the kind and the row of an event: columns of numbers, texts and JSON texts."""
    if isinstance(event, Result):
        return 'result', _result_row(event)
    if isinstance(event, Trial):
        return 'trial', _trial_row(event)
    if isinstance(event, Report):
        return 'report', _report_row(event)
    if isinstance(event, Attempt):
        return 'attempt', _attempt_row(event)
    return 'note', _note_row(event)


def _number(row: Mapping[str, Any], name: str) -> int:
    value = row[name]
    if type(value) is not int or not -1 <= value < 2**63:
        raise ValueError(f'{name} is {value!r:.80}')
    return value


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise ValueError(f'{name} is not a text: {value!r:.80}')
    return value


def _mapping(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = from_json(row[name])
    if not isinstance(value, dict):
        raise ValueError(f'{name} is not an object: {value!r:.80}')
    return value


def _results(text: str) -> Mapping[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f'results is not an object: {value!r:.80}')
    return readable(value) if '$' in text else value


def _seconds(row: Mapping[str, Any], name: str) -> float | None:
    value = row[name]
    if value is not None and (not isinstance(value, (int, float)) or not abs(value) < LATEST):
        raise ValueError(f'{name} is not a number of seconds: {value!r:.80}')
    return value


def _coordinates(text: str) -> tuple[float, ...]:
    point = tuple(json.loads(text))
    if not all(type(u) in (int, float) for u in point):
        raise ValueError(f'point is not a list of numbers: {text:.80}')
    return point


def _loss(row: Mapping[str, Any], state: TrialState) -> float | None:
    value = row['loss']
    if value is None and state is not TrialState.DONE:
        return None
    if type(value) not in (int, float) or math.isnan(value):
        raise ValueError(f'the loss of a trial that is {state} is {value!r:.80}')
    return float(value)


def _error(facts: Mapping[str, Any]) -> TrialError:
    return TrialError(*(_text(facts, name) for name in ('kind', 'message', 'traceback')))


def in_order(storage: Storage) -> Generator[tuple[int, Event], None, None]:
    """Yield positions and records of a log; raise StorageError where positions do not increase."""
    last = 0
    log = storage.read()
    try:
        for position, record in log:
            if position <= last:
                raise contradiction(storage, position, 'has the position of another one')
            last = position
            yield position, record
    finally:  # a traceback may keep the generator alive, whose open cursor would lock out writers
        if isinstance(log, Generator):
            log.close()


def replay(storage: Storage, ledger: Ledger | None = None) -> Generator[tuple[int, Event, Trial | None], None, None]:
    """Apply a log to a ledger, event by event.

    Parameters
    ----------
    storage : Storage
    ledger : Ledger, optional
        A new one by default.

    Yields
    ------
    position : int
    event : Event
    trial : Trial or None
        The trial after the event (see `Ledger.apply`).

    Raises
    ------
    StorageError
        Where the log contradicts itself.
    """
    ledger = Ledger() if ledger is None else ledger
    with closing(in_order(storage)) as log:
        for position, event in log:
            try:
                trial = ledger.apply(event)
            except LedgerError as error:
                raise contradiction(storage, position, error) from error
            yield position, event, trial


def all_of(storage: Storage, positions: set[int], found: dict[int, Event]) -> dict[int, Event]:
    """Return the records found; raise StorageError if one is missing."""
    if missing := positions - found.keys():
        raise StorageError(f'{storage} has no record {min(missing)}; was the file replaced in the meantime?')
    return found


def contradiction(storage: Storage, position: int, reason: Any) -> StorageError:
    """Return the error for a record that contradicts earlier ones."""
    return StorageError(
        f'{storage} contradicts itself: record {position} {reason}. Was it edited or damaged? Give another exp_key to start over'
    )
