"""Marks and fixtures that scikit-learn's own tests ask for, which its conftest.py would bring."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sklearn


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line('markers', 'thread_unsafe: one of scikit-learn')


@pytest.fixture
def enable_slep006() -> Iterator[None]:
    """Route metadata, as the tests of releases before 1.6 ask for it."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield
