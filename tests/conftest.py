"""What all tests share: each runs in an empty folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with no hardware override and no library settings of the caller."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('SHADHO_HARDWARE', raising=False)
    return tmp_path


@pytest.fixture(scope='session')
def repository() -> Path:
    """Return the root of the repository."""
    return ROOT
