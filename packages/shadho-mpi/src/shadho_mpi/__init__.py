"""SHADHO's backend for MPI: the ranks of one job, started with ``mpirun -n N python driver.py``."""

from __future__ import annotations

import logging
from typing import Any

from shadho import hookimpl
from shadho.backends import Backend
from shadho_mpi.backend import MPI
from shadho_mpi.launcher import is_launched, launched_ranks

__all__ = ['MPI']

log = logging.getLogger('shadho')


@hookimpl
def shadho_register_backends() -> list[type[Backend]]:
    return [MPI]


@hookimpl
def shadho_search_started(search: Any) -> None:
    if is_launched() and launched_ranks() == 1 and search.backend != MPI.name:
        log.warning(
            'a launcher of MPI started a single rank, so the backend is %r; several make it %r (mpirun -n 4 python driver.py)',
            search.backend, MPI.name,
        )  # fmt: skip
