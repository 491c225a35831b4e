"""The first example of the tutorial's slides, as the script that a reader would run."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import pytest

from shadho.plugins import load
from shadho.result import finished_trials

OBJECTIVE = """
def objective(params):
    x = params['x']
    y = params['y']
    return np.sin(x) * np.cos(y)
"""

DRIVER = """
opt = Shadho(
    'convex-tutorial',  # Name of this experiment
    objective,  # The function to optimize
    search_space,  # The search space to sample
    method='random',  # The sampling method
    timeout=30,  # The time to run the search (s).
)
opt.run()
"""


@pytest.fixture
def source(repository):
    return (repository / 'examples/sin_local/driver.py').read_text()


def run(source, limits):
    """Run the script, unguarded as it is, with other limits; return what it told on standard error."""
    script = source.replace('timeout=30', limits)
    assert script != source
    with open('driver.py', 'w') as file:
        file.write(script)
    return subprocess.run([sys.executable, 'driver.py'], check=True, capture_output=True, text=True).stderr


def test_the_script_is_that_of_the_slides(source):
    assert OBJECTIVE in source
    assert source.endswith(DRIVER)


def test_the_search_finds_a_low_loss_and_goes_on_when_it_is_run_again(source):
    told = run(source, 'timeout=300, max_tasks=200')
    assert re.search(r'convex-tutorial: 200 trials in .* \(200 done, 0 failed\), stopped: max_tasks', told)
    assert 'going on after 200 trials' in run(source, 'timeout=300, max_tasks=700')
    trials = list(finished_trials(load().get('storage', 'sqlite')('convex-tutorial.db')))
    assert len(trials) == 700
    assert min(trial.loss for trial in trials) < -0.8
    assert all(
        trial.loss == pytest.approx(math.sin(trial.params['x']) * math.cos(trial.params['y'])) for trial in trials
    )
