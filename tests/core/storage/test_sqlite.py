"""What is special about SQLite: files of others, damage, places that cannot be written, network file systems."""

import sqlite3

import pytest

from shadho import Shadho, spaces
from shadho.errors import StorageError
from shadho.records import Result, Trial, TrialState
from shadho.storage import sqlite
from shadho.storage.sqlite import SQLite, _on_network


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'search.db'


def fill(storage, count=500):
    with storage:
        storage.update(seed=1)
        for number in range(count):
            storage.append(Trial(number, 0, (0.25,), {'x': number, 'text': 'y' * 50}))
            storage.append(Result(number, TrialState.DONE, 0.5, {'loss': 0.5}))


def pragma(path, name):
    connection = sqlite3.connect(path)
    value = connection.execute(f'PRAGMA {name}').fetchone()[0]
    connection.close()
    return value


def execute(path, statement):
    connection = sqlite3.connect(path)
    connection.executescript(statement)
    connection.close()


def uses(storage):
    """Read and write, as a search does when it begins."""
    with storage:
        storage.metadata()
        list(storage.read())
        storage.append(Trial(9999, 0, (), {}))


@pytest.mark.parametrize('content', [b'a,b\n1,2\n' * 500, b'{"loss": 1}', b'\0' * 5000])
def test_a_file_that_is_not_sqlite_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    for use in (uses, lambda storage: list(storage.read()), lambda storage: storage.metadata()):
        with pytest.raises(StorageError, match=r'search\.db: this is not an SQLite file'):
            use(SQLite(path))
    assert path.read_bytes() == content


def test_an_empty_file_is_a_new_storage(path):
    path.touch()
    fill(SQLite(path), 1)
    assert len(list(SQLite(path).read())) == 2


def test_a_database_of_another_application_is_refused_and_left_alone(path):
    execute(path, 'CREATE TABLE users (name TEXT); CREATE TABLE trials (a, b);')
    before = path.read_bytes()
    for use in (uses, lambda storage: list(storage.read())):
        with pytest.raises(StorageError, match='of another program.*trials, users'):
            use(SQLite(path))
    assert path.read_bytes() == before


def test_a_file_of_another_version_is_refused_and_left_alone(path):
    fill(SQLite(path), 1)
    execute(path, 'PRAGMA user_version = 99')
    before = path.read_bytes()
    for use in (uses, lambda storage: list(storage.read())):
        with pytest.raises(StorageError, match='another version of SHADHO .format 99'):
            use(SQLite(path))
    assert path.read_bytes() == before


def test_a_file_of_the_version_before_is_read_as_it_is_and_gone_on_with(path):
    fill(SQLite(path), 3)
    execute(path, 'ALTER TABLE results DROP COLUMN timing; PRAGMA user_version = 4')
    before, records = path.read_bytes(), list(SQLite(path).read())
    assert len(records) == 6
    assert path.read_bytes() == before
    fill(SQLite(path), 1)
    assert [event for _, event in SQLite(path).read()][:6] == [event for _, event in records]


@pytest.mark.parametrize('content', [b'\0', b'\xff', b'garbage '])
@pytest.mark.parametrize('where', [0.02, 0.3, 0.6, 0.95])
def test_bytes_overwritten_in_the_middle_are_an_error(path, content, where):
    fill(SQLite(path))
    size = path.stat().st_size
    with open(path, 'r+b') as file:
        file.seek(int(size * where))
        file.write((content * 10_000)[:10_000])
    with pytest.raises(StorageError, match=r'search\.db: the file is corrupt .*recover'):
        uses(SQLite(path))


def test_a_value_that_was_edited_badly_is_an_error(path):
    fill(SQLite(path))
    execute(path, "UPDATE trials SET params = '{oops' WHERE trial = 7")
    with pytest.raises(StorageError, match='corrupt'):
        list(SQLite(path).read())


def test_text_that_is_not_utf8_is_an_error(path):
    fill(SQLite(path))
    execute(path, "UPDATE results SET host = CAST(x'ff00ff' AS TEXT) WHERE trial = 7")
    with pytest.raises(StorageError, match='corrupt'):
        list(SQLite(path).read())


def test_a_file_that_was_cut_off_is_an_error(path):
    fill(SQLite(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StorageError, match='corrupt'):
        uses(SQLite(path))


def test_a_search_does_not_begin_on_a_corrupt_storage(path):
    opt = Shadho('x', lambda p: 1.0, {'x': spaces.grid([1])}, backend='inline', storage=path, display=False)
    opt.run()
    path.write_bytes(path.read_bytes()[:4096] + b'\xee' * 20_000)
    with pytest.raises(StorageError, match='corrupt'):
        opt.run()


def test_a_read_only_folder_is_refused(open_folder, as_anybody):
    open_folder.chmod(0o555)
    with as_anybody(), pytest.raises(StorageError, match=r'x\.db cannot be written: no permission to write /'):
        SQLite(open_folder / 'x.db').open()
    assert list(open_folder.iterdir()) == []


def test_a_read_only_file_is_refused_and_can_be_read(open_folder, as_anybody):
    fill(SQLite(open_folder / 'x.db'), 3)
    (open_folder / 'x.db').chmod(0o444)
    open_folder.chmod(0o555)
    with as_anybody():
        with pytest.raises(StorageError, match='no permission to write'):
            SQLite(open_folder / 'x.db').open()
        assert len(list(SQLite(open_folder / 'x.db').read())) == 6
        assert SQLite(open_folder / 'x.db').metadata() == {'seed': 1}


def test_a_lock_of_another_user_is_an_error_that_names_it(open_folder, as_anybody):
    open_folder.chmod(0o777)
    with SQLite(open_folder / 'x.db'):
        (open_folder / 'x.db').chmod(0o666)
        (open_folder / 'x.db.lock').chmod(0o444)
        with as_anybody(), pytest.raises(StorageError, match=r'x\.db\.lock cannot be written: Permission denied'):
            SQLite(open_folder / 'x.db').open()


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(StorageError, match='the folder .*/none does not exist; create it'):
        SQLite(tmp_path / 'none' / 'x.db').open()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(StorageError, match=r'is a folder; give a file, such as .*/search\.db'):
        SQLite(tmp_path).open()


def test_a_full_disk_is_an_error_and_loses_nothing_recorded_before(path):
    storage = SQLite(path)
    with pytest.raises(StorageError, match='the disk is full'), storage:
        storage.append(Trial(0, 0, (), {}))
        storage.flush()
        storage._connection.execute('PRAGMA max_page_count = 10')
        for number in range(1, 100):
            storage.append(Trial(number, 0, (), {'text': 'x' * 5000}))
            storage.flush()
    assert next(iter(SQLite(path).read())) == (1, Trial(0, 0, (), {}))


def test_a_local_disk_uses_a_write_ahead_log_while_the_storage_is_open(path):
    with SQLite(path):
        assert pragma(path, 'journal_mode') == 'wal'
    assert pragma(path, 'journal_mode') == 'delete'


def test_a_network_file_system_uses_a_rollback_journal(path, monkeypatch):
    with open('/proc/self/mounts') as file:
        monkeypatch.setattr(sqlite, '_NETWORK_FILE_SYSTEMS', {line.split()[2] for line in file})
    fill(SQLite(path), 3)
    assert pragma(path, 'journal_mode') == 'delete'
    assert sorted(file.name for file in path.parent.iterdir()) == ['search.db']
    assert len(list(SQLite(path).read())) == 6


def test_a_file_that_moves_to_a_network_file_system_changes_its_journal(path, monkeypatch):
    fill(SQLite(path), 1)
    monkeypatch.setattr(sqlite, '_on_network', lambda path: True)
    fill(SQLite(path), 1)
    assert pragma(path, 'journal_mode') == 'delete'
    assert len(list(SQLite(path).read())) == 4


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path):
    here = tmp_path / 'with space' / 'ünder'
    here.mkdir(parents=True)
    mounts = tmp_path / 'mounts'

    def on_network(*lines):
        mounts.write_text(
            '\n'.join(f'device {str(place).replace(" ", chr(92) + "040")} {kind} rw 0 0' for place, kind in lines)
        )
        return _on_network(here / 'x.db', str(mounts))

    assert on_network(('/', 'nfs4'))
    assert not on_network(('/', 'nfs4'), (tmp_path, 'ext4'))
    assert on_network(('/', 'ext4'), (here.parent, 'lustre'), (tmp_path, 'ext4'))
    assert on_network(('/', 'ext4'), (here, 'nfs'))
    assert not on_network(('/', 'ext4'), (f'{here}-other', 'nfs'))
    assert on_network((here, 'ext4'), (here, 'nfs'))
    assert not _on_network(here / 'x.db', str(tmp_path / 'no such file'))


def test_files_are_for_their_owner_only(path):
    with SQLite(path) as storage:
        storage.append(Trial(0, 0, (), {}))
        storage.flush()
        assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_other_programs_read_plain_columns(path):
    fill(SQLite(path), 3)
    connection = sqlite3.connect(path)
    query = 'SELECT json_extract(params, "$.x"), loss, state FROM trials JOIN results USING (trial)'
    assert connection.execute(query).fetchall() == [(0, 0.5, 'done'), (1, 0.5, 'done'), (2, 0.5, 'done')]
    connection.close()


def test_an_unknown_durability_is_an_error(path):
    with pytest.raises(ValueError, match="durability must be 'normal' or 'full'; got 'none'"):
        SQLite(path, durability='none')


@pytest.mark.parametrize(('durability', 'level'), [('normal', 1), ('full', 2)])
def test_full_durability_syncs_every_commit(path, durability, level):
    with SQLite(path, durability=durability) as storage:
        assert storage._connection.execute('PRAGMA synchronous').fetchone() == (level,)
