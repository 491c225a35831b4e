"""Particle swarms, one in each tree.

* J. Kennedy, R. Eberhart, *Particle swarm optimization*, 1995.
* M. Clerc, J. Kennedy, *The particle swarm: explosion, stability, and convergence in a multidimensional complex
  space*, 2002: the constriction factor.
* B.-I. Koh, A. George, R. Haftka, B. Fregly, *Parallel asynchronous particle swarm optimization*, 2006.
* A. Moraglio, C. Di Chio, R. Poli, *Geometric particle swarm optimisation*, 2007: coordinates without order.
* A. Engelbrecht, *Particle swarm optimization: velocity initialization*, 2012: particles start at rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from shadho.forest import Dimension
from shadho.samplers.base import SamplerContext, whole_number
from shadho.samplers.box import Box, BoxSampler

__all__ = ['ParticleSwarm']

Floats = npt.NDArray[np.float64]

_PULL = 2.05
"""How strongly a particle is pulled to its own best point, and to the swarm's (φ₁ = φ₂ of Clerc & Kennedy)."""

_CONSTRICTION = 2.0 / (2 * _PULL - 2.0 + math.sqrt(4 * _PULL**2 - 8 * _PULL))
"""χ = 2 / |2 - φ - √(φ² - 4φ)| with φ = φ₁ + φ₂ (their eq. 4.8, κ = 1)."""

_BOUNCE = 0.5
"""The part of its speed that a particle keeps when a wall turns it round."""

_MUTATION = 0.1
"""How often a coordinate without order takes any value."""

_REST = 1e-6
"""A particle that moves less than this, near the best point, has nothing left to find, and starts anew."""


@attrs.frozen
class _Particle:
    """Where a particle is and how it got there, and the best point that it has seen."""

    point: Floats
    velocity: Floats
    best: Floats
    loss: float


class ParticleSwarm(BoxSampler):
    """Particles that are drawn to the best point of each, and to the best of all, with constriction.

    Asynchronous: the next particle that is not on its way moves as soon as it is asked for, knowing what is known
    by then, and a swarm gets more particles while all are on their way. A coordinate of `size` values moves through
    its cells; one without order is copied from either best point. What other methods tried, or the user, draws the
    swarm when it is the best. Some 0.1 ms for a point.

    Parameters
    ----------
    particles : int, default 8
    """

    name = 'pso'

    def __init__(self, context: SamplerContext, *, particles: int = 8) -> None:
        super().__init__(context)
        self.particles = whole_number("method='pso': particles", particles, 2)

    def make(self, dimensions: Sequence[Dimension], seed: Sequence[int]) -> Box:
        return _Swarm(dimensions, seed, self.particles)


class _Swarm(Box):
    """A swarm in one cube."""

    def __init__(self, dimensions: Sequence[Dimension], seed: Sequence[int], size: int) -> None:
        super().__init__(dimensions, seed)
        self._size = size
        self._particles: dict[int, _Particle] = {}
        self._best = np.full(len(dimensions), 0.5)
        self._loss = math.inf
        self._unordered = np.array([dimension.kind == 'categorical' for dimension in dimensions])

    def ask(
        self, number: int, rng: np.random.Generator, pending: Sequence[Mapping[str, Any]]
    ) -> tuple[Floats, dict[str, Any]]:
        name = self._idle(number, {notes.get('particle') for notes in pending})
        particle = self._particles.get(name)
        moved = None if particle is None else self._moved(particle, rng)
        position, velocity = moved or (rng.random(len(self.dimensions)), np.zeros(len(self.dimensions)))
        return position, {'particle': name, 'velocity': velocity.tolist(), 'new': moved is None}

    def _idle(self, number: int, moving: Set[int | None]) -> int:
        """Return the particle whose turn it is, or the next one that is not on its way."""
        turns = [(number + step) % self._size for step in range(self._size)]
        names: list[int] = [*turns, *range(self._size, self._size + len(moving) + 1)]
        return next(name for name in names if name not in moving)

    def _moved(self, particle: _Particle, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
        """Return a particle's next position and velocity; None when it has come to rest (Clerc & Kennedy, eq. 4.3)."""
        own, common = _PULL * rng.random((2, len(self.dimensions)))
        pull = own * (particle.best - particle.point) + common * (self._best - particle.point)
        velocity = _CONSTRICTION * (particle.velocity + pull)
        if max(np.abs(velocity).max(), np.abs(particle.best - self._best).max()) < _REST:
            return None
        position = particle.point + velocity
        outside = (position < 0.0) | (position > 1.0)
        mirrored = np.clip(1.0 - np.abs(1.0 - np.abs(position)), 0.0, 1.0)
        copied = np.where(rng.random(len(position)) < 0.5, particle.best, self._best)
        copied = np.where(rng.random(len(position)) < _MUTATION, rng.random(len(position)), copied)
        return np.where(self._unordered, copied, mirrored), np.where(outside, -_BOUNCE * velocity, velocity)

    def tell(self, point: Floats, loss: float, notes: Mapping[str, Any]) -> None:
        if 'particle' in notes:
            known = None if notes['new'] else self._particles.get(notes['particle'])
            better = known is None or loss <= known.loss
            best = (point, loss) if known is None or better else (known.best, known.loss)
            self._particles[notes['particle']] = _Particle(point, np.array(notes['velocity']), *best)
        if loss <= self._loss:
            self._best, self._loss = point, loss
