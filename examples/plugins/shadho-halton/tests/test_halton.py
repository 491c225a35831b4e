import numpy as np
from scipy.stats import qmc
from shadho_halton import Halton

from shadho import Search, spaces
from shadho.testing import SamplerSuite


class TestHalton(SamplerSuite):
    def make(self, context):
        return Halton(context)


class TestUnscrambledHalton(SamplerSuite):
    seeded = False

    def make(self, context):
        return Halton(context, scramble=False)


def test_points_are_those_of_the_sequence():
    x = spaces.uniform(0, 1)
    search = Search({'x': x, 'y': x}, method=Halton, seed=1, options={'scramble': False})
    points = [search.ask().point for _ in range(20)]
    assert np.array_equal(points, qmc.Halton(2, scramble=False).random(20))
