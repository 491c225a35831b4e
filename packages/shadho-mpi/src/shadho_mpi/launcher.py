"""What the launcher says of a job, read before MPI is loaded, which is loaded only in a job of several ranks."""

from __future__ import annotations

import os
from typing import Any

from shadho.errors import BackendError

__all__ = ['launched_ranks', 'load']

_SIZES = ('OMPI_COMM_WORLD_SIZE', 'PMI_SIZE', 'MV2_COMM_WORLD_SIZE', 'MPI_LOCALNRANKS')
_SLURM = ('SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS')


def launched_ranks() -> int:
    """Return how many ranks the launcher of this process started; 1 when there was none.

    ``mpirun`` of MPICH, Intel MPI and Open MPI say so by variables of their own, ``srun`` by Slurm's, which
    count only where it also prepared MPI (``--mpi=pmix`` or ``pmi2``).
    """
    for name in _SIZES:
        if os.environ.get(name, '').isdigit():
            return int(os.environ[name])
    if 'PMIX_RANK' in os.environ or 'PMI_RANK' in os.environ:
        for name in _SLURM:
            if os.environ.get(name, '').isdigit():
                return int(os.environ[name])
    return 1


def load() -> Any:
    """Load MPI and return a communicator of our own over all ranks.

    Raises
    ------
    BackendError
        When mpi4py is missing, or belongs to another MPI than the launcher.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise BackendError(
            f'MPI cannot be loaded ({error}); pip install "shadho-core[mpi]" brings mpi4py and an MPI, on a cluster '
            '"pip install shadho-mpi" uses the one that is loaded there'
        ) from None
    size, launched = MPI.COMM_WORLD.Get_size(), launched_ranks()
    if size == 1 and launched > 1:
        library = MPI.Get_library_version().splitlines()[0].strip()
        raise BackendError(
            f'the launcher started {launched} ranks, but each of them sees itself alone: it belongs to another MPI than '
            f'the library of mpi4py here, which is {library!r}. Use the launcher of that MPI (in the same virtual environment: '
            'mpirun), or install mpi4py for the MPI of the launcher'
        )
    return MPI.COMM_WORLD.Dup()
