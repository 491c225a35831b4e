"""The contract of a storage, and what all storages of this package share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import attrs
from typing_extensions import Self

import shadho_worker
from shadho.errors import ConfigurationError, StorageError
from shadho.records import Result, Trial, TrialError, TrialState, from_json, to_json
from shadho.storage.lock import WriterLock

__all__ = ['FileStorage', 'Metadata', 'Record', 'Storage', 'result_row', 'row_result', 'row_trial', 'trial_row']

Record = Trial | Result
Metadata = dict[str, Any]


class Storage(ABC):
    """An append-only log of trials (as they are handed out) and results (as they come back).

    Invariants
    ----------
    * `read` yields records in the order in which they were appended, also before they are flushed.
    * After `flush`, what was appended survives the end of this process, however it ends.
    * One writer at a time: `open` refuses a second one and says who the first is. Readers of other
      processes need no lock.
    * `metadata` survives likewise; its values are made of JSON's types.

    Attributes
    ----------
    suffixes : tuple of str
        Endings of file names that mean this storage; empty for storages that are no file.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def open(self) -> None:
        """Begin to write; StorageError when that is impossible. Opening twice is harmless."""

    @abstractmethod
    def close(self) -> None:
        """Flush and release; closing twice is harmless."""

    @abstractmethod
    def append(self, record: Record) -> None:
        """Add a record; it is durable after the next `flush`."""

    @abstractmethod
    def flush(self) -> None:
        """Make durable all that was appended."""

    @abstractmethod
    def read(self, after: int = 0) -> Iterator[tuple[int, Record]]:
        """Yield (position, record) of all records after a position, in order; positions begin at 1.

        Works on a closed storage too, and while another process writes.
        """

    @abstractmethod
    def metadata(self) -> Metadata:
        """Return what `update` stored; empty for a new storage."""

    @abstractmethod
    def update(self, **values: Any) -> None:
        """Store metadata; durable at once."""

    def writer(self) -> str | None:
        """Say which process writes now, as in 'process 12 on node7'; None when nobody does, or it is not known."""
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
            if error is None:  # else what happened first is what has to be told
                raise


class FileStorage(Storage):
    """A storage in one file.

    Parameters
    ----------
    path : str or Path
    durability : {'normal', 'full'}, default 'normal'
        With 'normal', a killed process loses nothing that was flushed, and a power cut may lose the
        last moments; with 'full' it does not, at the cost of one disk sync for each step.

    Notes
    -----
    A storage that holds ``WriterLock(path)`` while it is open can say who its `writer` is.
    """

    def __init__(self, path: str | Path, *, durability: str = 'normal') -> None:
        if durability not in ('normal', 'full'):
            raise ConfigurationError(f"durability must be 'normal' or 'full'; got {durability!r}")
        self.path = Path(path)
        self.durability = durability

    def writer(self) -> str | None:
        return WriterLock(self.path).holder()

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {str(self.path)!r}>'


def trial_row(trial: Trial) -> dict[str, Any]:
    """Write what was asked as a row of plain columns (numbers and JSON texts)."""
    return {
        'trial': trial.id,
        'tree': str(trial.tree),
        'sample': trial.sample,
        'point': json.dumps(trial.point),
        'params': to_json(trial.params),
        'compute_class': trial.compute_class,
        'resources': json.dumps(dict(trial.resources)),
        'meta': to_json(trial.meta) if trial.meta else '{}',
        'started': trial.started,
    }


def row_trial(row: dict[str, Any]) -> Trial:
    """Read what `trial_row` wrote."""
    return Trial(
        id=row['trial'],
        tree=int(row['tree']),
        sample=row['sample'],
        point=tuple(from_json(row['point'])),
        params=from_json(row['params']),
        compute_class=row['compute_class'],
        resources=from_json(row['resources']),
        meta=from_json(row['meta']),
        started=row['started'],
    )


def result_row(result: Result) -> dict[str, Any]:
    """Write what came back as a row of plain columns."""
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
    }


def row_result(row: dict[str, Any]) -> Result:
    """Read what `result_row` wrote."""
    error = row['error']
    return Result(
        trial=row['trial'],
        state=TrialState(row['state']),
        loss=row['loss'],
        results=from_json(row['results']),
        error=None if error is None else TrialError(**from_json(error)),
        started=row['started'],
        finished=row['finished'],
        seconds=row['seconds'],
        host=row['host'],
        output=row['output'],
    )
