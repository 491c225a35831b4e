"""Minimise sin(x) * cos(y) on any number of machines: ``python3 driver.py``, and workers in other terminals.

It searches for 30 seconds and leaves ``distributed-tutorial.db`` in the working folder. Ctrl-C ends it early and
loses nothing: run it again, and it goes on where it ended.
"""

import math

import numpy as np

from shadho import Shadho, spaces

search_space = {
    'x': spaces.uniform(0, 2 * math.pi),
    'y': np.linspace(0, 2 * math.pi, 1000).tolist(),
}

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
