"""Copies of this package for places where no SHADHO is installed.

A module goes with its code, as this version of Python compiles it, since a fresh folder or an archive has no cache of
compiled modules: an import from a folder takes 10 ms less, and one from an archive, which would compile each source twice,
20 ms less. Other versions of Python compile the sources.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ['archive', 'place_package']

_FOR_SCRIPTS = ('__init__', 'as_json', 'handle', 'outcomes', 'reports', 'script')
"""Modules that ``import shadho_worker`` loads."""

_UNCHECKED = 0b01
"""Flags of a compiled file that counts whatever its source is (PEP 552)."""


def place_package(folder: str | os.PathLike[str]) -> None:
    """Give the scripts of a folder what they import; what is there under that name stays.

    It is put beside them, not on ``PYTHONPATH``, which a command may set as it likes.
    """
    place = Path(folder, __package__)
    if os.path.lexists(place):
        return
    Path(place, '__pycache__').mkdir(parents=True)
    for name, content in _files_for_scripts().items():
        Path(place, name).write_bytes(content)


@functools.cache
def _files_for_scripts() -> Mapping[str, bytes]:
    files = {}
    for name in _FOR_SCRIPTS:
        source, compiled = _module(f'{name}.py')
        files[f'{name}.py'] = source
        files[f'__pycache__/{name}.{sys.implementation.cache_tag}.pyc'] = compiled
    return files


def archive() -> bytes:
    """Return a zip of this package, for the path of modules."""
    import zipfile  # which is no use to a task, and slow to import

    text = io.BytesIO()
    with zipfile.ZipFile(text, 'w', zipfile.ZIP_DEFLATED) as file:
        for path in sorted(Path(__file__).parent.glob('*.py')):
            for name, content in zip((path.name, f'{path.name}c'), _module(path.name)):
                file.writestr(zipfile.ZipInfo(f'{__package__}/{name}'), content, zipfile.ZIP_DEFLATED)
    return text.getvalue()


def _module(name: str) -> tuple[bytes, bytes]:
    """Return the source and the compiled code of a module, given the name of its file."""
    path = str(Path(__file__).with_name(name))
    get_data = __loader__.get_data  # type: ignore[name-defined]  # of every module; reads archives, too
    source: bytes = get_data(path)
    if __file__.endswith('c'):  # an archive that this version of Python has compiled
        return source, get_data(f'{path}c')
    import marshal
    from importlib.util import MAGIC_NUMBER, source_hash  # slow to import

    code = compile(source, f'{__package__}/{name}', 'exec', dont_inherit=True)
    return source, MAGIC_NUMBER + _UNCHECKED.to_bytes(4, 'little') + source_hash(source) + marshal.dumps(code)
