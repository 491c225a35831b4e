"""Distributions as pip leaves them: a module, and a dist-info folder beside it that names its entry point."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shadho import plugins


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed distributions, which this process looks into."""
    folder = tmp_path / 'site'
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    plugins.load.cache_clear()
    yield folder
    plugins.load.cache_clear()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], '__file__', None) and str(folder) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Callable[..., None]:
    """Put a distribution there, with one module that is a plugin."""

    def install(name: str, code: str, *, module: str | None = None, version: str = '1.0') -> None:
        module = module or name.replace('-', '_')
        info = site / f'{name.replace("-", "_")}-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
        (info / 'entry_points.txt').write_text(f'[shadho]\n{module} = {module}\n')
        (site / f'{module}.py').write_text(code)

    return install
