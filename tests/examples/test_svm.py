"""The search for kernels of a support vector machine, in the two forms that a reader can run."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from shadho.plugins import load
from shadho.result import finished_trials

KERNELS = {'linear', 'rbf', 'sigmoid', 'poly'}


@pytest.fixture(scope='module')
def folder(repository):
    return repository / 'examples/svm'


@pytest.fixture(scope='module')
def runs(folder, mnist_file, tmp_path_factory):
    """Run the driver twice in one folder, each trial first as a function, then as a command."""
    work = tmp_path_factory.mktemp('svm')
    shutil.copy(mnist_file, work)

    def run(*arguments):
        command = [sys.executable, str(folder / 'driver.py'), '--timeout', '300', *arguments]
        return subprocess.run(command, cwd=work, check=True, capture_output=True, text=True)

    return work, run('--max-tasks', '4'), run('--max-tasks', '5', '--command')


def trials_of(work):
    return list(finished_trials(load().get('storage', 'sqlite')(work / 'svm.db')))


def test_no_trial_fails_and_each_returns_what_the_slides_record(runs):
    work, _, _ = runs
    names = {'loss', 'accuracy', 'precision', 'recall', 'train_time', 'test_time'}
    trials = trials_of(work)
    assert [set(trial.results) for trial in trials] == [names] * 5
    assert all(trial.loss == pytest.approx(1 - trial.results['accuracy']) for trial in trials)


def test_the_kernels_are_told_with_the_best_first(runs):
    work, first, _ = runs
    rows = re.findall(r'^(\w+) +(\d+) +([\d.]+)% +[\d.]+% +[\d.]+% +[\d.]+ s  C=', first.stdout, re.MULTILINE)
    accuracies = [float(accuracy) for _, _, accuracy in rows]
    assert {kernel for kernel, _, _ in rows} <= KERNELS
    assert sum(int(count) for _, count, _ in rows) == 4
    assert accuracies == sorted(accuracies, reverse=True)
    best = min(trial.loss for trial in trials_of(work)[:4])
    assert accuracies[0] == pytest.approx(100 * (1 - best), abs=0.05)


def test_the_best_model_is_tested_on_digits_that_were_held_out(runs):
    _, first, _ = runs
    found = re.search(r'trained on 3,000 images, reads ([\d.]+)% of 2,000 held-out digits', first.stdout)
    assert 50 < float(found[1]) <= 100


def test_a_picture_of_the_search_is_left(runs):
    work, _, _ = runs
    assert (work / 'svm.png').read_bytes().startswith(b'\x89PNG')


def test_the_second_run_goes_on_with_the_first_and_says_so(runs):
    _, first, second = runs
    assert 'run this again to go on with it' in first.stdout
    assert 'going on after 4 trials' in second.stderr
    assert 'svm: 5 trials in ' in second.stderr


def test_one_storage_and_one_picture_are_left_in_the_folder(runs):
    work, _, _ = runs
    assert {path.name for path in work.iterdir() if path.suffix in ('.db', '.png') or path.is_dir()} == {
        'svm.db', 'svm.png',
    }  # fmt: skip


def test_the_objective_can_be_tried_by_hand(folder):
    command = [sys.executable, str(folder / 'train_svm.py'), '{"rbf": {"C": 10, "gamma": 0.02}}']
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed)['accuracy'] > 0.9


def test_no_image_is_in_two_parts_of_the_data(folder):
    spec = importlib.util.spec_from_file_location('train_svm', folder / 'train_svm.py')
    train_svm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train_svm)
    parts = train_svm.mnist()
    assert {name: len(images) for name, (images, _) in parts.items()} == {
        'train': 2000, 'validation': 1000, 'held out': 2000,
    }  # fmt: skip
    assert len(np.unique(np.concatenate([images for images, _ in parts.values()]), axis=0)) == 5000
    assert all(set(np.bincount(digits)) == {len(digits) // 10} for _, digits in parts.values())
    assert train_svm.mnist() is parts
