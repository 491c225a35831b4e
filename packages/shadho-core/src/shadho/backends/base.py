"""The contract of a backend."""

from __future__ import annotations

import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import attrs
from typing_extensions import Self

from shadho.errors import BackendError
from shadho.execution.objective import Command, Objective
from shadho.hardware.classes import DeclaredClass
from shadho.records import ComputeClass, Report, Result, Trial, Worker

__all__ = ['Answer', 'Backend', 'Job']

_claiming = threading.Lock()


@attrs.frozen
class Job:
    """What a backend is to do.

    Attributes
    ----------
    exp_key : str
    objective : Function or Command
    resources : mapping
        What the user said that each trial asks for; may be empty (one core).
    classes : tuple of DeclaredClass
    trial_timeout : float or None
        Seconds that one trial may take.
    max_tasks_per_child : int or None
        Trials after which a process that runs trials is replaced by a new one.
    max_steps : int or None
        Steps of a trial that runs to its end.
    seed : int
        Of the search.
    folders : Path or None
        Parent of the folders of trials, each named by the trial's id; None if no trial needs one.
    grace : float
        Seconds between SIGTERM and SIGKILL for a trial that outlives its time or is stopped.
    """

    exp_key: str
    objective: Objective
    resources: Mapping[str, Any] = attrs.field(factory=dict)
    classes: tuple[DeclaredClass, ...] = ()
    trial_timeout: float | None = None
    max_tasks_per_child: int | None = None
    max_steps: int | None = None
    seed: int = 0
    folders: Path | None = None
    grace: float = 10.0

    def facts(self, trial: Trial) -> dict[str, Any] | None:
        """Return the arguments of a trial's handle (see `shadho.TrialHandle`); None if the objective takes none."""
        if not self.objective.takes_trial:
            return None
        return {
            'id': trial.id,
            'attempt': trial.attempt,
            'seed': zlib.crc32(f'{self.seed} {trial.id}'.encode()),
            'compute_class': trial.compute_class,
            'resources': dict(trial.resources),
            'step': trial.step,
            'until': trial.until,
            'max_steps': self.max_steps,
            'folder': None if self.folders is None else str(self.folders / str(trial.id)),
            'loss_key': self.objective.loss_key,
        }

    @property
    def is_command(self) -> bool:
        """Whether the objective is a shell command."""
        return isinstance(self.objective, Command)


@attrs.frozen
class Answer:
    """The answer to a report of a running trial.

    Attributes
    ----------
    until : int or None
        The step at which the trial is to wait for the next answer; None for never.
    leave : str
        'paused' or 'stopped' if the trial is to end its attempt; '' if it goes on.
    step : int
        The step of the report.
    """

    until: int | None = None
    leave: str = ''
    step: int = 0


class Backend(ABC):
    """Runs the trials of one search at a time; a context manager around `open` and `close`.

    The context ends by an exception when the search is cut off: by an error, or by SIGTERM as SystemExit. A backend whose
    workers may wait for the search to be run again overrides `__exit__`.

    Invariants
    ----------
    * Each attempt that was started gives exactly one Result of `poll`, unless it was stopped.
    * What a trial does wrong is a Result with a state and an error, never an exception; nor do
      changes that an objective makes to its parameters reach the trial.
    * `open` refuses what `affinity` says cannot be run. After `close`, it can be opened again.
    * While one search has entered it, it refuses any other, with a BackendError.
    * A backend never runs more trials at once in a class than the class has slots. The driver
      starts no more than that; or, while trials take only milliseconds and the backend
      `queues_ahead`, one more for each slot, to start as soon as the slot is free.
    """

    name: ClassVar[str]
    queues_ahead: ClassVar[bool] = False
    has_folders: ClassVar[bool] = False
    """Whether the folder of a trial is there again in its next attempt, so that trials can be paused."""
    _is_in_use = False

    hear: Callable[[Report], Answer] | None = None
    """Set by the search while it runs. A backend that runs trials in `poll` itself calls it with each report."""

    @classmethod
    @abstractmethod
    def affinity(cls, job: Job) -> int:
        """Return -1 (cannot run the job), 0 (only when asked for by name), 1 (can), 2 (meant for it).

        Or 3, when this very process was started for this backend, as the ranks of an MPI job are.

        Never raises and imports nothing native.
        """

    @classmethod
    def check(cls) -> str:
        """Say with what trials would run on this machine, for ``shadho doctor``; may take seconds.

        Raises
        ------
        BackendError
            When they could not; says what is missing, and how to install it.
        """
        return 'ready'

    def attend(self) -> None:
        """Begin, before anything is opened: called by ``run()`` in every process that runs the script.

        Where a script is started many times at once, as by ``mpirun``, the processes that only serve
        the one that drives do so here, and do not return.
        """

    @abstractmethod
    def open(self, job: Job) -> None:
        """Get ready; native libraries are imported here. BackendError when that is impossible."""

    @abstractmethod
    def close(self) -> None:
        """End all that runs and release everything; closing twice is harmless."""

    @abstractmethod
    def discover(self) -> Sequence[ComputeClass]:
        """Return the compute classes as they are now: workers may come and go."""

    @abstractmethod
    def start(self, trial: Trial) -> None:
        """Start the current attempt of a trial, `trial.attempt`, in a free slot of its class; returns at once."""

    @abstractmethod
    def stop(self, trial: Trial) -> None:
        """Stop the current attempt of a trial, `trial.attempt`; returns at once.

        No Result will come of that attempt, though it may keep its slot for the seconds of its `Job.grace`. The trial may be
        started again at once, with the next attempt, also in another class. Stopping an attempt that the backend does not have, such as one whose result it has returned, is harmless.
        """

    def hurry(self) -> None:
        """Grant no trial its grace from now on: a second Ctrl-C or SIGTERM has come. A backend without grace need not override this."""

    def answer(self, trial: Trial, answer: Answer) -> None:
        """Pass the answer to a report on to a running trial; harmless when it has ended.

        A trial that is to leave ends with a Result that is PAUSED or STOPPED, or, if it ends of its own accord first, has any other
        state. A backend that returns no reports need not override this.
        """

    @abstractmethod
    def poll(self, timeout: float | None) -> Sequence[Report | Result]:
        """Return reports and results as soon as there are any, waiting at most `timeout` seconds (None: no limit).

        A trial that has reported the step `trial.until`, or that of its last answer, waits for an `answer`, where the backend
        returns reports while a trial runs; otherwise it gives its reports together with a Result that is PAUSED.

        Times of the results are on the clock of `now`. A trial whose worker vanished is LOST, which counts as an
        attempt; one that had not begun when its worker left comes back as CANCELLED, which does not.
        """

    def workers(self) -> Sequence[Worker]:
        """Return the workers that are connected now, where the backend knows them one by one.

        For people to look at: asked about once a second, and shown by ``shadho status``.
        """
        return ()

    def now(self) -> float:
        """Return the backend's clock in seconds, by which the search counts every time and timeout."""
        return time.monotonic()

    def __enter__(self) -> Self:
        with _claiming:
            if self._is_in_use:
                raise BackendError(
                    f'this {type(self).__name__} runs another search already, whose trials it would take for those of this one. '
                    'Give each of the searches that run at the same time a backend of its own, or run one after the other'
                )
            self._is_in_use = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            self._is_in_use = False
