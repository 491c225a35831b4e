"""Output files as the driver takes them from a worker that cannot be trusted."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from shadho_worker.files import output_name
from shadho_workqueue.driver.outputs import take_outputs


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
    assert take(staged, 0) == (
        f'model could not be brought back: its worker sent {bad.name!r} in it, which is no file or folder of its own'
    )
    assert {path.name for path in tmp_path.rglob('*')} == {'staged', staged.name, 'target', 'model', 'good'}


def test_an_archive_that_is_none_is_refused(staged: Path) -> None:
    staged.write_text('no archive')
    assert take(staged, 0).startswith('model could not be brought back: ')


def test_a_place_that_is_taken_by_a_folder_is_told(staged: Path, tmp_path: Path) -> None:
    (tmp_path / 'target' / 'model').mkdir(parents=True)
    staged.write_text('kept')
    assert take(staged).startswith('model could not be brought back: ')
