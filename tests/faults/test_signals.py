"""Ctrl-C and SIGTERM, as Slurm and preemption send it: the end is told, all is kept, and nothing runs on.

Here is what other tests leave out: tests/core/driver/test_resume.py has both signals for a script of the inline backend,
tests/local/test_local.py has Ctrl-C, and tests/mpi/test_faults.py has both for jobs, also sent to each of their processes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import os, time
from shadho import Shadho, spaces

HERE = os.getcwd()

def objective(params):
    if params['x'] > 0.7 and not os.path.exists(f'{HERE}/again'):
        open(f'{HERE}/hangs', 'w').close()
        time.sleep(1000)
    return params['x']

result = Shadho('faults', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=20, seed=3, backend=backend, display=True).run()
print('AFTER', result.stopped, len(result))
"""

ENDS = {
    signal.SIGINT: ('interrupted', 0, 'AFTER interrupted {}\n'),  # the script goes on
    signal.SIGTERM: ('terminated', 143, ''),
}


@pytest.mark.parametrize(
    ('backend', 'number'),
    [
        ('simulated', signal.SIGINT),
        ('simulated', signal.SIGTERM),
        ('local', signal.SIGTERM),
        ('workqueue', signal.SIGINT),
        ('workqueue', signal.SIGTERM),
    ],
)
def test_a_signal_ends_a_search_with_all_kept_and_nothing_left(
    drivers: Any, recorded: Any, crew: Any, wait_until: Any, backend: str, number: signal.Signals
) -> None:
    stopped, status, out = ENDS[number]
    launch = drivers.start(backend, SCRIPT, workers=1)  # a second one might miss the short search that ends the waiting
    wait_until(Path('hangs').exists, 'a trial that hangs', 120)
    launch.send(number)
    assert launch.wait(30) == status, launch.err
    launch.check_gone()
    before = recorded('faults.db')
    assert 0 < len(before.final) < 20
    assert launch.out == out.format(len(before.final))
    assert f'stopped: {stopped}' in launch.err
    assert 'Traceback' not in launch.err

    def check_workers() -> None:
        for hand in crew.hands:
            assert hand.wait() == 0, hand.said
            wait_until(lambda hand=hand: hand.has_left_nothing, 'the end of all that a worker started')

    if number == signal.SIGINT:  # else they wait for the search to be run again
        check_workers()
    Path('again').touch()
    launch = drivers.run(backend, SCRIPT)
    assert (launch.status, launch.out) == (0, 'AFTER max_tasks 20\n')
    recorded('faults.db', before.records).check_complete(20)
    check_workers()


MINE = """
import time
from pathlib import Path
from shadho import spaces

space = {'x': spaces.uniform(0, 1)}

def slow(params):
    if params['x'] > 0.7:
        Path('hangs').touch()
        time.sleep(1000)
    return params['x']
"""


@pytest.mark.parametrize(
    ('number', 'status', 'summary'), [(signal.SIGINT, 130, 'stopped: interrupted'), (signal.SIGTERM, 143, '')]
)
def test_the_command_ends_with_the_status_by_which_shells_tell_a_signal(
    recorded: Any, wait_until: Any, number: signal.Signals, status: int, summary: str
) -> None:
    Path('mine.py').write_text(MINE)
    command = [Path(sys.executable).parent / 'shadho', 'run', 'mine.py:slow', '--space', 'mine.py:space', '--seed', '3']
    process = subprocess.Popen(
        [*command, '--method', 'random', '--max-tasks', '20', '--backend', 'inline'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(Path('hangs').exists, 'a trial that hangs', 120)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert summary in out
    assert 'Traceback' not in err
    assert len(recorded('slow.db').final) > 0
