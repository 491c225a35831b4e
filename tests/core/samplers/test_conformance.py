from shadho.samplers.grid import Grid
from shadho.samplers.random import Random
from shadho.samplers.sobol import Sobol
from shadho.testing import SamplerSuite


class TestRandom(SamplerSuite):
    def make(self, context):
        return Random(context)


class TestGrid(SamplerSuite):
    seeded = False

    def make(self, context):
        return Grid(context, grid_points=3)


class TestSobol(SamplerSuite):
    def make(self, context):
        return Sobol(context)
