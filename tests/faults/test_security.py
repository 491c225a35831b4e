"""What loads code, and who can read what is written.

What trials and files may send is in test_forged.py, what others on the network can do in test_network.py; test_claims.py
says which test shows what SECURITY.md claims.
"""

from __future__ import annotations

import ast
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# --- what loads code -----------------------------------------------------------------------------

LOADERS = {
    f'{module}.{name}'
    for module, names in {
        'pickle': 'load loads Unpickler', 'cloudpickle': 'load loads', 'dill': 'load loads', 'marshal': 'load loads',
        'shelve': 'open Shelf', 'joblib': 'load', 'numpy': 'load', 'pandas': 'read_pickle', 'torch': 'load',
        'yaml': 'load load_all unsafe_load full_load', 'builtins': 'eval exec compile __import__', 'code': 'interact',
        'importlib': 'import_module reload', 'importlib.util': 'spec_from_file_location', 'runpy': 'run_path run_module',
        'ctypes': 'CDLL', 'os': 'system popen execv execve execvp', 'tempfile': 'mktemp gettempdir',
    }.items()
    for name in names.split()
}  # fmt: skip
"""Functions that make code of data, or names of temporary files that can be guessed."""

PLACES = {
    'shadho/__init__.py': {'importlib.import_module': 'names of our own modules'},
    'shadho/cli/run.py': {
        'importlib.import_module': 'what the user names on the command line',
        'os.execv': 'the command that a file names, after it was shown and agreed to',
    },
    'shadho/execution/child.py': {
        'pickle.load': 'a trial that the driver, or the worker for it, sends to the process of the trial',
        'pickle.loads': 'its parameters, and the objective, in that process too',
    },
    'shadho/execution/limits.py': {'tempfile.gettempdir': 'the folder for temporary files, named in a message'},
    'shadho/spaces/spec.py': {'importlib.import_module': 'callbacks of spaces.from_json, for files that are trusted'},
    'shadho/testing/storages.py': {'pickle.loads': 'what a process of the test itself sends'},
    'shadho_mpi/serve.py': {
        'pickle.loads': 'the command that the first rank sends to the others',
        'ctypes.CDLL': 'exit() of the C library',
    },
    'shadho_worker/package.py': {'builtins.compile': 'our own modules, for the archive that plain workers run'},
    'shadho_workqueue/worker/engine_worker.py': {'ctypes.CDLL': 'prctl() of the C library'},
}
"""All places of our packages where one of them is named, and what it loads there."""


def _named(tree: ast.AST) -> set[str]:
    """Return the full names of all that a module names of other modules, and of the built-in functions."""
    known = {name: f'builtins.{name}' for name in ('eval', 'exec', 'compile', '__import__')}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {own.asname: own.name for own in node.names if own.asname}
            known |= {own.name.partition('.')[0]: own.name.partition('.')[0] for own in node.names if not own.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {own.asname or own.name: f'{node.module}.{own.name}' for own in node.names}

    def full(node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            return f'{full(node.value)}.{node.attr}'
        return known.get(node.id, '') if isinstance(node, ast.Name) else ''

    return {full(node) for node in ast.walk(tree)}


def _sources(repository: Path) -> Iterator[tuple[str, ast.Module]]:
    for source in sorted(repository.glob('packages/*/src')):
        for path in sorted(source.rglob('*.py')):
            yield str(path.relative_to(source)), ast.parse(path.read_text(encoding='utf-8'))


def test_code_is_loaded_in_known_places_only(repository: Path) -> None:
    found = {path: _named(tree) & LOADERS for path, tree in _sources(repository)}
    assert {path: names for path, names in found.items() if names} == {path: set(own) for path, own in PLACES.items()}


def test_nothing_that_makes_code_of_data_escapes_that_search() -> None:
    text = 'import numpy as np\nfrom pickle import loads as read\nimport importlib.util\n'
    text += 'np.load(1); read(2); importlib.util.spec_from_file_location; eval("3")'
    expected = {'numpy.load', 'pickle.loads', 'importlib.util.spec_from_file_location', 'builtins.eval'}
    assert _named(ast.parse(text)) & LOADERS == expected


def test_no_archive_is_unpacked_but_by_those_who_look_at_each_member(repository: Path) -> None:
    unpacking = {
        path
        for path, tree in _sources(repository)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ('extract', 'extractall', 'extractfile', 'unpack_archive')
    }
    assert unpacking == {'shadho_mpi/serve.py', 'shadho_worker/files.py'}


VARIABLES = {
    "'PATH'": 'where programs are found, as everywhere',
    "'CONDA_PREFIX'": 'where the engine and a Python with its bindings are found',
    "'CONDA_EXE'": 'conda, by which the user lets the engine be installed',
    "'XDG_STATE_HOME'": 'the folder of rendezvous: who can write there is trusted by a worker',
    "'TERM'": 'text', "'CUDA_VISIBLE_DEVICES'": 'text', 'OVERRIDE': 'SHADHO_HARDWARE: JSON', 'LOADING': 'a mark',
    'LOSS_KEY_VARIABLE': 'text', 'MARK': 'a mark', '_RANK': 'a number', '_OUTER_RANK': 'a number',
    'REPORTS_VARIABLE': 'a pipe that a program writes JSON to', 'DECISION_VARIABLE': 'a file that a program reads words from',
    'name': 'numbers of threads and ranks',
    'variable': 'numbers: what Slurm has given a job',
}  # fmt: skip
"""All variables that our packages read, and what each decides."""


def test_no_variable_of_ours_makes_code_of_data(repository: Path) -> None:
    asked = ('os.environ.get', 'os.getenv', 'environment.get')
    read = {
        ast.unparse(node.args[0] if isinstance(node, ast.Call) else node.slice)
        for path, tree in _sources(repository)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Call) and ast.unparse(node.func) in asked)
        or (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value) == 'os.environ'
            and isinstance(node.ctx, ast.Load)
        )
        if '/testing/' not in path
    }
    assert read == set(VARIABLES)


# --- who can read what is written ------------------------------------------------------------------

WATCHED = """
import json, os, stat, sys
from pathlib import Path
from shadho import Shadho, hookimpl, spaces

def exposed(folder):
    'Yield what other users could look at or enter; what lies in a folder that they cannot enter is out of reach.'
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if mode & 0o077 and not stat.S_ISLNK(mode):
            yield str(path.relative_to(folder.parent))
            if stat.S_ISDIR(mode):
                yield from exposed(path)

class Watch:
    @hookimpl
    def shadho_trial_finished(self, trial):
        if trial.id == 2:
            seen = [name for place in [*os.environ['PLACES'].split(':'), os.environ['TMPDIR']] for name in exposed(Path(place))]
            files = sorted(path.name for path in Path().iterdir())
            print(json.dumps([seen, files]), flush=True)

if __name__ == '__main__':
    Shadho('faults', COMMAND, {'x': spaces.uniform(0, 1)}, max_tasks=4, backend=backend, storage=STORAGE, display=False,
           plugins=[Watch()]).run()
"""


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let all that is started have a umask that forbids nothing: no other can lay open more."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ('backend', 'storage'),
    [('inline', 'faults.db'), ('local', 'faults.jsonl'), ('mpi', 'faults.db'), ('workqueue', 'faults.db')],
)
@pytest.mark.usefixtures('open_umask')
def test_others_can_read_nothing_of_a_search_while_it_runs(
    drivers: Any, crew: Any, state_folder: Path, tmp_path: Path, backend: str, storage: str
) -> None:
    """Storages, locks, passwords, rendezvous, objectives, parameters, and folders of trials; simulated ones have none."""
    hands = [crew.start('-M', 'faults')] if backend == 'workqueue' else []
    script = WATCHED.replace('COMMAND', repr('echo 1 > result.json')).replace('STORAGE', repr(storage))
    places = ':'.join(map(str, [tmp_path, state_folder.parent.parent, *[hand.folder for hand in hands]]))
    launch = drivers.run(backend, script, environment={'PLACES': places})
    assert launch.status == 0, launch.err
    seen, files = json.loads(launch.out)
    assert {storage, f'{storage}.lock'} <= set(files)
    assert ({f'{storage}-wal', f'{storage}-shm'} <= set(files)) == storage.endswith('.db')
    assert seen == [f'{tmp_path.name}/driver.py']
    assert stat.S_IMODE(Path(storage).stat().st_mode) == 0o600


@pytest.mark.usefixtures('open_umask')
def test_every_folder_on_the_way_to_a_password_is_private(tmp_path: Path) -> None:
    from shadho_workqueue.rendezvous import keep_private

    path = tmp_path / 'state' / 'shadho' / 'workqueue' / 'key.json'
    keep_private(path, 'secret')
    modes = [stat.S_IMODE(own.stat().st_mode) for own in (path, *path.parents) if tmp_path in own.parents]
    assert modes == [0o600, 0o700, 0o700, 0o700]
