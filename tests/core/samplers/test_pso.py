import statistics

import numpy as np
import pytest

from shadho import Search, spaces
from shadho.errors import ConfigurationError
from shadho.forest import Forest
from shadho.samplers import pso
from shadho.samplers.pso import ParticleSwarm
from shadho.testing import SamplerSuite

unit = spaces.uniform(0, 1)
FIVE = Forest({f'x{number}': unit for number in range(5)})


class TestParticleSwarm(SamplerSuite):
    def make(self, forest, seed):
        return ParticleSwarm(forest, seed=seed)


def bowl(point):
    return float(np.sum((point - np.array([0.2, 0.4, 0.6, 0.8, 0.7])) ** 2))


def test_the_constriction_is_that_of_the_paper():
    assert pytest.approx(0.7298, abs=1e-4) == pso._CONSTRICTION


@pytest.mark.parametrize('pending', [1, 16])
def test_it_finds_a_minimum_that_chance_does_not(pending):
    def best(seed):
        sampler, tree = ParticleSwarm(FIVE, seed=seed), FIVE.tree(0)
        waiting, losses = [sampler.ask(tree) for _ in range(pending)], []
        for _ in range(300):
            suggestion = waiting.pop(0)
            losses.append(bowl(suggestion.point))
            sampler.tell(suggestion, losses[-1])
            waiting.append(sampler.ask(tree))
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
    sampler, tree = ParticleSwarm(FIVE, seed=0, particles=4), FIVE.tree(0)
    slow = sampler.ask(tree)
    names = []
    for _ in range(6):
        suggestion = sampler.ask(tree)
        names.append(suggestion.meta['particle'])
        sampler.tell(suggestion, bowl(suggestion.point))
    assert slow.meta['particle'] == 0
    assert names == [1, 2, 3, 1, 1, 2]


def test_a_swarm_grows_while_all_its_particles_are_on_their_way():
    sampler = ParticleSwarm(FIVE, seed=0, particles=4)
    assert [sampler.ask(FIVE.tree(0)).meta['particle'] for _ in range(10)] == list(range(10))


def test_a_particle_whose_trial_was_cancelled_moves_again():
    sampler, tree = ParticleSwarm(FIVE, seed=0, particles=2), FIVE.tree(0)
    first, _ = sampler.ask(tree), sampler.ask(tree)
    sampler.forget(first)
    assert sampler.ask(tree).meta['particle'] == 0


def test_particles_that_came_to_rest_start_anew():
    sampler, tree = ParticleSwarm(FIVE, seed=0), FIVE.tree(0)
    new = []
    for _ in range(3000):
        suggestion = sampler.ask(tree)
        new.append(suggestion.meta['new'])
        sampler.tell(suggestion, bowl(suggestion.point))
    assert new[:8] == [True] * 8
    assert not any(new[8:200])
    assert any(new[200:])


def test_failed_trials_draw_nobody():
    sampler, tree = ParticleSwarm(FIVE, seed=0), FIVE.tree(0)
    failed = []
    for _ in range(200):
        suggestion = sampler.ask(tree)
        failed.append(suggestion.point[0] > 0.5)
        sampler.tell(suggestion, np.nan if failed[-1] else bowl(suggestion.point))
    assert sum(failed[-40:]) < 4


def test_one_particle_is_no_swarm():
    with pytest.raises(ConfigurationError, match='particles must be an integer from 2 to 1,000,000; got 1'):
        Search({'x': unit}, method='pso', options={'particles': 1})
