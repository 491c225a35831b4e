"""The third example of the tutorial's slides: compute classes, and ranges in which a third of the trials fail."""

from __future__ import annotations

import itertools
import re
import shutil
from collections import Counter

import pytest

from shadho.plugins import load
from shadho.result import finished_trials

CORES = {'sixteen': 16, 'eight': 8, 'four': 4}
CLASSES = {'16-core': 'sixteen', '8-core': 'eight', '4-core': 'four'}


@pytest.fixture(scope='module')
def search(repository, distributed, tmp_path_factory):
    """Run the ranges of the slides on three workers that say to be large, until there are 12 trials."""
    folder = tmp_path_factory.mktemp('example') / 'svm'
    shutil.copytree(repository / 'examples/svm', folder)
    script = folder / 'evaluate.sh'
    script.write_text('echo "with $OMP_NUM_THREADS threads"\n' + script.read_text())
    workers = {name: ['--cores', str(cores), '--memory', '2000'] for name, cores in CORES.items()}
    driver = ['driver.py', '--workqueue', '--slides', '--max-tasks', '12', '--timeout', '300', '--seed', '1']
    return folder, distributed('svm-tutorial', folder, driver, workers)


@pytest.fixture(scope='module')
def trials(search):
    folder, _ = search
    return list(finished_trials(load().get('storage', 'sqlite')(folder / 'svm-tutorial.db')))


def place(trial):
    """Return where and when a trial ran, as it said itself."""
    name, begun, ended = re.search(r'ran on (\w+) from ([\d.]+) to ([\d.]+)', trial.output).groups()
    return name, float(begun), float(ended)


def test_each_class_runs_on_its_own_worker(trials):
    assert {(trial.compute_class, place(trial)[0]) for trial in trials} == set(CLASSES.items())


def test_a_trial_has_all_cores_of_its_worker(trials):
    threads = {(place(trial)[0], int(re.search(r'with (\d+) threads', trial.output)[1])) for trial in trials}
    assert threads == set(CORES.items())


def test_a_worker_runs_one_trial_of_its_class_at_a_time(trials):
    for name in CORES:
        own = sorted(place(trial)[1:] for trial in trials if trial.host == name)
        assert own
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(own))


def test_a_negative_c_fails_its_trial_and_the_search_goes_on(search, trials):
    _, told = search
    assert len(trials) == 12
    negative = [trial for trial in trials if next(iter(trial.params.values()))['C'] <= 0]
    assert negative
    assert all((trial.state, trial.error.kind) == ('failed', 'exception') for trial in negative)
    assert all(
        "The 'C' parameter of SVC must be a float in the range (0.0, inf]" in str(trial.error) for trial in negative
    )
    assert 'svm-tutorial: 12 trials in ' in told.stderr


def test_the_others_are_done_and_the_best_reads_digits(trials):
    positive = [trial for trial in trials if next(iter(trial.params.values()))['C'] > 0]
    states = Counter(trial.state for trial in positive)
    assert states['done'] >= 4
    assert min(trial.loss for trial in positive if trial.loss is not None) < 0.15


def test_a_table_and_a_picture_of_the_search_are_left(search):
    folder, told = search
    assert (folder / 'svm-tutorial.png').read_bytes().startswith(b'\x89PNG')
    assert re.search(r'held-out digits', told.stdout)
