"""The default storage: one SQLite file."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from shadho.errors import StorageError
from shadho.records import Event
from shadho.storage.base import ROWS, FileStorage, Metadata, all_of, row_of
from shadho.storage.index import LogIndex, index_rows
from shadho.storage.lock import WriterLock, unwritable

__all__ = ['SQLite']

_Answer = TypeVar('_Answer')

_VERSION = 5
"""Version of the file format, which changes with the schema."""

_WITHOUT_TIMING = 4
"""The version before, whose results have no `timing`: it is read as it is, and brought up to date when it is written."""

_SCHEMA = f"""
CREATE TABLE metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE trials (
    position INTEGER PRIMARY KEY, trial INTEGER NOT NULL, tree TEXT NOT NULL, point TEXT NOT NULL,
    params TEXT NOT NULL, compute_class TEXT NOT NULL, resources TEXT NOT NULL, meta TEXT NOT NULL, started REAL,
    attempt INTEGER NOT NULL, until INTEGER);
CREATE TABLE attempts (
    position INTEGER PRIMARY KEY, trial INTEGER NOT NULL, attempt INTEGER NOT NULL, compute_class TEXT NOT NULL,
    resources TEXT NOT NULL, started REAL, until INTEGER);
CREATE TABLE reports (
    position INTEGER PRIMARY KEY, trial INTEGER NOT NULL, attempt INTEGER NOT NULL, step INTEGER NOT NULL,
    results TEXT NOT NULL, time REAL NOT NULL);
CREATE TABLE results (
    position INTEGER PRIMARY KEY, trial INTEGER NOT NULL, state TEXT NOT NULL, loss REAL, results TEXT NOT NULL,
    error TEXT, started REAL, finished REAL, seconds REAL, host TEXT NOT NULL, output TEXT NOT NULL,
    attempt INTEGER, reason TEXT NOT NULL, step INTEGER NOT NULL, timing TEXT NOT NULL DEFAULT '{{}}');
CREATE TABLE notes (
    position INTEGER PRIMARY KEY, kind TEXT NOT NULL, trial INTEGER, time REAL NOT NULL, "values" TEXT NOT NULL);
PRAGMA application_id = {int.from_bytes(b'SHDO', 'big')};
PRAGMA user_version = {_VERSION};
"""
_ADD_TIMING = f"""
BEGIN;
ALTER TABLE results ADD COLUMN timing TEXT NOT NULL DEFAULT '{{}}';
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_TABLES = {f'{kind}s': read for kind, read in ROWS.items()}
"""Reader of the rows of each table."""

_LOG = """
SELECT position, trial, attempt, tree, point, compute_class, started, NULL, NULL, NULL, NULL, NULL FROM trials
UNION ALL SELECT position, trial, attempt, NULL, NULL, compute_class, started, NULL, NULL, NULL, NULL, NULL FROM attempts
UNION ALL SELECT position, trial, attempt, NULL, NULL, NULL, time, 'report', NULL, NULL, NULL, step FROM reports
UNION ALL SELECT position, trial, attempt, NULL, NULL, NULL, started, state, loss, finished, seconds, step FROM results
UNION ALL SELECT position, NULL, NULL, NULL, NULL, NULL, time, kind, "values", NULL, NULL, trial FROM notes ORDER BY position
"""
"""The query of `index_rows`: all tables as one, without the columns that need parsing."""
_INSERTS = {
    kind: f'INSERT INTO {kind}s VALUES (?{", ?" * columns})'
    for kind, columns in (('trial', 10), ('attempt', 6), ('report', 5), ('result', 14), ('note', 4))
}

_MOST_NUMBERS = 500
"""Values in one query. More save queries; any build of SQLite accepts 999. Chosen."""

_NETWORK_FILE_SYSTEMS = {
    'nfs', 'nfs4', 'cifs', 'smb3', 'smbfs', 'lustre', 'gpfs', 'beegfs', 'ceph', 'afs', 'fuse.sshfs', 'glusterfs',
    'fuse.glusterfs', 'orangefs', 'panfs', 'wekafs', '9p',
}  # fmt: skip
"""File systems that several machines share. They lack the shared memory that SQLite's write-ahead log needs
(https://sqlite.org/wal.html, section 1)."""


class SQLite(FileStorage):
    """One SQLite file, which other processes can read while it grows.

    Its tables are ``trials``, ``attempts``, ``reports``, ``results``, ``notes`` and ``metadata``.

    An open storage uses a write-ahead log, or a rollback journal on a network file system; a closed
    one is a single file.
    """

    name = 'sqlite'
    suffixes = ('.db', '.sqlite', '.sqlite3')

    def __init__(self, path: str | Path, *, durability: str = 'normal') -> None:
        super().__init__(path, durability=durability)
        self._lock = WriterLock(self.path)
        self._connection: sqlite3.Connection | None = None
        self._position = 0
        self._waiting: dict[str, list[tuple[Any, ...]]] = {}

    def open(self) -> None:
        if self._connection is not None:
            return
        self._check_place()
        self._lock.acquire()
        try:
            with self._errors():
                self._connection = self._prepare()
        except BaseException:
            self._lock.release()
            raise

    def _check_place(self) -> None:
        folder = self.path.absolute().parent
        if not folder.is_dir():
            raise StorageError(f'{self.path}: the folder {folder} does not exist; create it, or give another storage')
        if self.path.is_dir():
            raise StorageError(f'{self.path} is a folder; give a file, such as {self.path / "search.db"}')
        target = self.path if self.path.exists() else folder
        if not os.access(target, os.W_OK) or not os.access(folder, os.W_OK):
            raise StorageError(
                f'{self.path} cannot be written: no permission to write {target}. Give a storage elsewhere, '
                'such as storage="/scratch/you/search.db", or storage=None to keep nothing'
            )

    def _prepare(self) -> sqlite3.Connection:
        if not self.path.exists():
            self.path.touch(0o600)
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            self._check_identity(connection)
            connection.execute(f'PRAGMA journal_mode = {"DELETE" if _on_network(self.path) else "WAL"}')
            connection.execute(f'PRAGMA synchronous = {"FULL" if self.durability == "full" else "NORMAL"}')
            if _is_new(connection):
                connection.executescript('BEGIN;' + _SCHEMA + 'COMMIT;')
            elif _version(connection) == _WITHOUT_TIMING:
                connection.executescript(_ADD_TIMING)
            rows = [connection.execute(f'SELECT max(position) FROM {table}').fetchone()[0] for table in _TABLES]
        except BaseException:
            connection.close()
            raise
        self._position = max(row or 0 for row in rows)
        return connection

    def _check_identity(self, connection: sqlite3.Connection) -> None:
        tables = {
            row[0] for row in connection.execute('SELECT name FROM sqlite_master WHERE type = "table"').fetchall()
        }
        if tables and not {'metadata', 'trials', 'results'} <= tables:
            raise StorageError(
                f'{self.path} is an SQLite file of another program (its tables: {", ".join(sorted(tables))}); '
                'give this search another exp_key or storage'
            )
        version = _version(connection)
        if tables and version not in (_WITHOUT_TIMING, _VERSION):
            raise StorageError(
                f'{self.path} was written by another version of SHADHO (format {version}; this one reads {_VERSION}). '
                'Read it with that version, or give this search another exp_key or storage'
            )

    def close(self) -> None:
        if self._connection is not None:
            try:
                self.flush()
                with contextlib.suppress(sqlite3.Error):  # fails while another process reads; the log then stays
                    self._connection.execute('PRAGMA journal_mode = DELETE')
            finally:
                self._connection.close()
                self._connection = None
                self._lock.release()

    def append(self, event: Event) -> None:
        self._writer()
        self._position += 1
        kind, row = row_of(event)
        self._waiting.setdefault(kind, []).append((self._position, *row.values()))

    def flush(self) -> None:
        connection = self._writer()
        if not self._waiting:
            return
        with self._errors(), connection:  # one transaction
            connection.execute('BEGIN IMMEDIATE')
            for kind, rows in self._waiting.items():
                connection.executemany(_INSERTS[kind], rows)
        self._waiting.clear()

    def metadata(self) -> Metadata:
        return self._query(
            lambda db: {key: json.loads(value) for key, value in db.execute('SELECT * FROM metadata').fetchall()}, {}
        )

    def update(self, **values: Any) -> None:
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        connection = self._writer()
        with self._errors(), connection:  # one transaction
            connection.execute('BEGIN IMMEDIATE')
            connection.executemany('INSERT OR REPLACE INTO metadata VALUES (?, ?)', rows)

    def read(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        if self._connection is not None:
            self.flush()
            yield from self._records(self._connection, after)
            return
        with self._errors(), closing(self._reader()) as connection:
            if not _is_new(connection):
                connection.execute('BEGIN')  # a snapshot, so that all tables agree
                yield from self._records(connection, after)

    def _records(self, connection: sqlite3.Connection, after: int) -> Iterator[tuple[int, Event]]:
        with self._errors(), contextlib.ExitStack() as stack:
            # An open cursor keeps the file locked, even after its connection is closed.
            streams = [stack.enter_context(closing(_rows(connection, table, after))) for table in _TABLES]
            yield from heapq.merge(*streams, key=lambda item: item[0])

    def index(self) -> LogIndex:
        self._flush_if_open()
        found = self._query(_index, None)
        return super().index() if found is None else found  # the slow way names the faulty record

    def at(self, positions: Collection[int]) -> dict[int, Event]:
        self._flush_if_open()
        return all_of(self, set(positions), self._query(lambda db: dict(_at(db, sorted(positions))), {}))

    def _flush_if_open(self) -> None:
        """Make this process's appended events visible to queries."""
        if self._connection is not None:
            self.flush()

    def _query(self, query: Callable[[sqlite3.Connection], _Answer], answer: _Answer) -> _Answer:
        """Return the answer of a query; `answer` if there are no tables yet."""
        with self._errors():
            if self._connection is not None:
                return query(self._connection)
            with closing(self._reader()) as connection:
                return answer if _is_new(connection) else query(connection)

    def _reader(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise StorageError(f'{self.path} does not exist; is the path right, and has the search been started?')
        try:
            return self._connect_reader('mode=ro')
        except sqlite3.OperationalError as error:
            return self._reader_despite(error)

    def _reader_despite(self, error: sqlite3.OperationalError) -> sqlite3.Connection:
        """Open a file that SQLite cannot open read-only, since it would write to it or beside it."""
        unfinished = any(Path(f'{self.path}{ending}').exists() for ending in ('-journal', '-wal'))
        if os.access(self.path.absolute().parent, os.W_OK):
            if unfinished and 'readonly' in str(error):  # roll back a killed search's transaction
                return self._connect_reader('mode=rw')
            raise error
        if unfinished:
            raise StorageError(
                f'{self.path} was left in the middle of a transaction, which needs write permission to roll back: resume the '
                f'search, or copy the file and its {self.path.name}-journal or -wal to a folder of yours'
            ) from error
        # SQLite cannot create the files beside it that a write-ahead log needs; nobody writes, so it may skip them.
        return self._connect_reader('mode=ro&immutable=1')

    def _connect_reader(self, query: str) -> sqlite3.Connection:
        connection = sqlite3.connect(f'{self.path.absolute().as_uri()}?{query}', uri=True, timeout=30)
        try:
            self._check_identity(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _writer(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError(f'{self.path} is not open; call open() first')
        return self._connection

    def _errors(self) -> _Errors:
        return _Errors(self.path)


class _Errors:
    """Turns errors of SQLite into StorageErrors that name the file and the fix."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (sqlite3.Error, ValueError, LookupError, TypeError, RecursionError)):
            raise StorageError(f'{self.path}: {self._reason(error)}') from error
        if isinstance(error, OSError):
            raise unwritable(self.path, error) from error

    def _reason(self, error: BaseException) -> str:
        text = str(error)
        if 'not a database' in text:
            return 'this is not an SQLite file; give this search another exp_key or storage'
        if 'malformed' in text or 'decode' in text or not isinstance(error, sqlite3.Error):
            return (
                f'the file is corrupt ({text}). To save what is readable: sqlite3 {self.path} .recover | sqlite3 '
                'recovered.db; to start over, give another exp_key'
            )
        if 'readonly' in text or 'unable to open' in text:
            return f'the file or its folder cannot be written ({text}); give a storage elsewhere'
        if 'full' in text:
            return f'the disk is full ({text}); all that was recorded before is kept. Free some space and run again'
        if 'I/O' in text:
            return (
                f'the file cannot be read or written ({text}): a quota or limit is reached, or the disk fails. All that was '
                'recorded before is kept; raise the limit, or check the disk, and run again'
            )
        return text


def _rows(connection: sqlite3.Connection, table: str, after: int) -> Generator[tuple[int, Event], None, None]:
    with closing(connection.cursor()) as cursor:
        cursor.row_factory = sqlite3.Row
        for row in cursor.execute(f'SELECT * FROM {table} WHERE position > ? ORDER BY position', (after,)):
            yield row['position'], _TABLES[table](dict(row))


def _at(connection: sqlite3.Connection, positions: Sequence[int]) -> Iterator[tuple[int, Event]]:
    with closing(connection.cursor()) as cursor:
        cursor.row_factory = sqlite3.Row
        for start in range(0, len(positions), _MOST_NUMBERS):
            some = positions[start : start + _MOST_NUMBERS]
            for table, read in _TABLES.items():
                places = ', '.join('?' * len(some))
                for row in cursor.execute(f'SELECT * FROM {table} WHERE position IN ({places})', some):
                    yield row['position'], read(dict(row))


def _index(connection: sqlite3.Connection) -> LogIndex | None:
    """Return the index of a log without reading its records; None if these need checking one by one."""
    with closing(connection.cursor()) as cursor:
        try:
            return index_rows(cursor.execute(_LOG))
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
            return None


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute('PRAGMA user_version').fetchone()[0]
    return version


def _is_new(connection: sqlite3.Connection) -> bool:
    """Whether a file has no tables yet: its search was killed before it made them."""
    return not connection.execute('SELECT count(*) FROM sqlite_master').fetchone()[0]


def _on_network(path: Path, mounts_file: str = '/proc/self/mounts') -> bool:
    """Whether `path` lies on a file system that several machines share."""
    try:
        with open(mounts_file, encoding='utf-8', errors='replace') as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return False
    here = path.absolute().parent.resolve()
    best, kind = '', ''
    for place, system in mounts:
        # The kernel writes spaces in octal.
        folder = re.sub(r'\\([0-7]{3})', lambda match: chr(int(match[1], 8)), place)
        if len(folder) >= len(best) and (here == Path(folder) or Path(folder) in here.parents):
            best, kind = folder, system
    return kind in _NETWORK_FILE_SYSTEMS
