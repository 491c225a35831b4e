"""What the driver takes from a worker that cannot be trusted."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from shadho_worker.files import output_name, pack_folder
from shadho_workqueue.driver.outputs import take_folder, take_outputs


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    folder = tmp_path / 'staged'
    folder.mkdir()
    return folder / output_name(0)


def take(staged: Path, *archives: int) -> str:
    return take_outputs(staged.parent, staged.parent.with_name('target'), ['model'], archives)


def archive(staged: Path, *entries: tarfile.TarInfo) -> None:
    with tarfile.open(staged, 'w') as file:
        for entry in entries:
            entry.size = 4 if entry.isreg() else 0
            file.addfile(entry, io.BytesIO(b'evil') if entry.isreg() else None)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = '') -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def test_a_file_is_moved_to_its_place(staged: Path, tmp_path: Path) -> None:
    staged.write_text('kept')
    assert take(staged) == ''
    assert (tmp_path / 'target' / 'model').read_text() == 'kept'
    assert not staged.exists()


def test_a_file_that_has_not_come_is_named(staged: Path) -> None:
    assert take(staged) == 'the command left no model'


@pytest.mark.parametrize('kind', ['link', 'folder'])
@pytest.mark.parametrize('archives', [(), (0,)])
def test_a_link_or_a_folder_in_place_of_a_file_is_refused(
    staged: Path, tmp_path: Path, kind: str, archives: tuple[int, ...]
) -> None:
    if kind == 'link':
        (tmp_path / 'secret').touch()
        staged.symlink_to(tmp_path / 'secret')
    else:
        staged.mkdir()
    assert take(staged, *archives) == 'model could not be brought back: its worker sent a folder or a link in its place'
    assert not (tmp_path / 'target').exists()


@pytest.mark.parametrize(
    'bad',
    [
        entry('../evil'),
        entry('sub/../../evil'),
        entry('/evil'),
        entry('evil', tarfile.SYMTYPE, '/etc'),
        entry('evil', tarfile.LNKTYPE, '../secret'),
        entry('evil', tarfile.FIFOTYPE),
        entry('evil', tarfile.CHRTYPE),
    ],
    ids=lambda bad: f'{bad.name}-{bad.type.decode()}',
)
def test_nothing_leaves_an_archive_but_files_and_folders_below_its_place(
    staged: Path, tmp_path: Path, bad: tarfile.TarInfo
) -> None:
    archive(staged, entry('good'), bad)
    assert take(staged, 0) == (f'model could not be brought back: {bad.name!r} in it is no file or folder of its own')
    assert {path.name for path in tmp_path.rglob('*')} == {'staged', staged.name, 'target', 'model', 'good'}


def deep() -> bytes:
    """Return an archive whose every entry says that the next one has a long name."""
    header = tarfile.TarInfo('long')
    header.type = tarfile.GNUTYPE_LONGNAME
    return header.tobuf() * 2_000


def huge() -> bytes:
    """Return an archive with a file that is larger than any disk."""
    header = tarfile.TarInfo('huge')
    header.size = 2**80
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(tarfile.BLOCKSIZE)


def early() -> bytes:
    """Return an archive with a file of a time that no file can have."""
    header = tarfile.TarInfo('early')
    header.mtime = 2**80
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(tarfile.RECORDSIZE)


@pytest.mark.parametrize('sent', [b'no archive', deep(), huge(), early()], ids=['none', 'deep', 'huge', 'early'])
def test_an_archive_that_cannot_be_read_is_refused(staged: Path, tmp_path: Path, sent: bytes) -> None:
    staged.write_bytes(sent)
    assert take(staged, 0).startswith('model could not be brought back: ')
    assert take_folder(staged, tmp_path / '3').startswith('the folder of the trial could not be brought back: ')


def test_a_place_that_is_taken_by_a_folder_is_told(staged: Path, tmp_path: Path) -> None:
    (tmp_path / 'target' / 'model').mkdir(parents=True)
    staged.write_text('kept')
    assert take(staged).startswith('model could not be brought back: ')


# --- folders of trials -----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a trial, as its last attempt has left it."""
    own = tmp_path / '3'
    own.mkdir()
    (own / '1.npy').write_text('first')
    return own


def test_the_folder_of_a_trial_is_as_its_worker_has_left_it(staged: Path, tmp_path: Path, folder: Path) -> None:
    there = tmp_path / 'there'
    (there / 'sub folder' / 'empty').mkdir(parents=True)
    (there / '3 ☃.npy').write_text('third')
    (there / 'sub folder' / 'run.sh').touch(mode=0o755)
    (there / 'latest').symlink_to('3 ☃.npy')
    (there / 'elsewhere').symlink_to('/etc/passwd')
    os.mkfifo(there / 'pipe')
    os.utime(there / '3 ☃.npy', (1e9, 1e9))
    pack_folder(there, staged, there)
    assert take_folder(staged, folder) == ''
    assert {str(path.relative_to(folder)) for path in folder.rglob('*')} == {
        '3 ☃.npy', 'latest', 'sub folder', 'sub folder/empty', 'sub folder/run.sh'
    }  # fmt: skip
    assert (folder / 'latest').read_text() == (folder / '3 ☃.npy').read_text() == 'third'
    assert not (folder / 'latest').is_symlink()
    assert (folder / '3 ☃.npy').stat().st_mtime == 1e9
    assert (folder / 'sub folder' / 'run.sh').stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize('bad', [entry('../evil'), entry('evil', tarfile.SYMTYPE, '/etc'), entry('/evil')])
def test_a_folder_that_is_refused_leaves_the_former_one(staged: Path, folder: Path, bad: tarfile.TarInfo) -> None:
    archive(staged, entry('good'), bad)
    text = f'the folder of the trial could not be brought back: {bad.name!r} in it is no file or folder of its own'
    assert take_folder(staged, folder) == text
    assert [path.name for path in folder.iterdir()] == ['1.npy']


@pytest.mark.parametrize('kind', ['link', 'folder', 'nothing'])
def test_a_folder_comes_as_an_archive_only(staged: Path, folder: Path, kind: str) -> None:
    if kind == 'link':
        staged.symlink_to(folder / '1.npy')
    elif kind == 'folder':
        staged.mkdir()
    assert take_folder(staged, folder).startswith('the folder of the trial could not be brought back: ')
    assert [path.name for path in folder.iterdir()] == ['1.npy']
