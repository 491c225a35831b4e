"""Output files of commands, as the driver takes them from a worker that cannot be trusted."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from shadho_worker.files import output_name

__all__ = ['take_outputs']


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
        As `shadho_worker.files.ready_outputs` returned.

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
