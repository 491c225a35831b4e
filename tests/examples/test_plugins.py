"""The example plugins, installed as anybody's: wheels in an environment of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ['shadho-halton', 'shadho-threads']
SEARCH = """
import threading
from shadho import Shadho, spaces

def objective(params):
    assert threading.current_thread() is not threading.main_thread()
    return (params['x'] - 0.25) ** 2

result = Shadho('both', objective, {'x': spaces.uniform(-1, 1)}, method='halton', backend='threads', max_tasks=50, seed=1).run()
print(len(result), result.best.loss < 0.01, {trial.compute_class for trial in result})
"""


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Run a program of an environment that holds shadho-core and the two plugins, none of them editable."""
    folder = tmp_path_factory.mktemp('environment')
    venv.create(folder, with_pip=True)
    sources = [ROOT / 'packages' / 'shadho-core', *[ROOT / 'examples' / 'plugins' / name for name in PLUGINS]]
    uv = shutil.which('uv')
    pip = [uv, 'pip', 'install', '--python', folder / 'bin' / 'python'] if uv else [folder / 'bin' / 'pip', 'install']
    subprocess.run([*pip, '--quiet', *sources, 'pytest'], check=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith('PYTHON')}

    def run(program, *arguments):
        command = [str(folder / 'bin' / program), *map(str, arguments)]
        answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    return run


def test_a_search_uses_the_parts_of_both_by_name(run):
    assert run('python', '-c', SEARCH) == "50 True {'threads'}\n"


def test_both_are_listed_with_what_they_register(run):
    found = {entry['distribution']: entry for entry in json.loads(run('shadho', 'plugins', '--json'))}
    assert found['shadho-halton']['registers'] == {'sampler': ['halton']}
    assert found['shadho-threads']['registers'] == {'backend': ['threads']}
    assert not any(entry['broken'] for entry in found.values())
    assert 'shadho-halton 0.1.0' in run('shadho', 'plugins')


@pytest.mark.parametrize('name', PLUGINS)
def test_each_passes_its_own_tests(run, name):
    options = ['-q', '-p', 'no:cacheprovider', '-c', ROOT / 'pyproject.toml']
    assert ' passed in ' in run('python', '-m', 'pytest', *options, ROOT / 'examples' / 'plugins' / name)
