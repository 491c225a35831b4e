"""How packages of SHADHO are installed, as messages say it."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from shadho.plugins import install_command


def note_origin(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    """Let pip have noted that shadho-core was installed from there, or nothing, as of what an index has."""
    noted = None if url is None else json.dumps({'url': url, 'dir_info': {}})
    installed = SimpleNamespace(read_text=lambda name: noted if name == 'direct_url.json' else None)
    monkeypatch.setattr(importlib.metadata, 'distribution', lambda name: installed)


def test_a_package_is_installed_from_the_checkout_that_the_core_came_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packages = tmp_path / 'a checkout/packages'
    for name in ('shadho-core', 'shadho-local'):
        (packages / name).mkdir(parents=True)
        (packages / name / 'pyproject.toml').touch()
    note_origin(monkeypatch, (packages / 'shadho-core').as_uri())
    assert shlex.split(install_command('shadho-local')) == ['pip', 'install', str(packages / 'shadho-local')]


@pytest.mark.parametrize(
    'url',
    [None, 'file:///no/such/checkout/packages/shadho-core', 'https://example.org/shadho_core-0.1.0-py3-none-any.whl'],
)
def test_without_that_checkout_the_command_is_one_for_any(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    note_origin(monkeypatch, url)
    assert install_command('shadho-local') == 'pip install ./packages/shadho-local in a checkout of SHADHO'
