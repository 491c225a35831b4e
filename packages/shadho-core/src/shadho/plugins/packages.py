"""The packages of SHADHO beside the core."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ['BACKENDS', 'install_command']

BACKENDS = {'local': 'shadho-local', 'workqueue': 'shadho-workqueue', 'mpi': 'shadho-mpi'}
"""Backends that are packages of their own, and their packages."""


def install_command(package: str) -> str:
    """Return the command that installs a package of SHADHO.

    No index has them: they lie in the checkout that shadho-core was installed from, which pip has noted (PEP 610).

    Parameters
    ----------
    package : str
        Such as 'shadho-local'.
    """
    try:
        origin = importlib.metadata.distribution('shadho-core').read_text('direct_url.json')
    except importlib.metadata.PackageNotFoundError:  # it runs from its source
        origin = None
    if origin is not None:
        folder = Path(unquote(urlsplit(json.loads(origin)['url']).path)).parent / package
        if (folder / 'pyproject.toml').is_file():
            return f'pip install {shlex.quote(str(folder))}'
    return f'pip install ./packages/{package} in a checkout of SHADHO'
