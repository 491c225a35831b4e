"""SHADHO's backend for MPI: the ranks of one job, started with ``mpirun -n N python driver.py``."""

from __future__ import annotations

from shadho import hookimpl
from shadho.backends import Backend
from shadho_mpi.backend import MPI

__all__ = ['MPI']


@hookimpl
def shadho_register_backends() -> list[type[Backend]]:
    return [MPI]
