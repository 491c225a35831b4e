"""A search through what is installed, without the repository: run by ``nox -s installed``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import shadho
from shadho import Shadho, spaces
from shadho.plugins import load


def objective(params: dict[str, float]) -> float:
    return (params['x'] - 0.5) ** 2


assert 'site-packages' in shadho.__file__, shadho.__file__
COMMAND = 'python3 -c "import shadho_worker; shadho_worker.run(lambda params: params[\'x\'])"'
space = {'x': spaces.uniform(0, 1), 'normal': spaces.normal(0, 1), 'k': [1, 2, 3]}


def use_here(backend: str) -> None:
    for method in ('random', 'sobol', 'grid'):
        options = {'grid_points': 3} if method == 'grid' else {}
        result = Shadho(
            'installed', objective, space, method, max_tasks=20, seed=0, backend=backend, storage=None, **options
        ).run()
        assert len(result) == 20
        assert result.best is not None
    result = Shadho('stored', objective, space, max_tasks=20, seed=0, backend=backend).run()
    assert len(list(result)) == 20
    Path('stored.db').unlink()
    result = Shadho('command', COMMAND, space, max_tasks=2, seed=0, backend=backend, storage=None).run()
    assert [trial.state.value for trial in result] == ['done', 'done'], [trial.error for trial in result]


def use_workers(backend: str) -> None:
    for name, what in (('functions', objective), ('commands', COMMAND)):
        serve = [sys.executable, '-m', f'shadho.workers.{backend}', '-M', name, '--wait', '60', '--cores', '2']
        with subprocess.Popen(serve) as worker:
            result = Shadho(name, what, space, max_tasks=5, timeout=60, seed=0, backend=backend, storage=None).run()
            assert worker.wait(30) == 0
        assert [trial.state.value for trial in result] == ['done'] * 5, [trial.error for trial in result]


for backend in sys.argv[1:]:
    (use_workers if backend == 'workqueue' else use_here)(backend)
assert not any(info.broken for info in load().plugins)
assert set(sys.argv[1:]) <= set(load().classes('backend'))
assert not {'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)
