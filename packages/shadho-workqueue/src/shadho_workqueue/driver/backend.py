"""The Work Queue backend: trials on every worker that can reach the driver."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import re
import shutil
import socket
import sys
import tarfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

import shadho_worker
from shadho import ComputeClass, Trial
from shadho.backends import Backend, Job
from shadho.checks import as_integer
from shadho.errors import BackendError, ConfigurationError
from shadho.execution.limits import explaining
from shadho.execution.objective import Command
from shadho.execution.sandbox import LOADING_SECONDS, pickle_objective, pickle_params
from shadho.execution.sessions import Reaper
from shadho.hardware.classes import form_classes, slots
from shadho.records import LATEST, Hardware, Report, Result, TrialError, TrialState, Worker
from shadho.words import printable
from shadho_worker.command import OUTPUT_LIMIT, parameters_text
from shadho_worker.files import input_name, output_name, pack_folder
from shadho_worker.handle import LAST_STEP
from shadho_worker.outcomes import is_outcome
from shadho_worker.package import archive
from shadho_worker.task import ARCHIVE, FOLDER, FOLDER_ARCHIVE, REQUEST
from shadho_workqueue.driver.engine import Engine
from shadho_workqueue.driver.outputs import take_folder, take_outputs
from shadho_workqueue.driver.shipping import by_value, own_modules
from shadho_workqueue.driver.worker_list import WorkerList
from shadho_workqueue.installation import HELP, find_program, is_likely, version_of
from shadho_workqueue.reach import Place, Watch, catalog_address
from shadho_workqueue.rendezvous import Rendezvous, new_password, read, read_password
from shadho_workqueue.shell import shell_command
from shadho_workqueue.worker_info import ConnectedWorker, read_workers, trial_mark

__all__ = ['WorkQueue']

log = logging.getLogger('shadho')

_PATIENCE = 5.0
"""Seconds without any worker, after which it is said how to start one."""

_SLACK = 60
"""Seconds past a trial's time and grace after which the driver gives it up, should its worker have failed to end it."""

_MISSING_INPUT = 1  # results of the engine's tasks
_OUT_OF_SPACE = (16, 64)


@attrs.define
class _Group:
    """Workers with the same hardware: what the engine is told to give a trial to.

    Attributes
    ----------
    key : str
    compute_class : ComputeClass
        Of one such worker.
    feature : str or None
        None for plain workers, which are told apart by their resources only.
    slots : int
        Of all its workers.
    share : dict
        Memory and disk (MiB) of one slot, of whichever of its workers has least.
    """

    key: str
    compute_class: ComputeClass
    feature: str | None
    slots: int = 0
    share: dict[str, int] = attrs.field(factory=dict)

    def add(self, fits: int, worker: ConnectedWorker) -> None:
        """Count a worker in, which has so many slots."""
        self.slots += fits
        # Free disk shrinks while a worker runs, and a trial that asks for more than is left would wait for ever.
        for name, amount in (('memory', worker.memory), ('disk', worker.disk // 2)):
            own = max(1, amount // max(1, fits))
            self.share[name] = min(own, self.share.get(name, own))


@attrs.define
class _Task:
    """An attempt at a trial: in the engine with a group, or waiting without; `seen` to run at some time first.

    The engine knows it by its `number`: what it still says of an attempt that was stopped is not of the next one.
    """

    trial: Trial
    number: int
    submitted: float
    params: str = ''
    group: str | None = None
    seen: float | None = None


class WorkQueue(Backend):
    """Runs trials on workers of CCTools Work Queue, on any machines that can reach the driver.

    Workers are started with ``python3 -m shadho.workers.workqueue -M <exp_key>`` in any number, before
    or while the search runs. On the driver's machine, and on those that share the user's home with it, they
    find the driver by the name of the search; elsewhere by ``--host HOST:PORT --password-file FILE``.

    Parameters
    ----------
    port : int or pair of int, default 0
        Where to listen: a port, the ends of a range, or 0 for any.
    password_file : path, optional
        Holds the password that workers must know; by default one is made up and left where only the
        user's own workers find it.
    host : str, optional
        Name or address of this machine as workers reach it; by default its host name.
    catalog : str, optional
        ``host:port`` of a catalog server that workers find the driver by; none by default.
    keep_workers : bool, optional
        Whether workers, and pools of them, stay and wait for the next driver of the same key. By default they end with
        the search (a limit is reached, nothing is left to suggest, Ctrl-C), and wait when it was cut off (SIGTERM, an
        error). With True they wait in both cases; with False in neither. Whatever is said here, they wait for a driver
        that was killed. Who waits in vain ends after its ``--idle-timeout``.
    debug_log : path, optional
        Where the engine writes its debugging log.
    """

    name = 'workqueue'
    queues_ahead = True
    has_folders = True

    def __init__(
        self,
        port: int | tuple[int, int] = 0,
        *,
        password_file: str | os.PathLike[str] | None = None,
        host: str | None = None,
        catalog: str | None = None,
        keep_workers: bool | None = None,
        debug_log: str | os.PathLike[str] | None = None,
    ) -> None:
        self.port = _check_port(port)
        if catalog is not None and not (isinstance(catalog, str) and re.fullmatch(r'[^:\s]+(:\d+)?', catalog)):
            raise ConfigurationError(f"WorkQueue(): catalog must be 'host' or 'host:port'; got {catalog!r}")
        if host is not None and not (isinstance(host, str) and re.fullmatch(r'\S+', host)):
            raise ConfigurationError(f'WorkQueue(): host must be the name or address of this machine; got {host!r}')
        for name, path in (('password_file', password_file), ('debug_log', debug_log)):
            if path is not None and not isinstance(path, (str, os.PathLike)):
                raise ConfigurationError(f'WorkQueue(): {name} must be a path; got {path!r} ({type(path).__name__})')
        if not (keep_workers is None or isinstance(keep_workers, bool)):
            raise ConfigurationError(f'WorkQueue(): keep_workers must be True, False or None; got {keep_workers!r}')
        self.password_file = password_file
        self.host = host or socket.gethostname()
        self.catalog = catalog
        self.keep_workers = keep_workers
        self.debug_log = debug_log
        self._engine: Engine | None = None
        self._worker_list: WorkerList | None = None
        self._spool: Reaper | None = None

    @classmethod
    def affinity(cls, job: Job) -> int:
        if not is_likely():
            if job.is_command:
                log.info('the command is not run by Work Queue, whose engine was not found; %s', HELP)
            return -1
        return 2 if job.is_command else 0

    @classmethod
    def check(cls) -> str:
        from shadho_workqueue.install import ROUND_TRIP, look, round_trip

        found = look()
        if found.problem:
            raise BackendError(f'{found.problem}; {HELP}')
        worker, release = found.programs['work_queue_worker']
        seconds = round_trip(worker, ROUND_TRIP)
        return f'Work Queue {release}: a manager and a worker here ran a task together, in {seconds:.1f} s'

    # --- begin and end -----------------------------------------------------------------------

    def open(self, job: Job) -> None:
        self._job = job
        self._modules = own_modules()
        self._function = None if isinstance(job.objective, Command) else self._pickle(job)
        before = self._take_over(job.exp_key)
        password = read_password(self.password_file) if self.password_file else before.password or new_password()
        version = _program_version()
        self._spool = Reaper()
        folder = self._spool.folder
        self._inputs = self._input_files(job, folder)
        self._runner = self._runner_files(folder)
        self._incoming = _incoming(job)
        self._clear_incoming()
        if job.folders is not None:
            with explaining(f'the folders of trials cannot be made in {job.folders.parent}'):
                # Not by the engine, while the driver removes folders that are empty.
                self._incoming[FOLDER].parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._incoming[FOLDER].mkdir(mode=0o700)
        self._engine = self._start_engine(job, folder, before.port, password)
        self._rendezvous = Rendezvous(
            job.exp_key,
            self.host,
            self._engine.port,
            password,
            os.getpid(),
            ssl=self._engine.ssl,
            version=version,
        )
        self._rendezvous.write()
        self._worker_list = None if self._engine.reports_workers else WorkerList(self._engine.port, password)
        self._workers: list[ConnectedWorker] = []
        self._groups: dict[str, _Group] = {}
        self._classes: list[ComputeClass] = []
        self._class_by_hardware: dict[str, ComputeClass] = {}
        self._tasks: dict[int, _Task] = {}
        self._attempts: dict[int, int] = {}  # trials, by the numbers that the engine knows them by
        self._numbers = itertools.count()
        self._waiting: dict[str, deque[int]] = {}
        self._inside: Counter[str] = Counter()  # trials that the engine has, by their class
        self._busy: Counter[str] = Counter()  # and by their group
        self._ended_early: list[Result] = []
        self._told: dict[str, float] = {}
        self._watch = self._watch_catalog()
        self._alone_since = time.monotonic()
        log.info('Work Queue listens on port %d of %s', self._engine.port, self.host)

    def _watch_catalog(self) -> Watch | None:
        """Say it when the catalog cannot be reached: the engine would try in silence, and no worker find the driver."""
        if self.catalog is None:
            return None
        host, port = catalog_address(self.catalog)
        watch = Watch(Place(host, port), lambda text: log.warning('catalog: %s', printable(text)))
        watch.note(connected=True)  # to look until it has been reached once
        return watch

    def _take_over(self, exp_key: str) -> Rendezvous:
        """Return where the last driver of this search was, whose workers may be waiting for this one."""
        before = read(exp_key)
        if before is None or not before.is_here:
            return Rendezvous(exp_key, self.host, 0, '', 0)
        if before.is_alive:
            raise BackendError(
                f'a search {exp_key!r} is running on this machine already (process {before.pid}), and its workers could '
                'not tell the two apart; give this one another exp_key'
            )
        return before

    def _start_engine(self, job: Job, folder: Path, last_port: int, password: str) -> Engine:
        password_file = folder / 'password'
        password_file.touch(mode=0o600)
        password_file.write_text(password, encoding='utf-8')
        options = {
            'password_file': str(password_file),
            'keepalive': (20, 15),  # a worker that hangs is noticed within a minute, however busy the manager is
            'catalog': self.catalog,
            'name': job.exp_key,
            'debug_log': None if self.debug_log is None else str(self.debug_log),
        }
        if last_port and not self.port:
            try:
                return Engine(port=last_port, **options)
            except BackendError:
                log.warning(
                    'port %d of the last run is taken now: workers that wait there will not come back', last_port
                )
        if not isinstance(self.port, tuple):
            return Engine(port=self.port, **options)
        first, last = self.port
        engine = Engine(port=[first, last], **options)
        if not first <= engine.port <= last:  # where all are taken, the engine listens on any
            engine.close(shutdown=False)
            raise BackendError(
                f'all ports from {first} to {last} are taken, by other searches perhaps; give another range, or 0 for any port'
            )
        return engine

    def _input_files(self, job: Job, folder: Path) -> list[tuple[str, str]]:
        """Return the files that go with every trial: local path and name in the folder of the trial."""
        if isinstance(job.objective, Command):
            for path in job.objective.inputs:
                _check_names(path)
            return [(str(path), input_name(number)) for number, path in enumerate(job.objective.inputs)]
        assert self._function is not None
        name = f'.objective-{hashlib.sha256(self._function).hexdigest()[:16]}'
        path = folder / name
        path.write_bytes(self._function)
        return [(str(path), name)]

    def _runner_files(self, folder: Path) -> list[tuple[str, str]]:
        """Return the archive that plain workers run, as `_input_files` returns files."""
        path = folder / ARCHIVE
        path.write_bytes(archive())
        return [(str(path), ARCHIVE)]

    def _clear_incoming(self) -> None:
        """Remove what the engine has brought and nobody has taken over, of a driver that was killed perhaps."""
        for place in {*self._incoming.values()}:
            shutil.rmtree(place, ignore_errors=True)
        if self._job.folders is not None:
            with contextlib.suppress(OSError):  # it holds folders of trials
                self._job.folders.rmdir()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_cut_off = kind is not None and not issubclass(kind, KeyboardInterrupt)
        try:
            self._close(is_cut_off if self.keep_workers is None else self.keep_workers)
        finally:
            super().__exit__(kind, error, trace)

    def close(self) -> None:
        self._close(bool(self.keep_workers))

    def _close(self, workers_wait: bool) -> None:
        if self._worker_list is not None:
            self._worker_list.close()
            self._worker_list = None
        if self._engine is not None:
            if self._watch is not None:
                self._watch.close()
            if self._engine.close(shutdown=not workers_wait):
                self._rendezvous.remove()
            elif workers_wait and self._workers:
                log.info(
                    'the workers wait for this search to be run again, each until its --idle-timeout; '
                    'WorkQueue(keep_workers=False) would end them'
                )
            self._engine = None
            self._clear_incoming()
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    # --- workers and classes -----------------------------------------------------------------

    def discover(self) -> Sequence[ComputeClass]:
        if self._worker_list is not None and self._worker_list.workers is not self._workers:
            self._regroup(self._worker_list.workers)
        self._tell_notices()
        return self._classes

    def workers(self) -> Sequence[Worker]:
        found = []
        names = Counter(worker.name for worker in self._workers)
        for worker in self._workers:
            own = self._class_of(worker.hardware)
            fits = slots(worker.hardware, own.resources) if self._can_serve(worker) else 0
            name = worker.name if names[worker.name] == 1 else f'{worker.name} ({worker.address})'
            found.append(Worker(name, worker.host, own.name, worker.hardware, fits, worker.running))
        return found

    def _regroup(self, workers: list[ConnectedWorker]) -> None:
        """Take in which workers are connected; trials that wait for those that have gone come back."""
        changed = workers != self._workers
        self._workers = workers
        self._end_overdue()
        if workers or not self._alone_since:
            self._alone_since = 0.0 if workers else time.monotonic()
        if not changed:
            return
        groups: dict[str, _Group] = {}
        for worker in workers:
            if not self._can_serve(worker):
                continue
            key = str(worker.hardware) if worker.info is None else worker.info.feature
            own = self._class_of(worker.hardware)
            if key not in groups:
                groups[key] = _Group(key, own, None if worker.info is None else key)
            fits = slots(worker.hardware, own.resources)
            groups[key].add(fits, worker)
        gone = self._groups.keys() - groups.keys()
        self._groups = groups
        serving = [worker.hardware for worker in workers if self._can_serve(worker)]
        self._classes = form_classes(serving, self._job.classes, self._job.resources)
        assert self._engine is not None
        for key in gone:
            self._engine.send(do='gone', group=key)
        self._fill_engine()

    def _end_overdue(self) -> None:
        """Give up trials that their workers have failed to end in time; the engine's own limit ends others with them."""
        timeout = self._job.trial_timeout
        if timeout is None or self._engine is None:
            return
        limit, now = max(timeout, LOADING_SECONDS) + timeout + self._job.grace + _SLACK, self.now()
        running = [(trial, worker.name) for worker in self._workers for trial in worker.running]
        for trial, host in running:
            own = self._tasks.get(trial)
            if own is None:
                continue
            own.seen = now if own.seen is None else own.seen
            if now > own.seen + limit:
                text = f'the trial outlived its trial_timeout of {timeout:g} s, and its worker did not end it'
                self._engine.send(do='cancel', attempt=own.number)
                failed = TrialError('timeout', text)
                self._ended_early.append(self._ended(trial, TrialState.FAILED, host, failed))

    def _class_of(self, hardware: Hardware) -> ComputeClass:
        key = str(attrs.astuple(hardware))
        if key not in self._class_by_hardware:
            self._class_by_hardware[key] = form_classes([hardware], self._job.classes, self._job.resources)[0]
        return self._class_by_hardware[key]

    def _can_serve(self, worker: ConnectedWorker) -> bool:
        """Whether a worker can run the objective: commands always, functions with the same Python only."""
        if self._function is None:
            return True
        own = f'{sys.version_info.major}.{sys.version_info.minor}'
        if worker.info is not None and worker.info.python == own:
            return True
        has = 'is a plain work_queue_worker' if worker.info is None else f'runs Python {worker.info.python}'
        self._warn(
            f'{worker.name} cannot serve',
            f'the worker {worker.name} {has}, and this search evaluates a function of Python {own}, which needs the same '
            'Python there: start it with "python3 -m shadho.workers.workqueue" of such a Python, or make the objective '
            'a command',
        )
        return False

    def _warn(self, subject: str, message: str, pause: float = math.inf) -> None:
        """Log a warning, once in so many seconds for each subject."""
        if time.monotonic() - self._told.get(subject, -math.inf) >= pause or subject not in self._told:
            self._told[subject] = time.monotonic()
            log.warning('%s', printable(message))

    def _tell_notices(self) -> None:
        """Say what is wrong with workers that do not get in."""
        assert self._engine is not None
        if self._alone_since and time.monotonic() - self._alone_since > _PATIENCE:
            self._warn(
                'alone',
                f'no worker is connected; start some, on any machine: python3 -m shadho.workers.workqueue -M '
                f'{self._job.exp_key}   (on machines that do not share {Path.home()} with this one: --host '
                f'{self.host}:{self._engine.port} --password-file FILE, see WorkQueue(password_file=))',
            )
        for line in self._engine.notices():
            refused = re.search(r'worker (\S+?)(:\d+)? presented the wrong password', line)
            foreign = re.search(
                r'worker \((\S+?)(?::\d+)?\) is using work queue protocol (\d+), but I am using protocol (\d+)', line
            )
            if refused:
                message = f'a worker on {refused[1]} was refused, as it does not know the password of this search'
                self._warn(f'refused {refused[1]}', message, 60.0)
            elif foreign:
                message = (
                    f'a worker on {foreign[1]} was refused: it speaks protocol {foreign[2]} of Work Queue, and the driver '
                    f'{foreign[3]}; install the same release of CCTools on both'
                )
                self._warn(f'foreign {foreign[1]}', message, 60.0)
            else:
                log.info('Work Queue: %s', printable(line))

    # --- trials ------------------------------------------------------------------------------

    def start(self, trial: Trial) -> None:
        self._tasks[trial.id] = own = _Task(trial, next(self._numbers), self.now())
        self._attempts[own.number] = trial.id
        try:
            own.params = self._sendable(trial.params)
        except (TypeError, ValueError) as error:
            failed = TrialError('exception', f'the folder of the trial could not be filled: {error}')
            self._ended_early.append(self._ended(trial.id, TrialState.FAILED, '', failed))
            return
        self._waiting.setdefault(trial.compute_class, deque()).append(trial.id)
        self._fill_engine()

    def _sendable(self, params: Any) -> str:
        """Write parameters as text: JSON for a command, pickled for a function."""
        return parameters_text(params) if self._function is None else self._pickle_params(params).hex()

    def _pickle(self, job: Job) -> bytes:
        """Pickle a function together with the modules beside it, which workers do not have."""
        with by_value(self._modules):
            return pickle_objective(job.objective)

    def _pickle_params(self, params: Any) -> bytes:
        with by_value(self._modules):
            return pickle_params(params)

    def _fill_engine(self) -> None:
        """Give the engine as many waiting trials as their classes have slots, and one more for each."""
        known = {own.name: own for own in self._classes}
        for name, waiting in self._waiting.items():
            groups = [group for group in self._groups.values() if group.slots and group.compute_class.name == name]
            total = sum(group.slots for group in groups)
            own = known.get(name)
            limit = 0 if own is None or not groups else own.slots if own.slots < total else 2 * total
            while waiting and self._inside[name] < limit:
                self._send(self._tasks[waiting[0]], max(groups, key=lambda group: group.slots - self._busy[group.key]))
                waiting.popleft()
            while waiting and not groups:
                self._ended_early.append(self._ended(waiting.popleft(), TrialState.CANCELLED, ''))

    def _send(self, own: _Task, group: _Group) -> None:
        assert self._engine is not None
        trial = own.trial
        try:
            folder = self._packed_folder(own)
        except (OSError, ValueError, tarfile.TarError) as error:
            failed = TrialError('exception', f'the folder of the trial could not be packed: {error}')
            self._ended_early.append(self._ended(trial.id, TrialState.FAILED, '', failed))
            return
        own.group = group.key
        self._busy[group.key] += 1
        self._inside[trial.compute_class] += 1
        asked = {
            'cores': 1,
            'gpus': 0,
            **group.share,
            **{name: amount for name, amount in trial.resources.items() if amount},
        }
        objective = self._job.objective
        shell = objective if isinstance(objective, Command) else None
        request = {
            'trial': trial.id,
            'command': None if shell is None else shell.command,
            'loss_key': objective.loss_key,
            'objective': self._inputs[0][1] if shell is None else None,
            'inputs': () if shell is None else [path.name for path in shell.inputs],
            'outputs': [*self._incoming],
            'handle': self._job.facts(trial),
            'params': own.params,
            'timeout': self._job.trial_timeout,
            'grace': self._job.grace,
            'max_tasks_per_child': self._job.max_tasks_per_child,
            'resources': dict(trial.resources),
        }
        task = {
            'command': shell_command(trial_mark(trial.id)),
            'feature': group.feature,
            **{name: math.ceil(asked[name]) for name in ('cores', 'memory', 'disk', 'gpus')},
            'files': [*self._inputs, *(self._runner if group.feature is None else ())],
            'files_once': folder,
            'buffers': [(json.dumps(request), REQUEST)],
            'outputs': [
                (str(place / str(own.number) / output_name(number)), output_name(number))
                for number, place in enumerate(self._incoming.values())
            ],
        }
        self._engine.send(do='submit', attempt=own.number, group=group.key, asked=task)

    def _packed_folder(self, own: _Task) -> list[tuple[str, str]]:
        """Return the archive of what earlier attempts at a trial have left in its folder, as `_input_files` returns files."""
        if self._job.folders is None or not (self._job.folders / str(own.trial.id)).is_dir():
            return []
        folder = self._incoming[FOLDER].parent / str(own.trial.id)
        archive = self._incoming[FOLDER] / str(own.number) / FOLDER_ARCHIVE
        archive.parent.mkdir(parents=True, exist_ok=True)
        pack_folder(folder, archive, folder)
        return [(str(archive), FOLDER_ARCHIVE)]

    def stop(self, trial: Trial) -> None:
        self._ended_early = [result for result in self._ended_early if result.trial != trial.id]
        own = self._tasks.get(trial.id)
        if own is None:
            return
        if own.group is None:
            self._waiting[trial.compute_class].remove(trial.id)
        elif self._engine is not None:
            self._engine.send(do='cancel', attempt=own.number)
        self._forget(trial.id)

    def _forget(self, trial: int) -> _Task:
        """Take a trial off the books."""
        own = self._tasks.pop(trial)
        del self._attempts[own.number]
        for place in {*self._incoming.values()}:
            shutil.rmtree(place / str(own.number), ignore_errors=True)
        if own.group is not None:
            self._inside[own.trial.compute_class] -= 1
            self._busy[own.group] -= 1
        return own

    def poll(self, timeout: float | None) -> Sequence[Report | Result]:
        assert self._engine is not None
        results: list[Report | Result] = [*self._ended_early]
        self._ended_early = []
        for message in self._engine.wait(0.0 if results else timeout):
            if message['say'] == 'workers':
                self._regroup(read_workers(message['workers']))
            elif message['attempt'] in self._attempts:
                results += self._news(self._attempts[message['attempt']], message)
        self._fill_engine()
        return results

    def _news(self, trial: int, message: Mapping[str, Any]) -> list[Report | Result]:
        """Return what became of an attempt at a trial; what it has reported comes with its end."""
        host = message['host']
        if message['say'] == 'lost':
            return [self._lost(trial, host)]
        if message['say'] == 'back':
            return [self._ended(trial, TrialState.CANCELLED, '')]
        outcome = _outcome(message['text'], trial)
        if outcome is None or not self._may_end(self._tasks[trial].trial, outcome):
            return [self._without_outcome(trial, message)]
        problem = self._take_outputs(trial, outcome)
        if problem and outcome['state'] != 'failed':
            outcome |= shadho_worker.failed('result', problem, outcome['output'], outcome['results'])
        own = self._forget(trial)
        now = self.now()
        result = Result.of(
            trial, outcome, started=max(own.submitted, now - outcome['seconds']), finished=now, seconds=outcome['seconds'],
            host=printable(outcome.get('worker', host)), output=outcome['output'], attempt=own.trial.attempt,
        )  # fmt: skip
        return [*self._reports(own, outcome.get('reports'), now), result]

    def _may_end(self, trial: Trial, outcome: Mapping[str, Any]) -> bool:
        """Whether an attempt can end so: none is stopped, and one that pauses does so at its step, before the last."""
        if outcome['state'] in ('done', 'failed'):
            return True
        step, last = outcome.get('step', 0), self._job.max_steps or math.inf
        return outcome['state'] == 'paused' and trial.until is not None and trial.until <= step < last

    def _reports(self, own: _Task, reports: Any, now: float) -> Iterator[Report]:
        """Yield the reports of an attempt that has ended just now; its worker may have sent anything."""
        if not (self._job.objective.takes_trial and isinstance(reports, list)):
            return
        last = own.trial.step
        for step, results, ago in filter(_is_report, reports):
            if step > last:
                last = step
                yield Report(own.trial.id, own.trial.attempt, step, results, max(own.submitted, now - ago))

    def _without_outcome(self, trial: int, message: Mapping[str, Any]) -> Result:
        """A task that ended without an outcome: something is wrong with its worker, or with an input file."""
        if message['result'] == _MISSING_INPUT:
            gone = ', '.join(local for local, _ in self._inputs if not Path(local).exists()) or 'an input file'
            text = f'{gone} could not be sent to the worker: was it removed?'
            return self._ended(trial, TrialState.FAILED, message['host'], TrialError('exception', text))
        if message['result'] in _OUT_OF_SPACE:
            text = 'the trial took more memory or disk than its share of its worker; see resources='
            return self._ended(trial, TrialState.FAILED, message['host'], TrialError('crash', text))
        words = message['text'].strip()[-500:]
        log.warning(
            'trial %d came back without a result from the worker on %s (result %d of Work Queue): %s',
            trial, printable(message['host'] or 'an unknown host'), message['result'], printable(words or 'it said nothing'),
        )  # fmt: skip
        return self._lost(trial, message['host'])

    def _take_outputs(self, trial: int, outcome: Mapping[str, Any]) -> str:
        """Put the output files and the folder of a trial in their places; return what is wrong with them."""
        archives, attempt = outcome.get('archives'), str(self._tasks[trial].number)
        known = archives if isinstance(archives, list) else []
        files = [name for name in self._incoming if name != FOLDER]
        problems = []
        if files:
            place = self._incoming[files[0]]
            problem = take_outputs(place / attempt, place.parent / str(trial), files, known)
            problems += [problem] if outcome['state'] == 'done' else []  # a trial that pauses leaves them later
        if FOLDER in self._incoming and len(files) in known:  # else the trial has made none
            place = self._incoming[FOLDER]
            problems.append(take_folder(place / attempt / output_name(len(files)), place.parent / str(trial)))
        return '; '.join(filter(None, problems))

    def _lost(self, trial: int, host: str) -> Result:
        """A trial whose worker has gone: the one that ran it when the manager last told of its workers."""
        host = next((worker.name for worker in self._workers if trial in worker.running), host)
        return self._ended(trial, TrialState.LOST, host)

    def _ended(self, trial: int, state: TrialState, host: str, error: TrialError | None = None) -> Result:
        own = self._forget(trial)
        return Result(
            trial, state, error=error, started=own.submitted, finished=self.now(), host=printable(host), attempt=own.trial.attempt
        )  # fmt: skip


def _incoming(job: Job) -> dict[str, Path]:
    """Return where the engine leaves each output of trials, beside what has been looked at; the trial's folder is the last."""
    places = {}
    if isinstance(job.objective, Command):
        places = dict.fromkeys(job.objective.outputs, job.objective.output_folder)
    if job.folders is not None:
        places[FOLDER] = job.folders
    return {name: place.resolve() / '.incoming' for name, place in places.items()}


def _check_port(port: Any) -> int | tuple[int, int]:
    numbers = [as_integer(number) for number in (port if isinstance(port, (tuple, list)) else (port,))]
    first, last = numbers[0] if numbers else None, numbers[-1] if numbers else None
    if len(numbers) > 2 or first is None or last is None or not 0 <= first <= last < 2**16:
        raise ConfigurationError(
            f'WorkQueue(): port must be a number below 65536, the two ends of a range, or 0 for any; got {port!r}'
        )
    return first if first == last else (first, last)


def _check_names(path: Path) -> None:
    """Refuse names that the engine would garble: of a file only if they hold line breaks and the like."""
    for entry in (path, *path.rglob('*')):
        if not entry.name.isprintable() or not (entry == path or entry.name.isascii()):
            raise BackendError(
                f'add_input_file({str(path)!r}): Work Queue cannot send the name {entry.name!r}, as it takes ASCII only for what is '
                'in a folder, and nowhere line breaks; rename it, or add an archive that the command unpacks'
            )


def _program_version() -> str:
    program = find_program('work_queue_worker')
    return version_of(program) if program is not None else ''


def _is_report(data: Any) -> bool:
    """Whether JSON data are a report as a worker sends it: step, results, and seconds from then to the end of the attempt."""
    if not isinstance(data, list) or len(data) != 3:
        return False
    step, results, ago = data
    is_step = type(step) is int and step <= LAST_STEP
    return is_step and isinstance(results, dict) and type(ago) is float and 0 <= ago < LATEST


def _outcome(text: str, trial: int) -> dict[str, Any] | None:
    """Return the outcome that a task printed; None when it printed something else."""
    try:
        outcome = json.loads(text.strip().rpartition('\n')[2])
    except (ValueError, RecursionError):
        return None
    if not is_outcome(outcome) or outcome.get('trial', trial) != trial:
        return None
    seconds, printed = outcome.get('seconds', 0.0), outcome.get('output', '')
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf or not isinstance(printed, str):
        return None
    return {
        **outcome,
        'seconds': float(seconds),
        'output': printed[-2 * OUTPUT_LIMIT :],
    }  # a little more than was kept there
