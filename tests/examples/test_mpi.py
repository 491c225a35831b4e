"""The examples under the launcher, as they are: the first of three ranks drives, and the others run the trials."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shadho.plugins import load
from shadho.result import finished_trials


@pytest.fixture
def mpirun(tmp_path_factory):
    """Run a driver on three ranks; return its trials and what it printed."""

    def run(folder, exp_key, *arguments):
        command = [Path(sys.executable).with_name('mpirun'), '-n', '3', sys.executable, 'driver.py', *arguments]
        environment = {**os.environ, 'SHADHO_HARDWARE': '{"cores": 1}'}
        done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        return list(finished_trials(load().get('storage', 'sqlite')(folder / f'{exp_key}.db'))), done

    return run


def ranks(trials):
    return {trial.host.partition(' ')[2] for trial in trials}


def test_the_first_example_runs_on_the_ranks(repository, tmp_path, mpirun):
    source = (repository / 'examples/sin_local/driver.py').read_text()
    (tmp_path / 'driver.py').write_text(source.replace('timeout=30', 'timeout=300, max_tasks=60, seed=0'))
    trials, done = mpirun(tmp_path, 'convex-tutorial')
    assert ranks(trials) == {'rank 1', 'rank 2'}
    assert done.stderr.count('stopped: max_tasks') == 1
    assert min(trial.loss for trial in trials) < -0.8


def test_kernels_are_searched_on_the_ranks_and_told_once(repository, mnist_file, tmp_path, mpirun):
    shutil.copytree(repository / 'examples/svm', tmp_path / 'svm')
    shutil.copy(mnist_file, tmp_path / 'svm')
    trials, done = mpirun(tmp_path / 'svm', 'svm', '--timeout', '300', '--max-tasks', '4')
    assert len(trials) == 4
    assert ranks(trials) == {'rank 1', 'rank 2'}
    assert {trial.state.value for trial in trials} == {'done'}
    assert done.stdout.count('held-out digits') == 1
    assert (tmp_path / 'svm/svm.png').exists()
