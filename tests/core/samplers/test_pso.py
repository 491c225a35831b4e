import statistics
from functools import partial

import numpy as np
import pytest

from shadho import Search, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.samplers import pso
from shadho.samplers.pso import ParticleSwarm
from shadho.testing import SamplerRun, SamplerSuite

unit = spaces.uniform(0, 1)
FIVE = Forest({f'x{number}': unit for number in range(5)})


class TestParticleSwarm(SamplerSuite):
    def make(self, context):
        return ParticleSwarm(context)


def bowl(point):
    return float(np.sum((np.array(point) - [0.2, 0.4, 0.6, 0.8, 0.7]) ** 2))


def swarm(particles):
    return SamplerRun(partial(ParticleSwarm, particles=particles), FIVE)


def test_the_constriction_is_that_of_the_paper():
    assert pytest.approx(0.7298, abs=1e-4) == pso._CONSTRICTION


@pytest.mark.parametrize('pending', [1, 16])
def test_it_finds_a_minimum_that_chance_does_not(pending):
    def best(seed):
        run, tree = SamplerRun(ParticleSwarm, FIVE, seed), FIVE.tree(0)
        waiting, losses = [run.ask(tree) for _ in range(pending)], []
        for _ in range(300):
            trial = waiting.pop(0)
            losses.append(bowl(trial.point))
            run.tell(trial, losses[-1])
            waiting.append(run.ask(tree))
        return min(losses)

    chance = np.random.default_rng(0).random((5, 300, 5))
    by_chance = statistics.median(min(map(bowl, points)) for points in chance)
    assert statistics.median(map(best, range(5))) < 0.1 * by_chance


def test_it_finds_integers_and_categories():
    space = {'x': unit, 'n': spaces.randint(0, 12), 'c': list('uvwxyz'), 'd': [True, False]}
    search = Search(space, method='pso', seed=0)
    for _ in range(300):
        trial = search.ask()
        x, n, c, d = (trial.params[name] for name in ('x', 'n', 'c', 'd'))
        search.tell(trial, (x - 0.7) ** 2 + ((n - 8) / 12) ** 2 + 0.2 * (c != 'w') + 0.2 * (d is True))
    assert {name: search.best.params[name] for name in ('n', 'c', 'd')} == {'n': 8, 'c': 'w', 'd': False}
    assert search.best.loss < 1e-3


def test_particles_take_turns_and_those_on_their_way_are_passed_over():
    run, tree = swarm(4), FIVE.tree(0)
    slow = run.ask(tree)
    names = []
    for _ in range(6):
        trial = run.ask(tree)
        names.append(trial.meta['particle'])
        run.tell(trial, bowl(trial.point))
    assert slow.meta['particle'] == 0
    assert names == [1, 2, 3, 1, 1, 2]


def test_a_swarm_grows_while_all_its_particles_are_on_their_way():
    run = swarm(4)
    assert [run.ask(FIVE.tree(0)).meta['particle'] for _ in range(10)] == list(range(10))


def test_a_particle_whose_trial_waits_to_run_again_is_on_its_way():
    run, tree = swarm(2), FIVE.tree(0)
    first, second = run.ask(tree), run.ask(tree)
    run.take_back(first)
    assert run.ask(tree).meta['particle'] == 2
    run.tell(second, 1.0)
    assert run.ask(tree).meta['particle'] == 1


def test_particles_that_came_to_rest_start_anew():
    run, tree = SamplerRun(ParticleSwarm, FIVE), FIVE.tree(0)
    new = []
    for _ in range(3000):
        trial = run.ask(tree)
        new.append(trial.meta['new'])
        run.tell(trial, bowl(trial.point))
    assert new[:8] == [True] * 8
    assert not any(new[8:200])
    assert any(new[200:])


def test_failed_trials_draw_nobody():
    run, tree = SamplerRun(ParticleSwarm, FIVE), FIVE.tree(0)
    failed = []
    for _ in range(200):
        trial = run.ask(tree)
        failed.append(trial.point[0] > 0.5)
        run.tell(trial, np.nan if failed[-1] else bowl(trial.point))
    assert sum(failed[-40:]) < 4


def test_one_particle_is_no_swarm():
    with pytest.raises(ConfigurationError, match='particles must be an integer from 2 to 1,000,000; got 1'):
        Search({'x': unit}, method='pso', options={'particles': 1})
