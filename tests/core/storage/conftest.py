from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534


@pytest.fixture
def as_anybody() -> Callable[[], AbstractContextManager[None]]:
    """Without the privileges of root, for whom nothing is read-only."""

    @contextmanager
    def as_anybody() -> Iterator[None]:
        if os.getuid() != 0:
            yield
            return
        os.setresgid(_NOBODY, _NOBODY, 0)
        os.setresuid(_NOBODY, _NOBODY, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)

    return as_anybody


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder to which every user finds the way; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix='shadho-test-'))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)
