"""What the launcher says of a job, read before MPI is loaded, which is loaded only in a job of several ranks."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shadho.errors import BackendError

__all__ = ['check', 'is_launched', 'launched_ranks', 'load']

_SIZES = ('OMPI_COMM_WORLD_SIZE', 'PMI_SIZE', 'MV2_COMM_WORLD_SIZE', 'MPI_LOCALNRANKS')
_RANKS = ('PMIX_RANK', 'PMI_RANK')
_LOOK = 0.5
_GATHERING = 300.0
"""Seconds that ranks have to reach ``run()``, from when this one did."""
_LAST_WORDS = 0.5
"""Seconds between the error of a rank and the end of the job. Without, the error was cut off in some of a hundred jobs. Chosen."""

_PAUSE = 5e-3
_LAUNCHERS = ('hydra_pmi_proxy', 'mpirun', 'orted', 'prted', 'prterun')
_LOCAL_SIZES = ('MPI_LOCALNRANKS', 'OMPI_COMM_WORLD_LOCAL_SIZE')
_SLURM = ('SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS')


def is_launched() -> bool:
    """Return whether a launcher of MPI started this process, be it alone.

    ``mpirun`` of MPICH, Intel MPI and Open MPI say so by variables of their own; ``srun`` by Slurm's, which
    count only where it also prepared MPI (``--mpi=pmix`` or ``pmi2``).
    """
    return any(name in os.environ for name in (*_SIZES, *_RANKS))


def launched_ranks() -> int:
    """Return how many ranks the launcher of this process started; 1 when there was none."""
    for name in (*_SIZES, *_SLURM) if is_launched() else ():
        if os.environ.get(name, '').isdigit():
            return int(os.environ[name])
    return 1


_PROBE = """
from mpi4py import MPI
if MPI.COMM_WORLD.Get_rank() == 0:
    print(MPI.COMM_WORLD.Get_size(), ' '.join(MPI.Get_library_version().partition(',')[0].split()[:3]))
"""
_AS_ROOT = {'OMPI_ALLOW_RUN_AS_ROOT': '1', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1'}
_PATIENCE = 60.0
_INSTALL = (
    '"pip install mpi4py mpich" brings mpi4py and an MPI; on a cluster, mpi4py alone uses the MPI that is loaded there'
)


def check() -> str:
    """Say which MPI there is, after two ranks of it have met.

    Raises
    ------
    BackendError
        When MPI cannot be loaded, or the launcher here is another MPI's.
    """
    _, library = _run_probe()
    places = os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
    launcher = shutil.which('mpirun', path=places)
    if launcher is None:
        return f"{library}; there is no mpirun here: use your cluster's launcher, such as srun --mpi=pmix"
    ranks, _ = _run_probe(launcher, '-n', '2')
    if ranks != 2:
        raise BackendError(
            f'{launcher} started two ranks, but each is alone: it belongs to another MPI than mpi4py here ({library}). {_INSTALL}'
        )
    return f'{library}: two ranks met, started by {launcher}'


def _run_probe(*launcher: str) -> tuple[int, str]:
    """Load MPI in processes of their own; return how many ranks the first sees, and which MPI it is."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(('OMPI_', 'PMI', 'PMIX_'))}
    command = [*launcher, sys.executable, '-c', _PROBE]
    try:
        done = subprocess.run(
            command, env={**clean, **_AS_ROOT}, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f'{" ".join(command[:3])} does not run: {error}. {_INSTALL}') from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ['no reason is given'])[-1]
        raise BackendError(f'MPI cannot be used ({reason}). {_INSTALL}')
    ranks, _, library = done.stdout.partition('\n')[0].partition(' ')
    return int(ranks), library


def load() -> Any:
    """Load MPI and return a communicator of our own over all ranks.

    Raises
    ------
    BackendError
        When mpi4py is missing, or belongs to another MPI than the launcher; when ranks do not come here.
    """
    try:
        import mpi4py

        mpi4py.rc.initialize = False  # below, where it can be watched
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise BackendError(f'MPI cannot be loaded ({error}). {_INSTALL}') from None
    library = ' '.join(MPI.Get_library_version().partition('\n')[0].partition(',')[0].split())
    launched = launched_ranks()
    # Open MPI's launcher, under which MPICH ends the process with words of its own.
    is_foreign = 'MPICH' in library and 'OMPI_COMM_WORLD_SIZE' in os.environ
    if not is_foreign and not MPI.Is_initialized():
        with _watched():
            MPI.Init_thread()
    if is_foreign or MPI.COMM_WORLD.Get_size() == 1 < launched:
        raise BackendError(
            f'the launcher started {launched} ranks, but each of them is alone: it belongs to another MPI than the library of '
            f'mpi4py here, which is {library!r}. Use the launcher of that MPI (in the same virtual environment: mpirun), or '
            'install mpi4py for the MPI of the launcher'
        )
    return _duplicate(MPI.COMM_WORLD)


def _duplicate(world: Any) -> Any:
    """Return a duplicate, which takes all ranks: where the script has initialised MPI, they may not be here yet."""
    until = time.monotonic() + _GATHERING
    duplicate, request = world.Idup()
    while not request.Test():
        if time.monotonic() > until:
            atexit.register(_abort, world)  # a plain end would wait for the missing ranks
            raise BackendError(_missing(world.Get_size()))
        time.sleep(_PAUSE)
    return duplicate


def _abort(world: Any) -> None:
    """End the job, when its launcher has passed on what ranks have said: it would drop the rest."""
    time.sleep(_LAST_WORDS)
    world.Abort(1)


def _missing(launched: int) -> str:
    return (
        f'some of the {launched} ranks have not reached run() within {_GATHERING:g} s of this one. Every rank must run the '
        'script up to run(): is that behind a condition, or do they load something slow?'
    )


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """End this process when another rank of its node has ended meanwhile, or some rank does not come.

    The first call of MPI waits for all ranks. MPICH's launcher does not mind one that ends before that
    with an exception, Open MPI's one that ends without, and the others would wait for ever.
    """
    over, tie = os.pipe()
    rank = os.getpid()
    watcher = os.fork()  # a thread could not look while MPI holds Python's lock
    if not watcher:
        try:
            os.closerange(3, over)
            os.closerange(over + 1, 256)  # the launcher's connections are not this process's
            _watch(rank, over)
        finally:
            os._exit(0)  # whatever happens: the script is not this process's to run
    os.close(over)
    try:
        yield
    finally:
        os.close(tie)
        os.waitpid(watcher, 0)


def _watch(rank: int, over: int) -> None:
    """Kill a rank when it waits in vain, until a pipe is closed."""
    launcher = _launcher()
    children = Path(f'/proc/{launcher}/task/{launcher}/children')
    sizes = [int(os.environ[name]) for name in _LOCAL_SIZES if name in os.environ and children.exists()]
    expected = sizes[0] if sizes else 0
    until = time.monotonic() + _GATHERING
    why = ''
    while not why and not select.select([over], [], [], _LOOK)[0]:
        if expected and len(children.read_text().split()) < expected:
            why = 'a rank of this job ended before it came to run()'
        elif time.monotonic() > until:
            why = _missing(launched_ranks())
    if why:
        os.write(2, f'{why}; the job ends\n'.encode())
        os.kill(rank, signal.SIGKILL)


def _launcher() -> int:
    """Return the launcher's process on this node: ranks, or scripts that run them, are its children; 0 without one."""
    process = os.getppid()
    try:
        while process:
            name, _, facts = Path(f'/proc/{process}/stat').read_text().partition('(')[2].rpartition(')')
            if name in _LAUNCHERS:
                return process
            process = int(facts.split()[1])
    except OSError:  # no Linux
        pass
    return 0
