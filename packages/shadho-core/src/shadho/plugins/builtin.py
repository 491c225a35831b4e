"""Our own parts, registered through the same hooks as anybody's."""

from __future__ import annotations

from shadho.backends.base import Backend
from shadho.fidelity.base import Fidelity
from shadho.plugins.hookspecs import hookimpl
from shadho.samplers.base import Sampler
from shadho.scheduling.policy import Heuristic, Policy
from shadho.storage.base import Storage


@hookimpl
def shadho_register_backends() -> list[type[Backend]]:
    from shadho.backends.inline import Inline

    return [Inline]


@hookimpl
def shadho_register_samplers() -> list[type[Sampler]]:
    from shadho.samplers.auto import Auto
    from shadho.samplers.cmaes import CMAES
    from shadho.samplers.gp import GaussianProcess
    from shadho.samplers.grid import Grid
    from shadho.samplers.hyperopt import Hyperopt
    from shadho.samplers.pso import ParticleSwarm
    from shadho.samplers.random import Random
    from shadho.samplers.rf import RandomForest
    from shadho.samplers.sobol import Sobol
    from shadho.samplers.tpe import TPE

    return [Auto, TPE, GaussianProcess, RandomForest, Random, Grid, Sobol, Hyperopt, CMAES, ParticleSwarm]


@hookimpl
def shadho_register_policies() -> list[type[Policy]]:
    from shadho.scheduling.fcfs import FirstComeFirstServed
    from shadho.scheduling.market import Market
    from shadho.scheduling.ranked import Ranked

    return [Market, Ranked, FirstComeFirstServed]


@hookimpl
def shadho_register_heuristics() -> list[type[Heuristic]]:
    from shadho.scheduling.complexity import Complexity
    from shadho.scheduling.promise import Promise
    from shadho.scheduling.uncertainty import Uncertainty

    return [Promise, Complexity, Uncertainty]


@hookimpl
def shadho_register_fidelities() -> list[type[Fidelity]]:
    from shadho.fidelity.asha import ASHA
    from shadho.fidelity.full import Full
    from shadho.fidelity.hyperband import Hyperband
    from shadho.fidelity.median import Median

    return [Full, ASHA, Hyperband, Median]


@hookimpl
def shadho_register_storages() -> list[type[Storage]]:
    from shadho.storage.jsonl import JSONLines
    from shadho.storage.memory import Memory
    from shadho.storage.sqlite import SQLite

    return [SQLite, JSONLines, Memory]
