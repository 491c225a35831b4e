"""Input and output files of commands, at both ends of the engine.

The engine garbles names that are not of plain letters, loses its worker where those in a folder hold spaces, follows links out
of the folder of the trial, and waits for ever at a pipe. So each file has a number as its name on its way, an output folder
travels as an archive, and what the driver gets is looked at before it is put in its place.

This file is also sent to machines that have no SHADHO: standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

__all__ = ['input_name', 'output_name', 'place_inputs', 'ready_outputs', 'take_outputs']


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
            _pack(source, place, root)
    return archives


def _pack(folder: Path, archive: Path, root: Path) -> None:
    """Put the files and folders below a folder into an archive; links to files of the trial as these files."""
    with tarfile.open(archive, 'w', dereference=True) as file:
        for parent, folders, files in os.walk(folder):
            for path in (Path(parent, name) for name in [*folders, *files]):
                source = Path(os.path.realpath(path))
                if root in source.parents and (source.is_file() or (source.is_dir() and not path.is_symlink())):
                    file.add(path, str(path.relative_to(folder)), recursive=False)


def take_outputs(folder: Path, target: Path, names: Sequence[str], archives: Collection[int]) -> str:
    """Put output files that have come in their places, if they are files and folders and nothing else.

    Parameters
    ----------
    folder : Path
        Where the engine left them.
    target : Path
        Where they belong.
    names : sequence of str
        Relative to `target`.
    archives : collection of int
        As `ready_outputs` said.

    Returns
    -------
    str
        What is wrong; empty when all have come.
    """
    problems = []
    for number, name in enumerate(names):
        source, place = folder / output_name(number), target / name
        if not os.path.lexists(source):
            problems.append(f'the command left no {name}')
            continue
        try:
            mode = source.lstat().st_mode
            if not stat.S_ISREG(mode):
                raise ValueError('its worker sent a folder or a link in its place')
            source.chmod(mode & 0o777)  # nobody else may run as this user what a worker has sent
            place.parent.mkdir(parents=True, exist_ok=True)
            if number in archives:
                _unpack(source, place)
            else:
                source.replace(place)
        except (OSError, ValueError, tarfile.TarError) as error:
            problems.append(f'{name} could not be brought back: {error}')
    return '; '.join(problems)


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with tarfile.open(archive, 'r:') as file:
        for entry in file:
            name = PurePosixPath(entry.name)
            is_plain = (entry.isreg() and not entry.issparse()) or entry.isdir()  # a sparse file may be of any size
            if name.is_absolute() or '..' in name.parts or not is_plain:
                raise ValueError(f'its worker sent {entry.name!r} in it, which is no file or folder of its own')
            path, content = folder / name, file.extractfile(entry)
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            with content, path.open('wb') as copy:
                shutil.copyfileobj(content, copy)
            path.chmod(entry.mode & 0o777)
