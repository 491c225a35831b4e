"""Workers that differ from their class are named in the log, once."""

import logging

import pytest

from shadho import ComputeClass, Shadho, spaces
from shadho.backends import Simulated

SPACE = {'exclusive': True, 'quick': {'x': spaces.uniform(0, 1)}, 'slow': {'x': spaces.uniform(0, 1)}}


def seconds(params, own):
    [(tree, part)] = params.items()
    return (10 if tree == 'quick' else 60) * (1 + part['x'])


@pytest.fixture
def warnings(caplog):
    def run(slowdown, slots=10, policy='market', pace=1.0):
        cluster = Simulated([ComputeClass('node', slots)], lambda *a: pace * seconds(*a), slowdown=slowdown)
        with caplog.at_level(logging.WARNING, logger='shadho'):
            Shadho(
                'hosts', lambda params: 0.5, SPACE, 'random', timeout=5000 * pace, seed=0, backend=cluster, storage=None, display=False,
                policy=policy,
            ).run()  # fmt: skip
        return [record.getMessage() for record in caplog.records if 'than the others' in record.getMessage()]

    return run


def test_a_slow_and_a_fast_worker_are_named_once(warnings):
    found = sorted(warnings({'node-3': 2.0, 'node-7': 0.5}))
    assert len(found) == 2
    assert found[0].startswith('the worker node-3 is ') and 'times slower' in found[0] and 'class node' in found[0]
    assert found[1].startswith('the worker node-7 is ') and 'times faster' in found[1]


def test_workers_that_are_alike_are_not_named_whatever_trees_they_run(warnings):
    assert warnings({}) == []


def test_a_difference_that_is_small_is_not_worth_a_line(warnings):
    assert warnings({'node-3': 1.1}) == []


def test_trials_of_milliseconds_say_nothing_of_their_worker(warnings):
    assert warnings({'node-3': 2.0}, pace=1e-4) == []


def test_a_worker_by_itself_is_like_its_class(warnings):
    assert warnings({'node-0': 3.0}, slots=1) == []
