"""Who writes to a storage: told without taking the lock."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shadho.errors import StorageError
from shadho.storage.jsonl import JSONLines
from shadho.storage.lock import WriterLock
from shadho.storage.memory import Memory
from shadho.storage.sqlite import SQLite

HOLD = """
import sys
from pathlib import Path
from shadho.storage.lock import WriterLock
WriterLock(Path('search.db')).acquire()
print('held', flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize('make', [SQLite, JSONLines])
def test_a_storage_says_who_writes_to_it(make: type[SQLite] | type[JSONLines]) -> None:
    storage, reader = make('search.db'), make('search.db')
    assert reader.writer() is None
    with storage:
        assert reader.writer() == storage.writer() == f'process {os.getpid()} on {socket.gethostname()}'
    assert reader.writer() is None
    assert not Path('search.db.lock').exists()


def test_a_storage_that_is_no_file_does_not_know_its_writer() -> None:
    with Memory() as storage:
        assert storage.writer() is None


def test_another_process_is_named_until_it_is_killed() -> None:
    lock = WriterLock(Path('search.db'))
    with subprocess.Popen([sys.executable, '-c', HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b'held\n'
        assert lock.holder() == f'process {process.pid} on {socket.gethostname()}'
        with pytest.raises(StorageError, match=f'is in use by process {process.pid} on '):
            lock.acquire()
        process.send_signal(signal.SIGKILL)
    assert Path('search.db.lock').exists()
    assert lock.holder() is None


def test_whoever_only_asks_does_not_hinder_a_writer() -> None:
    class Asked(WriterLock):
        """Of which somebody asks at the very moment when it is taken, until it has looked once."""

        def _is_taken(self, file: int) -> bool:
            taken = super()._is_taken(file)
            os.close(asking)
            return taken

    lock = Asked(Path('search.db'))
    asking = os.open(lock.path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_SH)
    lock.acquire()
    assert WriterLock(Path('search.db')).holder() == f'process {os.getpid()} on {socket.gethostname()}'
    lock.release()


def test_those_who_ask_do_not_hinder_one_another() -> None:
    path = Path('search.db.lock')
    path.write_text('{"pid": 1, "host": "gone"}')
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert WriterLock(Path('search.db')).holder() is None
