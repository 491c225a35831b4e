"""What every rank but the first does: run the trials that the first one sends, until its script ends."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import pickle
import shutil
import signal
import socket
import sys
import tarfile
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import attrs

import shadho_worker
from shadho.errors import BackendError, ShadhoError
from shadho.execution.objective import Command
from shadho.execution.sandbox import Ended, Pickled, Reported, pickle_objective
from shadho.execution.sandbox_pool import SandboxPool
from shadho_mpi.share import Facts, divide, facts
from shadho_worker.outcomes import Outcome

__all__ = ['LONGEST', 'SHORTEST', 'Rank', 'as_text', 'from_text', 'leave', 'pack', 'serve', 'unpack', 'without_files']

SHORTEST, LONGEST = 2e-5, 5e-3
"""Seconds between two looks for messages: MPI's own waiting would keep a core busy."""

_LEAVING = 5
"""Seconds that a job with lost ranks may take to end."""

_TOO_DEEP = shadho_worker.failed('result', 'the result is nested too deeply')
_HAS_FILTERS = hasattr(tarfile, 'data_filter')  # Python 3.10.12, 3.11.4 and later


class Rank:
    """A rank that runs trials.

    Parameters
    ----------
    number : int
    """

    def __init__(self, number: int) -> None:
        self.facts = facts(number)
        self._gpus: list[str] = []
        self._pool: SandboxPool | None = None
        self._run = 0
        self._output: Path | None = None
        self._attempts: dict[int, int] = {}  # numbers of those that run, by their trials

    def share(self, ranks: list[Facts]) -> Any:
        """Return the hardware that this rank offers beside the others."""
        hardware, self._gpus = divide(self.facts, ranks)
        return hardware

    def open(
        self, run: int, objective: bytes, compute_class: Any, files: bytes | None, timeout: float | None,
        max_tasks_per_child: int | None = None, hears: bool = False, folders: Path | None = None,
        grace: float = 0.0,
    ) -> None:  # fmt: skip
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
        max_tasks_per_child : int or None
            Trials after which a slot gets a new process.
        hears : bool
            Whether trials report while they run.
        folders : Path or None
            Where the folders of trials are: on a file system that all ranks share.
        grace : float
            Seconds between SIGTERM and SIGKILL for trials that outlive their time or are stopped.
        """
        self.close()
        if folders is not None and not folders.parent.is_dir():
            raise BackendError(
                f'the folders of trials are to be in {folders.parent}, which is not there; start the job in a folder that '
                'all nodes share, or give storage= a path in one'
            )
        self._run, self._timeout = run, timeout
        self._compute_class = compute_class.name
        self._output = None
        self._attempts = {}

        def settle(folder: Path) -> bytes:
            return objective if files is None else self._move_in(objective, files, folder)

        self._pool = SandboxPool(
            settle, [compute_class], gpus=self._gpus, max_tasks_per_child=max_tasks_per_child, hears=hears, grace=grace
        )

    def _move_in(self, objective: bytes, files: bytes, folder: Path) -> bytes:
        """Give a command the input files that came along, and a place for its output files."""
        unpack(files, folder / 'inputs')
        command: Command = pickle.loads(objective.partition(b'\n')[2])  # behind the driver's filters of warnings
        inputs = tuple(folder / 'inputs' / path.name for path in command.inputs)
        self._output = folder / 'outputs' if command.outputs else None
        return pickle_objective(attrs.evolve(command, inputs=inputs, output_folder=folder / 'outputs'))

    def start(self, trial: int, attempt: int, params: bytes, facts: Mapping[str, Any] | None = None) -> None:
        """Run a trial; with a handle, if its `facts` are given."""
        assert self._pool is not None
        self._attempts[trial] = attempt
        self._pool.start(trial, self._compute_class, Pickled(params), self._timeout, facts)

    def answer(self, trial: int, attempt: int, answer: Mapping[str, Any]) -> None:
        """Answer a report of a trial."""
        assert self._pool is not None
        self._pool.answer(trial, attempt, answer)

    def stop(self, trial: int) -> None:
        """End a trial."""
        assert self._pool is not None
        self._attempts.pop(trial, None)
        self._pool.stop(trial)

    def hurry(self) -> None:
        """Grant no grace from now on."""
        if self._pool is not None:
            self._pool.hurry()

    def poll(self, timeout: float) -> list[tuple[Any, ...]]:
        """Return what has ended and what was reported.

        Of an attempt that has ended: number of the search, trial, attempt, seconds since it began, outcome (JSON), output files.
        Of a report: number of the search, trial, attempt, step, results (JSON).
        """
        if self._pool is None:
            time.sleep(timeout)
            return []
        if timeout < 1e-3:  # the system's waiting for files counts in whole milliseconds
            time.sleep(timeout)
            timeout = 0.0
        return [self._news(news) for news in self._pool.poll(timeout)]

    def _news(self, news: Ended | Reported) -> tuple[Any, ...]:
        if isinstance(news, Reported):
            return self._run, news.trial, news.attempt, news.step, json.dumps(news.results).encode()
        age = time.monotonic() - news.begun
        files = self._with_files(news.trial, news.outcome)
        return self._run, news.trial, self._attempts.pop(news.trial), age, *files

    def _with_files(self, trial: int, outcome: Outcome) -> tuple[bytes, bytes | None]:
        if self._output is None or not (self._output / str(trial)).exists():
            return as_text(outcome), None
        try:
            packed = pack([self._output / str(trial)])
            shutil.rmtree(self._output / str(trial))
        except (OSError, tarfile.TarError) as error:
            return as_text(without_files(outcome, error)), None
        return as_text(outcome), packed

    def close(self) -> None:
        """End all that runs here."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def serve(communicator: Any) -> NoReturn:
    """Serve the first rank until it says that its script has ended; then end this process.

    What comes after the call of ``run()`` in the script is the first rank's to do: this process does
    not return from here.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first rank's to handle, whose end is the end of all
    parent = os.getppid()
    try:
        rank = Rank(communicator.Get_rank())
        communicator.send(rank.facts, dest=0)
        pause = SHORTEST
        while os.getppid() == parent:
            while communicator.iprobe(source=0):
                method, *arguments = communicator.recv(source=0)
                if method == 'end':
                    rank.close()
                    for stream in (sys.stdout, sys.stderr):
                        with contextlib.suppress(Exception):  # a script may have replaced, closed or removed it
                            stream.flush()
                    communicator.send(None, dest=0)  # nothing more is to come
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
    except BaseException as error:
        with contextlib.suppress(Exception):  # nobody may be reading standard error
            if isinstance(error, ShadhoError):
                sys.stderr.write(f'rank {communicator.Get_rank()} on {socket.gethostname()}: {error}\n')
            else:
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
    else:  # Open MPI's end of a job that has lost ranks now and then waits for them for ever
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LEAVING)
    MPI.Finalize()
    signal.alarm(0)


def as_text(outcome: Outcome) -> bytes:
    """Write the outcome of a trial as it travels to the first rank: nothing that came from a trial is pickled."""
    try:
        return json.dumps(outcome).encode()
    except RecursionError:  # a script may have left anything
        return json.dumps({**outcome, **_TOO_DEEP}).encode()


def from_text(text: bytes) -> Outcome:
    """Read what `as_text` wrote."""
    try:
        return dict(json.loads(text))
    except RecursionError:
        return {**_TOO_DEEP, 'seconds': 0.0, 'output': ''}


def without_files(outcome: Outcome, error: Exception) -> Outcome:
    """Return the outcome of a trial whose output files could not be brought back."""
    if outcome['state'] != 'done':
        return outcome
    message = f'the output files could not be brought back: {error}'
    return {**outcome, **shadho_worker.failed('result', message, results=outcome['results'])}


def pack(paths: Iterable[Path]) -> bytes:
    """Return files and folders as an archive; links as what they lead to."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w', dereference=True) as tar:
        for path in paths:
            tar.add(path, path.name)
    return archive.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Write what `pack` returned into a folder.

    Raises
    ------
    tarfile.TarError
        When something in it is no file or folder below that folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Without links, what was wrong with the filter of some releases (such as CVE-2025-4517) cannot matter.
    safely: Any = {'filter': 'data'} if _HAS_FILTERS else {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode='r:') as tar:
        tar.extractall(folder, [_checked(member) for member in tar], **safely)


def _checked(member: tarfile.TarInfo) -> tarfile.TarInfo:
    path = PurePosixPath(member.name)
    is_plain = (member.isreg() and not member.issparse()) or member.isdir()
    if path.is_absolute() or '..' in path.parts or not is_plain:
        raise tarfile.ExtractError(f'{member.name!r} is no plain file or folder of its own')
    member.mode &= 0o777
    return member
