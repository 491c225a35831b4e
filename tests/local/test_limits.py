"""What the operating system refuses to a search: files, processes, room, folders."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from shadho import SearchResult, Shadho, spaces
from shadho.errors import BackendError, ConfigurationError
from shadho.execution import sandbox
from shadho_local import Local


def run(workers: int = 1, objective: Any = lambda params: params['x'], **options: Any) -> SearchResult:
    given = {'max_tasks': 4, 'storage': None, 'display': False, 'seed': 0, **options}
    return Shadho('test', objective, {'x': spaces.uniform(0, 1)}, backend=Local(workers), **given).run()


class Refusals:
    """Stands for a function of the system that fails a number of times."""

    def __init__(self, function: Callable[..., Any], error: OSError, times: float, after: int = 0) -> None:
        self._function, self._error, self.left, self._after = function, error, times, after

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self._after -= 1
        if self._after >= 0 or self.left <= 0:
            return self._function(*arguments, **options)
        self.left -= 1
        raise self._error


def no_process() -> OSError:
    return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def with_few_files(hard: int, code: str) -> str:
    """Run code in a process that may open few files, as soon as `hard` says."""
    limits = f'import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (96, {hard}))\n'
    script = (
        f'{limits}from shadho import Shadho, ShadhoError, spaces\nfrom shadho_local import Local\n'
        'def search(workers):\n'
        '    return Shadho("t", lambda p: p["x"], {"x": spaces.uniform(0, 1)}, "random", max_tasks=3, backend=Local(workers), storage=None, '
        f'display=False).run()\n{code}'
    )
    return subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True).stdout


def test_more_slots_than_the_soft_limit_of_open_files_allows_are_served() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert with_few_files(hard, 'print(len(search(16)))') == '3\n'


def test_more_slots_than_the_hard_limit_of_open_files_allows_are_refused_before_anything_starts() -> None:
    said = with_few_files(96, 'try:\n    search(40)\nexcept ShadhoError as error:\n    print(error)')
    assert '40 slots need' in said
    assert 'may have 96 (ulimit -n). Use at most' in said


def test_a_process_that_the_system_refuses_at_the_start_is_an_error_that_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    before = set(psutil.Process().children(recursive=True))
    # The helper and the first slot get theirs.
    monkeypatch.setattr(subprocess, 'Popen', Refusals(subprocess.Popen, no_process(), 1, after=2))
    with pytest.raises(BackendError, match=r'no process for trials can be started: .* no more processes.*ulimit -u'):
        run(3)
    assert set(psutil.Process().children(recursive=True)) <= before
    assert list(tmp_path.iterdir()) == []


def crash_once(params: dict[str, Any]) -> float:
    import os
    from pathlib import Path

    if not Path('crashed').exists():
        Path('crashed').touch()
        os._exit(1)
    return float(params['x'])


@pytest.mark.parametrize('times', [2, float('inf')])
def test_a_process_that_the_system_refuses_for_a_while_is_tried_again_until_that_is_an_error(
    times: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sandbox, '_START_PAUSE', 0.01)
    monkeypatch.setattr('shadho.execution.sandbox_pool._START_PATIENCE', 0.05 if times > 2 else 60.0)
    monkeypatch.setattr(subprocess, 'Popen', Refusals(subprocess.Popen, no_process(), times, after=2))
    if times > 2:
        with pytest.raises(BackendError, match='no process for trials can be started'):
            run(objective=crash_once)
    else:
        assert [trial.error and trial.error.kind for trial in run(objective=crash_once)].count(None) == 3
    assert [record.message.partition(':')[0] for record in caplog.records] == ['no process for trials can be started']


@pytest.mark.parametrize(
    ('name', 'error', 'words'),
    [
        (
            'mkdtemp',
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), '/scratch/shadho-1'),
            'no room is left in /scratch',
        ),
        ('mkdtemp', PermissionError(errno.EACCES, 'Permission denied', '/scratch/x'), '/scratch/x cannot be written'),
        ('mkdtemp', FileNotFoundError(errno.ENOENT, 'No usable temporary directory found in [...]'), 'does not exist'),
        (
            'TemporaryFile',
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            'no room is left in .*; free some, or set TMPDIR',
        ),
    ],
)
def test_a_temporary_folder_that_cannot_be_used_is_named_with_the_remedy(
    name: str, error: OSError, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, name, Refusals(getattr(tempfile, name), error, 1))
    with pytest.raises(BackendError, match=words):
        run()


def test_a_temporary_folder_that_was_removed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(Path('gone').absolute()))
    with pytest.raises(
        BackendError, match=r'no folder for temporary files can be made: .*gone/shadho-\w+ does not exist; set TMPDIR'
    ):
        run()


def test_a_working_folder_that_is_gone_is_told_of_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    opt = Shadho('test', lambda params: 0.0, {'x': spaces.uniform(0, 1)}, max_tasks=1, backend='local', storage=None)
    Path('gone').mkdir()
    monkeypatch.chdir('gone')
    Path.cwd().rmdir()
    for search in (opt.run, run):
        with pytest.raises(ConfigurationError, match='the working folder of this process does not exist any more'):
            search()


def test_a_working_folder_that_is_removed_while_a_search_runs_fails_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    Path('gone').mkdir()
    monkeypatch.chdir('gone')
    gone = str(Path.cwd())

    def objective(params: dict[str, float]) -> float:

        shutil.rmtree(gone, ignore_errors=True)
        return params['x']

    result = run(objective=objective, max_tasks_per_child=1)
    assert [trial.error for trial in result] == [None] * 4
