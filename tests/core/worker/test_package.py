"""The package shadho_worker where no SHADHO is installed: as an archive, and beside a script."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest

import shadho_worker
from shadho_worker.package import archive, place_package
from shadho_worker.task import ARCHIVE, COMMAND

SOURCES = sorted(Path(shadho_worker.__file__).parent.glob('*.py'))
ALONE = [sys.executable, '-S', '-I', '-c']  # no installed packages, no variables, nothing of the working folder


def modules_after(entry: Path, module: str) -> set[str]:
    """Return what a bare interpreter has loaded after an import from one entry of its path."""
    code = f'import sys; sys.path.insert(0, {str(entry)!r}); import {module}; print(*sys.modules)'
    return set(subprocess.run([*ALONE, code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize('source', SOURCES, ids=lambda source: source.stem)
def test_each_module_needs_nothing_but_the_archive_and_the_standard_library(source: Path, tmp_path: Path) -> None:
    path = tmp_path / 'worker.zip'
    path.write_bytes(archive())
    module = 'shadho_worker' if source.stem == '__init__' else f'shadho_worker.{source.stem}'
    loaded = modules_after(path, module)
    assert module in loaded
    assert {name.partition('.')[0] for name in loaded} - sys.stdlib_module_names <= {'__main__', 'shadho_worker'}


@pytest.mark.parametrize('source', SOURCES, ids=lambda source: source.stem)
def test_each_module_is_python_3_9(source: Path) -> None:
    ast.parse(source.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize(('magic', 'kind'), [(MAGIC_NUMBER, '.pyc'), (b'\0\0\r\n', '.py')])
def test_this_python_takes_the_compiled_modules_and_another_one_the_sources(
    tmp_path: Path, magic: bytes, kind: str
) -> None:
    path = tmp_path / 'worker.zip'
    with zipfile.ZipFile(io.BytesIO(archive())) as whole, zipfile.ZipFile(path, 'w') as file:
        for name in whole.namelist():
            content = whole.read(name)
            file.writestr(name, magic + content[4:] if name.endswith('.pyc') else content)
    code = f'import sys; sys.path.insert(0, {str(path)!r}); import shadho_worker.task as task; print(task.__file__)'
    printed = subprocess.run([*ALONE, code], capture_output=True, text=True, check=True).stdout
    assert printed == f'{path}/shadho_worker/task{kind}\n'


def test_a_script_finds_what_it_imports_beside_it(tmp_path: Path) -> None:
    place_package(tmp_path)
    loaded = {name for name in modules_after(tmp_path, 'shadho_worker') if name.startswith('shadho_worker')}
    placed = {f'shadho_worker.{path.stem}' for path in (tmp_path / 'shadho_worker').glob('*.py')}
    assert loaded == {'shadho_worker', *placed} - {'shadho_worker.__init__'}


def test_a_script_under_this_python_compiles_nothing(tmp_path: Path) -> None:
    place_package(tmp_path)
    for source in (tmp_path / 'shadho_worker').glob('*.py'):
        source.write_text('this is not compiled')
    assert 'shadho_worker.script' in modules_after(tmp_path, 'shadho_worker')


def test_a_folder_of_that_name_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / 'shadho_worker').mkdir()
    place_package(tmp_path)
    assert [*(tmp_path / 'shadho_worker').iterdir()] == []


@pytest.fixture
def task(tmp_path: Path) -> Any:
    """Return a function that runs the archive as a plain worker does, on a command, and returns the outcome."""

    def run(command: str, **request: Any) -> Any:
        request = {
            'trial': 7, 'command': command, 'params': '{"x": 2.0}', 'loss_key': 'loss', 'timeout': None, 'inputs': [],
            'outputs': [], 'handle': None, 'grace': 0.0, **request,
        }  # fmt: skip
        (tmp_path / '.shadho.json').write_text(json.dumps(request))
        (tmp_path / ARCHIVE).write_bytes(archive())
        bare = COMMAND.replace('python3', f'{sys.executable} -S')
        done = subprocess.run(bare, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr == ''
        return json.loads(done.stdout)

    return run


def test_a_task_runs_a_script_that_imports_the_package(task: Any, tmp_path: Path) -> None:
    (tmp_path / '.shadho-input-0').write_text(
        'import shadho_worker\nshadho_worker.run(lambda params: {"loss": params["x"], "file": shadho_worker.__file__})\n'
    )
    outcome = task(f'PYTHONPATH=elsewhere {sys.executable} -S script.py', inputs=['script.py'])
    assert (outcome['trial'], outcome['state'], outcome['loss'], outcome['archives']) == (7, 'done', 2.0, [])
    assert outcome['results']['file'] == str(tmp_path / 'shadho_worker' / '__init__.py')


def test_a_task_that_outlives_its_time_is_ended_with_all_that_it_started(task: Any, tmp_path: Path) -> None:
    outcome = task('setsid sleep 100 & echo $! > pid; sleep 100', timeout=0.5)
    assert outcome['error'] == {
        'kind': 'timeout', 'message': 'the trial was ended after its trial_timeout of 0.5 s', 'traceback': '',
    }  # fmt: skip
    status = Path('/proc', (tmp_path / 'pid').read_text().strip(), 'stat')
    assert not status.exists() or ') Z ' in status.read_text()


def test_a_task_sends_its_output_files_under_numbers(task: Any, tmp_path: Path) -> None:
    outcome = task('echo 1 > result.json; echo kept > model; mkdir logs', outputs=['model', 'logs'])
    assert outcome['archives'] == [1]
    assert (tmp_path / '.shadho-output-0').read_text() == 'kept\n'
