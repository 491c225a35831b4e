"""Signals, kills and crashes: what a job keeps, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shadho.records import Result, TrialState
from shadho.storage.sqlite import SQLite

SCRIPT = """
import os, sys, time
from pathlib import Path
from shadho import Shadho, spaces

RANK = int(os.environ.get('PMI_RANK') or os.environ.get('OMPI_COMM_WORLD_RANK'))
Path(f'rank-{RANK}').write_text(str(os.getpid()))

def objective(params):
    if params['x'] > 0.6 and not Path('again').exists():
        Path(f'hangs-{os.getppid()}').touch()
        time.sleep(1000)
    return params['x']

result = Shadho('job', objective, {'x': spaces.uniform(0, 1)}, 'random', max_tasks=40, seed=3, display=not Path('again').exists()).run()
print('AFTER', result.stopped, len(result), flush=True)
"""

END = 10.0
"""Seconds in which a job must have ended."""


def recorded() -> list[int]:
    records = [record for _, record in SQLite('job.db').read()]
    return [own.trial for own in records if isinstance(own, Result) and own.state is TrialState.DONE]


@pytest.fixture
def hanging(mpirun: Any, wait_until: Any) -> Any:
    """Start a job, each of whose two workers has come to a trial that does not end."""
    job = mpirun.start(3, SCRIPT, environment={'SHADHO_HARDWARE': '{"cores": 1}'})
    wait_until(lambda: len(list(Path.cwd().glob('hangs-*'))) == 2, 'the hanging of two trials')
    return job


def go_on(mpirun: Any, before: list[int]) -> None:
    """Start the same job again, to its end: nothing recorded is evaluated again or lost."""
    assert before
    Path('again').touch()
    job = mpirun(3, SCRIPT)
    assert (job.status, job.out) == (0, 'AFTER max_tasks 40\n')
    assert recorded()[: len(before)] == before
    assert Counter(recorded()) == Counter(range(40))


@pytest.mark.parametrize('group', [False, True])
def test_one_ctrl_c_ends_the_search_with_its_results_kept(mpirun: Any, hanging: Any, group: bool) -> None:
    hanging.send(signal.SIGINT, group=group)
    hanging.wait(END)
    hanging.check_gone()
    before = recorded()
    assert 'Traceback' not in hanging.err
    go_on(mpirun, before)


@pytest.mark.mpich
def test_after_one_ctrl_c_the_search_is_summed_up_and_the_script_goes_on(hanging: Any) -> None:
    """Under MPICH: the launcher of Open MPI sends SIGTERM instead, and does not show what ranks say after a signal."""
    hanging.send(signal.SIGINT)
    hanging.wait(END)
    assert f'job: {len(recorded())} trials' in hanging.err
    assert hanging.out.endswith(f'AFTER interrupted {len(recorded())}\n')  # the launcher says something, too
    assert hanging.out.count('AFTER') == 1


@pytest.mark.mpich
def test_a_search_is_summed_up_after_sigterm(hanging: Any) -> None:
    hanging.send(signal.SIGTERM)
    hanging.wait(END)
    assert f'job: {len(recorded())} trials' in hanging.err


def test_sigterm_ends_the_search_with_its_results_kept(mpirun: Any, hanging: Any) -> None:
    hanging.send(signal.SIGTERM)
    assert hanging.wait(END) != 0
    hanging.check_gone()
    assert 'Traceback' not in hanging.err
    go_on(mpirun, recorded())


@pytest.mark.parametrize('rank', [0, 2])
def test_a_killed_rank_ends_the_job_and_the_next_start_goes_on(mpirun: Any, hanging: Any, rank: int) -> None:
    os.kill(int(Path(f'rank-{rank}').read_text()), signal.SIGKILL)
    assert hanging.wait(END) != 0
    hanging.check_gone()
    go_on(mpirun, recorded())


def test_a_killed_launcher_ends_the_job_and_the_next_start_goes_on(mpirun: Any, hanging: Any) -> None:
    hanging.send(signal.SIGKILL)
    hanging.wait(END)
    hanging.check_gone()
    go_on(mpirun, recorded())


ENDINGS = """
import ctypes, json, os, signal, sys, time
from shadho import Shadho, spaces

def objective(params):
    if params == 'exits':
        sys.exit(3)
    if params == 'exits at once':
        os._exit(3)
    if params == 'asks itself to end':
        os.kill(os.getpid(), signal.SIGTERM)
    if params == 'reads nowhere':
        ctypes.string_at(0)
    if params == 'stays':
        time.sleep(1000)
    return 1.0

cases = ['exits', 'exits at once', 'asks itself to end', 'reads nowhere', 'stays', *[f'works {number}' for number in range(8)]]
result = Shadho(
    'job', objective, spaces.choice(cases), method='grid', storage=None, seed=1, trial_timeout=1.5, display=False
).run()
print(json.dumps({trial.params: trial.error and trial.error.kind for trial in result}))
"""


def test_what_an_objective_does_to_its_process_fails_that_trial_only(mpirun: Any) -> None:
    job = mpirun(3, ENDINGS)
    assert job.status == 0
    assert json.loads(job.out) == {
        'exits': 'exception',
        'exits at once': 'crash',
        'asks itself to end': 'crash',
        'reads nowhere': 'crash',
        'stays': 'timeout',
        **{f'works {number}': None for number in range(8)},
    }


CRAMPED = """
import resource
from shadho import Shadho, spaces

resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
Shadho('job', lambda params: params['x'], {'x': spaces.uniform(0, 1)}, max_tasks=2, storage=None, display=False).run()
"""


def test_a_rank_whose_slots_the_system_refuses_says_which_and_why(mpirun: Any) -> None:
    job = mpirun(2, CRAMPED, environment={'SHADHO_HARDWARE': '{"cores": 100}'})
    assert job.status != 0
    # Anywhere, as a launcher may put another rank's line before it without ending that.
    said = r'rank 1 on \S+: 100 slots need \d+ open files, and this process may have 200 \(ulimit -n\)'
    assert re.search(said, job.err), job.err
    assert 'Traceback' not in job.err
