"""Input and output files of a command on a worker's machine.

Work Queue garbles names that are not of plain letters, loses its worker where those in a folder hold spaces, follows links out
of the folder of the trial, and waits for ever at a pipe. So each file has a number as its name on its way, and an output
folder travels as an archive.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ['COPY_LIMIT', 'copy_linked_inputs', 'input_name', 'output_name', 'place_inputs', 'ready_outputs']

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
