"""The MPI backend: the first rank drives, and the others run its trials."""

from __future__ import annotations

import atexit
import logging
import socket
import tarfile
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs

from shadho import ComputeClass, Trial
from shadho.backends import Answer, Backend, Job
from shadho.errors import BackendError
from shadho.execution.objective import Command
from shadho.execution.sandbox import pickle_objective, pickle_params
from shadho.hardware.classes import form_classes, slots
from shadho.records import Hardware, Report, Result, TrialState, Worker
from shadho_mpi.launcher import check, launched_ranks, load
from shadho_mpi.serve import LONGEST, SHORTEST, Rank, from_text, leave, pack, serve, unpack, without_files
from shadho_mpi.share import Facts

__all__ = ['MPI']

log = logging.getLogger('shadho')

_ALL_LOST = 'all ranks that ran trials have failed; start the job again to go on'


@attrs.frozen
class _Attempt:
    """An attempt at a trial that a rank has: its number, and when it was sent."""

    number: int
    sent: float


@attrs.define
class _Member:
    """A rank that runs trials, as the first rank knows it.

    Attributes
    ----------
    facts : Facts
    hardware : Hardware
        Its share of its node.
    compute_class : ComputeClass
        With its own number of slots.
    running : dict of int to _Attempt
        What it has, by trial.
    """

    facts: Facts
    hardware: Hardware
    compute_class: ComputeClass
    running: dict[int, _Attempt] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        return f'{self.facts.host} rank {self.facts.rank}'


class _Job:
    """The ranks of this job, from the first search of the script to its end.

    Attributes
    ----------
    serving : list of int
        Numbers of the other ranks. One that has failed is taken off, under a launcher that lets the
        others live on: that of Open MPI with ``--with-ft ulfm``.
    user : MPI or None
        The backend whose trials they run now.
    """

    current: ClassVar[_Job | None] = None

    def __init__(self) -> None:
        self.communicator = load()
        self.size: int = self.communicator.Get_size()
        self.facts: dict[int, Facts] = {}
        self.shares: dict[int, Hardware] = {}
        self.runs = 0
        self.user: MPI | None = None
        self.serving = list(range(1, self.size))
        self._sent: list[tuple[int, Any]] = []

    @classmethod
    def join(cls) -> _Job:
        """Return this process's job; ranks other than the first serve it instead, and never return."""
        if cls.current is None:
            cls.current = cls()
            if cls.current.communicator.Get_rank():
                serve(cls.current.communicator)
            atexit.register(cls.current.end)
        return cls.current

    def gather(self) -> None:
        """Hear what every rank sees of its node, and divide their nodes among them."""
        if self.shares:
            return
        self.facts = self._hear_all()
        for number in list(self.serving):
            self.send(number, 'share', list(self.facts.values()))
        self.shares = self._hear_all()

    def _hear_all(self) -> dict[int, Any]:
        """Wait for one message of each rank; all have come to ``run()``, so they do not take long."""
        heard: dict[int, Any] = {}
        while not heard.keys() >= set(self.serving):
            heard.update(self.receive())
            time.sleep(LONGEST)
        return dict(sorted(heard.items()))

    def send(self, number: int, method: str, *arguments: Any) -> None:
        """Let a rank call a method of `serve.Rank`; returns at once."""
        self._forget_sent()
        if number in self.serving:
            request = self._ask(number, self.communicator.isend, (method, *arguments), dest=number)
            self._sent.append((number, request))

    def _forget_sent(self) -> None:
        self._sent = [(to, own) for to, own in self._sent if to in self.serving and not self._ask(to, own.Test)]

    def _ask(self, number: int, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function of MPI that concerns a rank; None when it says that the rank has failed."""
        from mpi4py import MPI

        try:
            return function(*arguments, **options)
        except MPI.Exception as error:
            if error.Get_error_class() != MPI.ERR_PROC_FAILED:
                raise
            self.serving.remove(number)
            return None

    def receive(self) -> list[tuple[int, Any]]:
        """Return what has come, with the numbers of the ranks that sent it."""
        received = []
        for number in list(self.serving):
            while number in self.serving and self._ask(number, self.communicator.iprobe, source=number):
                message = self._ask(number, self.communicator.recv, source=number)
                if number in self.serving:
                    received.append((number, message))
        return received

    def end(self) -> None:
        """Let the other ranks go: the script has ended."""
        is_whole = len(self.serving) == self.size - 1
        for number in list(self.serving):
            self.send(number, 'end', is_whole)
        present = set(self.serving)
        while self._sent or present & set(self.serving):
            # Who is still sending a result can neither hear nor leave before it is taken.
            present -= {number for number, message in self.receive() if message is None}
            self._forget_sent()
            time.sleep(LONGEST)
        if is_whole or self.serving:  # else nobody is left to end the job with
            leave(self.communicator, is_whole)


class MPI(Backend):
    """Runs trials on the other ranks of an MPI job: ``mpirun -n 4 python driver.py``.

    Every rank runs the script up to its first ``run()``. From there on the first rank drives, and the
    others run its trials, in this search and in all that follow, until the first rank's script ends;
    what comes after ``run()`` happens once. Started as a single rank, it runs trials in that process's place.
    """

    name = 'mpi'
    has_folders = True
    queues_ahead = True

    def __init__(self) -> None:
        self._members: dict[int, _Member] = {}
        self._alone: Rank | None = None
        self._ranks: _Job | None = None

    @classmethod
    def affinity(cls, job: Job) -> int:
        return 3 if launched_ranks() > 1 else 0

    @classmethod
    def check(cls) -> str:
        return check()

    def attend(self) -> None:
        if launched_ranks() > 1:
            _Job.join()

    # --- begin and end -----------------------------------------------------------------------

    def open(self, job: Job) -> None:
        objective = pickle_objective(job.objective)
        self._job = job
        self._ranks = _Job.join() if launched_ranks() > 1 else None
        if self._ranks is None:
            log.warning(
                'this is a single process, not a job of several ranks (mpirun -n 4 python driver.py): trials run on this '
                'machine only'
            )
            self._alone = Rank(0)
            shares = {0: (self._alone.facts, self._alone.share([self._alone.facts]))}
        else:
            if self._ranks.user not in (None, self):
                raise BackendError('the ranks of this job run another search already; run one search after the other')
            self._ranks.user = self
            self._ranks.gather()
            shares = {number: (self._ranks.facts[number], self._ranks.shares[number]) for number in self._ranks.serving}
            if not shares:
                raise BackendError(_ALL_LOST)
        self._run = 0 if self._ranks is None else self._ranks.runs + 1
        self._members = {number: self._member(*share) for number, share in shares.items()}
        serving = [member for member in self._members.values() if member.compute_class.slots]
        if not serving:
            first = next(iter(self._members.values()))
            raise BackendError(
                f'no trial fits on a rank ({first.hardware}): each asks for {dict(first.compute_class.resources)}; ask for '
                'less with resources=, or start fewer ranks on each node'
            )
        self._form_classes()
        here = socket.gethostname()
        packed = None
        for number, member in self._members.items():
            if not member.compute_class.slots:
                continue
            files = None
            if isinstance(job.objective, Command) and member.facts.host != here:
                packed = packed or _pack_inputs(job.objective)
                files = packed
            # Most commands need no folder that all ranks share: those without steps are not refused for want of one.
            folders = None if job.is_command and job.max_steps is None else job.folders
            limits = job.trial_timeout, job.max_tasks_per_child, job.objective.takes_trial, folders, job.grace
            self._tell(number, 'open', self._run, objective, member.compute_class, files, *limits)
        if self._ranks is not None:
            self._ranks.runs = self._run

    def _member(self, facts: Facts, hardware: Hardware) -> _Member:
        own = form_classes([hardware], self._job.classes, self._job.resources)[0]
        return _Member(facts, hardware, attrs.evolve(own, slots=slots(hardware, own.resources)))

    def _form_classes(self) -> None:
        serving = [member.hardware for member in self._members.values() if member.compute_class.slots]
        self._classes = form_classes(serving, self._job.classes, self._job.resources)

    def _tell(self, number: int, method: str, *arguments: Any) -> None:
        if self._ranks is not None:
            self._ranks.send(number, method, *arguments)
        elif self._alone is not None:
            getattr(self._alone, method)(*arguments)

    def close(self) -> None:
        for number in self._members:
            self._tell(number, 'close')
        self._members = {}
        self._alone = None
        if self._ranks is not None and self._ranks.user is self:
            self._ranks.user = None

    # --- trials ------------------------------------------------------------------------------

    def discover(self) -> Sequence[ComputeClass]:
        return self._classes

    def workers(self) -> Sequence[Worker]:
        return [
            Worker(member.name, member.facts.host, member.compute_class.name, member.hardware,
                   member.compute_class.slots, tuple(member.running))
            for member in self._members.values()
        ]  # fmt: skip

    def start(self, trial: Trial) -> None:
        able = [
            (len(member.running) - member.compute_class.slots, number)
            for number, member in self._members.items()
            if member.compute_class.name == trial.compute_class and member.compute_class.slots
        ]
        number = min(able)[1]
        self._members[number].running[trial.id] = _Attempt(trial.attempt, self.now())
        self._tell(number, 'start', trial.id, trial.attempt, pickle_params(trial.params), self._job.facts(trial))

    def answer(self, trial: Trial, answer: Answer) -> None:
        for number, member in self._members.items():
            if trial.id in member.running:
                self._tell(number, 'answer', trial.id, trial.attempt, attrs.asdict(answer))

    def stop(self, trial: Trial) -> None:
        for number, member in self._members.items():
            if member.running.pop(trial.id, None) is not None:
                self._tell(number, 'stop', trial.id)

    def hurry(self) -> None:
        for number in self._members:
            self._tell(number, 'hurry')

    def poll(self, timeout: float | None) -> Sequence[Report | Result]:
        until = None if timeout is None else time.monotonic() + timeout
        pause = SHORTEST
        while True:
            results = [result for result in self._news(pause) if result is not None]
            left = None if until is None else until - time.monotonic()
            if (
                results
                or (left is not None and left <= 0)
                or not any(member.running for member in self._members.values())
            ):
                return results
            pause = min(1.5 * pause, LONGEST)

    def _news(self, pause: float) -> list[Report | Result | None]:
        if self._alone is not None:
            return [self._heard(0, *news) for news in self._alone.poll(pause)]
        assert self._ranks is not None
        received = self._ranks.receive()
        if not received:
            time.sleep(pause)
        results = [self._heard(number, *news) for number, news in received]
        for number in self._members.keys() - self._ranks.serving:
            results += self._lose(number)
        return results

    def _lose(self, number: int) -> list[Result]:
        """Go on without a rank that has failed; return what is to be said of its trials."""
        member = self._members.pop(number)
        log.warning('%s has failed; the search goes on without it', member.name)
        self._form_classes()
        if not self._classes:
            raise BackendError(_ALL_LOST)
        now = self.now()
        return [
            Result(trial, TrialState.LOST, started=own.sent, finished=now, host=member.name, attempt=own.number)
            for trial, own in member.running.items()
        ]

    def _heard(self, number: int, run: int, trial: int, attempt: int, *rest: Any) -> Report | Result | None:
        known = self._members[number].running.get(trial)
        if run != self._run or known is None or known.number != attempt:
            return None  # stopped, perhaps started again meanwhile; or of an earlier search
        if len(rest) == 2:
            step, results = rest
            return Report(trial, attempt, step, from_text(results), self.now())
        return self._result(number, trial, attempt, *rest)

    def _result(self, number: int, trial: int, attempt: int, age: float, text: bytes, files: bytes | None) -> Result:
        member = self._members[number]
        del member.running[trial]
        outcome = from_text(text)
        if files is not None and isinstance(self._job.objective, Command):
            try:
                unpack(files, self._job.objective.output_folder)
            except (OSError, tarfile.TarError) as error:
                outcome = without_files(outcome, error)
        now = self.now()
        when = {'started': now - age, 'finished': now, 'seconds': outcome['seconds']}
        return Result.of(trial, outcome, **when, host=member.name, output=outcome['output'], attempt=attempt)


def _pack_inputs(command: Command) -> bytes:
    try:
        return pack(command.inputs)
    except OSError as error:
        raise BackendError(f'the input files cannot be sent to the ranks on other machines: {error}') from error
