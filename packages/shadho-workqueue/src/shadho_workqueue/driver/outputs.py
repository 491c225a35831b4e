"""Output files of commands, as the driver takes them from a worker that cannot be trusted."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Collection, Sequence
from pathlib import Path

from shadho_worker.files import output_name, unpack_folder

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
                unpack_folder(source, place)
            else:
                source.replace(place)
        except (OSError, ValueError, tarfile.TarError) as error:
            problems.append(f'{name} could not be brought back: {error}')
    return '; '.join(problems)
