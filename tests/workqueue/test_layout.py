"""The folders of shadho-workqueue: each holds what runs in one process, and needs nothing of the driver's."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import shadho_workqueue

HOME = Path(shadho_workqueue.__file__).parent
SHARED = ('installation', 'reach', 'rendezvous', 'reports', 'shell', 'worker_info')
"""Modules that several processes import."""

ALLOWED = {'driver': {'driver', 'manager', 'install'}, 'worker': {'worker', 'pool'}, 'pool': {'pool', 'worker'}}
"""What the modules of each folder import beside the shared ones."""


def imported(path: Path) -> set[str]:
    """Return the folders and modules of the package that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == 'shadho_workqueue':
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith('shadho_workqueue.'):
            names.add(node.module.split('.')[1])
    return names


@pytest.mark.parametrize('folder', ALLOWED)
def test_a_folder_imports_what_its_process_needs(folder: str) -> None:
    for path in (HOME / folder).glob('*.py'):
        assert imported(path) <= {*SHARED, *ALLOWED[folder]}, path.name


@pytest.mark.parametrize('module', SHARED)
def test_what_processes_share_imports_nothing_of_one_of_them(module: str) -> None:
    assert imported(HOME / f'{module}.py') <= set(SHARED)


def test_the_manager_imports_nothing_of_shadho() -> None:
    names = {
        name.split('.')[0]
        for node in ast.walk(ast.parse((HOME / 'manager.py').read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ''] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert names - sys.stdlib_module_names == {'ndcctools', 'work_queue'}
