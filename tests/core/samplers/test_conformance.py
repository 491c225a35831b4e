from shadho.samplers.grid import Grid
from shadho.samplers.random import Random
from shadho.samplers.sobol import Sobol
from shadho.testing import SamplerSuite


class TestRandom(SamplerSuite):
    resumes = True

    def make(self, forest, seed):
        return Random(forest, seed=seed)


class TestGrid(SamplerSuite):
    resumes = True
    seeded = False

    def make(self, forest, seed):
        return Grid(forest, seed=seed, grid_points=3)


class TestSobol(SamplerSuite):
    resumes = True

    def make(self, forest, seed):
        return Sobol(forest, seed=seed)
