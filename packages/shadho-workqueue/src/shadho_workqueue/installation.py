"""Where the engine is installed, and what it speaks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import attrs

from shadho.errors import BackendError

__all__ = ['HELP', 'Bindings', 'find_bindings', 'find_program', 'is_likely', 'version_of']

HELP = 'python3 -m shadho.install.workqueue says what is missing, and installs it where it can'

_PROBE = """
try:
    import ndcctools.work_queue as module
except ImportError:
    import work_queue as module
print(module.__name__, module.__file__)
"""


@attrs.frozen
class Bindings:
    """The Python bindings of the manager.

    Attributes
    ----------
    python : str
        The interpreter that can load them.
    module : str
    path : str
    """

    python: str
    module: str
    path: str


def _pythons() -> Iterator[str]:
    """Yield the interpreters that may have the bindings: this one, conda's, the system's, those on the path."""
    yield sys.executable
    for prefix in (os.environ.get('CONDA_PREFIX'), '/usr', '/usr/local'):
        if prefix is not None:
            yield str(Path(prefix) / 'bin' / 'python3')
    for folder in os.get_exec_path():
        yield str(Path(folder) / 'python3')


@cache
def find_bindings() -> Bindings | None:
    """Return the first interpreter that can load the engine's bindings; None when there is none."""
    for python in dict.fromkeys(_pythons()):
        if not os.access(python, os.X_OK):
            continue
        try:
            found = subprocess.run([python, '-c', _PROBE], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if found.returncode == 0:
            return Bindings(python, *found.stdout.split(maxsplit=1))
    return None


def find_program(name: str) -> str | None:
    """Return the path of one of the engine's programs, also where a virtual environment hides it from PATH."""
    prefixes = [sys.prefix, os.environ.get('CONDA_PREFIX', ''), '/usr', '/usr/local']
    places = [*os.get_exec_path(), *[str(Path(prefix) / 'bin') for prefix in prefixes if prefix]]
    return shutil.which(name, path=os.pathsep.join(places))


@cache
def version_of(program: str) -> str:
    """Return the version that a program of the engine says it is."""
    try:
        found = subprocess.run([program, '--version'], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f'{program} cannot be run: {error}; {HELP}') from None
    match = re.search(r'version\s+(.+?)\s*(\(|$)', found.stdout, re.MULTILINE)
    return match[1] if match else 'unknown'


def is_likely() -> bool:
    """Whether the engine seems to be installed, by looking for its files only."""
    if find_program('work_queue_worker') is None:
        return False
    if find_spec('work_queue') is not None or find_spec('ndcctools') is not None:
        return True
    return any(_has_bindings(python) for python in dict.fromkeys(_pythons()))


def _has_bindings(python: str) -> bool:
    prefix = Path(python).parent.parent
    folders = [prefix / 'lib/python3/dist-packages', *prefix.glob('lib/python3*/site-packages')]
    return any((folder / name).exists() for folder in folders for name in ('work_queue.py', 'ndcctools/work_queue'))
