"""Files of a trial on their way to a worker's machine and back.

Work Queue garbles names that are not of plain letters, loses its worker where those in a folder hold spaces, follows links out
of the folder of the trial, and waits for ever at a pipe. So each file has a number as its name on its way, and a folder
travels as an archive.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

__all__ = [
    'COPY_LIMIT',
    'copy_linked_inputs',
    'input_name',
    'output_name',
    'pack_folder',
    'place_inputs',
    'ready_outputs',
    'unpack_folder',
]

COPY_LIMIT = 10 * 2**20
"""Bytes up to which a trial has an input file as a copy of its own, which it may change."""


def input_name(number: int) -> str:
    """Return what an input file is called on its way."""
    return f'.shadho-input-{number}'


def output_name(number: int) -> str:
    """Return what an output file is called on its way."""
    return f'.shadho-output-{number}'


def place_inputs(folder: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Give the input files of a trial their own names."""
    for number, name in enumerate(names):
        Path(folder, input_name(number)).replace(Path(folder, name))


def copy_linked_inputs(folder: str | os.PathLike[str]) -> None:
    """Replace small files of a folder that are hard links by copies, for a trial to change as it likes."""
    for path in list(Path(folder).iterdir()):
        facts = path.lstat()
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1 and facts.st_size <= COPY_LIMIT:
            copy = path.with_name(f'.{path.name}.copy')
            shutil.copy2(path, copy)
            copy.replace(path)


def ready_outputs(folder: str | os.PathLike[str], names: Sequence[str]) -> list[int]:
    """Give the output files of a trial that has ended the names under which they travel.

    What is no file or folder within the folder of the trial, once links are followed, is left out.

    Returns
    -------
    list of int
        Numbers of those that are archives of folders.
    """
    root = Path(os.path.realpath(folder))
    archives = []
    for number, name in enumerate(names):
        source, place = Path(os.path.realpath(root / name)), root / output_name(number)
        place.unlink(missing_ok=True)
        if root not in source.parents:
            continue
        if source.is_file():
            os.link(source, place)
        elif source.is_dir():
            archives.append(number)
            pack_folder(source, place, root)
    return archives


def pack_folder(folder: Path, archive: Path, root: Path) -> None:
    """Put the files and folders below a folder into an archive; links to files below `root` as these files, and no others."""
    with tarfile.open(archive, 'w', dereference=True) as file:
        for parent, folders, files in os.walk(folder):
            for path in (Path(parent, name) for name in [*folders, *files]):
                source = Path(os.path.realpath(path))
                if root in source.parents and (source.is_file() or (source.is_dir() and not path.is_symlink())):
                    file.add(path, str(path.relative_to(folder)), recursive=False)


def unpack_folder(archive: Path, folder: Path) -> None:
    """Put the files and folders of an archive, and nothing else, below a folder.

    Raises
    ------
    ValueError
        When it holds something else, or what belongs elsewhere.
    OSError, tarfile.TarError
        When it cannot be read or written. A forged one may raise any exception.
    """
    folder.mkdir(exist_ok=True)
    with tarfile.open(archive, 'r:') as file:
        for entry in file:
            name = PurePosixPath(entry.name)
            is_plain = (entry.isreg() and not entry.issparse()) or entry.isdir()  # a sparse file may be of any size
            if name.is_absolute() or '..' in name.parts or not is_plain:
                raise ValueError(f'{entry.name!r} in it is no file or folder of its own')
            path, content = folder / name, file.extractfile(entry)
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            with content, path.open('wb') as copy:
                shutil.copyfileobj(content, copy)
            path.chmod(entry.mode & 0o777)
            os.utime(path, (entry.mtime, entry.mtime))  # the latest of several checkpoints may be looked for
