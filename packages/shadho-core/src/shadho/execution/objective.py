"""What is evaluated: a function of the parameters, or a shell command in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import attrs

import shadho_worker
from shadho.errors import BackendError, ConfigurationError
from shadho.execution.limits import explaining
from shadho.records import copy_containers
from shadho_worker.command import parameters_text, run_command
from shadho_worker.files import COPY_LIMIT
from shadho_worker.handle import TrialHandle
from shadho_worker.outcomes import Outcome
from shadho_worker.package import place_package

__all__ = ['LOADING', 'Command', 'Function', 'Objective', 'check_file']

LOADING = 'SHADHO_LOADING'
"""Set in the environment of a process while it loads the objective."""


@attrs.frozen
class Function:
    """Any Python callable.

    Attributes
    ----------
    function : callable
    loss_key : str
    takes_trial : bool
        Whether it gets the handle of the trial as a second argument.
    """

    function: Callable[..., Any]
    loss_key: str = 'loss'
    takes_trial: bool = False

    def evaluate(self, params: Any, trial: int, handle: TrialHandle | None = None) -> Outcome:
        """Call the function once; whatever it does short of ending the process is an outcome."""
        begun = time.perf_counter()
        outcome: Outcome
        try:
            if handle is None:
                outcome = shadho_worker.outcome(self.function(copy_containers(params)), self.loss_key)
            else:
                handle.begin()
                outcome = handle.outcome(self.function(copy_containers(params), handle), self.loss_key)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            outcome = shadho_worker.failure(error)
        outcome['seconds'] = time.perf_counter() - begun  # its parts included, as handles time them
        return outcome


@attrs.frozen
class Command:
    """A shell command, run in a new folder that holds the input files and the parameters.

    Attributes
    ----------
    command : str
        Given to the shell. It finds ``hyperparameters.json`` in its working folder and leaves
        ``result.json``: a number, or an object with the loss.
    inputs : tuple of Path
        Files and folders placed in the folder; those above 10 MiB, and folders, as links.
    outputs : tuple of str
        Files, relative to the folder, brought back after the trial.
    output_folder : Path
        Where they are brought: ``output_folder/<trial>/``.
    loss_key : str
    grace : float
        Seconds between SIGTERM and SIGKILL for a command whose waiting is interrupted.
    """

    command: str
    inputs: tuple[Path, ...] = ()
    outputs: tuple[str, ...] = ()
    output_folder: Path = Path('output')
    loss_key: str = 'loss'
    grace: float = 0.0

    takes_trial: ClassVar[bool] = True
    """Its program may report; one that does not is run to its end."""

    def evaluate(self, params: Any, trial: int, handle: TrialHandle | None = None) -> Outcome:
        """Run the command once in a temporary folder; with a handle, its reports are heard and answered."""
        try:
            with contextlib.ExitStack() as stack:
                with explaining('the folder of the trial could not be made'):
                    place = tempfile.TemporaryDirectory(prefix=f'shadho-{trial}-', ignore_cleanup_errors=True)
                    folder = Path(stack.enter_context(place))
                self._fill(folder, params)
                with explaining('the command could not be started'):
                    outcome = run_command(self.command, folder, self.loss_key, handle, self.grace)
                problem = self._bring_back(folder, trial)
        except BackendError as error:
            return {**shadho_worker.failed('exception', str(error)), 'seconds': 0.0}
        except (TypeError, ValueError, OSError) as error:
            message = f'the folder of the trial could not be filled: {error}'
            return {**shadho_worker.failed('exception', message), 'seconds': 0.0}
        if problem and outcome['state'] == 'done':
            outcome |= shadho_worker.failed('result', problem, outcome['output'], outcome['results'])
        return outcome

    def _fill(self, folder: Path, params: Any) -> None:
        for source in self.inputs:
            if source.is_dir() or source.stat().st_size > COPY_LIMIT:
                (folder / source.name).symlink_to(source.resolve())
            else:
                shutil.copy2(source, folder / source.name)
        place_package(folder)
        (folder / shadho_worker.PARAMETERS_FILE).write_text(parameters_text(params), encoding='ascii')

    def _bring_back(self, folder: Path, trial: int) -> str:
        """Move the output files out of the folder; return what is wrong with the first that cannot be."""
        problems = [self._bring(folder.resolve(), name, trial) for name in self.outputs]
        return next(filter(None, problems), '')

    def _bring(self, root: Path, name: str, trial: int) -> str:
        source = Path(os.path.realpath(root / name))
        if root not in source.parents or not (source.is_file() or source.is_dir()):
            return f'the command left no {name}'
        target = self.output_folder / str(trial) / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True, ignore=_Strangers(root))
            elif source.stat().st_nlink > 1:  # of which a trial may have left another name elsewhere
                shutil.copy2(source, target)
            else:
                shutil.move(source, target)
        except OSError as error:  # shutil.Error, too
            return f'{name} could not be brought back: {error}'
        return ''


@attrs.frozen
class _Strangers:
    """Names in a folder of what is no file or folder of the trial, once links are followed; links to folders too."""

    root: Path

    def __call__(self, folder: str, names: list[str]) -> list[str]:
        return [name for name in names if not self._is_own(Path(folder, name))]

    def _is_own(self, path: Path) -> bool:
        source = Path(os.path.realpath(path))
        return self.root in source.parents and (source.is_file() or (source.is_dir() and not path.is_symlink()))


Objective = Function | Command


def check_file(kind: str, path: str | os.PathLike[str]) -> Path:
    """Return an input file's path when it exists, or an output file's when it stays in its folder."""
    name = Path(path)
    if kind == 'input' and not name.exists():
        raise ConfigurationError(f'add_input_file({str(path)!r}): no such file or folder in {os.getcwd()}')
    if kind == 'output' and (name.is_absolute() or '..' in name.parts or not name.parts):
        raise ConfigurationError(
            f'add_output_file({str(path)!r}): the path must be relative to the folder of the trial, without ".."'
        )
    return name.absolute() if kind == 'input' else name
