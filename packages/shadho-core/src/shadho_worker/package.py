"""Copies of this package for places where no SHADHO is installed."""

from __future__ import annotations

import io
import marshal
import os
from pathlib import Path

__all__ = ['archive', 'place_package']

_FOR_SCRIPTS = ('__init__', 'as_json', 'outcomes', 'script')
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
    place.mkdir()
    source = Path(__file__).parent
    for name in _FOR_SCRIPTS:
        content = __loader__.get_data(str(source / f'{name}.py'))  # type: ignore[name-defined]  # from an archive, too
        (place / f'{name}.py').write_bytes(content)


def archive() -> bytes:
    """Return a zip of this package, for the path of modules.

    Beside each source is its code, as this version of Python compiles it. Other versions compile the source, twice for each
    import: that takes 10 ms, of the 100 ms of a task.
    """
    import zipfile  # which is no use to a task, and slow to import
    from importlib.util import MAGIC_NUMBER, source_hash

    text = io.BytesIO()
    with zipfile.ZipFile(text, 'w', zipfile.ZIP_DEFLATED) as file:
        for path in sorted(Path(__file__).parent.glob('*.py')):
            name, source = f'{__package__}/{path.name}', path.read_bytes()
            code = marshal.dumps(compile(source, name, 'exec', dont_inherit=True))
            compiled = MAGIC_NUMBER + _UNCHECKED.to_bytes(4, 'little') + source_hash(source) + code
            for entry, content in ((name, source), (f'{name}c', compiled)):
                file.writestr(zipfile.ZipInfo(entry), content, zipfile.ZIP_DEFLATED)
    return text.getvalue()
