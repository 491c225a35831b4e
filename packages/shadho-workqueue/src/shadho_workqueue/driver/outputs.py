"""Files that trials leave, as the driver takes them from a worker that cannot be trusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

from shadho_worker.files import output_name, unpack_folder

__all__ = ['take_folder', 'take_outputs']


def take_outputs(folder: Path, target: Path, names: Sequence[str], archives: Collection[int]) -> str:
    """Put output files of a command that have come in their places, if they are files and folders and nothing else.

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
            _check_file(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if number in archives:
                unpack_folder(source, place)
            else:
                source.replace(place)
        except Exception as error:  # a worker may have sent anything
            problems.append(f'{name} could not be brought back: {error}')
    return '; '.join(problems)


def take_folder(archive: Path, folder: Path) -> str:
    """Let what came from a worker take the place of a trial's folder.

    Parameters
    ----------
    archive : Path
        In a folder of its own, on the file system of the trial's folder.
    folder : Path

    Returns
    -------
    str
        What is wrong; the trial's folder is as it was then. Empty when all has come.
    """
    new, former = archive.with_name('new'), archive.with_name('former')
    try:
        _check_file(archive)
        unpack_folder(archive, new)
        if folder.exists():
            folder.rename(former)
        new.rename(folder)
    except Exception as error:  # a worker may have sent anything
        return f'the folder of the trial could not be brought back: {error}'
    return ''


def _check_file(path: Path) -> None:
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError('its worker sent a folder or a link in its place')
    path.chmod(mode & 0o777)  # nobody else may run as this user what a worker has sent
