"""The second example of the tutorial's slides: a driver in one terminal, workers in three others."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys

import pytest

from shadho.plugins import load
from shadho.result import finished_trials

WORKERS = {
    'small': ['--cores', '1', '--memory', '1000'],
    'large': ['--cores', '2', '--memory', '2000'],
    'card': ['--cores', '1', '--memory', '1000', '--gpus', 'V100'],
}
CLASSES = {'1-core 1GiB': 'small', '2-core 2GiB': 'large', '1-core 1GiB 1xV100': 'card'}

DRIVER = """
opt = Shadho(
    'distributed-tutorial',  # Name of this experiment
    'bash evaluate.sh',  # The function to optimize
    search_space,  # The search space to sample
    method='random',  # The sampling method
    timeout=30,  # The time to run the search (s)
)
opt.add_input_file('evaluate.sh')
opt.add_input_file('objective.py')
opt.run()
"""


@pytest.fixture(scope='module')
def example(repository):
    return repository / 'examples/sin_distributed'


@pytest.fixture(scope='module')
def search(example, distributed, tmp_path_factory):
    """Run the example until there are 40 trials."""
    folder = tmp_path_factory.mktemp('example') / 'sin'
    shutil.copytree(example, folder)
    driver = (folder / 'driver.py').read_text()
    (folder / 'driver.py').write_text(driver.replace('timeout=30', 'timeout=120, max_tasks=40'))
    told = distributed('distributed-tutorial', folder, ['driver.py'], WORKERS)
    return folder, told


@pytest.fixture(scope='module')
def trials(search):
    folder, _ = search
    return list(finished_trials(load().get('storage', 'sqlite')(folder / 'distributed-tutorial.db')))


def test_the_script_is_that_of_the_slides(example):
    assert (example / 'driver.py').read_text().endswith(DRIVER)


def test_every_trial_is_done_once(search, trials):
    _, told = search
    assert 'distributed-tutorial: 40 trials in ' in told.stderr
    assert '(40 done, 0 failed), stopped: max_tasks' in told.stderr
    assert sorted(trial.id for trial in trials) == list(range(40))
    assert all(
        trial.loss == pytest.approx(math.sin(trial.params['x']) * math.cos(trial.params['y'])) for trial in trials
    )


def test_each_kind_of_hardware_is_a_class_whose_trials_ran_there(trials):
    ran = {(trial.compute_class, re.search(r'ran on (\w+)', trial.output)[1]) for trial in trials}
    assert ran == set(CLASSES.items())


def test_a_trial_names_the_worker_that_it_ran_on(trials):
    assert all(f'ran on {trial.host} from ' in trial.output for trial in trials)


def test_the_workers_end_with_the_search(search, trials, distributed):
    folder, _ = search
    for name in WORKERS:
        said = (folder / f'{name}.log').read_text()
        assert 'connected to the driver at 127.0.0.1' in said
        assert re.search(r'^worker ' + name, said, re.MULTILINE)


def test_the_objective_can_be_tried_by_hand(example):
    command = [sys.executable, str(example / 'objective.py'), '{"x": 4.71238898038469, "y": 0}']
    assert json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)['loss'] == -1
