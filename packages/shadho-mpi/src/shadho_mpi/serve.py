"""What every rank but the first does: run the trials that the first one sends, until its script ends."""

from __future__ import annotations

import ctypes
import io
import os
import pickle
import shutil
import signal
import sys
import tarfile
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import attrs

from shadho.execution.objective import Command
from shadho.execution.sandbox import Pickled, pickle_objective
from shadho.execution.station import Station
from shadho_mpi.share import Facts, divide, facts

__all__ = ['LONGEST', 'SHORTEST', 'Rank', 'leave', 'pack', 'serve', 'unpack']

SHORTEST, LONGEST = 2e-5, 5e-3
"""Seconds between two looks for messages: MPI's own waiting would keep a core busy."""


class Rank:
    """A rank that runs trials.

    Parameters
    ----------
    number : int
    """

    def __init__(self, number: int) -> None:
        self.facts = facts(number)
        self._gpus: list[str] = []
        self._station: Station | None = None
        self._run = 0
        self._output: Path | None = None

    def share(self, ranks: list[Facts]) -> Any:
        """Return the hardware that this rank offers beside the others."""
        hardware, self._gpus = divide(self.facts, ranks)
        return hardware

    def open(self, run: int, objective: bytes, compute_class: Any, files: bytes | None, timeout: float | None) -> None:
        """Get ready for a search.

        Parameters
        ----------
        run : int
            Number of the search.
        objective : bytes
            Pickled.
        compute_class : ComputeClass
            This rank's, with its number of slots.
        files : bytes or None
            Input files of a command, packed; None where they can be used in place.
        timeout : float or None
            Seconds that one trial may take.
        """
        self.close()
        self._run, self._timeout = run, timeout
        self._compute_class = compute_class.name
        self._output = None

        def settle(folder: Path) -> bytes:
            return objective if files is None else self._move_in(objective, files, folder)

        self._station = Station(settle, [compute_class], gpus=self._gpus)

    def _move_in(self, objective: bytes, files: bytes, folder: Path) -> bytes:
        """Give a command the input files that came along, and a place for its output files."""
        unpack(files, folder / 'inputs')
        command: Command = pickle.loads(objective)
        inputs = tuple(folder / 'inputs' / path.name for path in command.inputs)
        self._output = folder / 'outputs' if command.outputs else None
        return pickle_objective(attrs.evolve(command, inputs=inputs, output_folder=folder / 'outputs'))

    def submit(self, trial: int, params: bytes) -> None:
        """Run a trial."""
        assert self._station is not None
        self._station.submit(trial, self._compute_class, Pickled(params), self._timeout)

    def cancel(self, trial: int) -> None:
        """End a trial."""
        assert self._station is not None
        self._station.cancel(trial)

    def poll(self, timeout: float) -> list[tuple[Any, ...]]:
        """Return what has ended: number of the search, trial, seconds ago that it began, outcome, output files."""
        if self._station is None:
            time.sleep(timeout)
            return []
        if timeout < 1e-3:  # the system's waiting for files counts in whole milliseconds
            time.sleep(timeout)
            timeout = 0.0
        now = time.monotonic
        return [
            (self._run, ended.trial, now() - ended.begun, ended.outcome, self._brought(ended.trial))
            for ended in self._station.poll(timeout)
        ]

    def _brought(self, trial: int) -> bytes | None:
        if self._output is None or not (self._output / str(trial)).exists():
            return None
        packed = pack([self._output / str(trial)])
        shutil.rmtree(self._output / str(trial))
        return packed

    def close(self) -> None:
        """End all that runs here."""
        if self._station is not None:
            self._station.close()
            self._station = None


def serve(communicator: Any) -> NoReturn:
    """Serve the first rank until it says that its script has ended; then end this process.

    What comes after the call of ``run()`` in the script is the first rank's to do: this process does
    not return from here.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first rank's to handle, whose end is the end of all
    parent = os.getppid()
    rank = Rank(communicator.Get_rank())
    try:
        communicator.send(rank.facts, dest=0)
        pause = SHORTEST
        while os.getppid() == parent:
            while communicator.iprobe(source=0):
                method, *arguments = communicator.recv(source=0)
                if method == 'end':
                    rank.close()
                    sys.stdout.flush()
                    sys.stderr.flush()
                    leave(communicator, *arguments)
                    # Neither the rest of the script nor its exit handlers, but those of the MPI library, without
                    # which MPICH's launcher takes the end of this process for a failure.
                    ctypes.CDLL(None).exit(0)
                answer = getattr(rank, method)(*arguments)
                if method == 'share':
                    communicator.send(answer, dest=0)
                pause = SHORTEST
            for ended in rank.poll(pause):
                communicator.send(ended, dest=0)
                pause = SHORTEST
            pause = min(1.5 * pause, LONGEST)
        rank.close()
        os._exit(1)  # the launcher is gone
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        communicator.Abort(1)
        raise


def leave(communicator: Any, is_whole: bool) -> None:
    """End MPI; on all ranks at once, as launchers kill ranks that are late, unless one of them has failed."""
    from mpi4py import MPI

    if is_whole:
        communicator.Barrier()
        communicator.Free()
    MPI.Finalize()


def pack(paths: Iterable[Path]) -> bytes:
    """Return files and folders as an archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w') as tar:
        for path in paths:
            tar.add(path, path.name)
    return archive.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Write what `pack` returned into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter='data')
