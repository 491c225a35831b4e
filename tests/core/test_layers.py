"""The rooms of shadho-core: imports point down only."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import shadho

LAYERS = [
    'errors', 'words', 'checks', 'jsontags', 'interrupts', 'streams', 'records', 'goal', 'spaces', 'forest', 'table', 'ledger', 'fidelity', 'samplers', 'scheduling', 'storage', 'hardware', 'execution',
    'backends', 'plugins', 'options', 'recommend', 'search', 'result', 'trackers', 'live', 'resume', 'cluster', 'background', 'driver', 'shadho', 'sklearn', 'report', 'dashboard', 'cli', 'workers', 'install', 'testing',
]  # fmt: skip
HOME = Path(shadho.__file__).parent
FILES = sorted(
    path.relative_to(HOME) for path in HOME.rglob('*.py') if path.name != '__init__.py' or path.parent != HOME
)


def room(path: Path) -> str:
    return path.parts[0].removesuffix('.py')


def run_nodes(path: Path) -> list[ast.AST]:
    """Return what a file holds, whether at its top or within a function, without what is for type checkers only."""
    tree = ast.parse((HOME / path).read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    return [node for node in ast.walk(tree) if id(node) not in typing_only]


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a file imports when it is run."""
    names = set()
    for node in run_nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module == 'shadho':
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith('shadho.'):
            names.add(node.module.split('.')[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split('.')[1] for alias in node.names if alias.name.startswith('shadho.')}
    homes = {name: module.split('.')[1] for name, module in shadho._HOMES.items()}
    return {homes.get(name, name) for name in names}


def test_every_file_belongs_to_a_room() -> None:
    assert {room(path) for path in FILES} == set(LAYERS)


@pytest.mark.parametrize('path', FILES, ids=str)
def test_a_file_imports_only_from_its_own_room_and_those_below(path: Path) -> None:
    below = LAYERS[: LAYERS.index(room(path)) + 1]
    if path == Path('plugins/builtin.py'):  # registers parts of all rooms below the search
        below = LAYERS[: LAYERS.index('search')]
    assert imported_rooms(path) <= set(below)


def test_no_module_imports_itself_by_way_of_others() -> None:
    modules = {('shadho', *path.with_suffix('').parts): path for path in FILES}
    modules = {'.'.join(name).removesuffix('.__init__'): path for name, path in modules.items()}
    graph = {}
    for module, path in modules.items():
        names = {
            f'{node.module}.{alias.name}' if f'{node.module}.{alias.name}' in modules else str(node.module)
            for node in run_nodes(path)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        graph[module] = (names & modules.keys()) - {module}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_the_local_backend_uses_public_rooms_only() -> None:
    import shadho_local

    text = '\n'.join(path.read_text() for path in Path(shadho_local.__file__).parent.rglob('*.py'))
    modules = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module}
    rooms = {name for name in modules if name.startswith('shadho.')}
    assert {name.split('.')[1] for name in rooms} <= {
        'backends',
        'checks',
        'errors',
        'execution',
        'hardware',
        'records',
    }


def modules_after(statement: str) -> set[str]:
    code = f'{statement}\nimport sys; print(" ".join(sys.modules))'
    return set(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split())


HEAVY = {
    'sklearn',
    'scipy',
    'scipy.stats',
    'pandas',
    'matplotlib',
    'plotly',
    'joblib',
    'psutil',
    'rich',
    'cloudpickle',
    'pynvml',
    'click',
    'sqlite3',
}


def test_importing_shadho_loads_nothing_heavy() -> None:
    assert modules_after('import shadho') & (HEAVY | {'numpy', 'attrs', 'pluggy'}) == set()
    assert modules_after('from shadho import Shadho, Search, spaces, ComputeClass, hookimpl') & HEAVY == set()


def test_importing_a_search_loads_no_backend_and_no_storage() -> None:
    rooms = {name.split('.')[1] for name in modules_after('import shadho.search') if name.startswith('shadho.')}
    assert rooms & {'backends', 'storage', 'hardware', 'execution', 'driver', 'report'} == set()
