"""Minimise sin(x) * cos(y) on this machine: ``python driver.py``.

It searches for 30 seconds and leaves ``convex-tutorial.db`` in the working folder. Ctrl-C ends it
early and loses nothing: run it again, and it goes on where it ended.
"""

import numpy as np

from shadho import Shadho, spaces

search_space = {
    'x': spaces.uniform(0, 2 * np.pi),
    'y': np.linspace(0, 2 * np.pi, 1000).tolist(),
}


def objective(params):
    x = params['x']
    y = params['y']
    return np.sin(x) * np.cos(y)


opt = Shadho(
    'convex-tutorial',  # Name of this experiment
    objective,  # The function to optimize
    search_space,  # The search space to sample
    method='random',  # The sampling method
    timeout=30,  # The time to run the search (s).
)
opt.run()
