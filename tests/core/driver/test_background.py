"""A search in the background: what its handle shows, how it ends, and what it leaves to the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shadho import Shadho, TrialState, load_result, spaces
from shadho.background import BackgroundRun
from shadho.errors import BackendError, ConfigurationError, StorageError

X = {'x': spaces.uniform(0, 1)}


class Gate:
    """An objective whose third trial waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.count = 0

    def __call__(self, params: dict[str, float]) -> float:
        self.count += 1
        if self.count == 3:
            self.reached.set()
            self.opened.wait(60)
        return params['x']


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.opened.set()


def search(objective: Any, **options: Any) -> Shadho:
    own = {'backend': 'inline', 'storage': None, 'seed': 0, 'max_tasks': 5, 'display': False, **options}
    return Shadho('behind', objective, X, **own)


def test_the_handle_shows_the_best_trial_while_the_search_runs_and_waits_for_the_result(gate: Gate) -> None:
    run = search(gate).run(background=True)
    assert gate.reached.wait(60)
    assert isinstance(run, BackgroundRun) and run.is_running
    assert run.best is not None and run.best.id in (0, 1)
    assert repr(run).startswith("<BackgroundRun of 'behind': running; 2 trials, 0 failed, 1 running, best loss ")
    with pytest.raises(TimeoutError, match="'behind' still runs after 0.01 s"):
        run.wait(0.01)
    gate.opened.set()
    result = run.wait()
    assert (len(result), result.stopped, run.is_running) == (5, 'max_tasks', False)
    assert run.best is not None and run.best.id == result.best.id
    assert 'ended; 5 trials' in repr(run)


def test_a_search_in_the_background_is_the_same_as_in_front() -> None:
    behind, front = (search(lambda params: params['x'], max_tasks=30) for _ in range(2))
    expected = [trial.loss for trial in front.run()]
    assert [trial.loss for trial in behind.run(background=True).wait()] == expected


def test_a_notebook_shows_how_far_it_is_and_at_its_end_the_result(gate: Gate) -> None:
    run = search(gate).run(background=True)
    assert gate.reached.wait(60)
    assert run.best is not None
    page = run._repr_html_()
    assert '<p>BackgroundRun of &#x27;behind&#x27;: running; 2 trials' in page
    assert f'<tr><td>x</td><td>{run.best.params["x"]:.6g}</td></tr>' in page
    gate.opened.set()
    assert run.wait()._repr_html_() == run._repr_html_()


def test_before_any_trial_is_done_there_is_no_best_one() -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def objective(params: dict[str, float]) -> float:
        begun.set()
        goes_on.wait(60)
        return 1.0

    run = search(objective).run(background=True)
    assert begun.wait(60)
    assert run.best is None
    assert '<table>' not in run._repr_html_()
    goes_on.set()
    run.wait()


def test_stop_ends_the_search_as_ctrl_c_does_and_it_can_go_on(gate: Gate) -> None:
    opt = search(gate, storage='behind.db')
    run = opt.run(background=True)
    assert gate.reached.wait(60)
    threading.Timer(0.05, gate.opened.set).start()
    result = run.stop()
    assert (result.stopped, len(result)) == ('interrupted', 3)
    assert len(opt.run(background=True).wait()) == 5


def test_stop_does_not_wait_for_trials_that_can_be_ended(tmp_path: Path) -> None:
    started = tmp_path / 'started'

    def objective(params: dict[str, float]) -> float:
        import pathlib
        import time

        pathlib.Path(started).touch()
        time.sleep(600)
        return 1.0

    run = search(objective, backend='local').run(background=True)
    while not started.exists():
        with pytest.raises(TimeoutError):
            run.wait(0.05)
    result = run.stop()
    assert (result.stopped, len(result)) == ('interrupted', 0)


def test_an_object_runs_one_search_at_a_time(gate: Gate) -> None:
    opt = search(gate)
    run = opt.run(background=True)
    assert gate.reached.wait(60)
    for background in (True, False):
        with pytest.raises(ConfigurationError, match=r"'behind' of this object runs already; .* stop\(\)"):
            opt.run(background=background)
    gate.opened.set()
    assert len(run.wait()) == 5
    assert len(opt.run()) == 5


def test_an_error_of_the_search_is_logged_and_raised_by_wait(caplog: pytest.LogCaptureFixture) -> None:
    Path('no.db').write_text('nothing of ours, and long enough to be looked at')
    opt = search(lambda params: 1.0, storage='no.db')
    run = opt.run(background=True)
    for wait in (run.wait, run.stop):
        with pytest.raises(StorageError, match=r'no\.db'):
            wait()
    assert 'the search behind in the background ended with StorageError: no.db' in caplog.text
    assert repr(run).startswith("<BackgroundRun of 'behind': StorageError: no.db")
    with pytest.raises(StorageError):  # and not that it runs already
        opt.run()


def test_a_thread_that_the_system_refuses_is_an_error_and_leaves_the_search_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    opt = search(lambda params: 1.0)
    with monkeypatch.context() as patch, pytest.raises(BackendError, match='refuses a thread'):
        patch.setattr(threading.Thread, 'start', refuse)
        opt.run(background=True)
    assert len(opt.run()) == 5


def test_errors_of_a_call_are_raised_at_once() -> None:
    with pytest.raises(ConfigurationError, match='background must be True or False; got 1'):
        search(lambda params: 1.0).run(background=1)  # type: ignore[call-overload]


def test_failed_trials_are_counted() -> None:
    run = search(lambda params: 1 / 0).run(background=True)
    assert all(trial.state is TrialState.FAILED for trial in run.wait())
    assert repr(run) == "<BackgroundRun of 'behind': ended; 5 trials, 5 failed, 0 running>"


SCRIPT = """
import sys
import time
from shadho import Shadho, spaces


def objective(params):
    print('begun', file=sys.__stderr__, flush=True)
    time.sleep(0.02)
    return params['x']


if __name__ == '__main__':
    opt = Shadho('left', objective, {'x': spaces.uniform(0, 1)}, timeout=600, backend=BACKEND, display=False)
    run = opt.run(background=True)
    while run.best is None:
        time.sleep(0.01)
    ENDING
"""


@pytest.mark.parametrize('backend', ['inline', 'local'])
def test_a_search_ends_gently_with_its_interpreter(backend: str, tmp_path: Path) -> None:
    script = SCRIPT.replace('BACKEND', repr(backend)).replace('ENDING', 'pass')
    (tmp_path / 'left.py').write_text(script)
    ended = subprocess.run([sys.executable, 'left.py'], cwd=tmp_path, timeout=120, capture_output=True, text=True)
    assert (ended.returncode, 'Traceback' in ended.stderr) == (0, False)
    result = load_result(tmp_path / 'left.db')
    assert result.stopped == 'interrupted'
    assert len(result) >= 1


def test_a_trial_that_cannot_be_ended_does_not_keep_the_interpreter_from_ending() -> None:
    Path('left.py').write_text("""
import threading
import shadho.background
from shadho import Shadho, spaces

shadho.background._PATIENCE = 0.1
begun = threading.Event()


def objective(params):
    begun.set()
    threading.Event().wait(600)


Shadho('left', objective, {'x': spaces.uniform(0, 1)}, timeout=600, backend='inline', display=False).run(background=True)
begun.wait()
""")
    ended = subprocess.run([sys.executable, 'left.py'], timeout=120, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, '')


def test_ctrl_c_ends_the_waiting_and_then_the_script() -> None:
    ending = "print('waiting', flush=True); run.wait()"
    Path('left.py').write_text(SCRIPT.replace('BACKEND', "'inline'").replace('ENDING', ending))
    with subprocess.Popen(
        [sys.executable, 'left.py'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as script:
        assert script.stdout is not None and script.stdout.readline() == 'waiting\n'
        os.kill(script.pid, signal.SIGINT)
        assert script.wait(120) in (-signal.SIGINT, 130)
    assert load_result('left.db').stopped == 'interrupted'
