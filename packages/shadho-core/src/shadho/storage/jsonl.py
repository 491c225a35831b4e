"""A text storage with one JSON document per line, which needs no library to read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from shadho.errors import StorageError
from shadho.jsontags import revive
from shadho.records import Event
from shadho.storage.base import ROWS, FileStorage, Metadata, all_of, event_of, row_of
from shadho.storage.lock import WriterLock, unwritable
from shadho_worker import jsonable

__all__ = ['JSONLines']

_BEGINNING = b'{"record": '
"""Start of each line. It tells a truncated line of this format from another file's text."""

_TEXTS = ('point', 'params', 'resources', 'meta', 'results', 'error', 'timing', 'values')
"""Columns that hold JSON texts; in a line they are nested JSON."""


class JSONLines(FileStorage):
    """A text file to which lines ``{"record": kind, ...}`` are only appended.

    The kind is "metadata", "trial", "attempt", "report", "result" or "note".

    A truncated last line is ignored and overwritten. So is everything after a zero byte, as a power cut may leave zeros in
    place of the last records.
    """

    name = 'jsonl'
    suffixes = ('.jsonl', '.json')

    def __init__(self, path: str | Path, *, durability: str = 'normal') -> None:
        super().__init__(path, durability=durability)
        self._lock = WriterLock(self.path)
        self._file: BinaryIO | None = None

    def open(self) -> None:
        if self._file is not None:
            return
        self._lock.acquire()
        try:
            whole = 0
            for _, end in self._lines():
                whole = end
            self._file = open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), 'r+b')
            self._file.truncate(whole)
            self._file.seek(whole)
            if self.durability == 'full':
                self._sync_folder()
        except OSError as error:
            self._lock.release()
            raise unwritable(self.path, error) from None
        except BaseException:
            self._lock.release()
            raise

    def _sync_folder(self) -> None:
        """Sync the folder, so that the name of a new file survives a power cut too."""
        folder = os.open(self.path.absolute().parent, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network file systems cannot
                os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        if self._file is not None:
            try:
                self.flush()
            finally:
                file, self._file = self._file, None
                with contextlib.suppress(OSError):  # it flushes again, and the first error is the cause
                    file.close()
                self._lock.release()

    def append(self, event: Event) -> None:
        kind, row = row_of(event)
        self._write(kind, {key: _loads(value) if key in _TEXTS else jsonable(value) for key, value in row.items()})

    def flush(self) -> None:
        if self._file is None:
            raise StorageError(f'{self.path} is not open; call open() first')
        try:
            self._file.flush()
            if self.durability == 'full':
                os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        for position, data in self._numbered():
            if position > after:
                yield position, self._record(data)

    def at(self, positions: Collection[int]) -> dict[int, Event]:
        wanted = set(positions)
        lines = self._numbered() if wanted else ()
        return all_of(self, wanted, {place: self._record(data) for place, data in lines if place in wanted})

    def _numbered(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the position and data of each record's line."""
        lines = (data for data, _ in self._lines(must_exist=True) if data['record'] != 'metadata')
        return enumerate(lines, 1)

    def metadata(self) -> Metadata:
        found: Metadata = {}
        for data, _ in self._lines(must_exist=True):
            if data['record'] == 'metadata':
                found.update(data['values'])
        return found

    def update(self, **values: Any) -> None:
        self._write('metadata', {'values': values})
        self.flush()

    def _write(self, kind: str, row: dict[str, Any]) -> None:
        if self._file is None:
            raise StorageError(f'{self.path} is not open; call open() first')
        line = json.dumps({'record': kind, **row}, ensure_ascii=False, allow_nan=False)
        try:
            self._file.write(line.encode() + b'\n')
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _lines(self, must_exist: bool = False) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield each line's data and the offset of its end."""
        if self._file is not None:
            self.flush()
        try:
            file = open(self.path, 'rb')
        except FileNotFoundError:
            if must_exist:
                raise StorageError(
                    f'{self.path} does not exist; is the path right, and has the search been started?'
                ) from None
            return
        except OSError as error:
            raise StorageError(f'{self.path} cannot be read: {error.strerror}') from None
        with file:
            end = 0
            for number, line in enumerate(file, 1):
                if _is_torn(line, number):
                    return
                end += len(line)
                try:
                    data = json.loads(line)
                    known = data['record'] in ROWS or (
                        data['record'] == 'metadata' and isinstance(data['values'], dict)
                    )
                except (ValueError, TypeError, KeyError, RecursionError):
                    known = False
                if not known:
                    raise StorageError(
                        f'{self.path}, line {number}: this is not a record of a search. Was the file edited, or written by '
                        'another program? Give this search another exp_key or storage'
                    )
                yield data, end

    def _record(self, data: dict[str, Any]) -> Event:
        try:
            row = {key: _dumps(key, value) if key in _TEXTS else revive(value) for key, value in data.items()}
            return event_of(data['record'], row)
        except Exception as error:  # corrupt texts may break any reader
            raise StorageError(f'{self.path} is corrupt: {type(error).__name__}: {error!s:.300}') from error


def _is_torn(line: bytes, number: int) -> bool:
    """Whether a line of this format was not written completely."""
    has_zeros = b'\0' in line
    if line.endswith(b'\n') and not has_zeros:
        return False
    kept = line.rstrip(b'\0')
    return (has_zeros and number > 1) or kept.startswith(_BEGINNING) or _BEGINNING.startswith(kept)


def _loads(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _dumps(key: str, value: Any) -> str | None:
    """Return a column as the JSON text that `ROWS` read; only `error` may be None."""
    return None if key == 'error' and value is None else json.dumps(value)
