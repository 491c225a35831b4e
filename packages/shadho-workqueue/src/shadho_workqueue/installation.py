"""Where the engine is installed, and what it speaks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import attrs

from shadho.errors import BackendError

__all__ = ['HELP', 'Bindings', 'find_bindings', 'find_program', 'forget', 'is_likely', 'release_of', 'version_of']

HELP = 'python3 -m shadho.install.workqueue says what is missing, and installs it where it can'

_PROBE = """
try:
    import ndcctools.work_queue as module
except ImportError:
    import work_queue as module
print(module.__name__, module.__file__)
"""

# The library that the bindings link tells its release to C's standard output only.
_RELEASE = (
    _PROBE
    + """
import ctypes, pathlib
for path in pathlib.Path(module.__file__).parent.glob('_*work_queue*.so'):
    own, c = ctypes.CDLL(str(path)), ctypes.CDLL(None)
    own.cctools_version_print(ctypes.c_void_p.in_dll(c, 'stdout'), b'bindings')
    c.fflush(None)
"""
)

PREFIXES = ('/usr', '/usr/local')
"""Where the engine may be, whatever PATH says."""


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
    for prefix in (os.environ.get('CONDA_PREFIX'), *PREFIXES):
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
            return Bindings(python, *found.stdout.strip().split(maxsplit=1))
    return None


def find_program(name: str) -> str | None:
    """Return the path of one of the engine's programs, also where a virtual environment hides it from PATH."""
    # An environment's own come first, as its bindings do: the two must be of one release.
    own = [sys.prefix] if sys.prefix != sys.base_prefix else []
    prefixes = [sys.prefix, os.environ.get('CONDA_PREFIX', ''), *PREFIXES]
    places = [*_bin(own), *os.get_exec_path(), *_bin(prefixes)]
    return shutil.which(name, path=os.pathsep.join(places))


def _bin(prefixes: Sequence[str]) -> list[str]:
    return [str(Path(prefix) / 'bin') for prefix in prefixes if prefix]


@cache
def version_of(program: str) -> str:
    """Return the version that a program of the engine says it is."""
    try:
        found = subprocess.run([program, '--version'], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f'{program} cannot be run: {error}; {HELP}') from None
    return _version(found.stdout)


@cache
def release_of(bindings: Bindings) -> str:
    """Return the version of the engine that its bindings belong to."""
    found = subprocess.run(
        [bindings.python, '-c', _RELEASE], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    return _version(found.stdout)


def _version(text: str) -> str:
    match = re.search(r'version\s+(.+?)\s*(\(|$)', text, re.MULTILINE)
    return match[1] if match else 'unknown'


def forget() -> None:
    """Look anew for what may have been installed meanwhile."""
    for found in (find_bindings, version_of, release_of):
        found.cache_clear()


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
