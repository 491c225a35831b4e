"""A recorded search with three trees, categories, failures and results, and the commands that look at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from shadho import Shadho, spaces
from shadho.cli import cli

C = spaces.log10_uniform(-3, 3)
SPACE = {
    'exclusive': True,
    'rbf': {'C': C, 'gamma': spaces.log10_uniform(-5, 1)},
    'linear': {'C': C, 'scaled': [True, False]},
    'poly': {'C': C, 'degree': [2, 3, 4], 'weight': ['none', None, (1, 2)], 'steps': spaces.randint(1, 9)},
}


def error(params: Any) -> dict[str, Any]:
    [(kernel, own)] = params.items()
    if kernel == 'linear' and own['C'] > 1:
        raise ValueError(f'too large: {own["C"]}')
    return {'loss': abs(own['C'] - 1), 'kernel': kernel}


@pytest.fixture(scope='session')
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a search of 40 trials; it is only to be read."""
    path = tmp_path_factory.mktemp('recorded') / 'svm.db'
    Shadho(
        'svm', error, SPACE, method='random', policy='fcfs', max_tasks=40, seed=3, backend='inline', storage=path,
        display=False,
    ).run()  # fmt: skip
    return path


@pytest.fixture
def shadho() -> Callable[..., Any]:
    """Run a command in this process; output and errors of it, and its exit status."""

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    assert isinstance(cli, click.Group)
    return run
