"""What tests of several policies compare with."""

import numpy as np
import pytest
from scipy.optimize import linprog


@pytest.fixture(scope='session')
def least_makespan():
    """The seconds in which so many trials of each tree (a number, or one for each) can be run, at the very least."""

    def least(trials, seconds, slots):
        trees, classes = seconds.shape
        load, each = np.zeros((classes, trees * classes + 1)), np.zeros((trees, trees * classes + 1))
        for tree in range(trees):
            for own in range(classes):
                load[own, tree * classes + own] = seconds[tree, own]
                each[tree, tree * classes + own] = 1
        load[:, -1] = -slots
        objective = np.zeros(trees * classes + 1)
        objective[-1] = 1
        return linprog(objective, load, np.zeros(classes), each, np.broadcast_to(trials, trees)).x[-1]

    return least
