"""What a power cut leaves of a storage; full disks, folders that are read-only, and a second search on one storage."""

from __future__ import annotations

import functools
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shadho import Shadho, load_result, spaces
from shadho.errors import StorageError
from shadho.records import Trial
from shadho.storage import sqlite
from shadho.storage.jsonl import JSONLines
from shadho.storage.sqlite import SQLite

BACKENDS = ['inline', 'simulated', 'local', 'mpi', 'workqueue']
STORAGES = ['x.db', 'x.jsonl']
TRIALS = 40
SPACE = {'exclusive': True, 'a': {'x': spaces.uniform(0, 1)}, 'b': {'x': spaces.uniform(1, 2), 'k': [1, 2, 3]}}


def loss(params: Any) -> dict[str, Any]:
    (own,) = params.values()
    if own['x'] > 1.9:
        raise ValueError(f'too large: {own["x"]}')
    return {'loss': (own['x'] - 0.3) ** 2, 'text': 'ä' * 300}


def search(storage: Any, objective: Callable[[Any], Any] = loss, trials: int = TRIALS) -> list[Any]:
    """Search in this process, or go on; return what is the same in every search of this seed."""
    result = Shadho(
        'faults', objective, SPACE, 'random', policy='fcfs', seed=4, max_tasks=trials, storage=storage, backend='inline',
        display=False,
    ).run()  # fmt: skip
    return [(trial.id, trial.tree, trial.point, trial.loss) for trial in result]


# --- power cuts --------------------------------------------------------------------------------


class Cut:
    """A search whose power is cut during its thirtieth trial: what is on the disk by then.

    Attributes
    ----------
    files : dict of str to bytes
        By the endings of their names.
    log : str
        Ending of the file that grows.
    flushed : list of (int, int)
        Bytes of that file, and records in it, after each flush.
    records : list of Trial and Result
    whole : list
        What the search comes to when its power is not cut.
    """

    def __init__(self, name: str) -> None:
        base: Any = SQLite if name.endswith('.db') else JSONLines
        self.log = '-wal' if base is SQLite else ''
        self.flushed: list[tuple[int, int]] = []
        self.records: list[Any] = []

        class Watched(base):  # type: ignore[misc]
            def append(own, record: Any) -> None:
                super().append(record)
                self.records.append(record)

            def flush(own) -> None:
                super().flush()
                self.flushed.append((os.path.getsize(name + self.log), len(self.records)))

        @functools.wraps(loss)
        def objective(params: Any) -> Any:
            if len(evaluated) == 30:
                self.files = {path.name[len(name) :]: path.read_bytes() for path in Path().glob(f'{name}*')}
                self.count = len(self.records)
            evaluated.append(params)
            return loss(params)

        evaluated: list[Any] = []
        self.whole = search(Watched(name, durability='full'), objective)
        for path in Path().glob(f'{name}*'):
            path.unlink()
        del self.records[self.count :]
        self.flushed = [flushed for flushed in self.flushed if flushed[1] <= self.count]

    def leave(self, name: str, files: dict[str, bytes]) -> None:
        """Write files as the power cut leaves them."""
        for ending, content in files.items():
            if ending not in ('.lock', '-shm'):  # the latter is memory that is not to survive
                Path(name + ending).write_bytes(content)

    def check(self, name: str, recorded: Any, at_least: int) -> int:
        """What is read must be a beginning of what was appended, and the search go on; return how much was kept."""
        before = recorded(name).records
        assert before == self.records[: len(before)]
        assert len(before) >= at_least
        assert search(name) == self.whole
        recorded(name, before).check_complete(TRIALS)
        Path(name).unlink()
        return len(before)


def tail_of(chance: random.Random, log: str) -> bytes:
    """Return what may follow the last byte that was written: nothing, zeros, or what was on the disk earlier."""
    kinds = [b'', bytes(chance.randrange(1, 4096)), chance.randbytes(chance.randrange(1, 8192))]
    return kinds[chance.randrange(3 if log else 2)]


@pytest.mark.parametrize('name', STORAGES)
def test_a_power_cut_at_any_byte_loses_nothing_that_had_reached_the_disk(rounds: Any, recorded: Any, name: str) -> None:
    cut, chance = Cut(name), random.Random(name)
    count = rounds(20, 1000)
    kept = set()
    for _ in range(count):
        size = chance.randrange(len(cut.files[cut.log]) + 1)
        cut.leave(name, {**cut.files, cut.log: cut.files[cut.log][:size] + tail_of(chance, cut.log)})
        on_disk = max((records for flushed, records in cut.flushed if flushed <= size), default=0)
        kept.add(cut.check(name, recorded, on_disk))
    assert len(kept) > 5
    print(f'{count} power cuts at random bytes of {name}, 0 flushed records lost')


def test_pages_that_are_torn_while_the_log_moves_into_the_file_come_from_the_log(rounds: Any, recorded: Any) -> None:
    cut, chance = Cut('x.db'), random.Random(5)
    count = rounds(5, 500)
    wal = cut.files['-wal']
    page = int.from_bytes(wal[8:12], 'big')
    frames = [wal[start : start + 24 + page] for start in range(32, len(wal), 24 + page)]
    for _ in range(count):
        file = bytearray(cut.files[''])
        for frame in chance.sample(frames, chance.randrange(1, len(frames))):
            start, torn = (int.from_bytes(frame[:4], 'big') - 1) * page, chance.randrange(page + 1)
            file.extend(bytes(max(0, start + page - len(file))))
            file[start : start + torn] = frame[24 : 24 + torn]
        cut.leave('x.db', {**cut.files, '': bytes(file)})
        assert cut.check('x.db', recorded, cut.count) == cut.count
    print(f'{count} power cuts while the log moved into the file, 0 flushed records lost')


@pytest.fixture
def on_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every folder count as one of a network file system."""
    monkeypatch.setattr(sqlite, '_on_network', lambda path: True)


def journalled() -> tuple[list[Any], dict[str, bytes], dict[str, bytes]]:
    """Return records, the file with them, and the file and its rollback journal in the middle of the next step."""
    with SQLite('whole.db') as storage:
        records = [Trial(number, 0, (0.5,), {'text': 'x' * 100}) for number in range(100)]
        for record in records:
            storage.append(record)
        storage.flush()
        before = {'': Path('whole.db').read_bytes()}
        assert storage._connection is not None
        storage._connection.execute('PRAGMA cache_size = 1')  # so that changes come to the file before the step ends
        storage._connection.execute('BEGIN IMMEDIATE')
        storage._connection.execute('UPDATE trials SET params = params || ? WHERE trial % 3', ('y' * 100,))
        amid = {ending: Path(f'whole.db{ending}').read_bytes() for ending in ('', '-journal')}
        storage._connection.execute('ROLLBACK')
    assert amid[''] != before['']
    return records, before, amid


def test_a_step_that_was_cut_off_on_a_network_file_system_is_taken_back(rounds: Any, on_network: None) -> None:
    records, before, amid = journalled()
    chance, count = random.Random(6), rounds(20, 1000)
    for number in range(count):
        files = amid
        if number:  # nothing comes to the file before its journal is whole
            files = {**before, '-journal': amid['-journal'][: chance.randrange(len(amid['-journal']))]}
        for ending, content in files.items():
            Path(f'x.db{ending}').write_bytes(content)
        assert [record for _, record in SQLite('x.db').read()] == records
        with SQLite('x.db') as storage:
            assert storage._connection is not None
            assert storage._connection.execute('PRAGMA integrity_check').fetchall() == [('ok',)]
            assert [record for _, record in storage.read()] == records
        assert not Path('x.db-journal').exists()
    print(f'{count} power cuts on a network file system, 0 flushed records lost')


def test_a_step_that_was_cut_off_cannot_be_taken_back_where_nothing_may_be_written(
    on_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, amid = journalled()
    for ending, content in amid.items():
        Path(f'x.db{ending}').write_bytes(content)
    connect = sqlite.sqlite3.connect

    def read_only(path: str, **options: Any) -> Any:
        assert 'mode=ro' in path
        return connect(path, **options)

    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    monkeypatch.setattr(sqlite.sqlite3, 'connect', read_only)
    with pytest.raises(StorageError, match='in the middle of a transaction, .*: resume the search, or copy the file'):
        list(SQLite('x.db').read())


@pytest.mark.parametrize('durability', ['normal', 'full'])
def test_each_step_of_json_lines_is_on_the_disk_when_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    synced = []
    monkeypatch.setattr(os, 'fsync', lambda file: synced.append(os.fstat(file).st_size))
    with JSONLines('x.jsonl', durability=durability) as storage:
        for number in range(5):
            storage.append(Trial(number, 0, (0.5,), {}))
            synced.clear()
            storage.flush()
            assert synced == [os.path.getsize('x.jsonl')] * (durability == 'full')


# --- disks and folders -------------------------------------------------------------------------

MINE = """
from shadho import spaces

space = {'x': spaces.uniform(0, 1)}

def bowl(params):
    return {'loss': params['x'], 'text': 'y' * 2000}
"""
ROOM = {'x.db': 500_000, 'x.jsonl': 80_000}
"""Bytes in which such a search of `TRIALS` does not find room."""

KEPT = '[Aa]ll that was recorded before is kept'


@pytest.fixture
def shadho(tmp_path: Path) -> Any:
    """Run ``shadho run`` as users do; `limit` is in bytes, of each file that it writes."""
    (tmp_path / 'mine.py').write_text(MINE)

    def run(storage: object, limit: int | None = None) -> Any:
        command = ['run', 'mine.py:bowl', '--space', 'mine.py:space', '--backend', 'inline', '--method', 'random']
        options = ['--storage', storage, '--seed', 3, '--max-tasks', TRIALS]

        def restrict() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run(
            [str(part) for part in (Path(sys.executable).parent / 'shadho', *command, *options)],
            capture_output=True, text=True, timeout=120, preexec_fn=restrict,
        )  # fmt: skip

    return run


def check_told(done: Any, *parts: str) -> None:
    """An error for users is one line, below the summary where there is one."""
    assert done.returncode == 1
    assert re.search('^Error: .*' + '.*'.join(parts), done.stderr.splitlines()[-1]), done.stderr
    assert 'Traceback' not in done.stderr


def is_mounted(folder: Path, options: str) -> bool:
    """Put a small disk in place of a folder, or change its options; False where that is not allowed."""
    command = ['mount', '-t', 'tmpfs', '-o', options, 'none', str(folder)]
    return shutil.which('mount') is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder to mount a disk on."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    yield folder
    if folder.is_mount():
        subprocess.run(['umount', folder], check=True)


@pytest.mark.parametrize('name', STORAGES)
def test_a_search_that_meets_a_limit_on_files_goes_on_without_it(shadho: Any, recorded: Any, name: str) -> None:
    check_told(shadho(name, limit=ROOM[name]), rf'x\.(db: the file|jsonl) cannot be .*{KEPT}', 'run again$')
    before = recorded(name)
    assert 5 < len(before.final) < TRIALS
    assert shadho(name).returncode == 0
    recorded(name, before.records).check_complete(TRIALS)


@pytest.mark.parametrize('name', STORAGES)
def test_a_search_that_fills_a_disk_goes_on_when_there_is_room(
    shadho: Any, recorded: Any, disk: Path, name: str
) -> None:
    if not is_mounted(disk, f'size={ROOM[name]}'):
        pytest.skip('only root may mount a disk; the limit on files, above, is the same to a storage')
    check_told(shadho(disk / name), rf'/{name}', KEPT, 'run again$')
    before = recorded(disk / name)
    assert 5 < len(before.final) < TRIALS
    subprocess.run(['mount', '-o', 'remount,size=9m', disk], check=True)
    assert shadho(disk / name).returncode == 0
    recorded(disk / name, before.records).check_complete(TRIALS)


@pytest.mark.parametrize('name', STORAGES)
def test_a_search_does_not_begin_on_a_full_disk_and_says_so(shadho: Any, name: str) -> None:
    """A limit of no bytes is a full disk to whoever writes the first one."""
    check_told(shadho(name, limit=0), rf'{name}\.lock cannot be written', KEPT, 'run again$')
    assert not list(Path().glob(f'{name}*'))


@pytest.mark.parametrize('name', STORAGES)
def test_a_folder_that_became_read_only_is_told_of_and_can_still_be_read(
    shadho: Any, recorded: Any, disk: Path, name: str
) -> None:
    """For root this needs a disk: whoever may not mount one is no root, for whom modes are enough."""
    is_disk = is_mounted(disk, 'size=9m')
    if not is_disk and os.getuid() == 0:
        pytest.skip('this root may not mount a disk; tests/core/storage has folders that another user may not write')
    search(disk / name, trials=5)
    before = recorded(disk / name)

    def allow(mode: str, writing: int) -> None:
        if is_disk:
            subprocess.run(['mount', '-o', f'remount,{mode}', disk], check=True)
        else:
            disk.chmod(writing)

    allow('ro', 0o555)
    check_told(shadho(disk / name), f'{name}.* cannot be written', 'elsewhere')
    assert len(load_result(disk / name)) == 5
    allow('rw', 0o755)
    search(disk / name)
    recorded(disk / name, before.records).check_complete(TRIALS)


# --- two searches ------------------------------------------------------------------------------

SCRIPT = """
from shadho import Shadho, spaces

Shadho('faults', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, 'random', max_tasks=5, backend=backend, display=False).run()
print('ended')
"""


@pytest.mark.parametrize('name', STORAGES)
def test_a_second_command_on_one_storage_is_told_who_holds_it(shadho: Any, name: str) -> None:
    with (SQLite if name.endswith('.db') else JSONLines)(name):
        who = f'process {os.getpid()} on {re.escape(socket.gethostname())}'
        check_told(
            shadho(name),
            f'{name} is in use by {who}',
            'Wait for that one to end, or give .* another exp_key or storage',
        )
    assert len(search(name)) == TRIALS


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_second_driver_of_any_backend_is_refused_and_leaves_no_process(drivers: Any, backend: str) -> None:
    with SQLite('faults.db'):
        second = drivers.run(backend, SCRIPT, workers=0)
    assert second.status != 0
    assert f'StorageError: faults.db is in use by process {os.getpid()} on {socket.gethostname()}' in second.err
    assert 'ended' not in second.out
