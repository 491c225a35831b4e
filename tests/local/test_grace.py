"""Between SIGTERM and SIGKILL: a trial that is ended may save and report; the others go on meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from shadho import SearchResult, Shadho, hookimpl, spaces
from shadho.errors import ConfigurationError
from shadho_local import Local

X = {'x': spaces.grid([0])}
LONG = 60.0
"""Seconds of grace that no test waits for."""


def run(objective: Any, space: Any = X, **options: Any) -> SearchResult:
    given = {'backend': Local(1), 'storage': None, 'seed': 0, 'display': False, 'grace': LONG, **options}
    return Shadho('test', objective, space, **given).run()


def saves(params: Any, trial: Any) -> None:
    """Wait for ever; after SIGTERM, report and save."""

    def save(number: int, frame: Any) -> None:
        trial.report(loss=0.5)
        Path('saved').write_text('all')
        os._exit(0)

    signal.signal(signal.SIGTERM, save)
    Path('started').touch()
    threading.Event().wait()


def after_start(action: Any) -> threading.Thread:
    """Do something once a trial has made the file ``started``."""

    def act() -> None:
        while not Path('started').exists():
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_trial_that_outlives_its_time_may_save_and_report() -> None:
    result = run(saves, trial_timeout=0.5)
    (trial,) = result
    assert trial.error.message == 'the trial was ended after its trial_timeout of 0.5 s'
    assert Path('saved').read_text() == 'all'
    assert [report.results for report in result.reports()[trial.id]] == [{'loss': 0.5}]


def test_trials_that_run_when_the_search_is_over_may_save() -> None:
    thread = after_start(lambda: os.kill(os.getpid(), signal.SIGINT))
    result = run(saves)
    thread.join()
    assert (result.stopped, Path('saved').read_text()) == ('interrupted', 'all')


def ignores(params: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path('started').touch()
    threading.Event().wait()


def test_a_second_ctrl_c_ends_the_waiting() -> None:
    begun = time.monotonic()
    ended = threading.Event()

    class Ended:
        @hookimpl
        def shadho_attempt_ended(self) -> None:
            ended.set()

    def interrupt_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        ended.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = after_start(interrupt_twice)
    with pytest.raises(KeyboardInterrupt):
        run(ignores, plugins=[Ended()])
    thread.join()
    assert time.monotonic() - begun < LONG


def test_the_grace_of_all_trials_is_over_at_the_same_time() -> None:
    thread = after_start(lambda: os.kill(os.getpid(), signal.SIGINT))
    begun = time.monotonic()
    run(ignores, {'x': spaces.grid([0, 1])}, backend=Local(2), grace=1.0)
    thread.join()
    assert time.monotonic() - begun >= 1.0


def meets(params: Any) -> float:
    if params['x'] == 'deaf':
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path('deaf').touch()
        threading.Event().wait()
    while not Path('deaf').exists():
        time.sleep(0.01)
    time.sleep(0.01)  # of quicker trials, one would wait behind the deaf one
    return 1.0


def test_other_slots_go_on_while_a_trial_has_its_grace() -> None:
    space = {'x': spaces.grid(['deaf', *range(5)])}
    result = run(meets, space, backend=Local(2), trial_timeout=1.0, grace=1.0, method='grid')
    [deaf] = [trial for trial in result if trial.params['x'] == 'deaf']
    others = [trial for trial in result if trial.params['x'] != 'deaf']
    assert 'did not end within 1 s of SIGTERM' in deaf.error.message
    assert [trial.loss for trial in others] == [1.0] * 5
    assert all(trial.finished < deaf.finished for trial in others)


def test_a_trial_that_handles_nothing_ends_at_once() -> None:
    begun = time.monotonic()
    (trial,) = run(lambda params: time.sleep(LONG), trial_timeout=0.2)
    assert trial.error.kind == 'timeout'
    assert time.monotonic() - begun < LONG


def test_without_grace_a_trial_is_killed_at_once() -> None:
    (trial,) = run(saves, trial_timeout=0.5, grace=0)
    assert trial.error.message == 'the trial was ended after its trial_timeout of 0.5 s'
    assert not Path('saved').exists()


PROGRAM = """
import os, signal, sys, threading
from pathlib import Path
import shadho_worker
trial = shadho_worker.trial()

def save(number, frame):
    trial.report(loss=0.5)
    trial.folder.joinpath('saved').write_text('all')
    Path(sys.argv[1], 'saved').write_text('all')
    os._exit(0)

signal.signal(signal.SIGTERM, save)
threading.Event().wait()
"""


@pytest.mark.parametrize('command', ['python3 save.py {0}', 'bash save.sh {0}', 'setsid --wait python3 save.py {0}'])
def test_the_program_of_a_command_may_save_and_report_also_after_its_shell_has_ended(command: str) -> None:
    Path('save.py').write_text(PROGRAM)
    Path('save.sh').write_text('python3 save.py $1\ntrue\n')
    search = Shadho(
        'test', command.format(Path.cwd()), X, backend=Local(1), storage=None, display=False, trial_timeout=2.0, grace=LONG,
    )  # fmt: skip
    for name in ('save.py', 'save.sh'):
        search.add_input_file(name)
    result = search.run()
    (trial,) = result
    assert trial.error.kind == 'timeout'
    assert Path('saved').read_text() == 'all'
    assert [report.results for report in result.reports()[trial.id]] == [{'loss': 0.5}]


@pytest.mark.parametrize('grace', [-1, float('nan'), float('inf'), True, '10', None])
def test_a_grace_that_is_no_number_of_seconds_is_refused(grace: Any) -> None:
    with pytest.raises(ConfigurationError, match='grace must be a number of seconds, 0 or more'):
        run(saves, grace=grace)
